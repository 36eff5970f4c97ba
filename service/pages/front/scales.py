"""Scales of a plot, linear or logarithmic: from a figure to a place in the drawing, and round values along it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.pages.drawing import choose_ticks, pad_span

_FACTORS = ((1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Scale:
    """Where figures stand along one side of a plot.

    Attributes:
        low: Figure at the start.
        high: Figure at the end, above `low`.
        start: Place of `low` in the drawing.
        end: Place of `high`; may be before `start`, as for an axis that points up.
        is_log: Whether equal ratios are equally far apart; then both figures are above 0.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a figure stands; outside the ends where it is outside them."""
        if self.is_log:
            share = math.log(max(value, self.low * 1e-9) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Return the round values along the scale."""
        return choose_log_ticks(self.low, self.high) if self.is_log else choose_ticks(self.low, self.high)


def log_scale(values: Sequence[float], start: float, end: float, share: float = 0.06) -> Scale:
    """Return a logarithmic scale on which all values stand with room at both ends; linear where one is not above 0."""
    if not values or min(values) <= 0:
        return linear_scale(values, start, end, share)
    low, high = pad_span([math.log(value) for value in values], share)
    if high - low < math.log(1.2):  # one point, or several of nearly one cost, do not fill the width with nothing
        middle = (low + high) / 2
        low, high = middle - math.log(1.2) / 2, middle + math.log(1.2) / 2
    return Scale(math.exp(low), math.exp(high), start, end, is_log=True)


def linear_scale(values: Sequence[float], start: float, end: float, share: float = 0.1) -> Scale:
    """Return a linear scale on which all values stand with room at both ends."""
    low, high = pad_span(values, share) if values else (0.0, 1.0)
    return Scale(low, high, start, end)


def choose_log_ticks(low: float, high: float, max_ticks: int = 8) -> list[float]:
    """Return round values within [low, high] that stand well on a logarithmic scale.

    These are 1, 2, 5 times powers of ten, fewer where there are many decades; within less than a decade those of a
    linear scale.

    Args:
        low: Above 0.
        high: Above `low`.
        max_ticks: At least 2.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in _FACTORS:
        ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) < 4 and factors == _FACTORS[0]:
            return choose_ticks(low, high, max_ticks)
        if len(ticks) <= max_ticks:
            return ticks
    return ticks[:: math.ceil(len(ticks) / max_ticks)]
