"""One training loss per kind of task, all of them finite whatever part of a label is ignored.

Neighbours: `search.judging.tasks` picks one for a task and keeps its weight apart. Every loss is a mean over what is
labelled, and is 0 with a zero gradient when nothing is. Source: Bruggemann et al., BMVC 2020, and the code published
with it.
Legend: B batch, C channels, H W pixels; `label_B...` is (B,) or (B, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from search.data.catalogue import IGNORE_LABEL
from search.errors import DivergedError

Loss = Callable[[Tensor, Tensor], Tensor]
"""(raw output, label) -> scalar."""

SMALLEST_NORM = 1e-3
"""A predicted normal shorter than this is divided by this, which bounds the gradient at the zero vector."""


def check_finite(value: float, task: str) -> float:
    """Return a loss that is a finite number.

    Raises:
        DivergedError: It is not.
    """
    if not math.isfinite(value):
        raise DivergedError(
            f"A loss must be a finite number, got {value} for task '{task}'. The training diverged: lower the learning "
            "rate."
        )
    return value


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Return the mean cross-entropy over the labelled samples or pixels, a scalar.

    Args:
        logits: (B, C) or (B, C, H, W).
        label: int64 (B,) or (B, H, W) in 0..C-1, 255 to ignore.

    Returns:
        Scalar; 0 with a zero gradient when all is ignored.
    """
    # reduction="none" and our own mean: the fused one gives 0/0 when all is ignored, and no deterministic CUDA kernel.
    losses = functional.cross_entropy(logits.float(), label, ignore_index=IGNORE_LABEL, reduction="none")
    return losses.sum() / (label != IGNORE_LABEL).sum().clamp(min=1)


def balanced_binary_cross_entropy(logits_B1HW: Tensor, label_B1HW: Tensor) -> Tensor:
    """Return the binary cross-entropy in which the rarer side of the batch weighs more, a scalar.

    Positives weigh w and negatives 1 - w, with w the share of negatives among the labelled pixels of the batch. On a
    one-sided batch the side that is there therefore weighs 0: the loss is 0 with a zero gradient.

    Args:
        logits_B1HW: Raw outputs.
        label_B1HW: float32 in {0, 1}, 255 to ignore.

    Returns:
        Scalar, mean over the labelled pixels.
    """
    valid = label_B1HW != IGNORE_LABEL
    negatives = (valid & (label_B1HW < 0.5)).sum().float()
    return _weighted_binary_cross_entropy(logits_B1HW, label_B1HW, negatives / valid.sum().clamp(min=1))


def fixed_binary_cross_entropy(logits_B1HW: Tensor, label_B1HW: Tensor, positive_weight: float) -> Tensor:
    """Return the binary cross-entropy with a fixed weight of the positives, a scalar.

    Args:
        logits_B1HW: Raw outputs.
        label_B1HW: float32 in {0, 1}, 255 to ignore.
        positive_weight: Weight of a positive pixel in (0, 1); a negative one weighs the rest.
            The paper has 0.95 on PASCAL-Context and 0.80 on NYUD-v2.

    Returns:
        Scalar, mean over the labelled pixels.
    """
    weight = torch.tensor(positive_weight, dtype=torch.float32, device=logits_B1HW.device)
    return _weighted_binary_cross_entropy(logits_B1HW, label_B1HW, weight)


def normals_l1(output_B3HW: Tensor, label_B3HW: Tensor) -> Tensor:
    """Return the mean absolute difference between predicted and true unit normals, a scalar.

    Args:
        output_B3HW: Raw outputs; brought to unit length here.
        label_B3HW: float32 unit vectors, 255 in all three channels to ignore.

    Returns:
        Scalar, mean over the labelled pixels and the three components.
    """
    valid = (label_B3HW != IGNORE_LABEL).any(dim=1, keepdim=True)
    output = output_B3HW.float()
    squared_norm = output.square().sum(dim=1, keepdim=True)
    # Clamped below the root: the root's own gradient is infinite at 0.
    unit = output / squared_norm.clamp(min=SMALLEST_NORM**2).sqrt()
    return _masked_l1(unit, label_B3HW, valid.expand_as(label_B3HW))


def depth_l1(output_B1HW: Tensor, label_B1HW: Tensor) -> Tensor:
    """Return the mean absolute depth error over the labelled pixels, a scalar in metres.

    Args:
        output_B1HW: Raw outputs, metres.
        label_B1HW: float32 metres, 255 to ignore.

    Returns:
        Scalar; 0 with a zero gradient when all is ignored.
    """
    return _masked_l1(output_B1HW.float(), label_B1HW, label_B1HW != IGNORE_LABEL)


def _masked_l1(output: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    # A label of another shape would broadcast to a plausible and wrong loss.
    assert output.shape == label.shape, f"output {tuple(output.shape)} against label {tuple(label.shape)}"
    difference = torch.where(valid, output - label, torch.zeros_like(output))
    return difference.abs().sum() / valid.sum().clamp(min=1)


def _weighted_binary_cross_entropy(logits: Tensor, label: Tensor, positive_weight: Tensor) -> Tensor:
    assert logits.shape == label.shape, f"output {tuple(logits.shape)} against label {tuple(label.shape)}"
    valid = label != IGNORE_LABEL
    target = torch.where(valid, label, torch.zeros_like(label)).float()
    weight = torch.where(target > 0.5, positive_weight, 1 - positive_weight) * valid
    losses = functional.binary_cross_entropy_with_logits(logits.float(), target, weight=weight, reduction="sum")
    return losses / valid.sum().clamp(min=1)
