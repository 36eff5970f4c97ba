"""Scales: everything stands within the plot and in order, ticks are round and few."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pages.front.scales import choose_log_ticks, linear_scale, log_scale

COSTS = st.lists(st.floats(1, 1e12), min_size=1, max_size=20)


@given(COSTS)
def test_costs_stand_within_the_plot_and_in_order(costs: list[float]) -> None:
    """On a logarithmic scale every cost has its place between the ends, dearer ones further on."""
    scale = log_scale(costs, 60, 700)
    places = [scale.place(cost) for cost in sorted(costs)]
    assert places == sorted(places)
    assert all(60 <= place <= 700 for place in places)


@given(COSTS)
def test_equal_ratios_are_equally_far_apart(costs: list[float]) -> None:
    """Twice the cost is always the same step to the right."""
    scale = log_scale(costs, 0, 100)
    steps = [scale.place(2 * cost) - scale.place(cost) for cost in costs]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)


@given(st.floats(1e-3, 1e10), st.floats(1.1, 1e6))
def test_ticks_lie_within_the_axis_and_are_few(low: float, ratio: float) -> None:
    """There are one to eight ticks, rising, none outside."""
    ticks = choose_log_ticks(low, low * ratio)
    assert 1 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)


def test_several_decades_have_round_ticks() -> None:
    """Over three decades only powers of ten and, where there is room, their multiples."""
    ticks = choose_log_ticks(1e6, 1e9)
    assert all(math.log10(tick / 3 if f"{tick:e}".startswith("3") else tick).is_integer() for tick in ticks)


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [3.0, 3.0]])
def test_few_values_have_a_scale_too(values: list[float]) -> None:
    """None, nothing, one value or the same twice: the scale has a span all the same."""
    for scale in (linear_scale(values, 0, 100), log_scale(values, 0, 100)):
        assert scale.high > scale.low
        assert all(0 < scale.place(value) < 100 for value in values)
