"""What this machine has to compute with."""

from __future__ import annotations

from pathlib import Path


def count_gpus(listing: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """Return how many GPUs this machine's driver lists."""
    return sum(1 for _ in listing.iterdir()) if listing.is_dir() else 0
