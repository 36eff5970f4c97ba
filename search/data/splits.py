"""Which samples are seen when, as pure functions of seeds, so that a resumed run sees what it would have seen.

Nothing here keeps a state: the split of the search and the order of any epoch follow from the job's seed alone.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from search.errors import SettingError


def derive_seed(seed: int, *parts: str | int) -> int:
    """Return a seed in [0, 2**63) that follows from a seed and a path of names, on every platform alike.

    Args:
        seed: The job's seed.
        parts: What the seed is for, e.g. "order", 3; "3" and 3 lead to different seeds.
    """
    # A NumPy integer must lead where the equal Python one leads, hence not repr(part).
    path = "/".join([str(int(seed)), *(repr(part) if isinstance(part, str) else str(int(part)) for part in parts)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1


def make_generator(seed: int, *parts: str | int) -> torch.Generator:
    """Return a CPU generator seeded by `derive_seed` of the arguments."""
    return torch.Generator().manual_seed(derive_seed(seed, *parts))


def split_search(num_samples: int, arch_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the samples that train the weights and those that train the logits, in ascending order.

    Args:
        num_samples: Training samples of the job, at least 2.
        arch_fraction: Share that trains the logits, in (0, 1); either part gets at least one sample.
        seed: The job's seed.

    Returns:
        (weight_indices, arch_indices), int64, disjoint, together all of range(num_samples).

    Raises:
        SettingError: Fewer than two samples, or a fraction outside (0, 1).
    """
    if num_samples < 2:
        raise SettingError(
            f"The search needs at least 2 training samples, one for the weights and one for the architecture, "
            f"got {num_samples}. Raise the number of training samples."
        )
    if not 0 < arch_fraction < 1:
        raise SettingError(f"arch_fraction must lie between 0 and 1, got {arch_fraction:g}. The paper uses 0.2.")
    num_arch = min(max(round(num_samples * arch_fraction), 1), num_samples - 1)
    order = torch.randperm(num_samples, generator=make_generator(seed, "split_search", num_samples))
    return order[num_arch:].sort().values, order[:num_arch].sort().values


def epoch_batches(indices: Tensor, batch_size: int, seed: int, epoch: int, purpose: str) -> list[Tensor]:
    """Return the shuffled batches of one epoch; an incomplete last batch is dropped unless it is the only one.

    Args:
        indices: Samples to go through once, int64 (N,).
        batch_size: Samples per batch, at least 1.
        seed: The job's seed.
        epoch: Number of the epoch; each has an order of its own.
        purpose: Name of the pass, e.g. "weights" or "arch", so that passes do not share an order.
    """
    generator = make_generator(seed, "epoch_batches", purpose, epoch)
    shuffled = indices[torch.randperm(len(indices), generator=generator)]
    batches = list(torch.split(shuffled, batch_size))
    if len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches if len(indices) else []
