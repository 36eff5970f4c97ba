"""The layers that networks are made of."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.blocks import (
    ASPP,
    BasicBlock,
    Bottleneck,
    ConvNormAct,
    ImagePooling,
    InvertedResidual,
    PooledBatchNorm2d,
    SeparableConv,
    init_like_torchvision,
    set_dropout,
    without_last_affine,
)

OPS: dict[str, Callable[[], nn.Module]] = {
    "tiny": lambda: ConvNormAct(8, 8),
    "separable": lambda: SeparableConv(8, 12),
    "inverted e1": lambda: InvertedResidual(8, 8, stride=1, expand=1),
    "inverted e6": lambda: InvertedResidual(8, 12, stride=2, expand=6),
    "basic": lambda: BasicBlock(8, 8),
    "basic strided": lambda: BasicBlock(8, 16, stride=2),
    "bottleneck": lambda: Bottleneck(16, 4),
    "bottleneck strided": lambda: Bottleneck(8, 4, stride=2),
    "aspp": lambda: ASPP(8, 4, rates=(2, 3), activation=nn.ReLU),
    "r-aspp": lambda: ASPP(8, 4, rates=(), activation=nn.ReLU6),
}


def draw_input(op: nn.Module, batch: int = 2) -> Tensor:
    """Return a random input with the channels that an op takes."""
    channels = next(module.in_channels for module in op.modules() if isinstance(module, nn.Conv2d))
    return torch.randn(batch, channels, 9, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", OPS)
def test_last_norm_is_the_last_one_to_run_on_the_main_path(kind: str) -> None:
    """`last_norm` names the batch norm that runs last, the shortcut's aside."""
    op, ran = OPS[kind](), []
    for name, module in op.named_modules():
        if isinstance(module, nn.BatchNorm2d) and not name.startswith("downsample"):
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    op(draw_input(op))
    assert ran[-1] == op.last_norm


@pytest.mark.parametrize("kind", OPS)
def test_only_the_last_norm_loses_its_affine_parameters(kind: str) -> None:
    """`without_last_affine` works in place and removes exactly a weight and a bias."""
    op = OPS[kind]()
    before = {name for name, _ in op.named_parameters()}
    assert without_last_affine(op) is op
    lost = before - {name for name, _ in op.named_parameters()}
    assert lost == {f"{op.last_norm}.weight", f"{op.last_norm}.bias"}


@pytest.mark.parametrize("kind", OPS)
def test_a_fresh_op_computes_the_same_without_affine_parameters(kind: str) -> None:
    """Fresh affine parameters are one and zero, so leaving them out changes no output, in training and after it."""
    op = OPS[kind]()
    set_dropout(op, 0.0)
    x_BCHW = draw_input(op)
    expected = [op.train()(x_BCHW), op.eval()(x_BCHW)]
    for module in op.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    without_last_affine(op)
    for seen, wanted in zip([op.train()(x_BCHW), op.eval()(x_BCHW)], expected, strict=True):
        torch.testing.assert_close(seen, wanted)


@pytest.mark.parametrize("kind", OPS)
def test_no_op_changes_its_input(kind: str) -> None:
    """Activations work in place, but never on what other branches read too."""
    op = OPS[kind]()
    x_BCHW = draw_input(op)
    copy_BCHW = x_BCHW.clone()
    op(x_BCHW)
    assert torch.equal(x_BCHW, copy_BCHW)


@settings(max_examples=15, deadline=None)
@given(kernel=st.sampled_from([1, 3, 5]), dilation=st.integers(1, 4), side=st.integers(1, 9))
def test_unstrided_convolutions_keep_the_size(kernel: int, dilation: int, side: int) -> None:
    """Padding makes up for kernel and dilation at any size."""
    block = ConvNormAct(2, 3, kernel_size=kernel, dilation=dilation).eval()
    assert block(torch.zeros(1, 2, side, side + 1)).shape == (1, 3, side, side + 1)


def test_parameter_names_of_an_inverted_residual_are_torchvisions() -> None:
    """With an expansion the convolutions are conv.0.0, conv.1.0 and conv.2, the last norm conv.3."""
    shapes = {
        name: tuple(tensor.shape) for name, tensor in InvertedResidual(24, 32, stride=2, expand=6).named_parameters()
    }
    assert shapes["conv.0.0.weight"] == (144, 24, 1, 1)
    assert shapes["conv.1.0.weight"] == (144, 1, 3, 3)
    assert shapes["conv.2.weight"] == (32, 144, 1, 1)
    assert shapes["conv.3.weight"] == (32,)
    assert set(dict(InvertedResidual(32, 16, stride=1, expand=1).named_children())) == {"conv"}


def test_inverted_residual_adds_its_input_only_where_shapes_agree() -> None:
    """With its last norm at zero the block is the identity, or zero where stride or channels change."""
    for out_channels, stride, adds in ((8, 1, True), (8, 2, False), (12, 1, False)):
        block = InvertedResidual(8, out_channels, stride=stride, expand=2).eval()
        for parameter in block.get_submodule(block.last_norm).parameters():
            nn.init.zeros_(parameter)
        x_BCHW = draw_input(block)
        assert torch.equal(block(x_BCHW), x_BCHW) is adds


def test_bottleneck_strides_in_its_3x3_convolution() -> None:
    """Version 1.5: the stride sits in conv2 and in the shortcut, not in conv1."""
    block = Bottleneck(8, 4, stride=2)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
    assert block.downsample is not None
    assert [name for name, _ in block.downsample.named_parameters()] == ["0.weight", "1.weight", "1.bias"]


@pytest.mark.parametrize("rates", [(), (2, 3)])
def test_aspp_trains_on_a_single_image(rates: tuple[int, ...]) -> None:
    """A batch of one has no variance over a pooled image; the forward still runs and gradients are finite."""
    op = ASPP(6, 4, rates=rates, activation=nn.ReLU)
    op(draw_input(op, batch=1)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in op.parameters())


def test_pooled_norm_falls_back_on_running_statistics() -> None:
    """With one value per channel the norm gives its evaluation output and leaves the statistics alone."""
    norm = PooledBatchNorm2d(3)
    norm(torch.randn(4, 3, 1, 1))
    x_BC11, before = torch.randn(1, 3, 1, 1), {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    assert torch.equal(norm(x_BC11), norm.eval()(x_BC11))
    assert all(torch.equal(tensor, before[name]) for name, tensor in norm.state_dict().items())


def test_pooled_norm_is_plain_batch_norm_for_larger_batches() -> None:
    """From two images on it is torch's own layer, output and statistics."""
    norm, plain = PooledBatchNorm2d(3), nn.BatchNorm2d(3)
    x_BC11 = torch.randn(2, 3, 1, 1)
    assert torch.equal(norm(x_BC11), plain(x_BC11))
    assert norm.running_var is not None
    assert plain.running_var is not None
    assert torch.equal(norm.running_var, plain.running_var)


def test_image_pooling_says_the_same_at_every_pixel() -> None:
    """Its output is constant over the image and keeps its size."""
    out_BCHW = ImagePooling(3, 5, activation=nn.ReLU)(torch.randn(2, 3, 4, 6))
    assert out_BCHW.shape == (2, 5, 4, 6)
    assert torch.equal(out_BCHW, out_BCHW[:, :, :1, :1].expand_as(out_BCHW))


def test_set_dropout_is_for_aspp_unless_it_switches_all_off() -> None:
    """A share reaches every ASPP and leaves the dropout of other authors; 0 reaches every kind of dropout."""
    others = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.3))
    network = nn.Sequential(nn.Sequential(ASPP(8, 4, rates=(), activation=nn.ReLU)), others)
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout | nn.Dropout2d)]
    set_dropout(network, 0.25)
    assert [module.p for module in dropouts] == [0.25, 0.5, 0.3]
    set_dropout(network, 0.0)
    assert [module.p for module in dropouts] == [0.0, 0.0, 0.0]


def test_initialisation_has_the_variance_of_torchvisions() -> None:
    """Bias-free convolutions are drawn with variance 2 / fan-out; those with a bias are left alone."""
    torch.manual_seed(0)
    plain, logits = nn.Conv2d(32, 64, 3, bias=False), nn.Conv2d(4, 4, 1)
    before = logits.weight.clone()
    init_like_torchvision(nn.Sequential(plain, logits))
    assert plain.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert torch.equal(logits.weight, before)
