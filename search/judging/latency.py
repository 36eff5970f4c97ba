"""How long a network takes for one image: timed on the device where it lies, so it differs from run to run.

Nothing of a search depends on it. Neighbours: `search.training.training_stage` asks, `search.results` keeps the answer.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from search.judging.evaluate import eval_mode
from search.results import Latency

SECONDS_AT_MOST = 0.8
PASSES_AT_MOST = 30
PASSES_AT_LEAST = 3
_CPU_FACTS = Path("/proc/cpuinfo")


def measure_latency(
    network: nn.Module, image_1CHW: Tensor, *, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Return the median time of a forward pass of one image; the network's modes are left as they were.

    Args:
        network: On the device of the image.
        image_1CHW: The image.
        clock: Tells seconds.
    """
    device, seconds = image_1CHW.device, list[float]()
    with eval_mode(network), torch.no_grad():
        _time_pass(network, image_1CHW, clock)  # the first pass also pays for memory and for choosing algorithms
        while len(seconds) < PASSES_AT_LEAST or (len(seconds) < PASSES_AT_MOST and sum(seconds) < SECONDS_AT_MOST):
            seconds.append(_time_pass(network, image_1CHW, clock))
    return Latency(
        latency_ms=max(1000 * statistics.median(seconds), 1e-6),
        device=_name_device(device),
        threads=torch.get_num_threads(),
        num_passes=len(seconds),
    )


def _time_pass(network: nn.Module, image_1CHW: Tensor, clock: Callable[[], float]) -> float:
    """Return the seconds of one pass, the work of a GPU waited for."""
    _wait_for(image_1CHW.device)
    start = clock()
    network(image_1CHW)
    _wait_for(image_1CHW.device)
    return clock() - start


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name_device(device: torch.device) -> str:
    """Return what people call a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))[:200]
    try:
        lines = _CPU_FACTS.read_text("utf-8", errors="replace").splitlines()
    except OSError:  # not a Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (next(named, "") or platform.processor() or platform.machine() or "cpu")[:200]
