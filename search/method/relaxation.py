"""Relaxation: architecture logits -> the mix by which the supergraph weighs its ops, and how it hardens.

Source: Bruggemann et al., BMVC 2020, Sec. 3.2 (Gumbel-Softmax relaxation). The logits live on the CPU: they are a few
hundred numbers, and which ops are evaluated must be known there.
Shapes: L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DROPPED_LOGIT = -1e4
"""Logit of an op that was dropped: its probability is exactly 0 in float64, and so is its gradient."""


def compute_temperature(progress: float, start: float, end: float, schedule: str) -> float:
    """Return the Gumbel-Softmax temperature at a point of the search.

    Args:
        progress: 0 right after the warm-up, 1 in the last epoch.
        start: Temperature at 0 (paper: 5.0).
        end: Temperature at 1 (paper: 0.1).
        schedule: "linear" as the paper, or "exponential".
    """
    if schedule == "linear":
        return start + (end - start) * progress
    return start * math.exp(math.log(end / start) * progress)


def sample_gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return standard Gumbel noise G = -log(-log U), float32."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64).clamp_(1e-300, 1 - 1e-16)
    return (-torch.log(-torch.log(uniform))).float()


def sample_mix(arch_logits_LTK: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return one draw of the relaxed routing, mix_LTK = softmax((logits + G) / temperature) over the ops.

    Noise is drawn anew for every layer and task. Rows sum to 1; the gradient flows to the logits.
    """
    noise_LTK = sample_gumbel(tuple(arch_logits_LTK.shape), generator)
    return torch.softmax((arch_logits_LTK + noise_LTK) / temperature, dim=-1)


def thin_mix(mix_LTK: Tensor, threshold: float, generator: torch.Generator) -> Tensor:
    """Return a mix with fewer ops and the same expectation, in value and in gradient.

    An op of weight y below the threshold is kept with probability y / threshold and then weighs `threshold`; otherwise
    it is left out and need not be evaluated. The heaviest op of each row always stays.
    """
    weights_LTK = mix_LTK.detach()
    keep_chance_LTK = (weights_LTK / threshold).clamp(max=1.0)
    kept_LTK = torch.rand(weights_LTK.shape, generator=generator) < keep_chance_LTK
    kept_LTK |= keep_chance_LTK >= 1.0
    heaviest_LT1 = weights_LTK.argmax(dim=-1, keepdim=True)
    # Below the threshold everywhere (many tasks, high temperature) a row could end empty.
    keep_chance_LTK = keep_chance_LTK.scatter(-1, heaviest_LT1, 1.0)
    kept_LTK = kept_LTK.scatter(-1, heaviest_LT1, True)
    return torch.where(kept_LTK, mix_LTK / keep_chance_LTK.clamp(min=1e-12), torch.zeros(()))


def identity_mix(num_layers: int, num_ops: int, op: int) -> Tensor:
    """Return mix_LK that picks one op in every layer: the warm-up trains op t through task t alone."""
    mix_LK = torch.zeros(num_layers, num_ops)
    mix_LK[:, op] = 1.0
    return mix_LK


def drop_unlikely(arch_logits_LTK: Tensor, below: float) -> Tensor:
    """Return the logits with the ops of less than a given probability dropped for good; the likeliest op stays."""
    probabilities_LTK = torch.softmax(arch_logits_LTK.double(), dim=-1)
    unlikely_LTK = probabilities_LTK < below
    unlikely_LTK = unlikely_LTK.scatter(-1, probabilities_LTK.argmax(dim=-1, keepdim=True), False)
    return arch_logits_LTK.masked_fill(unlikely_LTK, DROPPED_LOGIT)
