"""The supergraph: hard mixes are branched networks, soft mixes weigh ops, idle ops stay idle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.backbones import get_backbone
from models.blocks import set_dropout
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import NEGLIGIBLE_WEIGHT, Supergraph, find_active_ops

HEADS = {"seg": HeadSpec(True, 4), "label": HeadSpec(False, 3), "depth": HeadSpec(True, 1)}
SIDES = {"tiny4": 16, "mobilenet_v2": 32, "resnet18": 32}


def build_supergraph(backbone: str, heads: dict[str, HeadSpec] | None = None) -> Supergraph:
    """Return a supergraph in evaluation mode whose ops and running statistics differ, so that a wrong op shows."""
    torch.manual_seed(0)
    network = Supergraph(get_backbone(backbone), heads or HEADS, 3)
    set_dropout(network, 0.0)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network.eval()


def draw_image(backbone: str, batch: int = 2) -> Tensor:
    """Return random images that are large enough for a backbone."""
    side = SIDES[backbone]
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def to_mix(routing_L: list[int], num_ops: int) -> Tensor:
    """Return the one-hot mix_LK of one task's picks."""
    return nn.functional.one_hot(torch.tensor(routing_L), num_ops).float()


def draw_routing(seed: int, num_layers: int, num_tasks: int) -> list[list[int]]:
    """Return random picks, in early layers mostly of one op, so that tasks often share."""
    generator = torch.Generator().manual_seed(seed)
    picks_LT = torch.randint(num_tasks, (num_layers, num_tasks), generator=generator)
    shared_L1 = torch.rand(num_layers, 1, generator=generator) < 0.7
    picked: list[list[int]] = torch.where(shared_L1, picks_LT[:, :1], picks_LT).tolist()
    return picked


@pytest.mark.parametrize("backbone", SIDES)
def test_hard_mix_is_the_branched_network(backbone: str) -> None:
    """With copied weights the branched network of a routing gives every task's output bit for bit."""
    network, image_BCHW = build_supergraph(backbone), draw_image(backbone)
    routing_LT = draw_routing(3, network.num_layers, 3)
    branched = network.to_branched(Branching.from_routing(network.tasks, routing_LT), routing_LT).eval()
    with torch.no_grad():
        outputs = branched(image_BCHW)
        for position, task in enumerate(network.tasks):
            mix_LK = to_mix([row[position] for row in routing_LT], 3)
            assert torch.equal(network(image_BCHW, task, mix_LK), outputs[task])


TINY = build_supergraph("tiny4")


@settings(max_examples=20, deadline=None)
@given(routing_LT=st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=5, max_size=5))
def test_every_routing_is_its_branched_network(routing_LT: list[list[int]]) -> None:
    """Whatever tasks pick, sharing a prefix or not, the tree built from it computes the same."""
    branching = Branching.from_routing(TINY.tasks, routing_LT)
    branched, image_BCHW = TINY.to_branched(branching, routing_LT).eval(), draw_image("tiny4")
    with torch.no_grad():
        outputs = branched(image_BCHW)
        for position, task in enumerate(TINY.tasks):
            mix_LK = to_mix([row[position] for row in routing_LT], 3)
            assert torch.equal(TINY(image_BCHW, task, mix_LK), outputs[task])


def test_another_routing_gives_another_output() -> None:
    """The ops differ, or the tests above could not fail."""
    image_BCHW = draw_image("tiny4")
    with torch.no_grad():
        outputs = [TINY(image_BCHW, "label", to_mix([op] * 5, 3)) for op in range(3)]
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


def test_order_of_tasks_changes_no_output() -> None:
    """Tasks are found by name: with the same weights, a supergraph of reordered tasks computes the same."""
    other = build_supergraph("tiny4", dict(reversed(HEADS.items())))
    other.load_state_dict(TINY.state_dict())
    mix_LK = torch.softmax(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)), dim=-1)
    image_BCHW = draw_image("tiny4")
    assert other.tasks == ("depth", "label", "seg")
    for task in HEADS:
        assert torch.equal(TINY(image_BCHW, task, mix_LK), other(image_BCHW, task, mix_LK))


@pytest.mark.parametrize("backbone", ["tiny4", "mobilenet_v2"])
def test_idle_ops_get_no_gradient(backbone: str) -> None:
    """An op of weight 0 and the heads of other tasks have gradient None, so no optimiser moves them."""
    network = build_supergraph(backbone).train()
    mix_LK = to_mix([0] * network.num_layers, 3)
    mix_LK[1] = torch.tensor([0.5, 0.5, 0.0])
    network(draw_image(backbone), "seg", mix_LK).square().mean().backward()
    active = {f"layers.{layer}.0." for layer in range(network.num_layers)} | {"layers.1.1.", "heads.seg.", "stem."}
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) is name.startswith(tuple(active)), name


def test_ops_of_negligible_weight_are_left_out() -> None:
    """They are neither evaluated nor missed: the output moves by less than 1e-4 of itself."""
    mix_LK, image_BCHW = torch.full((5, 3), NEGLIGIBLE_WEIGHT), draw_image("tiny4")
    mix_LK[:, 1] = 1 - 2 * NEGLIGIBLE_WEIGHT
    assert find_active_ops(mix_LK) == [[1]] * 5
    output = TINY(image_BCHW, "seg", mix_LK)
    everything = TINY.forward_from_stem(TINY.stem(image_BCHW), "seg", mix_LK, [[0, 1, 2]] * 5, (16, 16))
    assert (output - everything).norm() <= 1e-4 * everything.norm()


def test_outputs_have_the_shapes_of_their_tasks() -> None:
    """Dense tasks answer at the size of the image, labels per image."""
    mix_LK, image_BCHW = torch.full((5, 3), 1 / 3), draw_image("tiny4")
    shapes = {task: tuple(TINY(image_BCHW, task, mix_LK).shape) for task in TINY.tasks}
    assert shapes == {"seg": (2, 4, 16, 16), "label": (2, 3), "depth": (2, 1, 16, 16)}


def test_stem_may_be_evaluated_once_for_all_tasks() -> None:
    """`forward` is the stem followed by `forward_from_stem`, also when the caller names the active ops."""
    mix_LK, image_BCHW = to_mix([0, 1, 2, 1, 0], 3), draw_image("tiny4")
    output = TINY.forward_from_stem(TINY.stem(image_BCHW), "seg", mix_LK, [[0], [1], [2], [1], [0]], (16, 16))
    assert torch.equal(output, TINY(image_BCHW, "seg", mix_LK))


def test_soft_training_step_equals_the_plain_modules() -> None:
    """In training, layouts and fast kernels change the loss by rounding only (MobileNetV2, three tasks)."""
    network, image_BCHW = build_supergraph("mobilenet_v2").train(), draw_image("mobilenet_v2", batch=4)
    mix_LK = torch.softmax(torch.randn(18, 3, generator=torch.Generator().manual_seed(4)), dim=-1)
    loss = network(image_BCHW, "seg", mix_LK).square().mean()
    features = low_level = network.stem(image_BCHW)
    for index, ops in enumerate(network.layers):
        assert isinstance(ops, nn.ModuleList)
        features = torch.stack([mix_LK[index, k] * op(features) for k, op in enumerate(ops)]).sum(0)
        low_level = features if index == network.backbone.low_level_layer else low_level
    plain = network.heads["seg"](features, low_level, (32, 32)).square().mean()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=0)


def test_all_ops_start_alike() -> None:
    """A fresh supergraph gives a task the same output whichever ops it picks, as from one pretrained file."""
    network = Supergraph(get_backbone("tiny4"), HEADS, 3).eval()
    outputs = [network(draw_image("tiny4"), "seg", to_mix([op] * 5, 3)) for op in range(3)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_aligned_ops_are_equal() -> None:
    """After `align_ops` all ops of a layer compute the same, and layers still differ from each other."""
    network = build_supergraph("tiny4")
    network.align_ops()
    image_BCHW = draw_image("tiny4")
    with torch.no_grad():
        first, second = (network(image_BCHW, "label", to_mix([op] * 5, 3)) for op in (0, 2))
    assert torch.equal(first, second)


def test_ops_have_no_affine_last_norm() -> None:
    """The search keeps all ops of a layer on one scale (Sec. 4.1)."""
    for ops in build_supergraph("mobilenet_v2").layers:
        assert isinstance(ops, nn.ModuleList)
        for op in ops:
            norm = op.get_submodule(str(op.last_norm))
            assert isinstance(norm, nn.BatchNorm2d)
            assert not norm.affine


def test_routing_that_contradicts_its_branching_is_our_own_mistake() -> None:
    """Tasks of one group must pick one op; anything else is an assertion, not a guess."""
    with pytest.raises(AssertionError, match="share layer 0"):
        TINY.to_branched(Branching.shared(TINY.tasks, 5), [[0, 1, 0]] * 5)


def test_mix_of_too_few_layers_is_refused() -> None:
    """Every layer needs its row."""
    with pytest.raises(ValueError, match="zip"):
        TINY(draw_image("tiny4"), "seg", torch.ones(4, 3))
