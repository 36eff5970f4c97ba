"""One attempt in a process of its own: whatever happens to it, the trial ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from service.working.lease import EXIT_FENCED
from service.working.trial_process import EXIT_ENDED, run_attempt
from service.working.work_orders import AttemptOrder, ResourcesDocument

if TYPE_CHECKING:
    from tests.service.working.conftest import FakeTrial, Workplace

    Wait = Callable[..., None]

TRIAL = "service.working.trial_process"


def without_times(result: dict[str, Any] | None) -> dict[str, Any]:
    """Return a result without the time of its creation and without its latency, which differs from run to run."""
    assert result is not None
    provenance = {key: value for key, value in result["architecture"]["provenance"].items() if key != "created"}
    timeless = {key: value for key, value in result.items() if key != "latency"}
    return {**timeless, "architecture": {**result["architecture"], "provenance": provenance}}


def last_steps(trial: FakeTrial) -> list[int]:
    """Return the steps that the newest attempt told with its heartbeats."""
    return trial.attempts[-1].steps if trial.attempts else []


def kill_after_a_checkpoint(workplace: Workplace, trial: FakeTrial, delay_seconds: float, wait_until: Wait) -> None:
    """Run an attempt until it has saved something, kill it a moment later, and let its lease run out."""
    before = dict(trial.files)
    child = workplace.start(TRIAL, workplace.attempt_order().to_line())
    wait_until(lambda: trial.files != before, 60, "a checkpoint")
    time.sleep(delay_seconds)
    child.kill()
    child.wait()
    trial.attempts[-1].lease_until = 0.0


@dataclass
class InThread:
    """An attempt that runs in a thread of this process; it is asked to stop by `stop`, and `ended` holds its code."""

    order: AttemptOrder
    stop: threading.Event = field(default_factory=threading.Event)
    ended: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin."""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.ended.append(run_attempt(self.order, self.stop, self.ended.append))

    def wait(self, seconds: float) -> int:
        """Return its code."""
        self.thread.join(seconds)
        assert self.ended, "the attempt still runs"
        return self.ended[0]


def test_a_trial_runs_to_its_end(workplace: Workplace) -> None:
    """Result, architecture, files, figures and lines arrive, and the last heartbeat was not the first."""
    trial = workplace.add("70pct-s0")
    order = workplace.attempt_order()
    child = workplace.start(TRIAL, order.to_line())
    assert child.wait(60) == EXIT_ENDED, workplace.log
    assert (trial.state, trial.num_results) == ("SUCCEEDED", 1)
    assert trial.result is not None
    assert trial.architecture == trial.result["architecture"]
    assert set(trial.files) >= {"architecture.json", "weights.safetensors", "evaluation.json", "search.pt"}
    assert not [name for name in trial.files if name.endswith(".state")]
    assert {name for name, _ in trial.points} >= {"search/loss left", "train/loss right"}
    assert any("search: begins" in line for line in trial.lines)
    kept = {path.name for path in workplace.server.storage_root.rglob("*") if path.is_file()}
    assert kept == {row["path"].rpartition("/")[2] for row in trial.files.values()}
    assert "planted-secret" not in workplace.log + repr(order), "its token belongs in no log"


def test_the_gpus_of_a_job_are_those_of_its_networks(workplace: Workplace) -> None:
    """A trial that may occupy two GPUs trains on two, and says so where there are none; a fraction is one."""
    trial = workplace.add("single-left")
    order = workplace.attempt_order()
    on_two = order.job.model_copy(update={"resources": ResourcesDocument(gpus=2.0)})
    assert run_attempt(order.model_copy(update={"job": on_two}), threading.Event()) == EXIT_ENDED
    assert trial.state == "FAILED"
    assert "2 GPUs were asked for" in trial.attempts[-1].message
    trial = workplace.add("single-right")
    order = workplace.attempt_order()
    on_half = order.job.model_copy(update={"resources": ResourcesDocument(gpus=0.5)})
    assert run_attempt(order.model_copy(update={"job": on_half}), threading.Event()) == EXIT_ENDED
    assert trial.state == "SUCCEEDED"


def test_killed_at_random_steps_it_ends_bit_equal(workplace: Workplace, wait_until: Wait) -> None:
    """A17: a trial killed with -9 again and again gives the very result of one that was left alone."""
    calm = workplace.add("70pct-s0", epochs=3)
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    trial = workplace.add("70pct-s0", epochs=3)
    draw = random.Random(3)
    for _ in range(3):
        kill_after_a_checkpoint(workplace, trial, draw.uniform(0.0, 0.1), wait_until)
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    assert len(trial.attempts) == 4
    assert without_times(trial.result) == without_times(calm.result)
    assert trial.files["weights.safetensors"]["sha256"] == calm.files["weights.safetensors"]["sha256"]
    assert trial.num_results == 1


def test_sigterm_saves_and_gives_back_within_five_seconds(workplace: Workplace, wait_until: Wait) -> None:
    """A12: in the middle of an epoch the state is saved, the lease released, and the next attempt goes on there."""
    trial = workplace.add("shared", epochs=3000)
    child = workplace.start(TRIAL, workplace.attempt_order(seconds_between_saves=1000.0).to_line())
    wait_until(lambda: max(last_steps(trial), default=0) > 20, 60, "some steps")
    child.send_signal(signal.SIGTERM)
    wait_until(lambda: trial.attempts[0].state == "RELEASED", 5, "the release")
    assert child.wait(10) == EXIT_ENDED
    assert (trial.attempts[0].state, trial.attempts[0].reason) == ("RELEASED", "worker_stopped")
    assert "training.state" in trial.files
    running = InThread(workplace.attempt_order())
    wait_until(lambda: any("goes on at step" in line for line in trial.lines), 60, "the next attempt")
    running.stop.set()
    assert running.wait(10) == EXIT_ENDED


def test_a_paused_process_that_lost_its_lease_writes_nothing(workplace: Workplace, wait_until: Wait) -> None:
    """A2: stopped for longer than its lease and then woken, it exits within five seconds and changes nothing."""
    workplace.server.lease_seconds = 1.0
    trial = workplace.add("shared", epochs=3000)
    child = workplace.start(TRIAL, workplace.attempt_order().to_line())
    wait_until(lambda: "training.state" in trial.files, 60, "a checkpoint")
    child.send_signal(signal.SIGSTOP)
    time.sleep(1.3)
    newer = workplace.attempt_order()
    files, lines = dict(trial.files), list(trial.lines)
    woken_at = time.monotonic()
    child.send_signal(signal.SIGCONT)
    assert child.wait(10) == EXIT_FENCED
    assert time.monotonic() - woken_at < 5
    assert (trial.files, trial.lines) == (files, lines)
    assert trial.attempts[0].state == "LOST"
    assert newer.claimed.attempt.number == 2


def test_without_a_server_for_a_lease_it_stops_writing(workplace: Workplace, wait_until: Wait) -> None:
    """A worker that is cut off ends within its lease and five seconds, since somebody else may have its trial."""
    workplace.server.lease_seconds = 1.5
    trial = workplace.add("shared", epochs=3000)
    running = InThread(workplace.attempt_order())
    wait_until(lambda: max(last_steps(trial), default=0) > 5, 60, "some steps")
    workplace.server.is_away = True
    assert running.wait(1.5 + 5) == EXIT_FENCED


def test_a_short_absence_of_the_server_costs_nothing(workplace: Workplace, wait_until: Wait) -> None:
    """Figures wait until the server is back; none is lost."""
    trial = workplace.add("shared", epochs=40)
    running = InThread(workplace.attempt_order(seconds_between_saves=1000.0))
    wait_until(lambda: max(last_steps(trial), default=0) > 5, 60, "some steps")
    workplace.server.is_away = True
    time.sleep(1.0)
    workplace.server.is_away = False
    assert running.wait(60) == EXIT_ENDED, workplace.log
    assert {step for name, step in trial.points if name == "train/loss left"} == {2 * epoch for epoch in range(1, 41)}
    assert len(trial.attempts) == 1


@pytest.mark.parametrize(("stop", "state"), [("cancel", "FAILED"), ("kill", "RUNNING")])
def test_the_server_stops_it(workplace: Workplace, wait_until: Wait, stop: str, state: str) -> None:
    """Cancelled, it saves and says so; killed, it goes without a word."""
    trial = workplace.add("shared", epochs=3000)
    running = InThread(workplace.attempt_order(seconds_between_saves=1000.0))
    wait_until(lambda: max(last_steps(trial), default=0) > 5, 60, "some steps")
    workplace.server.stop = stop
    assert running.wait(10) == (EXIT_ENDED if stop == "cancel" else EXIT_FENCED)
    assert trial.attempts[0].state == state
    assert ("training.state" in trial.files) == (stop == "cancel")
    assert trial.attempts[0].reason == ("user_cancel" if stop == "cancel" else "")


def test_a_damaged_checkpoint_begins_the_trial_anew(workplace: Workplace, wait_until: Wait) -> None:
    """A file that is not what its checksum says is not gone on from, and not the end of the trial either."""
    trial = workplace.add("shared", epochs=400)
    running = InThread(workplace.attempt_order())
    wait_until(lambda: "training.state" in trial.files, 60, "a checkpoint")
    running.stop.set()
    assert running.wait(10) == EXIT_ENDED
    path = workplace.server.storage_root / trial.files["training.state"]["path"]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    running = InThread(workplace.attempt_order())
    wait_until(lambda: any("Begins anew" in line for line in trial.lines), 60, "the next attempt")
    wait_until(lambda: any("train: begins" in line for line in trial.lines[-3:]), 60, "a new beginning")
    running.stop.set()
    assert running.wait(10) == EXIT_ENDED


def test_a_failure_has_a_reason_and_a_sentence(workplace: Workplace) -> None:
    """The message is for people, the traceback goes to the log of the job."""
    trial = workplace.add("70pct-s0")
    trial.spec["job"]["budgets"] = ["1"]
    trial.spec["budget"] = "1"
    assert run_attempt(workplace.attempt_order(), threading.Event()) == EXIT_ENDED
    assert (trial.state, trial.attempts[0].reason) == ("FAILED", "bad_spec")
    assert "Ask for at least" in trial.attempts[0].message
    assert "Traceback" not in trial.attempts[0].message
    assert any("Traceback" in line for line in trial.lines)


def test_an_attempt_that_is_over_before_it_begins_does_nothing(workplace: Workplace) -> None:
    """A process that comes too late does not even look at the trial."""
    trial = workplace.add("shared")
    order = workplace.attempt_order()
    trial.attempts[0].state = "LOST"
    assert run_attempt(order, threading.Event()) == EXIT_FENCED
    assert trial.files == {}
