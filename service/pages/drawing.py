"""What all drawings share: colours, number formats, axis ticks, and the frame of an SVG.

Drawings are plain strings without script. Colours are CSS variables with a light fallback, so a page's own style sheet
switches them to dark and a strict content security policy has nothing to forbid.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

# Okabe and Ito's colours, told apart with any colour vision, then two more; (light page, dark page).
TASK_COLOURS: tuple[tuple[str, str], ...] = (
    ("#0072b2", "#4ba3e3"),
    ("#e69f00", "#f0b43c"),
    ("#009e73", "#2fc79b"),
    ("#cc79a7", "#e39ac2"),
    ("#56b4e9", "#9bd6f7"),
    ("#d55e00", "#f5853f"),
    ("#6a4c93", "#b79be0"),
    ("#7d7d7d", "#a8a8a8"),
)
_THEME: dict[str, tuple[str, str]] = {
    "page": ("#fbfaf7", "#14161a"),
    "surface": ("#ffffff", "#1b1e24"),
    "ink": ("#1d2229", "#e9e6df"),
    "muted": ("#626a75", "#9aa3af"),
    "line": ("#dfdcd4", "#343943"),
    "accent": ("#0b5d8f", "#6cb8ee"),
    "tint": ("#e9eef2", "#252b34"),
    "good": ("#0b6e4f", "#5fd0a5"),
    "bad": ("#a8401c", "#f29a70"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
_WIDTH_PER_SIZE = 0.58  # mean advance of a character as a share of the font size, on the safe side


def theme_css() -> str:
    """Return the colour variables of light and dark pages as a style sheet."""
    names = {name: pair for name, pair in _THEME.items()}
    names |= {f"task-{index + 1}": pair for index, pair in enumerate(TASK_COLOURS)}
    light = " ".join(f"--{name}: {pair[0]};" for name, pair in names.items())
    dark = " ".join(f"--{name}: {pair[1]};" for name, pair in names.items())
    return (
        f":root {{ color-scheme: light dark; {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"@media print {{ :root {{ color-scheme: light; {light} }} }}"
    )


def colour(name: str) -> str:
    """Return a colour of the theme as a paint value: the CSS variable, with the light colour to fall back on."""
    return f"var(--{name}, {_THEME[name][0]})"


def task_colour(index: int) -> str:
    """Return the paint value of a task, a candidate or a stage by its position; colours repeat after eight."""
    place = index % len(TASK_COLOURS)
    return f"var(--task-{place + 1}, {TASK_COLOURS[place][0]})"


def escape(text: object) -> str:
    """Return a text safe between tags and in quoted attributes, without characters that XML forbids."""
    allowed = (char for char in str(text) if char in "\t\n" or (char >= " " and not 0xD800 <= ord(char) <= 0xDFFF))
    return html.escape("".join(char for char in allowed if char not in "\ufffe\uffff"), quote=True)


def shorten(text: str, max_chars: int) -> str:
    """Return a text of at most `max_chars` characters, its end replaced by an ellipsis where it is longer."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def estimate_text_width(text: str, size: float) -> float:
    """Return about how wide a text is set in a sans face, in the units of the font size."""
    return len(text) * size * _WIDTH_PER_SIZE


def format_count(value: float, of_at_least: float | None = None) -> str:
    """Return a count of MAdds or parameters with three figures and a unit, e.g. "0.310 M" or "9.10 G".

    Args:
        value: The count.
        of_at_least: Take the unit that fits this count, so that the numbers of a column share one unit.
    """
    reference = max(abs(value if of_at_least is None else of_at_least), abs(value))
    scale, unit = _choose_unit(reference)
    if scale == 1.0:
        return f"{value:.0f}"
    digits = 3 if reference < scale else 2 if reference < 10 * scale else 1 if reference < 100 * scale else 0
    digits += (
        of_at_least is not None and scale <= reference < 10 * scale
    )  # the smaller numbers of a column keep three figures
    return f"{value / scale:.{digits}f}{unit}"


def format_tick(value: float, largest: float) -> str:
    """Return a round count on an axis that ends near `largest`, without idle zeros, e.g. "0.4 M"."""
    scale, unit = _choose_unit(largest)
    return f"{value / scale:.6g}{unit}"


def _choose_unit(reference: float) -> tuple[float, str]:
    """Return the scale and the unit that a count of this size reads well in."""
    # A tenth of a million still reads well as "0.31 M"; other units begin at one.
    units = ((1e9, 1e9, " G"), (1e5, 1e6, " M"), (1e3, 1e3, " K"))
    return next(((scale, unit) for least, scale, unit in units if reference >= least), (1.0, ""))


def format_signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, a true minus sign included, and no sign for what rounds to zero."""
    rounded = round(value, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{'+' if rounded > 0 else MINUS}{abs(rounded):.{digits}f}"


def choose_ticks(low: float, high: float, max_ticks: int = 6) -> list[float]:
    """Return round values within [low, high], at least one and at most `max_ticks` (2 or more).

    Round is a multiple of 1, 2 or 5 times a power of ten.

    Raises:
        ValueError: `high` is not above `low`.
    """
    if not high > low:
        raise ValueError(f"An axis needs a span above zero, got {low} to {high}. Pad it first.")
    # Steps grow by at most 2.5, so the first that gives few enough ticks after one that gave 3 or more leaves one.
    power = 10.0 ** math.floor(math.log10((high - low) / max_ticks))
    step = next(
        step
        for step in (factor * power for factor in (1, 2, 5, 10, 20, 50))
        if math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1 <= max_ticks
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def pad_span(values: Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """Return a span that holds all values with room at both ends, and is never empty."""
    low, high = min(values), max(values)
    room = (high - low) * share or max(abs(high) * share, 1e-9)
    return low - room, high + room


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = 12,
    anchor: str = "start",
    fill: str = "ink",
    attributes: str = "",
) -> str:
    """Return a text element; `fill` is a colour of the theme."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" fill="{colour(fill)}"'
        f"{' ' + attributes if attributes else ''}>{escape(content)}</text>"
    )


def frame(  # noqa: PLR0913 - what a drawing is made of
    width: float,
    height: float,
    body: str,
    *,
    title: str,
    description: str,
    kind: str,
    standalone: bool,
    role: str = "img",
    sized: bool = False,
) -> str:
    """Return a whole SVG.

    Args:
        width: Of the view box.
        height: Of the view box.
        body: Its elements.
        title: What it shows, in a few words.
        description: The same as prose, for those who do not see it.
        kind: Name of its class.
        standalone: Whether it is a file of its own, which brings its colours along, or stands in a page that has them.
        role: "img", or "group" for a drawing with links in it.
        sized: Whether it keeps its size in a page too, for drawings whose rows stand level beside each other.
    """
    style = f"<style>{theme_css()}</style>" if standalone else ""
    background = f'<rect width="100%" height="100%" fill="{colour("surface")}"/>' if standalone else ""
    size = f' width="{width:.0f}" height="{height:.0f}"' if standalone or sized else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}"{size} viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="{role}" font-family="{FONT}"><title>{escape(title)}</title><desc>{escape(description)}</desc>'
        f"{style}{background}{body}</svg>"
    )
