"""Where a network can be cut: articulation points against brute force, pieces against the network itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from models.cutting import find_articulations, survey
from models.errors import CutError
from models.pieces import assemble, check_same, same_randomness, take_apart
from models.tracing import count_common, trace_network

CHANNELS = 4
KINDS = ("conv", "norm", "relu", "relu in place", "dropout", "add", "cat", "pool", "tied")


class Step(NamedTuple):
    """One step of a random network: its kind and the values it takes, counted back from the newest."""

    kind: str
    first: int
    second: int


class RandomNet(nn.Module):
    """A chain of steps with skips; what is left over in the end is added up."""

    def __init__(self, plan: list[Step]) -> None:
        super().__init__()
        self.plan = plan
        self.tied = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.parts = nn.ModuleList(_build(step.kind) for step in plan)

    def forward(self, image: Tensor) -> Tensor:
        """Return the last value, with every value that nothing else took added."""
        values, unused = [image], {0}
        for step, part in zip(self.plan, self.parts, strict=True):
            taken = [len(values) - 1 - back % min(3, len(values)) for back in (step.first, step.second)]
            unused -= {taken[0]}
            value = values[taken[0]]
            if step.kind == "add":
                value = value + values[taken[1]]
                unused -= {taken[1]}
            elif step.kind == "cat":
                value = torch.cat([value, values[taken[1]]], 1)[:, ::2]
                unused -= {taken[1]}
            else:
                value = (self.tied if step.kind == "tied" else part)(value)
            values.append(value)
            unused.add(len(values) - 1)
        last = values[-1]
        for at in sorted(unused - {len(values) - 1}):
            last = last + values[at]
        return last


def _build(kind: str) -> nn.Module:
    """Return the module of a step; an unused one where the step needs none."""
    made: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        "norm": lambda: nn.BatchNorm2d(CHANNELS),
        "relu in place": lambda: nn.ReLU(inplace=True),
        "dropout": lambda: nn.Dropout(0.3),
        "pool": lambda: nn.MaxPool2d(3, 1, 1),
    }
    return made.get(kind, nn.ReLU)()


def plans() -> st.SearchStrategy[list[Step]]:
    """Return random chains of steps with skips."""
    step = st.builds(Step, st.sampled_from(KINDS), st.sampled_from((0, 0, 0, 1, 2)), st.sampled_from((0, 1, 2)))
    return st.lists(step, min_size=2, max_size=12)


def find_by_removal(steps: tuple[fx.Node, ...]) -> set[int]:
    """Return the positions of the steps without which the output cannot be reached from the image."""
    found = set()
    for position, removed in enumerate(steps[1:-1], 1):
        reached = {steps[0]}
        for step in steps[1:]:
            if step is not removed and any(source in reached for source in step.all_input_nodes):
                reached.add(step)
        if steps[-1] not in reached:
            found.add(position)
    return found


@settings(max_examples=60, deadline=None)
@given(plan=plans())
def test_articulations_are_those_of_brute_force(plan: list[Step]) -> None:
    """A step is found if and only if its removal parts the image from the output."""
    trace, _ = trace_network(RandomNet(plan))
    assert set(find_articulations(trace)) == find_by_removal(trace.steps)


@settings(max_examples=30, deadline=None)
@given(plan=plans(), seed=st.integers(0, 99))
def test_pieces_of_every_cut_give_the_network_bit_for_bit(plan: list[Step], seed: int) -> None:
    """Cut at all places or some of them, the chain gives every bit, running statistics and random numbers included."""
    with same_randomness(seed):
        network = RandomNet(plan)
        trace, training = trace_network(network)
        try:
            found = survey(trace, training, count_common(trace, training), CHANNELS)
        except CutError:
            return  # nothing of it can be cut, or it changes its image
        chosen = [cut.position for cut in found.cuts if torch.rand(()) < 0.7] or [found.cuts[0].position]
        check_same(network, take_apart(trace, chosen), torch.randn(2, CHANNELS, 16, 16))


@settings(max_examples=20, deadline=None)
@given(plan=plans())
def test_no_piece_changes_what_it_is_given(plan: list[Step]) -> None:
    """Branches start from one value, so a piece may not write into its input, in training either."""
    network = RandomNet(plan)
    trace, training = trace_network(network)
    try:
        found = survey(trace, training, count_common(trace, training), CHANNELS)
    except CutError:
        return
    pieces = take_apart(trace, [cut.position for cut in found.cuts])
    value = torch.randn(2, CHANNELS, 16, 16)
    with torch.no_grad():
        for graph in (*pieces.graphs, pieces.tail):
            before = value.clone()
            after = assemble(graph, network).train()(value)
            assert torch.equal(value, before)
            value = after


def test_shared_parameters_forbid_the_cuts_between_their_uses() -> None:
    """Copies of a layer cannot share a parameter with another layer, so both uses stay in one piece."""
    network = RandomNet([Step("conv", 0, 0), Step("tied", 0, 0), Step("conv", 0, 0), Step("tied", 0, 0)])
    trace, training = trace_network(network)
    found = survey(trace, training, count_common(trace, training), CHANNELS)
    assert [cut.name for cut in found.cuts] == ["parts.0", "tied"]
    assert any("'tied.weight' is used before and after it" in reason for reason in found.reasons.values())


def test_change_in_place_forbids_the_cut_before_it() -> None:
    """The value that a later step writes into is no place to cut; the one it leaves is."""
    network = RandomNet([Step("conv", 0, 0), Step("relu in place", 0, 0), Step("conv", 0, 0)])
    trace, training = trace_network(network)
    found = survey(trace, training, count_common(trace, training), CHANNELS)
    assert [cut.name for cut in found.cuts] == ["parts.1", "parts.2"]


def test_network_that_changes_its_image_is_refused() -> None:
    """All tasks get the same image."""
    network = RandomNet([Step("relu in place", 0, 0), Step("conv", 0, 0)])
    trace, training = trace_network(network)
    with pytest.raises(CutError, match="changes it in place"):
        survey(trace, training, count_common(trace, training), CHANNELS)
