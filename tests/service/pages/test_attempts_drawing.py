"""The timeline of attempts: a bar each, in order, inside the drawing, pauses cut."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pages.attempts_drawing import AttemptBar, Lane, attempts_svg, cut_pauses, place_time

Spans = list[tuple[float, float]]
_SPANS = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)).map(lambda pair: (pair[0], sum(pair))), max_size=30)


def _bar(start: float, end: float, state: str = "SUCCEEDED") -> AttemptBar:
    return AttemptBar(start, end, state, f"{state.lower()}", f"From {start} to {end}: {state}.")


def test_every_attempt_is_a_bar_with_its_story() -> None:
    """Lanes have names, bars have titles, and the description tells all of it."""
    lanes = [Lane("60pct-s0", (_bar(0, 5, "LOST"), _bar(6, 20))), Lane("<b>", (_bar(3, 9, "FAILED"),))]
    root = ElementTree.fromstring(attempts_svg(lanes, standalone=True))
    bars = [element for element in root.iter() if (element.get("class") or "").startswith("attempt ")]
    assert [bar.get("class") for bar in bars] == ["attempt lost", "attempt succeeded", "attempt failed"]
    assert [next(iter(bar)).text for bar in bars] == [bar.sentence for lane in lanes for bar in lane.bars]
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"60pct-s0", "<b>", "0 s", "+10 s", "failed"} <= set(texts)


def test_waiting_for_a_turn_is_a_thin_line() -> None:
    """The bar is the attempt's own time; before it, and for one that still waits, there is a line only."""
    waited = AttemptBar(8, 20, "SUCCEEDED", "1: done", "Succeeded.", taken_seconds=0)
    waits = AttemptBar(20, 20, "WAITING", "1: waiting", "Waits.", taken_seconds=0)
    root = ElementTree.fromstring(attempts_svg([Lane("a", (waited,)), Lane("b", (waits,))]))
    bars = [element for element in root.iter() if (element.get("class") or "").startswith("attempt ")]
    assert [[child.tag.rpartition("}")[2] for child in bar] for bar in bars] == [
        ["title", "path", "rect", "text"],
        ["title", "path", "text"],
    ]


def test_no_attempts_draw_an_empty_frame() -> None:
    """Nothing to draw is no error."""
    assert ElementTree.fromstring(attempts_svg([])).tag.endswith("svg")


def test_a_long_pause_is_cut_out() -> None:
    """A job resumed after two days shows both its halves, with the time between them told."""
    stretches = cut_pauses([(0, 10), (5, 20), (172_800, 172_830)])
    assert [(stretch.start_seconds, stretch.end_seconds) for stretch in stretches] == [(0, 20), (172_800, 172_830)]
    assert stretches[1].left - stretches[0].right == pytest.approx(0.05)
    svg = attempts_svg([Lane("a", (_bar(0, 20, "RELEASED"), _bar(172_800, 172_830)))])
    assert "+2 d" in svg


@given(_SPANS)
def test_times_keep_their_order_and_stay_inside(spans: Spans) -> None:
    """Whatever is cut, later is never further left, and nothing leaves the drawing."""
    stretches = cut_pauses(spans)
    places = [place_time(stretches, seconds) for seconds in sorted(seconds for span in spans for seconds in span)]
    assert places == sorted(places)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
