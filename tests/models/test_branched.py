"""The branched network: sharing, splitting and restricting never change what a task computes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.errors import BranchingError

HEADS = {"seg": HeadSpec(True, 4), "label": HeadSpec(False, 3), "depth": HeadSpec(True, 1)}
TASKS = tuple(HEADS)
MIXED = Branching.from_routing(TASKS, [[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 2], [0, 1, 2]])


def build_network(branching: Branching, backbone: str = "tiny4") -> BranchedNetwork:
    """Return a network in evaluation mode with random running statistics."""
    torch.manual_seed(0)
    network = BranchedNetwork(get_backbone(backbone), HEADS, 3, branching)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network.eval()


def draw_image(side: int = 16) -> Tensor:
    """Return two random images."""
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("backbone", "side"), [("tiny4", 16), ("mobilenet_v2", 32), ("resnet18", 32)])
def test_split_network_is_one_network_per_task(backbone: str, side: int) -> None:
    """On `Branching.split` every task computes what a network of its own with the same weights does, bit for bit."""
    layers = get_backbone(backbone).layers
    network = build_network(Branching.split(TASKS, len(layers)), backbone)
    with torch.no_grad():
        outputs = network(draw_image(side))
        for position, task in enumerate(TASKS):
            single = BranchedNetwork(
                network.backbone, {task: HEADS[task]}, 3, Branching.split((task,), len(layers))
            ).eval()
            single.stem.load_state_dict(network.stem.state_dict())
            single.heads[task].load_state_dict(network.heads[task].state_dict())
            for index in range(len(layers)):
                next(single.blocks(index)).load_state_dict(list(network.blocks(index))[position].state_dict())
            assert torch.equal(single(draw_image(side))[task], outputs[task])


def test_tasks_of_one_group_share_one_block() -> None:
    """A layer has one block per group, and each is evaluated once per image."""
    network, calls = build_network(MIXED), [0]
    assert [len(list(network.blocks(index))) for index in range(5)] == [1, 2, 2, 3, 3]
    for block in network.layers.modules():
        if isinstance(block, nn.BatchNorm2d):
            block.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    network(draw_image())
    assert calls == [11]


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(TASKS))
def test_order_of_tasks_changes_only_the_order_of_outputs(order: list[str]) -> None:
    """The same tree with its tasks named in another order computes the same from the same weights."""
    network = build_network(MIXED)
    other = build_network(MIXED.restricted_to(order))
    other.stem, other.heads = network.stem, network.heads
    for index in range(5):
        owners, blocks = MIXED.groups[index], list(network.blocks(index))
        other.layers[index] = nn.ModuleList(
            blocks[next(i for i, owner in enumerate(owners) if group[0] in owner)]
            for group in other.branching.groups[index]
        )
    outputs, reordered = network(draw_image()), other(draw_image())
    assert tuple(reordered) == other.tasks == tuple(order)
    assert all(torch.equal(outputs[task], reordered[task]) for task in TASKS)


@pytest.mark.parametrize("kept", [("seg",), ("depth", "seg"), ("label", "depth"), ("depth", "label", "seg")])
def test_restricted_network_computes_the_same_with_the_same_weights(kept: tuple[str, ...]) -> None:
    """It holds parameters of the whole network, only those its tasks need, and gives equal outputs."""
    network = build_network(MIXED)
    smaller = network.restricted_to(kept)
    assert {id(parameter) for parameter in smaller.parameters()} <= {
        id(parameter) for parameter in network.parameters()
    }
    assert [len(list(smaller.blocks(index))) for index in range(5)] == list(MIXED.restricted_to(kept).num_branches)
    outputs, restricted = network(draw_image()), smaller(draw_image())
    assert tuple(restricted) == kept
    assert all(torch.equal(restricted[task], outputs[task]) for task in kept)


@pytest.mark.parametrize("training", [True, False])
def test_restricted_network_keeps_the_mode(training: bool) -> None:
    """A part of a network that trains, trains."""
    assert build_network(MIXED).train(training).restricted_to(("seg",)).training is training


def test_parameters_by_sharing_hold_each_parameter_once() -> None:
    """The stem counts for all tasks, a block for its group, a head for one."""
    network = build_network(MIXED)
    by_sharing = network.parameters_by_sharing()
    listed = [id(parameter) for parameters in by_sharing.values() for parameter in parameters]
    assert sorted(listed) == sorted(id(parameter) for parameter in network.parameters())
    shared_by_all = [*network.stem.parameters(), *next(network.blocks(0)).parameters()]
    assert [id(p) for p in by_sharing[3]] == [id(p) for p in shared_by_all]
    pair = [p for index in (1, 2) for p in next(network.blocks(index)).parameters()]
    assert [id(p) for p in by_sharing[2]] == [id(p) for p in pair]


def test_training_updates_every_parameter() -> None:
    """All parameters get gradients from the sum of the losses."""
    network = build_network(MIXED).train()
    torch.stack([output.square().mean() for output in network(draw_image()).values()]).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_branching_of_other_tasks_is_refused() -> None:
    """The message names both sets of tasks."""
    with pytest.raises(BranchingError, match=r"tasks \['depth', 'other'\], the heads for \['depth', 'label', 'seg'\]"):
        BranchedNetwork(get_backbone("tiny4"), HEADS, 3, Branching.shared(("depth", "other"), 5))


def test_branching_of_another_depth_is_refused() -> None:
    """The message names the backbone and both numbers of layers."""
    with pytest.raises(BranchingError, match="'tiny4' has 5 layers, the branching 4"):
        BranchedNetwork(get_backbone("tiny4"), HEADS, 3, Branching.shared(TASKS, 4))
