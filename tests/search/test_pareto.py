"""The front against the definition, the hypervolume against counting."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.pareto import Point, hypervolume, non_dominated

GRID = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)
ANY = st.lists(st.tuples(st.floats(), st.floats()), max_size=12)


def defined_front(points: list[Point]) -> list[int]:
    """Return the front by comparing every point with every other."""

    def beats(i: int, j: int) -> bool:
        """Return whether point i is at least as good as j in both, and better or earlier."""
        (cost, gain), (other_cost, other_gain) = points[i], points[j]
        at_least = cost <= other_cost and gain >= other_gain
        return at_least and (cost < other_cost or gain > other_gain or i < j)

    sound = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    front = [j for j in sound if not any(beats(i, j) for i in sound)]
    return sorted(front, key=lambda i: points[i][0])


@settings(max_examples=100, deadline=None)
@given(GRID | ANY)
def test_front_equals_its_definition(points: list[Point]) -> None:
    """The sorted sweep gives the points that no other beats, cheapest first, of equal points the first."""
    assert non_dominated(points) == defined_front(points)


def test_nan_is_never_on_the_front() -> None:
    """A candidate whose gain or cost is not a number neither stands on the front nor hides others."""
    assert non_dominated([(1.0, math.nan), (2.0, 0.0), (math.nan, 9.0)]) == [1]


def test_no_points_no_front() -> None:
    """An empty list has an empty front of no area."""
    assert non_dominated([]) == []
    assert hypervolume([], (1.0, 0.0)) == 0


@settings(max_examples=50, deadline=None)
@given(GRID)
def test_hypervolume_counts_unit_squares(points: list[Point]) -> None:
    """On whole numbers the area is the number of unit squares that some point dominates."""
    squares = sum(any(cost <= x and gain >= y + 1 for cost, gain in points) for x in range(6) for y in range(6))
    assert hypervolume(points, (6, 0)) == squares


def test_hypervolume_ignores_points_beyond_the_reference() -> None:
    """Points that are dearer or worse than the reference add nothing, wherever they stand."""
    inside = [(1.0, 2.0)]
    assert hypervolume([*inside, (9.0, 50.0), (0.0, -1.0), (math.nan, 4.0)], (3.0, 1.0)) == pytest.approx(2.0)
