"""Ops evaluated together against the same ops one after the other."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.blocks import ASPP, BasicBlock, Bottleneck, ConvNormAct, InvertedResidual, set_dropout, without_last_affine
from models.op_bank import mix_ops, mix_plainly

CHANNELS = 8
OPS: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: ConvNormAct(CHANNELS, 6),
    "strided convolution": lambda: ConvNormAct(CHANNELS, 8, stride=2, activation=nn.ReLU6),
    "grouped convolution": lambda: ConvNormAct(CHANNELS, 8, groups=CHANNELS, dilation=2),
    "inverted residual": lambda: InvertedResidual(CHANNELS, CHANNELS, stride=1, expand=2, dilation=2),
    "first inverted residual": lambda: InvertedResidual(CHANNELS, 4, stride=2, expand=1),
    "basic": lambda: BasicBlock(CHANNELS, 6, stride=2),
    "bottleneck": lambda: Bottleneck(CHANNELS, 2),
    "aspp": lambda: ASPP(CHANNELS, 4, rates=(2,), activation=nn.ReLU),
}


def build_ops(kind: str, num_ops: int, *, affine: bool = False) -> list[nn.Module]:
    """Return float64 ops of one kind with random weights and random running statistics."""
    torch.manual_seed(0)
    ops = [OPS[kind]() if affine else without_last_affine(OPS[kind]()) for _ in range(num_ops)]
    for op in ops:
        set_dropout(op.double(), 0.0)
        for name, tensor in [*op.named_parameters(), *op.named_buffers()]:
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5 if "running_var" in name else -1.0, 1.5)
    return ops


def compute_mix(mix: Callable[..., Tensor], ops: list[nn.Module], weights_K: Tensor, side: int = 6) -> list[Tensor]:
    """Return output and gradients of input, mix and parameters."""
    generator = torch.Generator().manual_seed(1)
    features_BCHW = torch.randn(3, CHANNELS, side, side, generator=generator, dtype=torch.float64).requires_grad_()
    weights_K = weights_K.clone().requires_grad_()
    out_BCHW = mix(ops, features_BCHW, list(weights_K))
    wanted = [features_BCHW, weights_K, *(parameter for op in ops for parameter in op.parameters())]
    return [out_BCHW.detach(), *torch.autograd.grad(out_BCHW.square().sum(), wanted)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", OPS)
def test_mix_is_the_plain_mix(kind: str, training: bool) -> None:
    """Values and all gradients agree for every kind of block, by batch statistics and by running ones."""
    ops = [op.train(training) for op in build_ops(kind, 3)]
    weights_K = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    plain = compute_mix(mix_plainly, ops, weights_K)
    for seen, wanted in zip(compute_mix(mix_ops, ops, weights_K), plain, strict=True):
        torch.testing.assert_close(seen, wanted, rtol=1e-9, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(
    weights=st.lists(st.floats(-2, 2), min_size=1, max_size=5),
    side=st.integers(2, 7),
    affine=st.booleans(),
)
def test_wide_convolution_takes_any_weights(weights: list[float], side: int, affine: bool) -> None:
    """Any number of ops, any weights and sizes, with or without affine norms: the wide path is the plain one."""
    ops = build_ops("strided convolution", len(weights), affine=affine)
    weights_K = torch.tensor(weights, dtype=torch.float64)
    plain = compute_mix(mix_plainly, ops, weights_K, side)
    for seen, wanted in zip(compute_mix(mix_ops, ops, weights_K, side), plain, strict=True):
        torch.testing.assert_close(seen, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", OPS)
def test_only_op_of_weight_one_is_that_op(kind: str) -> None:
    """A hard choice adds no arithmetic: the output is the op's own, bit for bit."""
    (op,) = (op.eval() for op in build_ops(kind, 1))
    features_BCHW = torch.randn(2, CHANNELS, 5, 5, dtype=torch.float64)
    assert torch.equal(mix_ops([op], features_BCHW, [torch.ones(())]), op(features_BCHW))


def test_only_op_of_another_weight_is_weighed() -> None:
    """A thinned mix may leave one op that weighs less than one."""
    (op,) = (op.eval() for op in build_ops("inverted residual", 1))
    features_BCHW = torch.randn(2, CHANNELS, 5, 5, dtype=torch.float64)
    mixed_BCHW = mix_ops([op], features_BCHW, [torch.tensor(0.25)])
    torch.testing.assert_close(mixed_BCHW, 0.25 * op(features_BCHW))


def test_mixing_leaves_the_input_alone() -> None:
    """Activations work in place, but not on what the next op reads too."""
    for kind in OPS:
        features_BCHW = torch.randn(2, CHANNELS, 5, 5, dtype=torch.float64)
        copy_BCHW = features_BCHW.clone()
        mix_ops(build_ops(kind, 2), features_BCHW, [torch.tensor(0.5), torch.tensor(0.5)])
        assert torch.equal(features_BCHW, copy_BCHW)
