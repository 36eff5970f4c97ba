"""Figures in words: the same from the server and in the browser, and a dash for what is not known."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from service.dashboard import formats
from service.dashboard.static_files import asset

if TYPE_CHECKING:
    from tests.service.dashboard.conftest import NewPage, Site

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
VALUES = [0.0, 1.0, -1.0, 0.004, -0.004, 0.25, 0.126, 0.999, 1.5, 9.876, 45.6, 99.99, 155_600.0, 310_000.0, 9.1e9]
VALUES += [59.0, 60.0, 61.0, 3599.0, 3661.0, 86_399.0, 86_400.0, 93_784.0, 12_345.0, 1e-5, -2.5e7, 99_999.0, 999.4]


def test_figures_read_well() -> None:
    """Counts have a unit, gains a sign, spans of time their two largest units."""
    assert formats.count(9.1e9) == "9.10 G"
    assert formats.signed(-1.234) == "\N{MINUS SIGN}1.23"
    assert formats.duration(93_784) == "1 d 2 h"
    assert formats.duration(200) == "3 min 20 s"
    assert [formats.percent(share) for share in (0, 0.999, 1.0)] == ["0 %", "99 %", "100 %"]
    assert [formats.figure(value) for value in (0.1234567, 91.256, 0.0)] == ["0.1235", "91.26", "0.0000"]
    assert [formats.tone(gain) for gain in (0.1, -0.1, 0.001, None)] == ["good", "bad", "even", "even"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_is_a_dash(value: float | None) -> None:
    """No page ever says None or nan."""
    for write in (formats.count, formats.signed, formats.percent, formats.figure, formats.duration):
        assert write(value) == formats.NOTHING


def test_times_are_told_from_now() -> None:
    """The largest unit, rounded down."""
    for seconds, words in ((3, "just now"), (61, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")):
        assert formats.ago(NOW - timedelta(seconds=seconds), NOW) == words
    assert formats.timestamp(NOW) == "2026-01-31 12:00:00 UTC"
    assert (formats.ago(None, NOW), formats.timestamp(None)) == (formats.NOTHING, formats.NOTHING)


def test_the_browser_writes_the_same(new_page: NewPage, site: Site) -> None:
    """static/format.js and static/times.js write every figure as the server does."""
    page = new_page(role=None)
    page.goto("/sign-in")
    told = page.evaluate(
        """async ([url, values]) => {
            const {count, signed, percent, figure, duration, tone} = await import(url);
            return values.map((v) => [count(v), signed(v), percent(v), figure(v), duration(v), tone(v)]);
        }""",
        [asset("format.js"), VALUES],
    )
    write = (formats.count, formats.signed, formats.percent, formats.figure, formats.duration, formats.tone)
    assert told == [[each(value) for each in write] for value in VALUES]
    script = (
        "async ([url, ages]) => { const {ago} = await import(url); return ages.map((s) => ago(new Date(0), s * 1e3)) }"
    )
    words = page.evaluate(script, [asset("times.js"), [3, 61, 7300, 200_000]])
    assert words == [formats.ago(NOW - timedelta(seconds=age), NOW) for age in (3, 61, 7300, 200_000)]
