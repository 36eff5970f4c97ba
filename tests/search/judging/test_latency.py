"""Timing of one image: a median that odd passes do not move, within seconds, the network left as it was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from search.judging.latency import PASSES_AT_LEAST, PASSES_AT_MOST, measure_latency

IMAGE = torch.zeros(1, 1, 4, 4)


class Ticks:
    """A clock that moves by given seconds during each pass, the last of them over and over."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.left, self.now, self.asked = list(seconds), 0.0, 0

    def __call__(self) -> float:
        """Return the seconds."""
        self.asked += 1
        if self.asked % 2 == 0:
            self.now += self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return self.now


class Watched(nn.Module):
    """A network that notes in which mode it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return the image."""
        self.modes.append(self.training)
        return image_BCHW


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "num_passes"),
    [
        ([9.0, 0.001], 1.0, PASSES_AT_MOST),  # the first pass does not count
        ([0.0, 0.5, 0.002, 0.002, 0.3], 151.0, 4),  # until the time is up
        ([5.0], 5000.0, PASSES_AT_LEAST),  # however long they take
    ],
)
def test_the_median_of_some_passes_counts(seconds: list[float], milliseconds: float, num_passes: int) -> None:
    """Quick networks are asked often, slow ones a few times, and the first pass is for warming up."""
    network = Watched().train()
    latency = measure_latency(network, IMAGE, clock=Ticks(seconds))
    assert latency.latency_ms == pytest.approx(milliseconds)
    assert latency.num_passes == num_passes == len(network.modes) - 1


def test_the_network_is_asked_in_evaluation_mode() -> None:
    """Modes are as before afterwards; device and threads are told."""
    network = Watched().train()
    latency = measure_latency(network, IMAGE)
    assert set(network.modes) == {False}
    assert network.training
    assert (latency.threads, bool(latency.device)) == (torch.get_num_threads(), True)
