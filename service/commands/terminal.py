"""A run's events on a terminal: `search.ports.Reporter` as progress bars with time left, or as plain lines.

Everything goes to stderr, so that stdout stays free for results. Bars on a terminal, a line now and then elsewhere
(log files, build services), sentences only when the caller wants JSON.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from search.ports import Event, Message, StageFinished, StageProgress, StageStarted

Style = Literal["bars", "lines", "quiet"]
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_WORTH_A_LINE = 1.0


class BarReporter:
    """Shows a bar with the time left for the running stage, and a line for every finished one.

    Use it as a context manager: the terminal is restored at the end, whatever happened.

    Args:
        console: Where to draw; a terminal on stderr.
        clock: Seconds on a monotonic clock.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn(
                "{task.fields[figures]}",
                markup=False,
                style="dim",
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            get_time=clock,
            transient=True,
        )
        self._clock = clock
        self._bars: dict[str, tuple[TaskID, float]] = {}

    def __enter__(self) -> BarReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def emit(self, event: Event) -> None:
        """Show one event; a terminal that has gone away is no reason to stop a run."""
        with contextlib.suppress(OSError):
            match event:
                case StageStarted():
                    self._start(event.stage, event.first_step, event.total_steps)
                case StageProgress():
                    bar = self._start(event.stage, event.step, event.total_steps)
                    figures = format_figures(event.values)
                    self._progress.update(bar, completed=event.step, total=event.total_steps, figures=figures)
                case StageFinished():
                    self._finish(event)
                case Message():
                    self._print(event.text)

    def forget(self, stage: str) -> None:
        """Take the bar of a stage away without a word."""
        bar, _ = self._bars.pop(stage, (None, 0.0))
        if bar is not None:
            self._progress.remove_task(bar)

    def refresh(self) -> None:
        """Draw the bars now instead of at the next tick."""
        with contextlib.suppress(OSError):
            self._progress.refresh()

    def _start(self, stage: str, first_step: int, total_steps: int) -> TaskID:
        """Return the bar of a stage, drawn anew when it is not there."""
        if stage not in self._bars:
            bar = self._progress.add_task(stage, completed=first_step, total=total_steps, figures="")
            self._bars[stage] = (bar, self._clock())
        return self._bars[stage][0]

    def _finish(self, event: StageFinished) -> None:
        """Replace the bar of a stage by one line; a short stage without figures just disappears."""
        bar, began = self._bars.pop(event.stage, (None, self._clock()))
        if bar is not None:
            self._progress.remove_task(bar)
        seconds = self._clock() - began
        if event.values or event.reused or seconds >= _SECONDS_WORTH_A_LINE:
            self._print(describe_finish(event, seconds))

    def _print(self, text: str) -> None:
        """Print a line above the bars, taken literally."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass
class _Pace:
    """When a stage began here, at which step, and when it last had a line."""

    began: float
    first_step: int
    last_line: float


class LineReporter:
    """Writes a line when a stage starts, every ten seconds while it runs, and when it ends.

    Args:
        stream: Where the lines go.
        quiet: Whether only sentences for the person (`Message`) are written.
        clock: Seconds on a monotonic clock.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._paces: dict[str, _Pace] = {}

    def __enter__(self) -> LineReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the stream open: it is the caller's."""

    def emit(self, event: Event) -> None:
        """Write what one event calls for; a stream that has gone away is no reason to stop a run."""
        if self._quiet and not isinstance(event, Message):
            return
        line = self._describe(event)
        if line is not None:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(line + "\n")
                self._stream.flush()

    def forget(self, stage: str) -> None:
        """Forget the pace of a stage without a word."""
        self._paces.pop(stage, None)

    def _describe(self, event: Event) -> str | None:
        """Return the line of an event, or None when it is too early for another."""
        now = self._clock()
        match event:
            case Message():
                return event.text
            case StageStarted():
                self._paces[event.stage] = _Pace(now, event.first_step, now)
                return f"{event.stage}: step {event.first_step} of {event.total_steps}"
            case StageProgress():
                pace = self._paces.setdefault(event.stage, _Pace(now, event.step, now))
                if now - pace.last_line < _SECONDS_BETWEEN_LINES:
                    return None
                pace.last_line = now
                left = format_seconds(_seconds_left(event, pace, now))
                line = f"{event.stage}: step {event.step} of {event.total_steps}, {left} left"
                return f"{line}  {format_figures(event.values)}".rstrip()
            case StageFinished():
                pace = self._paces.pop(event.stage, _Pace(now, 0, now))
                return describe_finish(event, now - pace.began)


def build_reporter(style: Style, stream: TextIO) -> BarReporter | LineReporter:
    """Return the reporter of a style on a stream."""
    if style == "bars":
        return BarReporter(Console(file=stream))
    return LineReporter(stream, quiet=style == "quiet")


def choose_style(*, as_json: bool, is_terminal: bool, plain: bool) -> Style:
    """Return how progress is shown: nothing beside JSON, bars on a terminal, plain lines elsewhere."""
    if as_json:
        return "quiet"
    return "bars" if is_terminal and not plain else "lines"


def describe_finish(event: StageFinished, seconds: float) -> str:
    """Return the one line that says how a stage ended."""
    how = "found finished" if event.reused else f"done in {format_seconds(seconds)}"
    figures = format_figures(event.values)
    return f"{event.stage}: {how}" + (f"  {figures}" if figures else "")


def format_figures(values: Mapping[str, float]) -> str:
    """Return named figures on one line, four digits each; counts from a thousand on get a unit."""
    return "  ".join(f"{name} {_format_number(value)}" for name, value in values.items())


def format_seconds(seconds: float) -> str:
    """Return a duration for people: "12 s", "3 min 05 s" or "2 h 10 min"."""
    if not math.isfinite(seconds):
        return "unknown time"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _format_number(value: float) -> str:
    """Return a figure with four significant digits and K, M or G where it helps."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(value) >= size and math.isfinite(value):
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def _seconds_left(event: StageProgress, pace: _Pace, now: float) -> float:
    """Return the seconds a stage still needs at the pace it had since it started here; infinite when unknown."""
    done = event.step - pace.first_step
    if done <= 0:
        return math.inf
    return (now - pace.began) / done * (event.total_steps - event.step)
