"""Spans of time and amounts of bytes in words, and round times for an axis. Pure."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_ROUND_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def format_duration(span: float | timedelta) -> str:
    """Return a span of time in its two largest units, e.g. "45 s", "3 min 20 s", "2 h 5 min" or "4 d 1 h".

    Args:
        span: In seconds, or as a timedelta; less than none counts as none.
    """
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    whole = max(0, round(seconds))
    for place, (size, unit) in enumerate(_UNITS[:-1]):
        if whole >= size:
            smaller, smaller_unit = _UNITS[place + 1]
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {smaller_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def round_duration(seconds: float) -> str:
    """Return a span of time that is only guessed, in one unit: "under a minute", "about 12 min", "about 3 h"."""
    if seconds < 45:
        return "under a minute"
    for size, unit in _UNITS[:-1]:
        if seconds >= 1.5 * size:
            return f"about {round(seconds / size)} {unit}"
    return "about 1 min"


def format_bytes(num_bytes: float) -> str:
    """Return an amount of bytes with two or three figures and a decimal unit, e.g. "1.5 MB"."""
    value, place = float(num_bytes), 0
    while value >= 999.5 and place < len(_BYTE_UNITS) - 1:
        value, place = value / 1000, place + 1
    digits = 1 if place and value < 10 else 0
    return f"{value:.{digits}f} {_BYTE_UNITS[place]}"


def choose_time_ticks(seconds: float, max_ticks: int = 6) -> list[float]:
    """Return round times from 0 to `seconds`, at most `max_ticks` of them (2 or more)."""
    days = [86_400 * factor * 10**power for power in range(5) for factor in (2, 5, 10)]
    step = next(size for size in (*_ROUND_SECONDS, *days) if seconds / size <= max_ticks - 1)
    return [float(step * index) for index in range(int(seconds // step) + 1)]
