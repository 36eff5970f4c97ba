"""Reporters: bars on a terminal, lines elsewhere, sentences only beside JSON; none of them ever raises."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from search.ports import Event, Message, StageFinished, StageProgress, StageStarted
from service.commands.terminal import (
    BarReporter,
    LineReporter,
    build_reporter,
    choose_style,
    format_figures,
    format_seconds,
)

RUN: tuple[Event, ...] = (
    StageStarted("search 60%", 0, 100),
    StageProgress("search 60%", 50, 100, {"loss": 0.5}),
    StageProgress("search 60%", 100, 100, {"loss": 0.25}),
    StageFinished("search 60%", {"madds": 373248}),
    StageFinished("baseline left", reused=True),
    Message("The budget does not bind."),
)


class Clock:
    """A clock that a test moves by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the present second."""
        return self.now


class ClosedStream(io.StringIO):
    """A stream whose reader has gone away."""

    def write(self, text: str) -> int:
        """Refuse every line."""
        raise BrokenPipeError


def test_lines_tell_start_time_left_and_end() -> None:
    """A stage gets a line at its start, one every ten seconds with the time left, and one at its end."""
    clock, stream = Clock(), io.StringIO()
    reporter = LineReporter(stream, clock=clock)
    for event in RUN:
        reporter.emit(event)
        clock.now += 20
    assert stream.getvalue().splitlines() == [
        "search 60%: step 0 of 100",
        "search 60%: step 50 of 100, 20 s left  loss 0.5",
        "search 60%: step 100 of 100, 0 s left  loss 0.25",
        "search 60%: done in 1 min 00 s  madds 373.2 K",
        "baseline left: found finished",
        "The budget does not bind.",
    ]


def test_lines_are_not_written_for_every_step() -> None:
    """Steps that follow each other quickly get no line of their own."""
    clock, stream = Clock(), io.StringIO()
    reporter = LineReporter(stream, clock=clock)
    reporter.emit(StageStarted("search", 0, 1000))
    for step in range(1000):
        clock.now += 0.011
        reporter.emit(StageProgress("search", step + 1, 1000))
    assert stream.getvalue().count("\n") == 2


def test_time_left_after_a_resume_counts_from_the_resumed_step() -> None:
    """The pace is that of this process: steps done before the interruption took no time here."""
    clock, stream = Clock(), io.StringIO()
    reporter = LineReporter(stream, clock=clock)
    reporter.emit(StageStarted("search", 80, 100))
    clock.now += 10
    reporter.emit(StageProgress("search", 90, 100))
    assert "step 90 of 100, 10 s left" in stream.getvalue()


def test_quiet_shows_sentences_only() -> None:
    """Beside JSON the person still sees what a message says, and nothing else."""
    stream = io.StringIO()
    with build_reporter("quiet", stream) as reporter:
        for event in RUN:
            reporter.emit(event)
    assert stream.getvalue() == "The budget does not bind.\n"


def test_bars_leave_a_line_per_stage_and_show_the_time_left() -> None:
    """A running stage shows steps and time left; a finished one leaves a single line."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    clock = Clock()
    with BarReporter(console, clock) as reporter:
        for event in RUN:
            reporter.emit(event)
            clock.now += 3
            reporter.refresh()
    shown = stream.getvalue()
    assert "50/100" in shown
    assert "0:00:0" in shown
    assert "search 60%: done in 9 s  madds 373.2 K" in shown
    assert "The budget does not bind." in shown


def test_bars_keep_silent_about_short_stages_without_figures() -> None:
    """A stage that took no time and found nothing leaves no line behind."""
    stream = io.StringIO()
    with BarReporter(Console(file=stream, force_terminal=True, width=100, color_system=None), Clock()) as reporter:
        reporter.emit(StageFinished("load digits"))
    assert "load digits" not in stream.getvalue()


def test_names_are_shown_literally() -> None:
    """What looks like console markup in a name or a sentence stays as it is."""
    stream = io.StringIO()
    with BarReporter(Console(file=stream, force_terminal=True, width=100, color_system=None)) as reporter:
        reporter.emit(StageStarted("[bold]x", 0, 2))
        reporter.emit(StageFinished("[bold]x", reused=True))
        reporter.emit(Message("[/red] closes nothing"))
    assert "[bold]x: found finished" in stream.getvalue()
    assert "[/red] closes nothing" in stream.getvalue()


@pytest.mark.parametrize("style", ["bars", "lines", "quiet"])
def test_events_out_of_order_do_not_raise(style: str) -> None:
    """Progress of a stage nobody started, zero steps and infinite figures are shown, not raised."""
    with build_reporter(style, io.StringIO()) as reporter:  # type: ignore[arg-type] # parametrised literal
        reporter.emit(StageProgress("unknown", 3, 0, {"loss": math.inf, "other": math.nan}))
        reporter.emit(StageFinished("never started"))
        reporter.emit(StageStarted("empty", 0, 0))
        reporter.emit(StageStarted("empty", 0, 0))


def test_a_closed_terminal_does_not_stop_a_run() -> None:
    """A stream that refuses every line is ignored."""
    for style in ("lines", "quiet"):
        reporter = build_reporter(style, ClosedStream())
        for event in RUN:
            reporter.emit(event)


def test_style_follows_json_and_terminal() -> None:
    """JSON is quiet; bars need a terminal and no wish for plain lines."""
    assert choose_style(as_json=True, is_terminal=True, plain=False) == "quiet"
    assert choose_style(as_json=False, is_terminal=True, plain=False) == "bars"
    assert choose_style(as_json=False, is_terminal=True, plain=True) == "lines"
    assert choose_style(as_json=False, is_terminal=False, plain=False) == "lines"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (-1, "0 s"),
        (math.inf, "unknown time"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    """Durations are rounded to what a person needs."""
    assert format_seconds(seconds) == text


def test_figures_get_units_and_four_digits() -> None:
    """Large counts carry K, M or G; small figures four significant digits."""
    figures = {"madds": 9.1e9, "params": 2.15e6, "loss": 0.123456, "bad": math.nan}
    assert format_figures(figures) == "madds 9.1 G  params 2.15 M  loss 0.1235  bad nan"
