"""A whole worker: it claims, drives and cleans up, on child processes and on Ray, whatever is killed around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from service.errors import ServiceProblem, VersionMismatchError
from service.working.process_sessions import list_session
from service.working.worker import Pace, Worker, WorkRequest

if TYPE_CHECKING:
    from tests.service.working.conftest import FakeTrial, Workplace

    Wait = Callable[..., None]

TOKEN = "nas_planted-secret-of-a-worker"
FAST = Pace(first_pause=0.05, longest_pause=0.2, longest_away=0.3)


def request_of(workplace: Workplace, **changes: object) -> WorkRequest:
    """Return what a worker is told that works for the fake server."""
    fields = {
        "server": workplace.server.address,
        "token": TOKEN,
        "settings": workplace.settings,
        "version": "1",
        "max_trials": 3,
        "pace": FAST,
    }
    return WorkRequest(**(fields | changes))  # type: ignore[arg-type]


def start_worker(workplace: Workplace, executor: str = "local", **changes: str) -> subprocess.Popen[bytes]:
    """Start a worker in a process of its own."""
    code = (
        "import sys; from service.working.worker import *; from service.working.work_orders import RunSettings;"
        "settings = RunSettings.model_validate_json(sys.argv[2]);"
        "request = WorkRequest(server=sys.argv[1], token=sys.argv[3], settings=settings, version='1', max_trials=3,"
        "    end_with_stdin=True, pace=Pace(0.05, 0.2, 0.3)); run_worker(request)"
    )
    settings = workplace.settings.model_copy(update={"executor": executor}).model_dump_json()
    with (workplace.folder / "stderr.txt").open("ab") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-c", code, workplace.server.address, settings, TOKEN],
            stdin=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "TMPDIR": str(workplace.folder)},
            start_new_session=True,
        )
    workplace.children.append(child)
    return child


def pid_in_log(workplace: Workplace, words: str) -> int:
    """Return the last process id that the log names after some words."""
    found = [line.rpartition(words)[2] for line in workplace.log.splitlines() if words in line]
    return int(found[-1].strip(" :.").split()[0].strip(".,:")) if found else 0


def test_a_worker_runs_what_waits_and_gives_back_the_rest_when_asked(workplace: Workplace, wait_until: Wait) -> None:
    """A12: two trials end well; at SIGTERM the third saves its state, the fourth is released, nothing stays behind."""
    done = [workplace.add("single-left"), workplace.add("shared")]
    running, waiting = workplace.add("shared", epochs=3000), workplace.add("single-right")
    worker = start_worker(workplace)
    wait_until(lambda: "training.state" in running.files, 90, "a checkpoint of the third")
    driver = pid_in_log(workplace, ": driver")
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: running.attempts[0].reason == "worker_stopped", 5, "the release")
    assert worker.wait(10) == 0
    assert [(trial.state, trial.num_results) for trial in done] == [("SUCCEEDED", 1)] * 2
    assert waiting.state == "QUEUED"
    assert list_session(driver) == []
    assert TOKEN not in workplace.log


def kill_and_see(workplace: Workplace, trial: FakeTrial, find_pid: Callable[[], int], wait_until: Wait) -> None:
    """Kill a process in the middle of the next attempt; the attempt is released and no child of its driver is left."""
    number = len([attempt for attempt in trial.attempts if attempt.state != "RUNNING"])
    wait_until(lambda: len(trial.attempts) > number and max(trial.attempts[number].steps, default=0) > 0, 60, "work")
    driver = pid_in_log(workplace, ": driver")
    os.kill(find_pid(), signal.SIGKILL)
    wait_until(lambda: trial.attempts[number].state == "RELEASED", 8, "the release")
    assert trial.attempts[number].reason in ("worker_crashed", "worker_stopped")  # whoever spoke first
    wait_until(lambda: list_session(driver) == [], 5, "the end of its children")


def test_killed_drivers_and_workers_give_their_trials_back(workplace: Workplace, wait_until: Wait) -> None:
    """B2: children go with their driver, a driver goes with its worker, and nobody waits for a lease to run out."""
    trial = workplace.add("shared", epochs=3000)
    worker = start_worker(workplace)
    kill_and_see(workplace, trial, lambda: pid_in_log(workplace, ": driver"), wait_until)
    kill_and_see(workplace, trial, lambda: worker.pid, wait_until)
    assert "training.state" in trial.files


def test_only_what_a_fallen_driver_had_begun_counts(workplace: Workplace, wait_until: Wait) -> None:
    """Of three trials of one claim the running one is given back as crashed, the others as if nothing had been."""
    running = workplace.add("shared", epochs=3000)
    waiting = [workplace.add("single-left"), workplace.add("single-right")]
    start_worker(workplace)
    wait_until(lambda: running.attempts and max(running.attempts[0].steps, default=0) > 0, 60, "work")
    assert all(trial.attempts[0].state == "RUNNING" for trial in waiting)
    os.killpg(pid_in_log(workplace, ": driver"), signal.SIGKILL)  # with its child, which would speak first
    wait_until(lambda: all(trial.attempts[0].state == "RELEASED" for trial in [running, *waiting]), 8, "the release")
    assert running.attempts[0].reason == "worker_crashed"
    assert [trial.attempts[0].reason for trial in waiting] == ["worker_stopped"] * 2
    assert "before this trial began" in waiting[0].attempts[0].message


def list_temporary(workplace: Workplace) -> list[str]:
    """Return the temporary folders of a worker's processes."""
    return [path.name for path in workplace.folder.glob("bmtas-*")]


def test_a_worker_removes_what_killed_processes_left(workplace: Workplace, wait_until: Wait) -> None:
    """What a driver leaves goes with it; what a killed worker leaves goes when the next one starts."""
    trial = workplace.add("shared", epochs=3000)
    first = start_worker(workplace)
    wait_until(lambda: trial.attempts and max(trial.attempts[0].steps, default=0) > 0, 60, "work")
    driver = pid_in_log(workplace, ": driver")
    for pid in (first.pid, driver):
        os.killpg(pid, signal.SIGKILL)
    assert list_temporary(workplace)
    trial.state = "FAILED"
    second = start_worker(workplace)
    wait_until(lambda: not list_temporary(workplace), 30, "the removal")
    second.send_signal(signal.SIGTERM)
    assert second.wait(10) == 0
    assert list_temporary(workplace) == []


def test_a_worker_waits_for_a_server_that_is_away(workplace: Workplace, wait_until: Wait) -> None:
    """It goes on asking until the server is back."""
    workplace.server.is_away = True
    stop = threading.Event()
    thread = threading.Thread(target=Worker(request_of(workplace)).work, args=(stop,))
    thread.start()
    time.sleep(1.0)
    workplace.server.is_away = False
    trial = workplace.add("single-left")
    wait_until(lambda: trial.attempts, 5, "a claim")
    stop.set()
    thread.join(10)
    assert trial.attempts[0].reason == "worker_stopped"


def test_a_worker_of_another_version_or_token_is_told_so(workplace: Workplace) -> None:
    """It ends with a sentence instead of asking for ever."""
    stop = threading.Event()
    workplace.server.version = "2"
    with pytest.raises(VersionMismatchError, match="Install the server's version"):
        Worker(request_of(workplace)).work(stop)
    with pytest.raises(ServiceProblem, match="valid access token"):
        Worker(request_of(workplace, token="nas_wrong")).work(stop)


def test_on_ray_everything_goes_the_same_way(workplace: Workplace, wait_until: Wait) -> None:
    """Trials run to their ends; B1: a killed actor; B2: a killed driver; B5; SIGTERM; nothing stays behind."""
    trials = [workplace.add("single-left"), workplace.add("single-right"), workplace.add("shared")]
    worker = start_worker(workplace, "ray")
    wait_until(lambda: all(trial.state == "SUCCEEDED" for trial in trials), 120, "the end of all")
    head = pid_in_log(workplace, "local Ray: process")
    long = workplace.add("shared", epochs=150)
    wait_until(lambda: "training.state" in long.files, 60, "a checkpoint")
    os.kill(pid_in_log(workplace, "runs in process"), signal.SIGKILL)
    wait_until(lambda: len(long.attempts) == 2, 20, "the second attempt")
    assert long.attempts[0].reason == "worker_crashed"
    wait_until(lambda: len(long.attempts[1].steps) > 3, 60, "its steps")
    os.kill(pid_in_log(workplace, ": driver"), signal.SIGKILL)
    wait_until(lambda: len(long.attempts) == 3, 20, "the third attempt")
    wait_until(lambda: long.state == "SUCCEEDED", 60, "the end")
    assert long.num_results == 1
    workplace.server.resources["gpus"] = 64.0
    infeasible = workplace.add("single-left")
    wait_until(lambda: infeasible.state == "FAILED", 30, "the refusal")
    assert infeasible.attempts[0].reason == "unschedulable"
    workplace.server.resources["gpus"] = 0.0
    endless = workplace.add("shared", epochs=3000)
    wait_until(lambda: "training.state" in endless.files, 60, "a checkpoint")
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: endless.attempts[0].state == "RELEASED", 5, "the release")
    assert worker.wait(10) == 0
    assert list_session(head) == []
    assert TOKEN not in workplace.log
