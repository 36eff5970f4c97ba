"""What a run tells: batched, kept while the server is away, in order when it is back, and never in the run's way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from db.records.jobs import Progress
from search.ports import Message, StageFinished, StageProgress, StageStarted
from service.errors import AttemptLostError
from service.working import remote_reporter
from service.working.remote_reporter import RemoteReporter

if TYPE_CHECKING:
    from tests.service.working.conftest import FakeTrial, Workplace


def open_reporter(workplace: Workplace) -> tuple[RemoteReporter, FakeTrial]:
    """Return the reporter of a fresh attempt and its trial."""
    trial = workplace.add("shared")
    client = workplace.open_client(workplace.attempt_order())
    return RemoteReporter(client, workplace.folder / "spill.jsonl"), trial


def test_events_become_figures_lines_and_progress(workplace: Workplace) -> None:
    """A figure carries its stage; what is not finite arrives as null; sentences become lines."""
    reporter, trial = open_reporter(workplace)
    reporter.emit(StageStarted("train", 0, 10))
    reporter.emit(StageProgress("train", 3, 10, {"loss left": 0.5, "odd": math.nan}))
    reporter.emit(StageFinished("train", {"left": 91.25}))
    reporter.emit(StageFinished("search", reused=True))
    reporter.emit(Message("It\nwraps\n\n"))
    assert reporter.progress == Progress("train", 3, 10)
    assert reporter.flush()
    assert trial.points == {("train/loss left", 3): 0.5, ("train/odd", 3): None}
    assert trial.lines == [
        "train: begins with step 0 of 10",
        "train: done: left 91.25",
        "search: was done before",
        "It",
        "wraps",
    ]


def test_many_figures_go_in_batches(workplace: Workplace) -> None:
    """No call carries more than the server takes."""
    reporter, trial = open_reporter(workplace)
    for step in range(1203):
        reporter.emit(StageProgress("s", step, 2000, {"x": float(step)}))
    assert reporter.flush()
    assert trial.points == {("s/x", step): float(step) for step in range(1203)}
    assert reporter.num_waiting == 0


def test_what_is_told_while_the_server_is_away_arrives_later_in_order(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A19: beyond what memory may hold it waits on disk; none is lost, and the file goes."""
    monkeypatch.setattr(remote_reporter, "MAX_IN_MEMORY", 10)
    reporter, trial = open_reporter(workplace)
    workplace.server.is_away = True
    for step in range(100):
        reporter.emit(StageProgress("s", step, 100, {"x": float(step)}))
        reporter.log(f"line {step}")
    assert not reporter.flush()
    spill = workplace.folder / "spill.jsonl"
    assert len(spill.read_text().splitlines()) == 190
    workplace.server.is_away = False
    assert reporter.flush()
    reporter.log("line 100")
    assert reporter.flush()
    assert trial.lines == [f"line {step}" for step in range(101)]
    assert len(trial.points) == 100
    assert not spill.exists()


def test_a_disk_that_refuses_loses_figures_and_says_so(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run itself never fails for want of a place for its figures."""
    monkeypatch.setattr(remote_reporter, "MAX_IN_MEMORY", 5)
    trial = workplace.add("shared")
    reporter = RemoteReporter(workplace.open_client(workplace.attempt_order()), Path("/nosuchfolder/spill"))
    for step in range(8):
        reporter.log(str(step))
    assert reporter.flush()
    assert trial.lines[:5] == list("01234")
    reporter.close()


def test_a_batch_that_the_server_will_never_take_holds_up_nothing(workplace: Workplace) -> None:
    """It is dropped, and what follows arrives."""
    reporter, trial = open_reporter(workplace)
    answer = workplace.server.answer

    def refuse_figures(method: str, path: str, body: object) -> tuple[int, object]:
        return (422, {"code": "invalid"}) if path.endswith("metrics") else answer(method, path, body)

    workplace.server.answer = refuse_figures  # type: ignore[method-assign]
    reporter.emit(StageProgress("s", 1, 2, {"x": 1.0}))
    reporter.log("next")
    assert reporter.flush()
    assert (trial.points, trial.lines) == ({}, ["next"])


def test_an_attempt_that_lost_its_trial_says_nothing_more(workplace: Workplace) -> None:
    """Whoever flushes learns of it."""
    reporter, trial = open_reporter(workplace)
    trial.attempts[0].state = "LOST"
    reporter.log("too late")
    with pytest.raises(AttemptLostError):
        reporter.flush()
    assert trial.lines == []
