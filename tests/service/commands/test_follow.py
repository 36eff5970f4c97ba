"""The events of a job on a terminal: a bar per trial, a line for what ends."""

from __future__ import annotations

import io
from typing import Any

import pytest

from service.client_parts.records import ServerEvent, Trial
from service.commands.follow import JobView
from service.commands.terminal import LineReporter

TRIALS = [
    Trial.from_json({"id": f"trl_{name}", "name": name, "kind": kind, "state": "QUEUED"})
    for name, kind in (("single-left", "single"), ("60pct-s0", "candidate"))
]


class Screen:
    """A view on a stream, with a clock that the test moves."""

    def __init__(self, *, with_logs: bool = False) -> None:
        self.seconds = 0.0
        self.stream = io.StringIO()
        reporter = LineReporter(self.stream, clock=lambda: self.seconds)
        self.view = JobView(reporter, TRIALS, with_logs=with_logs)

    def show(self, kind: str, **data: Any) -> list[str]:
        """Show an event and return the lines so far."""
        self.view.show(ServerEvent(1, kind, data))
        return self.stream.getvalue().splitlines()


@pytest.fixture
def screen() -> Screen:
    """Return an empty screen."""
    return Screen()


def test_a_state_comes_with_its_reason(screen: Screen) -> None:
    """The state of the job stands on a line of its own."""
    screen.show("state", state="RUNNING", reason=None, message="")
    lines = screen.show("state", state="FAILED", reason="oom", message="Out of memory.")
    assert lines == ["RUNNING", "FAILED: oom Out of memory."]


def test_progress_becomes_a_stage_with_time_left(screen: Screen) -> None:
    """A candidate's bar tells search from retraining, and the time left at its pace."""
    progress = {"trial_id": "trl_60pct-s0", "total_steps": 100}
    screen.show("progress", **progress, stage="search", step=0)
    screen.seconds = 20.0
    screen.show("progress", **progress, stage="search", step=50)
    lines = screen.show("progress", **progress, stage="train", step=1)
    assert lines == [
        "60pct-s0, search: step 0 of 100",
        "60pct-s0, search: step 50 of 100, 20 s left",
        "60pct-s0, train: step 1 of 100",
    ]


def test_trials_end_in_one_line(screen: Screen) -> None:
    """Done, failed and waiting again each have their words."""
    trial = {"trial_id": "trl_single-left", "name": "single-left", "attempt": 1, "reason": None}
    screen.show("trial", **trial, state="RUNNING")
    screen.show("trial", **{**trial, "reason": "lease_lost"}, state="QUEUED")
    screen.show("trial", **{**trial, "attempt": 2}, state="RUNNING")
    lines = screen.show("trial", **{**trial, "attempt": 2}, state="SUCCEEDED")
    assert lines == [
        "single-left: waits for another attempt, lease_lost",
        "single-left: attempt 2 goes on from the last checkpoint",
        "single-left: done",
    ]


def test_a_result_of_another_job_is_named_as_such(screen: Screen) -> None:
    """A baseline that was trained before needs no attempt."""
    lines = screen.show("trial", trial_id="trl_single-left", name="single-left", state="SUCCEEDED", attempt=0)
    assert lines == ["single-left: done, with a result that was there already"]


def test_a_network_is_announced_with_its_figures(screen: Screen) -> None:
    """What was found comes with MAdds, and with its gain where it is known."""
    screen.show("front", architecture_id="arch_1", name="60pct-s0", madds=370_000, delta_m=None)
    lines = screen.show("front", architecture_id="arch_1", name="60pct-s0", madds=370_000, delta_m=0.5)
    assert lines == ["60pct-s0: found with 370 K MAdds", "60pct-s0: found with 370 K MAdds, delta_m +0.50 %"]


def test_logs_are_shown_on_request_only() -> None:
    """Lines that trials wrote would drown the rest."""
    data = {"lines": [{"seq": 1, "text": "The budget does not bind."}]}
    assert Screen().show("log", **data) == []
    assert Screen(with_logs=True).show("log", **data) == ["The budget does not bind."]


@pytest.mark.parametrize("kind", ["metric", "something-new"])
def test_other_events_are_passed_over(screen: Screen, kind: str) -> None:
    """A newer server may tell more than this client shows."""
    assert screen.show(kind, anything=1) == []
