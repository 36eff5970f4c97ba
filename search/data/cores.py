"""How much of a machine this process may keep busy: several trials share one."""

from __future__ import annotations

import os

import torch

MOST_WORKERS = 8
"""More threads that prepare batches than these hold each other up at Python's lock."""


def count_cores() -> int:
    """Return the processor cores that this process may keep busy, at least 1.

    A process is told its share by its processor affinity or, as Ray does it, by OMP_NUM_THREADS, which torch has read.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on every Unix
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min(allowed, torch.get_num_threads()))


def choose_num_workers(num_cores: int, *, in_memory: bool) -> int:
    """Return how many threads should prepare batches.

    Args:
        num_cores: What the process may keep busy; one core is left to the training itself.
        in_memory: Whether batches are mere slices of tensors, which no thread could give faster.
    """
    return 0 if in_memory else min(max(1, num_cores - 1), MOST_WORKERS)
