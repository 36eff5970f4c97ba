"""Attempts on a real Ray: each in its turn as resources allow, one that falls harms no other, none waits for ever."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.tune import _TrialActor
from service.settings import child_environment
from service.working.process_sessions import list_session
from service.working.ray_head import RayHead

SCENARIOS = Path(__file__).with_name("tune_scenarios.py")
Report = dict[str, Any]


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """Yield a local Ray; in the end no process of it is left, and no file."""
    head = RayHead(with_gpus=False)
    try:
        deadline = time.monotonic() + 90
        while head.address is None and head.is_sound and time.monotonic() < deadline:
            time.sleep(0.1)
        assert head.address is not None
        yield head
    finally:
        head.end()
    assert list_session(head.pid) == []
    assert not head.folder.exists()


@pytest.fixture(scope="module")
def report(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what came of the scenarios."""
    folder = tmp_path_factory.mktemp("ray")
    done = subprocess.run(
        [sys.executable, str(SCENARIOS), str(head.address), str(folder)],
        env=child_environment(head.variables),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: Report = json.loads((folder / "report.json").read_text())
    return found


def test_all_attempts_run_in_as_few_processes_as_there_is_room_for(report: Report) -> None:
    """Each runs once, processes are used again, and without a GPU in the request none is seen."""
    assert report["all"] == {"begun": list("abcd"), "fallen": []}
    assert len({note.split()[0] for note in report["notes"].values()}) <= 2
    assert {note.split()[1] for note in report["notes"].values()} == {"[]"}


def test_a_process_that_tune_takes_back_has_run_nothing() -> None:
    """Tune may start a process for a trial and give the trial to another: only the first step begins the attempt."""
    begun: list[str] = []
    actor = _TrialActor.__new__(_TrialActor)
    actor.setup({"attempt": "a"}, {"a": "order"}, lambda order, _: begun.append(order), "flag")
    actor.cleanup()
    assert begun == []


def test_nothing_that_tune_writes_holds_an_order(report: Report) -> None:
    """Orders carry tokens, so they travel in memory."""
    assert report["files"]
    assert not [path for path in report["files"] if b"planted-secret" in Path(path).read_bytes()]


def test_one_that_falls_harms_no_other(report: Report) -> None:
    """A process that dies and one that raises are told of and not tried again; the others end well."""
    assert report["some fall"]["fallen"] == ["fallen", "raised"]
    assert {"good", "late"} <= set(report["some fall"]["begun"])


@pytest.mark.parametrize("what", ["too many gpus", "too many cpus"])
def test_what_fits_nowhere_is_refused_before_it_starts(report: Report, what: str) -> None:
    """B5: Tune would wait for ever; the sentence names what the largest machine has."""
    assert "the machines have at most" in report[what]["refused"]


def test_a_run_that_is_asked_to_stop_ends_soon(report: Report) -> None:
    """The attempt that runs is told, and those that wait do nothing any more."""
    assert report["stopped"]["told"] == ["True"]
    assert report["stopped"]["seconds"] < 5
    assert report["stopped"]["fallen"] == []


def test_the_secret_of_the_cluster_is_its_owners_alone(head: RayHead) -> None:
    """The token lies in a file that only this user reads, and in no variable."""
    token = head.folder / "token"
    assert token.stat().st_mode & 0o077 == 0
    assert token.read_text() not in " ".join(head.variables.values())
    assert head.variables["RAY_AUTH_MODE"] == "token"
