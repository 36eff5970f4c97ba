"""The colours of the pages: those of the drawings, and readable on each other in both themes."""

from __future__ import annotations

import re

import pytest

from service.dashboard.static_files import load_files
from service.pages.drawing import theme_css

CSS = load_files()["theme.css"].decode()
DECLARATION = re.compile(r"--([a-z0-9-]+):\s*(#[0-9a-f]{6})")
LIGHT, SYSTEM_DARK, DARK = (dict(DECLARATION.findall(block)) for block in re.split(r":root[^{]*\{", CSS)[1:4])
DRAWN = [dict(DECLARATION.findall(block)) for block in theme_css().split(":root {")[1:3]]


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_pages_and_drawings_share_their_colours() -> None:
    """Every colour that drawings use has the same value on the pages, light and dark."""
    assert len(DRAWN[0]) > 10
    assert DRAWN[0].items() <= LIGHT.items()
    assert DRAWN[1].items() <= DARK.items()


def test_dark_is_dark_however_it_was_chosen() -> None:
    """The system's dark and the chosen dark are the same; both name every colour that light names."""
    assert SYSTEM_DARK == DARK
    assert set(DARK) == set(LIGHT)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_readable_on_every_ground(theme: dict[str, str]) -> None:
    """Words have a contrast of at least 4.5 on all grounds they stand on; edges of fields of at least 3."""
    grounds = ("page", "surface", "tint", "bad-tint", "warn-tint", "good-tint")
    for ground in grounds:
        for words in ("ink", "muted", "accent", "good", "bad", "warn"):
            assert contrast(theme[words], theme[ground]) >= 4.5, (words, ground)
    assert contrast(theme["on-accent"], theme["accent"]) >= 4.5
    assert contrast(theme["on-accent"], theme["accent-strong"]) >= 4.5
    for ground in ("page", "surface"):
        assert contrast(theme["field-line"], theme[ground]) >= 3
