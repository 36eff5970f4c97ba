"""Optimisers of network weights, from their spec; the poly schedule of the paper (supplement, "Implementation")."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from search.spec import OptimiserSpec


def build_optimiser(
    parameters: Iterable[nn.Parameter] | list[dict[str, object]], spec: OptimiserSpec
) -> torch.optim.Optimizer:
    """Return a fresh optimiser over parameters or parameter groups."""
    if spec.method == "sgd":
        return torch.optim.SGD(
            parameters, lr=spec.learning_rate, momentum=spec.momentum, weight_decay=spec.weight_decay
        )
    return torch.optim.Adam(parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay)


def poly_factor(done: float, power: float) -> float:
    """Return the poly schedule's factor (1 - done)^power, done in [0, 1]."""
    return float((1.0 - done) ** power)


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of every parameter group, times the group's own `share` where it has one."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("share", 1.0)
