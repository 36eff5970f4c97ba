"""How figures, times and durations read on the pages: as in the drawings, with a dash for what is not known.

`static/format.js` writes the same in the browser; a test holds both against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from service.pages.drawing import MINUS, format_count, format_signed
from service.pages.durations import format_duration

NOTHING = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def count(value: float | None, of_at_least: float | None = None) -> str:
    """Return a count of MAdds or parameters with three figures and a unit, e.g. "9.10 G"."""
    return format_count(value, of_at_least) if _is_known(value) else NOTHING


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, e.g. "+1.25"."""
    return format_signed(value, digits) if _is_known(value) else NOTHING


def tone(value: float | None) -> str:
    """Return "good", "bad" or "even": the class of a gain."""
    if not _is_known(value) or abs(value) < 0.005:
        return "even"
    return "good" if value > 0 else "bad"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as "45 %"; what is not all is never rounded up to all."""
    if not _is_known(share):
        return NOTHING
    scale = 10**digits
    whole = math.floor(share * 100 * scale + 1e-9) if share < 1 else round(share * 100 * scale)
    return f"{whole / scale:.{digits}f} %"


def figure(value: float | None) -> str:
    """Return a metric or a loss with four figures, e.g. "0.1234" or "91.25"."""
    if not _is_known(value):
        return NOTHING
    size = abs(value)
    if size and (size >= 1e6 or size < 1e-4):
        return f"{value:.2e}".replace("-", MINUS)
    digits = 4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:.{digits}f}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """Return a span of time in its two largest units, e.g. "3 min 20 s" or "2 d 4 h"."""
    return format_duration(seconds) if _is_known(seconds) else NOTHING


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was in its largest unit, e.g. "5 min ago"."""
    if moment is None:
        return NOTHING
    seconds = (now - moment).total_seconds()
    if seconds < _MINUTE:
        return "just now"
    size, name = next(unit for unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")) if seconds >= unit[0])
    return f"{int(seconds // size)} {name} ago"


def timestamp(moment: datetime | None) -> str:
    """Return a moment as "2026-01-31 12:00:05 UTC"."""
    return NOTHING if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@pass_context
def when(context: Context, moment: datetime | None) -> str | Markup:
    """Return a `<time>` element that says how long ago a moment was, and in its title when exactly."""
    if moment is None:
        return NOTHING
    exact = moment.astimezone(UTC).isoformat(timespec="seconds")
    element = Markup('<time datetime="{}" title="{}">{}</time>')
    return element.format(exact, timestamp(moment), ago(moment, context["now"]))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "count": count,
    "madds": count,
    "params": count,
    "signed": signed,
    "tone": tone,
    "percent": percent,
    "figure": figure,
    "duration": duration,
    "timestamp": timestamp,
    "when": when,
}
"""What templates call these."""


def _is_known(value: float | None) -> TypeGuard[float]:
    """Return whether a number can be shown."""
    return value is not None and math.isfinite(value)
