"""What drawings share: texts that cannot break out, numbers that read well, ticks that are round."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pages.drawing import (
    TASK_COLOURS,
    choose_ticks,
    escape,
    format_count,
    format_signed,
    format_tick,
    frame,
    pad_span,
    shorten,
    task_colour,
    theme_css,
)


@settings(max_examples=100)
@given(content=st.text(max_size=20))
def test_no_text_breaks_the_drawing(content: str) -> None:
    """Whatever a task is called, the SVG stays well-formed and gains no element."""
    svg = frame(10, 10, "", title=content, description=content, kind="x", standalone=False)
    assert len(list(ElementTree.fromstring(svg).iter())) == 3


def test_quotes_are_escaped() -> None:
    """A text cannot end an attribute."""
    assert escape("\"<&'>") == "&quot;&lt;&amp;&#x27;&gt;"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (950, "950"),
        (1_500, "1.50 K"),
        (99_000, "99.0 K"),
        (310_000, "0.310 M"),
        (12_340_000, "12.3 M"),
        (628_000_000, "628 M"),
        (9_100_000_000, "9.10 G"),
    ],
)
def test_counts_have_three_figures_and_a_unit(value: int, expected: str) -> None:
    """Numbers of any size read alike."""
    assert format_count(value) == expected


def test_a_column_of_counts_shares_one_unit() -> None:
    """Numbers to compare stand in the unit of the largest."""
    assert [format_count(value, 1_110_000_000) for value in (1_110_000_000, 201_000_000)] == ["1.110 G", "0.201 G"]


@pytest.mark.parametrize(("value", "expected"), [(0.204, "+0.20"), (-1.65, "−1.65"), (-0.001, "0.00"), (0, "0.00")])  # noqa: RUF001
def test_signed_numbers_have_a_true_minus_and_no_signed_zero(value: float, expected: str) -> None:
    """A gain that rounds to nothing has no sign."""
    assert format_signed(value) == expected


def test_ticks_have_no_idle_zeros() -> None:
    """A round count on an axis is short."""
    assert [format_tick(value, 800_000) for value in (0, 200_000, 250_000)] == ["0 M", "0.2 M", "0.25 M"]


@settings(max_examples=100)
@given(offset=st.floats(-1e3, 1e3), span=st.floats(1e-3, 1e9), max_ticks=st.integers(2, 8))
def test_ticks_are_round_few_and_within_the_axis(offset: float, span: float, max_ticks: int) -> None:
    """Every axis gets at least one tick and at most as many as asked for, evenly spaced."""
    low, high = offset * span, offset * span + span
    ticks = choose_ticks(low, high, max_ticks)
    assert 1 <= len(ticks) <= max_ticks
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    steps = [after - before for before, after in pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)


def test_an_axis_without_span_is_refused() -> None:
    """Ticks of nothing are an error, not an endless loop."""
    with pytest.raises(ValueError, match="above zero"):
        choose_ticks(1.0, 1.0)


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=4))
def test_a_padded_span_holds_all_values(values: list[float]) -> None:
    """Also a single value gets an axis."""
    low, high = pad_span(values)
    assert low < min(values) <= max(values) < high or math.isclose(low, high, rel_tol=1e-6)
    assert high > low


def test_long_names_are_shortened() -> None:
    """A name beyond the limit ends in an ellipsis."""
    assert (shorten("left_group", 10), shorten("left_groups", 10)) == ("left_group", "left_grou…")


def test_colours_repeat_after_the_last() -> None:
    """More tasks than colours still get one."""
    assert task_colour(len(TASK_COLOURS)) == task_colour(0)


def test_a_standalone_drawing_brings_its_colours_along() -> None:
    """A file of its own knows light and dark, a drawing in a page leaves that to the page."""
    own, part = (frame(10, 10, "", title="", description="", kind="x", standalone=alone) for alone in (True, False))
    assert theme_css() in own
    assert "prefers-color-scheme: dark" in own
    assert "<style" not in part
