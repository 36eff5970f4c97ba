"""Long series made short: ends and extremes stay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.web.thinning import thin_points

SERIES = st.lists(st.floats(-1e6, 1e6), max_size=300).map(lambda values: list(enumerate(values)))


@given(SERIES, st.integers(4, 60))
def test_ends_and_extremes_stay(points: list[tuple[int, float]], max_points: int) -> None:
    """A thinned series is a part of it in order, no longer than asked, with its ends, its top and its bottom."""
    thinned = thin_points(points, max_points)
    assert len(thinned) <= max_points
    assert thinned == sorted(set(thinned))
    assert set(thinned) <= set(points)
    if points:
        values = [value for _, value in points]
        kept = [value for _, value in thinned]
        assert (thinned[0], thinned[-1]) == (points[0], points[-1])
        assert (min(kept), max(kept)) == (min(values), max(values))


@given(SERIES)
def test_short_series_stay_as_they_are(points: list[tuple[int, float]]) -> None:
    """What fits is not touched."""
    assert thin_points(points, max(4, len(points))) == points
