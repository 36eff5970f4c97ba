"""Real processes, really killed: `bmtas search` ends alike however often it was interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WORDS = ("search", "--preset", "smoke", "--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right")
WHERE = ("--budget", "70%", "--device", "cpu", "--out")
PATIENCE_S = 240


@dataclass
class Machine:
    """Runs the command line in a folder of its own.

    Attributes:
        folder: Holds the runs, the shared cache and what the processes print.
        seconds: How long the undisturbed run took.
    """

    folder: Path
    seconds: float = 0.0

    def start(self, out: str, *more: str) -> subprocess.Popen[bytes]:
        """Return the process of a search into a folder; what it prints goes to a file of that name."""
        environment = os.environ | {"BMTAS_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "CI": "1"}
        with (self.folder / f"{out}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "service.cli", *WORDS, *WHERE, out, *more],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def finish(self, out: str, *more: str) -> None:
        """Run a search to its end, and fail with what it printed unless it ends well."""
        code = self.start(out, *more).wait(PATIENCE_S)
        assert code == 0, self.printed(out)

    def printed(self, out: str) -> str:
        """Return what the last process of a folder has printed so far."""
        return (self.folder / f"{out}.log").read_text()

    def wait_until_printed(self, out: str, words: str, process: subprocess.Popen[bytes]) -> None:
        """Return as soon as the process has printed the words."""
        deadline = time.monotonic() + PATIENCE_S
        while words not in self.printed(out):
            assert process.poll() is None, self.printed(out)
            assert time.monotonic() < deadline, self.printed(out)
            time.sleep(0.05)

    def found(self, out: str) -> dict[str, Any]:
        """Return what a finished run left: documents without times, and weights."""
        root = self.folder / out
        found: dict[str, Any] = {
            path.relative_to(root).as_posix(): _without_creation(json.loads(path.read_text()))
            for path in root.rglob("*.json")
        }
        return found | {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.safetensors")}


def _without_creation(value: Any) -> Any:
    """Return a JSON value without the times at which documents were made, and without latencies."""
    if isinstance(value, dict):
        return {key: _without_creation(item) for key, item in value.items() if key not in ("created", "latency")}
    return [_without_creation(item) for item in value] if isinstance(value, list) else value


def kill_at_random(machine: Machine, out: str, shares: Sequence[float]) -> None:
    """Start a run once per share of an undisturbed run's time, and kill it without warning when that time is over."""
    for attempt, share in enumerate(shares):
        process = machine.start(out, *(["--resume"] if attempt else []))
        try:
            process.wait(share * machine.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.wait(PATIENCE_S) in (0, -signal.SIGKILL), machine.printed(out)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return a machine on which one run has come to its end undisturbed, in the folder "whole"."""
    machine = Machine(tmp_path_factory.mktemp("acceptance"))
    begin = time.monotonic()
    machine.finish("whole")
    machine.seconds = time.monotonic() - begin
    return machine


def test_a_search_killed_twice_ends_like_an_undisturbed_one(machine: Machine) -> None:
    """After two kill -9 at random moments, --resume delivers the same tree, metrics and weights, and a report."""
    shares = [random.uniform(0.4, 0.9), random.uniform(0.3, 0.6)]
    kill_at_random(machine, "killed", shares)
    # Killed before it had claimed its folder, a run has left nothing to go on with.
    begun = (machine.folder / "killed" / "spec.json").exists()
    machine.finish("killed", *(["--resume"] if begun else []))
    assert machine.found("killed") == machine.found("whole"), f"killed at {shares}"
    assert "candidates/70pct/architecture.json" in machine.found("killed")
    assert (machine.folder / "killed" / "report.html").is_file()
    assert not list((machine.folder / "killed").rglob("*.bmtas-tmp"))
    assert not list((machine.folder / "killed").rglob("*.state"))


def test_a_search_stopped_by_ctrl_c_goes_on(machine: Machine) -> None:
    """SIGINT in the midst of the search saves its state and exits with 130; --resume ends like an undisturbed run."""
    process = machine.start("stopped")
    machine.wait_until_printed("stopped", "search 70pct: step", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 130, machine.printed("stopped")
    said = machine.printed("stopped")
    assert "Stopped; the state is saved." in said
    assert "--out stopped --resume" in said
    assert "Traceback" not in said
    assert (machine.folder / "stopped" / "candidates" / "70pct" / "search-1.state").is_file()
    machine.finish("stopped", "--resume")
    assert machine.found("stopped") == machine.found("whole")


def test_a_resume_with_other_words_is_refused(machine: Machine) -> None:
    """A folder belongs to one job: another budget is refused with one sentence, and nothing changes."""
    before = machine.found("whole")
    assert machine.start("whole", "--resume", "--budget", "80%").wait(PATIENCE_S) == 2
    assert "Traceback" not in machine.printed("whole")
    assert machine.found("whole") == before
