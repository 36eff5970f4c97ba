"""Which cuts of a network become the borders of its searchable layers: one layer per block as its author wrote them.

Neighbours: `models.cutting` finds the cuts, `models.chain` makes the pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import fx, nn

from models.cutting import Cut, Survey, count_weights, explain_gap, name_step
from models.errors import CutError
from models.tracing import Call, Trace

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_WEIGHING = ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "matmul", "einsum", "bmm", "addmm")
STEM_STRIDE = 4
"""Pixels of the image per pixel of what a stem gives, where the network's strides allow it."""
MIN_LAYERS = 2


@dataclass(frozen=True)
class Layout:
    """The borders of the parts of an encoder.

    Attributes:
        stem_end: The cut behind the stem.
        layer_ends: The cut behind each layer, in order.
        layer_names: What the layers are called.
    """

    stem_end: Cut
    layer_ends: tuple[Cut, ...]
    layer_names: tuple[str, ...]


@dataclass(frozen=True)
class _Stretch:
    """The steps between two neighbouring cuts.

    Attributes:
        first: Position of the first step.
        cut: The cut that ends it.
        num_weights: Weighing layers in it.
        growth: Its stride: pixels of its input per pixel of its output.
        depthwise: Whether its weighing layers are depthwise convolutions only.
    """

    first: int
    cut: Cut
    num_weights: int
    growth: float
    depthwise: bool


def lay_out_blocks(found: Survey, stem: str | None, blocks: Sequence[str], max_blocks: int | None) -> Layout:
    """Return the parts of an encoder.

    Blocks are found by themselves where `blocks` is empty. A class of module that cannot be cut inside in one place
    (for a skip connection, say) is a block wherever it stands; what lies between two blocks belongs to the second.
    Networks without such blocks get one layer per convolution with the norm and activation behind it, a depthwise one
    together with the next full one. The stem is what lies before the first block, and more blocks until the stride of
    `STEM_STRIDE` or a quarter of the network's own.

    Args:
        found: Where it can be cut.
        stem: Path of the module that ends the stem; None to choose.
        blocks: Paths of the modules that end the layers; empty to choose.
        max_blocks: Neighbouring layers are joined until there are no more than this; None for no limit.

    Raises:
        CutError: Too few layers, a growing map, or a name at which there is no cut.
    """
    if blocks:
        return _lay_out_named(found, stem, blocks)
    _check_nothing_lost(found)
    cuts = _keep_block_borders(found)
    units = _join_stretches(_drop_last_pooling(_measure_stretches(found.trace, cuts)))
    stem_end, rest = _choose_stem(found, units, stem)
    while max_blocks is not None and len(rest) > max(1, max_blocks):
        rest = _join_cheapest(rest)
    ends = tuple(unit[-1].cut for unit in rest)
    _check(found, stem_end, ends)
    names = [_name_unit(found.trace, unit) for unit in rest]
    return Layout(stem_end, ends, _make_distinct(names))


def _lay_out_named(found: Survey, stem: str | None, blocks: Sequence[str]) -> Layout:
    """Return the parts whose ends a person named."""
    ends = tuple(find_cut(found, name) for name in blocks)
    if stem is not None:
        stem_end = find_cut(found, stem)
    else:
        units = _join_stretches(_measure_stretches(found.trace, _keep_block_borders(found)))
        early = [cut for cut in (_choose_stem(found, units, None)[0], found.cuts[0]) if cut.position < ends[0].position]
        if not early:
            raise CutError(
                f"A stem ends before the first layer, but nothing can be cut before '{blocks[0]}'. Name others."
            )
        stem_end = early[0]
    places = [stem_end, *ends]
    if any(first.position >= second.position for first, second in pairwise(places)):
        order = ", ".join([stem or stem_end.name, *blocks])
        raise CutError(
            f"Stem and layers are named in the order in which they run, each once, got {order}. Reorder them."
        )
    _check(found, stem_end, ends)
    return Layout(stem_end, ends, _make_distinct(list(blocks)))


def find_cut(found: Survey, name: str) -> Cut:
    """Return the cut behind the module of a path, or behind the step of that name.

    Raises:
        CutError: There is none; the sentence says why, or which there are.
    """
    trace = found.trace
    results = [call.result for call in trace.calls if call.path == name and call.result is not None]
    steps = results or [step for step in trace.steps if step.name == name]
    positions = [trace.steps.index(step) for step in steps]
    cut = next((cut for cut in reversed(found.cuts) if cut.position in positions), None)
    if cut is not None:
        return cut
    known = ", ".join(cut.name for cut in found.cuts)
    if not positions:
        raise CutError(f"The network has no module '{name}' that its forward calls. It can be cut behind: {known}.")
    reason = found.reasons.get(positions[-1])
    why = reason if reason is not None else explain_gap(trace, positions[-1], positions[-1] + 1).rstrip(".")
    raise CutError(f"The network cannot be cut behind '{name}': {why}. It can be cut behind: {known}.")


def _keep_block_borders(found: Survey) -> list[Cut]:
    """Return the cuts that lie inside no block."""
    trace = found.trace
    weights = _count_all(trace)
    last = found.cuts[-1].position
    positions = [cut.position for cut in found.cuts]

    def is_whole(call: Call) -> bool:
        """Return whether a call is of a module with several weighing layers and no cut between any of them."""
        if isinstance(trace.module.get_submodule(call.path), _CONTAINERS) or call.first > last:
            return False
        total = sum(weights[call.first : call.end])
        before = [sum(weights[call.first : at + 1]) for at in positions if call.first <= at < call.end]
        return total > 1 and all(count in (0, total) for count in before)

    whole = [call for call in trace.calls if is_whole(call)]
    # A stage of a single block is no kind of block: what counts is the inner one, which holds all there is.
    kinds = {
        type(trace.module.get_submodule(call.path))
        for call in whole
        if not any(_holds_all(call, inner, weights) for inner in whole)
    }
    blocks = [call for call in trace.calls if type(trace.module.get_submodule(call.path)) in kinds]
    return [
        cut
        for cut in found.cuts
        if not any(
            call.first <= cut.position < call.end and trace.steps[cut.position] is not call.result for call in blocks
        )
    ]


def _holds_all(outer: Call, inner: Call, weights: Sequence[int]) -> bool:
    """Return whether a call inside another does all its weighing."""
    within = outer.first <= inner.first and inner.end <= outer.end and inner.path.startswith(f"{outer.path}.")
    return within and sum(weights[outer.first : outer.end]) == sum(weights[inner.first : inner.end])


def _count_all(trace: Trace) -> list[int]:
    """Return how many weighing layers each step stands for."""
    return [_count_step(trace, step) for step in trace.steps]


def _count_step(trace: Trace, step: fx.Node) -> int:
    """Return how many weighing layers a step stands for."""
    if step.op == "call_module":
        return count_weights(trace.module.get_submodule(str(step.target)))
    if step.op == "call_function":
        takes_parameter = any(source.op == "get_attr" for source in step.all_input_nodes)
        return int(takes_parameter and getattr(step.target, "__name__", "") in _WEIGHING)
    return 0


def _measure_stretches(trace: Trace, cuts: Sequence[Cut]) -> list[_Stretch]:
    """Return the stretches that end in these cuts."""
    weights, stretches = _count_all(trace), []
    first, stride = 0, 1
    for cut in cuts:
        end = cut.position + 1
        weighing = [step for step in trace.steps[first:end] if _count_step(trace, step)]
        depthwise = bool(weighing) and all(_is_depthwise(trace, step) for step in weighing)
        stretches.append(_Stretch(first, cut, sum(weights[first:end]), cut.stride / stride, depthwise))
        first, stride = end, cut.stride
    return stretches


def _is_depthwise(trace: Trace, step: fx.Node) -> bool:
    """Return whether a step is a convolution of every channel by itself."""
    part = trace.module.get_submodule(str(step.target)) if step.op == "call_module" else None
    return isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1


def _drop_last_pooling(stretches: list[_Stretch]) -> list[_Stretch]:
    """Return the stretches without what only shrinks the last maps for a classifier."""
    end = max((index for index, part in enumerate(stretches) if part.num_weights), default=len(stretches) - 1) + 1
    while end < len(stretches) and stretches[end].growth == 1:
        end += 1
    return stretches[:end]


def _join_stretches(stretches: list[_Stretch]) -> list[list[_Stretch]]:
    """Return the stretches as units, each one block with what belongs to it; the first may be the start of the stem."""
    has_blocks = sum(part.num_weights > 1 for part in stretches) > 1
    units: list[list[_Stretch]] = []
    pending: list[_Stretch] = []
    for part in stretches:
        if has_blocks:
            pending.append(part)
            if part.num_weights > 1:
                before = [other for other in pending if other is not part]
                units += [before, [part]] if not units and before else [pending]
                pending = []
        elif part.num_weights == 0 and part.growth == 1 and units and not pending:
            units[-1].append(part)
        else:
            pending.append(part)
            if part.num_weights and not part.depthwise:
                units.append(pending)
                pending = []
    if pending and units:
        units[-1] = [*units[-1], *pending]
    return units or [pending]


def _choose_stem(found: Survey, units: list[list[_Stretch]], stem: str | None) -> tuple[Cut, list[list[_Stretch]]]:
    """Return the cut behind the stem and the units that are left for layers."""
    if stem is not None:
        end = find_cut(found, stem)
        later = [[part for part in unit if part.cut.position > end.position] for unit in units]
        return end, [unit for unit in later if unit]
    target = min(STEM_STRIDE, max(1, units[-1][-1].cut.stride // 4))
    count = 1
    while units[count - 1][-1].cut.stride < target and len(units) - count > max(MIN_LAYERS, len(units) // 2):
        count += 1
    return units[count - 1][-1].cut, units[count:]


def _join_cheapest(units: list[list[_Stretch]]) -> list[list[_Stretch]]:
    """Return the units with those two neighbours joined that hold fewest weighing layers together."""
    loads = [sum(part.num_weights for part in first + second) for first, second in pairwise(units)]
    at = loads.index(min(loads))
    return [*units[:at], units[at] + units[at + 1], *units[at + 2 :]]


def _check(found: Survey, stem_end: Cut, ends: Sequence[Cut]) -> None:
    """Refuse too few layers, and maps that grow along the way."""
    name = type(found.trace.module).__name__
    _check_no_valley(found, [stem_end, *ends])
    if len(ends) < MIN_LAYERS:
        raise CutError(
            f"A search needs at least {MIN_LAYERS} layers behind the stem, but {name} can be cut only behind: "
            f"{', '.join(cut.name for cut in found.cuts)}. {_explain_few(found)} "
            "Write the encoder so that nothing reaches around its blocks, or name finer ones."
        )
    for before, after in pairwise([stem_end, *ends]):
        if after.stride < before.stride or after.stride % before.stride:
            raise CutError(
                f"Feature maps shrink by whole numbers along an encoder, but in {name} the stride goes from "
                f"{before.stride} behind '{before.name}' to {after.stride} behind '{after.name}'. Leave out what comes "
                "after the smallest maps: decoders are added by bmtas."
            )


def _explain_few(found: Survey) -> str:
    """Return the sentence that says what keeps a network from being cut more often."""
    last = found.cuts[-1].position
    later = [position for position in found.reasons if position > last]
    if later:
        step = found.trace.steps[later[0]]
        return f"Behind '{name_step(found.trace, step)}' {found.trace.describe(step)}, {found.reasons[later[0]]}."
    borders = [cut.position for cut in found.cuts] + [len(found.trace.steps) - 2]
    first, end = max(pairwise(borders), key=lambda pair: pair[1] - pair[0])
    return explain_gap(found.trace, first + 1, end + 1)


def _check_nothing_lost(found: Survey) -> None:
    """Refuse to leave out weighing layers only since there is no cut behind them."""
    trace, last = found.trace, found.cuts[-1].position
    if found.lost is not None and any(_count_all(trace)[last + 1 : found.lost + 1]):
        step = trace.steps[found.lost]
        raise CutError(
            f"A backbone is cut behind its last feature maps, but {type(trace.module).__name__} cannot be cut behind "
            f"'{name_step(trace, step)}': {found.reasons[found.lost]}. Mend that, or name as the last layer one of: "
            f"{', '.join(cut.name for cut in found.cuts)}."
        )


def _check_no_valley(found: Survey, ends: Sequence[Cut]) -> None:
    """Refuse a network most of which lies between two cuts and shrinks its maps there only to let them grow again."""
    trace, weights, first = found.trace, _count_all(found.trace), 0
    for cut in ends:
        smallest = max((found.strides.get(at, 1) for at in range(first, cut.position)), default=1)
        if smallest > cut.stride and 2 * sum(weights[first : cut.position + 1]) > sum(weights):
            raise CutError(
                f"An encoder's maps shrink, but in {type(trace.module).__name__} most layers lie where they shrink to "
                f"1/{smallest} of the image and grow to 1/{cut.stride} again before '{cut.name}', with no place to cut "
                f"between. {explain_gap(trace, first, cut.position + 1)} Bring the encoder without its decoder: "
                "bmtas adds decoders."
            )
        first = cut.position + 1


def _name_unit(trace: Trace, unit: list[_Stretch]) -> str:
    """Return what a layer is called: the module that does all of its weighing, or the first and the last."""
    weighing = [part for part in unit if part.num_weights]
    whole = _find_heaviest(trace, unit[0].first, unit[-1].cut.position + 1)
    if not weighing or whole is None:
        return unit[-1].cut.name
    weights = _count_all(trace)
    total = sum(weights[unit[0].first : unit[-1].cut.position + 1])
    main = [part for part in weighing if part.num_weights == max(other.num_weights for other in weighing)]
    if len(main) == 1 or sum(weights[whole.first : whole.end]) == total:
        return whole.path
    ends = [_find_heaviest(trace, part.first, part.cut.position + 1) for part in (weighing[0], weighing[-1])]
    return "..".join(
        part.cut.name if call is None else call.path
        for part, call in zip((weighing[0], weighing[-1]), ends, strict=True)
    )


def _find_heaviest(trace: Trace, first: int, end: int) -> Call | None:
    """Return the outermost call between two positions that does most of the weighing there, None where none does."""
    weights = _count_all(trace)
    inside = [call for call in trace.calls if first <= call.first and call.end <= end]
    loads = {call: sum(weights[call.first : call.end]) for call in inside}
    heaviest = [call for call in inside if loads[call] == max(loads.values()) > 0]
    return min(heaviest, key=lambda call: (call.path.count("."), call.first), default=None)


def _make_distinct(names: list[str]) -> tuple[str, ...]:
    """Return the names, numbered where one stands twice."""
    return tuple(
        f"{name}#{names[:at].count(name) + 1}" if name in names[:at] else name for at, name in enumerate(names)
    )
