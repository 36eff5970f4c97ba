"""Faster routes of training against the plain modules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.blocks import ConvNormAct, InvertedResidual
from models.catalogue import get_backbone_info
from models.fast_training import FastConv2d, lay_out, use_fast_convolutions


def compute_gradients(conv: nn.Module, maps_BCHW: Tensor) -> list[Tensor]:
    """Return output, input gradient and parameter gradients under a fixed cotangent, in float64."""
    maps_BCHW = maps_BCHW.clone().requires_grad_()
    out_BCHW = conv(maps_BCHW)
    cotangent = torch.sin(torch.arange(out_BCHW.numel(), dtype=torch.float64)).view(out_BCHW.shape)
    gradients = torch.autograd.grad(out_BCHW, [maps_BCHW, *conv.parameters()], cotangent)
    return [out_BCHW.detach(), *gradients]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    stride=st.sampled_from([1, 2]),
    kind=st.sampled_from(["pointwise", "depthwise", "dilated depthwise", "dilated full"]),
    bias=st.booleans(),
)
def test_fast_convolution_trains_as_the_plain_one(height: int, width: int, stride: int, kind: str, bias: bool) -> None:
    """Output and all gradients are equal at any size, odd ones included."""
    kernel, dilation = (1, 1) if kind == "pointwise" else (3, 2 if "dilated" in kind else 1)
    conv = nn.Conv2d(
        4,
        4,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=4 if "depthwise" in kind else 1,
        bias=bias,
    ).double()
    maps_BCHW = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fast = FastConv2d.sharing(conv).train()
    for seen, wanted in zip(compute_gradients(fast, maps_BCHW), compute_gradients(conv, maps_BCHW), strict=True):
        torch.testing.assert_close(seen, wanted)


def test_fast_convolution_holds_the_same_parameters() -> None:
    """A step on one is a step on the other, and names and random numbers are as before."""
    block = InvertedResidual(4, 6, stride=1, expand=2)
    before, state = dict(block.named_parameters()), torch.get_rng_state()
    use_fast_convolutions(block)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter is before[name] for name, parameter in block.named_parameters())
    assert {type(part) for part in block.modules() if isinstance(part, nn.Conv2d)} == {FastConv2d}


@pytest.mark.parametrize("training", [True, False])
def test_fast_convolutions_keep_the_mode(training: bool) -> None:
    """A network that evaluates goes on evaluating."""
    block = ConvNormAct(4, 4).train(training)
    use_fast_convolutions(block)
    assert all(part.training is training for part in block.modules())


def test_evaluation_is_bit_for_bit_the_plain_one() -> None:
    """Outside training a fast block gives the very numbers of a plain block."""
    plain = InvertedResidual(4, 4, stride=1, expand=3, dilation=2).eval()
    maps_BCHW = torch.randn(2, 4, 6, 6)
    expected_BCHW = plain(maps_BCHW)
    use_fast_convolutions(plain)
    assert torch.equal(plain(maps_BCHW), expected_BCHW)


@pytest.mark.parametrize(
    ("backbone", "training", "last"),
    [("mobilenet_v2", True, True), ("mobilenet_v2", False, False), ("resnet18", True, False), ("tiny4", True, False)],
)
def test_layout_changes_where_it_pays(backbone: str, training: bool, last: bool) -> None:
    """MobileNet trains channels last; values never change."""
    maps_BCHW = torch.randn(2, 3, 4, 5)
    laid_BCHW = lay_out(maps_BCHW, get_backbone_info(backbone), training=training)
    assert torch.equal(laid_BCHW, maps_BCHW)
    assert laid_BCHW.is_contiguous(memory_format=torch.channels_last) is last
