"""Spans of time and bytes in words."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pages.durations import choose_time_ticks, format_bytes, format_duration, round_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (timedelta(hours=2), "2 h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float | timedelta, words: str) -> None:
    """Nobody wants to read 7500 seconds."""
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "under a minute"), (60, "about 1 min"), (700, "about 12 min"), (11_000, "about 3 h")]
)
def test_a_guess_is_round(seconds: float, words: str) -> None:
    """A guess is not told to the second."""
    assert round_duration(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_960, "1.0 MB"), (2.5e9, "2.5 GB"), (7e15, "7000 TB")],
)
def test_bytes_have_two_or_three_figures(num_bytes: float, words: str) -> None:
    """Decimal units, as disks are sold."""
    assert format_bytes(num_bytes) == words


@given(st.floats(min_value=0, max_value=1e9), st.integers(min_value=2, max_value=10))
def test_ticks_are_few_begin_at_zero_and_stay_inside(seconds: float, max_ticks: int) -> None:
    """Whatever the span, an axis has one to `max_ticks` rising ticks."""
    ticks = choose_time_ticks(seconds, max_ticks)
    assert ticks[0] == 0
    assert 1 <= len(ticks) <= max_ticks
    assert ticks == sorted(set(ticks))
    assert ticks[-1] <= seconds
