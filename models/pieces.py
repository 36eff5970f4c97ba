"""The pieces of a network between its cuts as modules, held to the network itself bit for bit.

A module that lies whole in one piece is called as its author wrote it; only what a cut goes through is unfolded into
steps. Parameters keep the names they have in the network. Neighbours: `models.grouping` says where, `models.chain` uses
them.
"""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from models.blocks import NORMS
from models.cutting import find_dependents
from models.errors import CutError
from models.tracing import Call, Trace, count_common, retrace

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True)
class Pieces:
    """A network taken apart.

    Attributes:
        graphs: Of the stem and the layers.
        tail: What follows, in evaluation.
        training_tail: The same in training, which may take other steps.
    """

    graphs: tuple[fx.Graph, ...]
    tail: fx.Graph
    training_tail: fx.Graph


def take_apart(trace: Trace, positions: Sequence[int]) -> Pieces:
    """Return the pieces of a network.

    Args:
        trace: All of its steps in evaluation.
        positions: Of the steps behind which it is cut.

    Raises:
        CutError: Its own forward takes other steps in training before the last cut.
    """
    module = trace.module
    opened = {
        call.path
        for call in trace.calls
        if any(call.first <= at < call.end and trace.steps[at] is not call.result for at in positions)
    }
    coarse, training = retrace(module, lambda path, part: path not in opened)
    keys = [_find_key(trace, trace.steps[at], opened) for at in positions]
    places = [_find_position(coarse, key, opened) for key in keys]
    if count_common(coarse, training) <= places[-1]:
        parting = coarse.steps[count_common(coarse, training)]
        raise CutError(
            f"A layer does the same wherever it stands, but the forward of {type(module).__name__} takes other steps "
            f"in training {coarse.describe(parting)}. Move what differs into a submodule, such as nn.Dropout."
        )
    borders = [0, *(place + 1 for place in places)]
    graphs = [_extract(coarse, first, end) for first, end in pairwise(borders)]
    tails = [_extract(one, borders[-1], len(one.steps)) for one in (coarse, training)]
    return Pieces(tuple(graphs), *tails)


def assemble(graph: fx.Graph, module: nn.Module) -> fx.GraphModule:
    """Return a piece of a network that holds the parts, not copies of the parts, of this one."""
    return fx.GraphModule(module, copy.deepcopy(graph), class_name="Piece")


def check_same(module: nn.Module, pieces: Pieces, image_BCHW: Tensor) -> None:
    """Hold the chain of pieces to the network itself, in evaluation and in training with the same random numbers.

    Raises:
        CutError: Outputs or running statistics differ in a single bit.
    """
    stages = [assemble(graph, module) for graph in pieces.graphs]
    was_training = module.training
    kept = _copy_buffers(module)
    for training, tail in ((False, pieces.tail), (True, pieces.training_tail)):
        module.train(training)
        results = []
        for steps in ([module], [*stages, assemble(tail, module)]):
            _set_buffers(module, kept)
            results.append([*_run_chain(steps, image_BCHW), *_copy_buffers(module).values()])
        _set_buffers(module, kept)
        module.train(was_training)
        same = len(results[0]) == len(results[1])
        if not same or not all(_equal(first, second) for first, second in zip(*results, strict=True)):
            raise CutError(
                f"The pieces of {type(module).__name__} must give what it gives itself, but in "
                f"{'training' if training else 'evaluation'} they differ. Check whether its forward draws random "
                "numbers from elsewhere than torch, or keeps a state between calls."
            )


@contextmanager
def same_randomness(seed: int | None = None) -> Iterator[None]:
    """Leave the generators of torch and Python as they were; meanwhile they start from a seed, where one is given."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
            random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)


def find_last_norm(trace: Trace, first: int, position: int) -> str | None:
    """Return the path of the norm that sets the scale of what a piece gives; None where none does.

    Behind it on the main path come only additions of shortcuts and steps without parameters; of the two sides of an
    addition the main path is the one with more weighing layers.

    Args:
        trace: All steps.
        first: Position of the piece's first step.
        position: Of its last.
    """
    depends = find_dependents(trace)
    positions = {step: at for at, step in enumerate(trace.steps)}
    step = trace.steps[position]
    while positions[step] >= first and step.op != "placeholder":
        norms = [call.path for call in trace.calls if call.result is step and _is_norm(trace.module, call.path)]
        if norms:
            return norms[0]
        sources = [source for source in step.all_input_nodes if source in depends]
        if len(sources) < len(step.all_input_nodes) or _has_parameters(trace.module, step):
            return None
        if len(sources) == 2 and step.target in _ADDITIONS:
            lengths = [_count_ancestors(trace, source, positions, first) for source in sources]
            if lengths[0] == lengths[1]:
                return None
            step = sources[lengths.index(max(lengths))]
        elif len(sources) == 1:
            step = sources[0]
        else:
            return None
    return None


def _is_norm(module: nn.Module, path: str) -> bool:
    """Return whether a norm with affine parameters lies at a path."""
    part = module.get_submodule(path)
    return isinstance(part, NORMS) and getattr(part, "weight", None) is not None


def _has_parameters(module: nn.Module, step: fx.Node) -> bool:
    """Return whether a step is a call of a module with parameters."""
    return step.op == "call_module" and any(True for _ in module.get_submodule(str(step.target)).parameters())


def _count_ancestors(trace: Trace, step: fx.Node, positions: dict[fx.Node, int], first: int) -> int:
    """Return how many modules with parameters a value has gone through since the piece began."""
    found: set[fx.Node] = set()
    pending = [step]
    while pending:
        current = pending.pop()
        if current not in found and positions[current] >= first:
            found.add(current)
            pending += current.all_input_nodes
    return sum(_has_parameters(trace.module, one) for one in found)


def _find_key(trace: Trace, step: fx.Node, opened: set[str]) -> tuple[str, int]:
    """Return what names a step in every trace with the same modules open: a module or owner, and a count."""
    calls = [call for call in trace.calls if call.result is step and call.path not in opened]
    if calls:
        outermost = min(calls, key=lambda call: (call.first, -call.end, len(call.path)))
        return f"call {outermost.path}", _sort_calls(trace, outermost.path).index(outermost)
    return f"step {trace.owners[step]}", _list_own_steps(trace, trace.owners[step]).index(step)


def _find_position(trace: Trace, key: tuple[str, int], opened: set[str]) -> int:
    """Return the position of the step that a key names."""
    kind, _, path = key[0].partition(" ")
    step = _sort_calls(trace, path)[key[1]].result if kind == "call" else _list_own_steps(trace, path)[key[1]]
    assert step is not None, f"{key} with {opened} open gives no single value"
    return trace.steps.index(step)


def _sort_calls(trace: Trace, path: str) -> list[Call]:
    """Return the calls of a module in the order in which they began."""
    return sorted((call for call in trace.calls if call.path == path), key=lambda call: call.first)


def _list_own_steps(trace: Trace, owner: str) -> list[fx.Node]:
    """Return the steps that a module's forward takes itself."""
    return [
        step for step in trace.steps if trace.owners.get(step) == owner and step.op in ("call_function", "call_method")
    ]


def _extract(trace: Trace, first: int, end: int) -> fx.Graph:
    """Return the graph of some steps, fed with the value of the last step before them."""
    graph, depends = fx.Graph(), find_dependents(trace)
    source = next(step for step in reversed(trace.steps[: max(1, first)]) if step in depends)
    copies = {source: graph.placeholder("features")}

    def copy_of(step: fx.Node) -> fx.Node:
        """Return the copy of a step, made now where it is a constant."""
        if step not in copies:
            assert step not in depends, f"{step} is needed beyond a cut"
            copies[step] = graph.node_copy(step, copy_of)
        return copies[step]

    for step in trace.steps[first:end]:
        if step in depends and step.op not in ("placeholder", "output"):
            copies[step] = graph.node_copy(step, copy_of)
    whole = end == len(trace.steps)
    graph.output(fx.node.map_arg(trace.steps[-1].args[0] if whole else trace.steps[end - 1], copy_of))
    return graph


def _run_chain(steps: Sequence[nn.Module], image_BCHW: Tensor) -> list[Tensor]:
    """Return the tensors that a chain of modules gives, always with the same random numbers."""
    with torch.no_grad(), same_randomness(0):
        value: object = image_BCHW.clone()
        for step in steps:
            value = step(value)
        return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _copy_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the buffers of a network by name."""
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def _set_buffers(module: nn.Module, kept: dict[str, Tensor]) -> None:
    """Give the buffers of a network the values of copies."""
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])


def _equal(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors agree in every bit, NaN with NaN."""
    return first.shape == second.shape and bool(((first == second) | (first.isnan() & second.isnan())).all())
