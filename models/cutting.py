"""The places of a network where a single tensor flows: all that comes later is computed from it alone.

They are the articulation points of the dataflow graph of `models.tracing`. `models.grouping` chooses among them.
Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from models.errors import CutError
from models.tracing import Trace, find_tensor, run_values

_WEIGHING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
SIDES = (64, 128, 224, 32, 256, 28, 96, 299, 384, 512)
"""Sides of the images that a network is tried on, in pixels: cheap ones and those of well-known training sets."""


@dataclass(frozen=True)
class Cut:
    """A step after which a network can be cut.

    Attributes:
        position: Of the step in the trace.
        name: Path of the module that gives the tensor, or the name of the step.
        channels: C of the tensor.
        stride: Pixels of the image per pixel of the tensor.
    """

    position: int
    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Survey:
    """What was found out about where a network can be cut.

    Attributes:
        trace: In evaluation.
        cuts: In order; the last one ends the features.
        reasons: By position of a step why there is no cut, where it is an articulation point and cannot be one.
        side: Side of the square image it was tried on, in pixels.
        strides: By position of a step that gives feature maps: pixels of the image per pixel of them.
        lost: Position of the last articulation point that gives feature maps and cannot be a cut; None where the last
            one can.
    """

    trace: Trace
    cuts: tuple[Cut, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)
    side: int = 0
    strides: Mapping[int, int] = field(default_factory=dict)
    lost: int | None = None


def find_articulations(trace: Trace) -> tuple[int, ...]:
    """Return the positions of the steps, in order, whose value alone is needed by all that comes later.

    Steps that do not depend on the image (parameters, and what is computed from them alone) do not count.

    Raises:
        CutError: The network gives something else than one tensor.
    """
    depends = find_dependents(trace)
    last_use = _find_last_uses(trace)
    _check_output(trace)
    found: list[int] = []
    alive: set[fx.Node] = set()
    for position, step in enumerate(trace.steps):
        if step not in depends or step.op == "output":
            continue
        alive = {value for value in alive if last_use[value] > position}
        if last_use[step] > position:
            alive.add(step)
        if alive == {step} and step.op != "placeholder":
            found.append(position)
    return tuple(found)


def find_dependents(trace: Trace) -> set[fx.Node]:
    """Return the steps whose value depends on the image."""
    depends: set[fx.Node] = set()
    for step in trace.steps:
        if step.op == "placeholder" or any(source in depends for source in step.all_input_nodes):
            depends.add(step)
    return depends


def survey(trace: Trace, other: Trace, num_common: int, image_channels: int) -> Survey:
    """Return where a network can be cut.

    Args:
        trace: In evaluation.
        other: In training.
        num_common: Steps that the two have in common from the start.
        image_channels: Channels of its image.

    Raises:
        CutError: It gives no single tensor, does not run, changes its image, or has no feature maps to cut at.
    """
    articulations = find_articulations(trace)
    side, values, changed = _run(trace, other, num_common, image_channels)
    larger, _, _ = run_values(trace, torch.randn(2, image_channels, 2 * side, 2 * side))
    reasons: dict[int, str] = {}
    cuts: list[Cut] = []
    sharing = _find_sharing(trace)
    for position in articulations:
        step = trace.steps[position]
        reason = _find_reason(position, trace, num_common, changed, sharing)
        maps = _measure_maps(values.get(step), larger.get(step), side)
        if maps is None:
            reasons[position] = reason or "its value is no stack of feature maps (B, C, H, W) that grow with the image"
        elif reason is not None:
            reasons[position] = reason
        else:
            cuts.append(Cut(position, name_step(trace, step), *maps))
    if not cuts:
        raise CutError(_explain_no_cut(trace, reasons))
    measured = {at: _measure_maps(values.get(step), larger.get(step), side) for at, step in enumerate(trace.steps)}
    strides = {position: maps[1] for position, maps in measured.items() if maps is not None}
    lost = max((at for at in reasons if at in strides and at > cuts[-1].position), default=None)
    return Survey(trace, tuple(cuts), reasons, side, strides, lost)


def name_step(trace: Trace, step: fx.Node) -> str:
    """Return the path of the outermost module that gives the value of a step, or the step's own name."""
    paths = [call.path for call in trace.calls if call.result is step]
    return min(paths, key=lambda path: (path.count("."), len(path)), default=step.name)


def _run(
    trace: Trace, other: Trace, num_common: int, image_channels: int
) -> tuple[int, dict[fx.Node, Tensor], set[fx.Node]]:
    """Return a side that the network takes, its values on such an image, and the steps whose value changes later."""
    module, ended = trace.module, ""
    twins = dict(zip(other.steps[:num_common], trace.steps[:num_common], strict=True))
    for side in SIDES:
        image_BCHW = torch.randn(2, image_channels, side, side)
        values, versions, early = run_values(trace, image_BCHW)
        if early is not None:
            ended = ended or early
            continue
        kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
        was_training = module.training
        module.train()
        trained, trained_versions, early = run_values(other, torch.randn(2, image_channels, side, side))
        module.train(was_training)
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])
        if early is not None:
            ended = ended or f"in training: {early}"
            continue
        changed = {step for step, value in values.items() if value._version != versions[step]}
        changed |= {
            twins[step] for step, value in trained.items() if step in twins and value._version != trained_versions[step]
        }
        if trace.steps[0] in changed:
            raise CutError(
                f"A backbone leaves its image as it is, but {type(module).__name__} changes it in place. Begin with "
                "a step that gives a new tensor."
            )
        return side, values, changed
    raise CutError(
        f"A backbone must run on images, but {type(module).__name__} did not on any of {image_channels} channels and "
        f"{min(SIDES)} to {max(SIDES)} pixels a side: {ended}. Mend it, or give the channels it takes."
    )


def _find_reason(
    position: int, trace: Trace, num_common: int, changed: set[fx.Node], sharing: Mapping[str, tuple[int, int]]
) -> str | None:
    """Return why there can be no cut behind an articulation point; None where nothing forbids it."""
    step = trace.steps[position]
    if position >= num_common:
        parting = trace.steps[min(num_common, len(trace.steps) - 1)]
        return (
            f"the network takes other steps in training before it, {trace.describe(parting)}, which belong into a "
            "submodule such as nn.Dropout"
        )
    if step in changed:
        return "its value is changed in place by a later step, and branches that start from it would see that"
    for name, (first, last) in sharing.items():
        if first <= position < last:
            return f"'{name}' is used before and after it, and copies of a layer cannot share it"
    return None


def _find_sharing(trace: Trace) -> dict[str, tuple[int, int]]:
    """Return the parameters and buffers that several steps use, with the positions of the first and the last."""
    depends, positions = find_dependents(trace), {step: at for at, step in enumerate(trace.steps)}
    names: dict[int, str] = {}
    uses: dict[int, list[int]] = {}
    for position, step in enumerate(trace.steps):
        if step.op == "call_module":
            part = trace.module.get_submodule(str(step.target))
            held = [
                (f"{step.target}.{name}", tensor) for name, tensor in (*part.named_parameters(), *part.named_buffers())
            ]
            at = [position]
        elif step.op == "get_attr":
            held = [(str(step.target), find_tensor(trace.module, str(step.target)))]
            at = [positions[user] for user in _find_users(step, depends)]
        else:
            continue
        for name, tensor in held:
            names.setdefault(id(tensor), name)
            uses.setdefault(id(tensor), []).extend(at)
    return {names[key]: (min(at), max(at)) for key, at in uses.items() if at and min(at) < max(at)}


def _find_users(constant: fx.Node, depends: set[fx.Node]) -> set[fx.Node]:
    """Return the steps that depend on the image and take a value computed from a constant."""
    found: set[fx.Node] = set()
    for user in constant.users:
        found |= {user} if user in depends or user.op == "output" else _find_users(user, depends)
    return found


def _find_last_uses(trace: Trace) -> dict[fx.Node, int]:
    """Return by step the position of the last step that takes its value, its own where none does."""
    last_use = {step: position for position, step in enumerate(trace.steps)}
    for position, step in enumerate(trace.steps):
        for source in step.all_input_nodes:
            last_use[source] = position
    return last_use


def _measure_maps(value: Tensor | None, larger: Tensor | None, side: int) -> tuple[int, int] | None:
    """Return channels and stride of feature maps, given them on an image of twice the side too, or None."""
    if value is None or larger is None or value.dim() != 4 or larger.dim() != 4 or not value.is_floating_point():
        return None
    grown = [more - less for more, less in zip(larger.shape[2:], value.shape[2:], strict=True)]
    if value.shape[:2] != larger.shape[:2] or value.shape[0] != 2 or min(grown) <= 0:
        return None
    stride = round(side / grown[0])
    return (value.shape[1], stride) if stride >= 1 and round(side / grown[1]) == stride else None


def _check_output(trace: Trace) -> None:
    """Refuse a network that gives something else than one tensor."""
    given = trace.steps[-1].args[0]
    if not isinstance(given, fx.Node):
        kind = type(given).__name__.removeprefix("immutable_")
        number = f" of {len(given)}" if isinstance(given, tuple | list | dict) else ""
        raise CutError(
            f"A backbone gives one output, but {type(trace.module).__name__} gives a {kind}{number} "
            f"{trace.describe(trace.steps[-1])}. Let it return the one tensor that the others are computed from."
        )


def _explain_no_cut(trace: Trace, reasons: Mapping[int, str]) -> str:
    """Return the sentence for a network without a single place to cut at."""
    name = type(trace.module).__name__
    if not reasons:
        gap = explain_gap(trace, 0, len(trace.steps))
        return f"A backbone is cut where a single tensor flows, but {name} has no such place. {gap}"
    position, reason = next(iter(reasons.items()))
    step = trace.steps[position]
    return (
        f"A backbone is cut between feature maps (B, C, H, W) where a single tensor flows, but {name} has no such "
        f"place: behind '{name_step(trace, step)}' {trace.describe(step)}, {reason}."
    )


def explain_gap(trace: Trace, first: int, end: int) -> str:
    """Return the sentence that says which value keeps a stretch of steps from being cut: the one needed longest."""
    depends, last_use = find_dependents(trace), _find_last_uses(trace)
    inside = [step for step in trace.steps[:end] if step in depends and last_use[step] > first]
    if not inside:
        return ""
    positions = {step: at for at, step in enumerate(trace.steps)}
    longest = max(inside, key=lambda step: min(last_use[step], end) - max(first, positions[step]))
    user = trace.steps[last_use[longest]]
    return (
        f"The value of '{name_step(trace, longest)}' {trace.describe(longest)} is needed beside all others until "
        f"'{name_step(trace, user)}' {trace.describe(user)}."
    )


def count_weights(module: nn.Module) -> int:
    """Return how many convolutions, linear and other weighing layers a module holds."""
    return sum(
        isinstance(part, _WEIGHING)
        or any(name.endswith("weight") and weight.dim() > 1 for name, weight in part.named_parameters(recurse=False))
        for part in module.modules()
    )
