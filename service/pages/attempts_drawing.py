"""The timeline of attempts: one lane per trial, a bar per attempt from its start to its end, coloured by how it ended.

Long stretches in which nothing ran (a job that was resumed days later) are cut out and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.pages.drawing import colour, escape, estimate_text_width, frame, shorten, text
from service.pages.durations import choose_time_ticks, format_duration

_WIDTH, _TOP, _LANE, _BAR = 760.0, 30.0, 34.0, 9.0
_MAX_LABEL_CHARS = 24
_LABEL_SIZE, _WORDS_SIZE = 12.0, 11.0
_CUT_SHARE = 0.3
"""A pause longer than this share of all busy time is cut out."""
_CUT_WIDTH_SHARE = 0.05
_PAINTS = {"RUNNING": "accent", "SUCCEEDED": "good", "FAILED": "bad", "LOST": "bad", "RELEASED": "muted"}
_LEAST_WIDTH = 3.0


@dataclass(frozen=True)
class AttemptBar:
    """One attempt.

    Attributes:
        start_seconds: When work began, since a worker took the first trial of the job.
        end_seconds: When it ended; of an attempt that still runs, now.
        state: WAITING, RUNNING, SUCCEEDED, FAILED, RELEASED or LOST.
        words: A few words above the bar, e.g. "2: out of memory".
        sentence: The whole story, for pointer and screen reader.
        taken_seconds: When a worker took it, to wait there for its turn; None where that is when work began.
    """

    start_seconds: float
    end_seconds: float
    state: str
    words: str
    sentence: str
    taken_seconds: float | None = None

    @property
    def first_seconds(self) -> float:
        """Return when it was taken."""
        return self.start_seconds if self.taken_seconds is None else self.taken_seconds


@dataclass(frozen=True)
class Lane:
    """The attempts at one trial, oldest first."""

    name: str
    bars: tuple[AttemptBar, ...]


@dataclass(frozen=True)
class Stretch:
    """A part of the time in which something ran, and where it lies in the drawing, 0 to 1."""

    start_seconds: float
    end_seconds: float
    left: float
    right: float


@dataclass(frozen=True)
class _Place:
    """Where an attempt stands in the drawing: from left to right when it was taken, began and ended."""

    taken: float
    start: float
    end: float


def attempts_svg(lanes: Sequence[Lane], *, standalone: bool = False) -> str:
    """Return the drawing of the attempts at the trials of a job; lanes without attempts stay empty."""
    left = 16 + max([estimate_text_width(shorten(lane.name, _MAX_LABEL_CHARS), _LABEL_SIZE) for lane in lanes] or [0])
    stretches = cut_pauses([(bar.first_seconds, bar.end_seconds) for lane in lanes for bar in lane.bars])
    height = _TOP + _LANE * len(lanes) + 6
    body = _draw_axis(stretches, left, height)
    for index, lane in enumerate(lanes):
        body += _draw_lane(lane, stretches, left, _TOP + _LANE * index)
    return frame(
        _WIDTH,
        height,
        body,
        title="Attempts over time",
        description=" ".join(f"{lane.name}: {bar.sentence}" for lane in lanes for bar in lane.bars),
        kind="attempts-drawing",
        standalone=standalone,
    )


def cut_pauses(spans: Sequence[tuple[float, float]]) -> tuple[Stretch, ...]:
    """Return the stretches of time to draw: all of it, but for long pauses in which no span lies.

    Args:
        spans: (start, end) in seconds.
    """
    merged: list[list[float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    busy = sum(end - start for start, end in merged) or 1.0
    kept: list[list[float]] = []
    for start, end in merged:
        if kept and start - kept[-1][1] <= _CUT_SHARE * busy:
            kept[-1][1] = end
        else:
            kept.append([start, end])
    total = sum(end - start for start, end in kept) or 1.0
    scale = (1.0 - _CUT_WIDTH_SHARE * (len(kept) - 1)) / total if len(kept) < 1 / _CUT_WIDTH_SHARE else 0.0
    stretches, at = [], 0.0
    for start, end in kept:
        width = (end - start) * scale
        stretches.append(Stretch(start, end, at, at + width))
        at += width + _CUT_WIDTH_SHARE
    return tuple(stretches)


def place_time(stretches: Sequence[Stretch], seconds: float) -> float:
    """Return where a time lies in the drawing, 0 to 1."""
    for stretch in stretches:
        if seconds <= stretch.end_seconds:
            length = stretch.end_seconds - stretch.start_seconds
            share = max(0.0, seconds - stretch.start_seconds) / length if length > 0 else 0.0
            return stretch.left + share * (stretch.right - stretch.left)
    return stretches[-1].right if stretches else 0.0


def _draw_axis(stretches: Sequence[Stretch], left: float, height: float) -> str:
    """Return the lines and names of round times, or of the beginnings of the stretches where pauses are cut."""
    if not stretches:
        return ""
    origin = stretches[0].start_seconds
    if len(stretches) == 1:
        times = [origin + tick for tick in choose_time_ticks(stretches[0].end_seconds - origin)]
    else:
        times = [stretch.start_seconds for stretch in stretches]
    parts, free_from = [], 0.0
    for seconds in times:
        x = left + place_time(stretches, seconds) * (_WIDTH - left - 12)
        dash = "" if len(stretches) == 1 or seconds == origin else ' stroke-dasharray="3 3"'
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 4}" stroke="{colour("line")}"{dash}/>'
        )
        words = f"{'' if seconds == origin else '+'}{format_duration(seconds - origin)}"
        half = estimate_text_width(words, 10.5) / 2
        if x - half >= free_from:
            anchor = "end" if x + half > _WIDTH - 2 else "middle"
            parts.append(text(x, _TOP - 14, words, size=10.5, anchor=anchor, fill="muted"))
            free_from = x + half + 8
    return "".join(parts)


def _draw_lane(lane: Lane, stretches: Sequence[Stretch], left: float, top: float) -> str:
    """Return the name of a trial and the bars of its attempts."""
    name = shorten(lane.name, _MAX_LABEL_CHARS)
    parts = [text(left - 12, top + _LANE - 7, name, size=_LABEL_SIZE, anchor="end")]
    span = _WIDTH - left - 12
    places = [
        _Place(*(left + place_time(stretches, seconds) * span for seconds in times))
        for times in ((bar.first_seconds, bar.start_seconds, bar.end_seconds) for bar in lane.bars)
    ]
    for index, (bar, place) in enumerate(zip(lane.bars, places, strict=True)):
        room = (places[index + 1].taken if index + 1 < len(places) else _WIDTH) - place.taken - 4
        parts.append(_draw_bar(bar, place, top, room))
    return f'<g class="lane">{"".join(parts)}</g>'


def _draw_bar(bar: AttemptBar, place: _Place, top: float, room: float) -> str:
    """Return one attempt, a thin line for its waiting, with as many of its words above it as there is room for."""
    paint = colour(_PAINTS.get(bar.state, "muted"))
    filled = f'fill="{paint}"'
    if bar.state == "LOST":
        filled = f'fill="{colour("surface")}" stroke="{paint}" stroke-width="1.5" stroke-dasharray="3 2"'
    y = top + _LANE - _BAR - 6
    chars = int(room / estimate_text_width("m", _WORDS_SIZE))
    words = text(place.taken, y - 4, shorten(bar.words, chars), size=_WORDS_SIZE, fill="muted") if chars > 1 else ""
    drawn = ""
    if place.start - place.taken > 1:
        drawn += f'<path d="M{place.taken:.1f} {y + _BAR / 2:.1f}H{place.start:.1f}" stroke="{colour("muted")}"/>'
    if bar.state != "WAITING":
        width = max(_LEAST_WIDTH, place.end - place.start)
        drawn += f'<rect x="{place.start:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}" rx="2.5" {filled}/>'
    return f'<g class="attempt {bar.state.lower()}"><title>{escape(bar.sentence)}</title>{drawn}{words}</g>'
