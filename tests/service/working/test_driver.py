"""A driver: one claim to its end, the leases of waiting trials held, nothing left when it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from db.records.states import Reason
from service.working.driver import drive
from service.working.waiting_room import WaitingRoom
from service.working.work_orders import split_order

if TYPE_CHECKING:
    from tests.service.working.conftest import Workplace

    Wait = Callable[..., None]


def test_waiting_trials_keep_their_leases(workplace: Workplace) -> None:
    """Heartbeats without progress hold them for longer than a lease."""
    workplace.server.lease_seconds = 2.0  # that a busy machine can keep
    trials = [workplace.add("single-left"), workplace.add("shared")]
    room = WaitingRoom(split_order(workplace.driver_order()))
    time.sleep(3.0)
    assert room.take("att_trial_0_1")
    workplace.server.sweep()
    assert [trial.state for trial in trials] == ["RUNNING", "RUNNING"]
    assert set(trials[1].attempts[0].steps) == {-1}
    room.give_back_all(Reason.WORKER_STOPPED, "Stopped.")
    room.close()
    assert [trial.attempts[0].reason for trial in trials] == ["", "worker_stopped"]


def test_waiting_trials_are_cancelled_where_the_job_is(workplace: Workplace, wait_until: Wait) -> None:
    """One that is cancelled before it began says so; one that is killed is dropped."""
    workplace.server.lease_seconds = 0.4
    trial = workplace.add("shared")
    room = WaitingRoom(split_order(workplace.driver_order()))
    workplace.server.stop = "cancel"
    wait_until(lambda: trial.state == "CANCELLED", 5, "the cancellation")
    assert trial.attempts[0].reason == "user_cancel"
    assert not room.take("att_trial_0_1")
    room.close()


def test_a_trial_that_was_lost_while_it_waited_is_not_run(workplace: Workplace, wait_until: Wait) -> None:
    """The room learns of it by its heartbeat."""
    workplace.server.lease_seconds = 0.4
    trial = workplace.add("shared")
    room = WaitingRoom(split_order(workplace.driver_order()))
    trial.attempts[0].state = "LOST"
    wait_until(lambda: not room.is_waiting("att_trial_0_1"), 5, "the discovery")
    room.close()


def test_a_driver_that_is_told_to_stop_while_its_cluster_starts_gives_all_back(workplace: Workplace) -> None:
    """On Ray it waits for an address; None means that a stop came first."""
    trials = [workplace.add("single-left"), workplace.add("shared")]
    drive(workplace.driver_order(executor="ray"), threading.Event(), lambda: None)
    assert [trial.attempts[0].reason for trial in trials] == ["worker_stopped"] * 2


def test_a_trial_that_needs_more_gpus_than_there_are_is_refused(workplace: Workplace) -> None:
    """B5: it does not run on a CPU unnoticed, and does not wait for ever."""
    trial = workplace.add("shared")
    workplace.server.resources["gpus"] = 64.0
    drive(workplace.driver_order(), threading.Event(), lambda: None)
    assert (trial.state, trial.attempts[0].reason) == ("FAILED", "unschedulable")


def test_a_child_that_falls_gives_its_trial_back_and_the_next_one_runs(workplace: Workplace, wait_until: Wait) -> None:
    """The driver goes on after a child was killed, and stops at SIGTERM with everything given back."""
    first, second = workplace.add("shared", epochs=3000), workplace.add("single-left", epochs=3000)
    child = workplace.start("service.working.driver", workplace.driver_order().to_line())
    wait_until(lambda: "training.state" in first.files, 60, "a checkpoint")
    words = [line.rpartition("process ")[2] for line in workplace.log.splitlines() if "runs in process" in line]
    os.kill(int(words[0].strip(".")), signal.SIGKILL)
    wait_until(lambda: first.attempts[0].reason == "worker_crashed", 5, "the release")
    wait_until(lambda: "training.state" in second.files, 60, "the second trial")
    child.send_signal(signal.SIGTERM)
    wait_until(lambda: second.attempts[0].reason == "worker_stopped", 5, "the release")
    assert child.wait(10) == 0
