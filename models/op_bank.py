"""The ops of one layer evaluated together: K copies of a block on the same input as one wide block.

The search spends nearly all its time here. K convolutions of few channels on one input are one convolution of K times
as many channels, which a processor fills far better. `mix_plainly` is the specification, `mix_ops` the fast path; both
give the same numbers up to rounding. Shapes: B batch, K ops, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import ConvNormAct


def mix_ops(ops: Sequence[nn.Module], features_BCHW: Tensor, weights_K: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of the ops' outputs, evaluating them together where their kind allows it.

    In training mode the wide path normalises by batch statistics and leaves the running statistics alone.

    Args:
        ops: K copies of one block, at least one.
        features_BCHW: Their common input.
        weights_K: One scalar tensor per op; an only op of weight 1 without gradient is not multiplied.
    """
    if len(ops) == 1 and not weights_K[0].requires_grad and float(weights_K[0]) == 1.0:
        alone: Tensor = ops[0](features_BCHW)
        return alone
    if len(ops) > 1 and all(isinstance(op, ConvNormAct) for op in ops):
        return _mix_conv_norm_act([op for op in ops if isinstance(op, ConvNormAct)], features_BCHW, weights_K)
    return mix_plainly(ops, features_BCHW, weights_K)


def mix_plainly(ops: Sequence[nn.Module], features_BCHW: Tensor, weights_K: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of the ops' outputs, evaluated one after the other."""
    return _weighted_sum([op(features_BCHW) for op in ops], weights_K)


def _mix_conv_norm_act(ops: Sequence[ConvNormAct], features_BCHW: Tensor, weights_K: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum of convolution-norm-activation blocks, run as one block of K times the channels."""
    wide_BKHW = _convolve([_conv(op) for op in ops], features_BCHW)
    wide_BKHW = ops[0][2](_normalise([_norm(op) for op in ops], wide_BKHW))
    return _weighted_sum(wide_BKHW.chunk(len(ops), dim=1), weights_K)


def _weighted_sum(outputs: Sequence[Tensor], weights_K: Sequence[Tensor]) -> Tensor:
    """Return sum_k weights_k * outputs_k."""
    total = weights_K[0] * outputs[0]
    for weight, output in zip(weights_K[1:], outputs[1:], strict=True):
        total = torch.addcmul(total, weight, output)
    return total


def _conv(op: ConvNormAct) -> nn.Conv2d:
    """Return the convolution of a block."""
    conv = op[0]
    assert isinstance(conv, nn.Conv2d)
    return conv


def _norm(op: ConvNormAct) -> nn.BatchNorm2d:
    """Return the batch norm of a block."""
    norm = op[1]
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def _convolve(convs: Sequence[nn.Conv2d], features_BCHW: Tensor) -> Tensor:
    """Return the outputs of K equal convolutions of one input, side by side in the channels."""
    first, num_ops = convs[0], len(convs)
    weight = torch.cat([conv.weight for conv in convs])
    if first.groups > 1:  # a group sees its own channels only, so every copy needs its own input
        features_BCHW = features_BCHW.repeat(1, num_ops, 1, 1)
    groups = first.groups * num_ops if first.groups > 1 else 1
    assert not isinstance(first.padding, str)
    return functional.conv2d(features_BCHW, weight, None, first.stride, first.padding, first.dilation, groups)


def _normalise(norms: Sequence[nn.BatchNorm2d], wide_BKHW: Tensor) -> Tensor:
    """Return the outputs of K batch norms, each on its own share of the channels."""
    first = norms[0]
    affine = first.affine
    scale = torch.cat([norm.weight for norm in norms]) if affine else None
    shift = torch.cat([norm.bias for norm in norms]) if affine else None
    if first.training:
        return functional.batch_norm(wide_BKHW, None, None, scale, shift, True, 0.0, first.eps)
    mean = torch.cat([_filled(norm.running_mean) for norm in norms])
    variance = torch.cat([_filled(norm.running_var) for norm in norms])
    return functional.batch_norm(wide_BKHW, mean, variance, scale, shift, False, 0.0, first.eps)


def _filled(statistic: Tensor | None) -> Tensor:
    """Return a running statistic that is known to be kept."""
    assert statistic is not None
    return statistic
