"""A driver as its worker sees it: what it had begun is known after its fall, and nothing of it stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from service.working.driver_handle import DriverHandle, Releases
from service.working.process_sessions import list_session
from service.working.waiting_room import WaitingRoom
from service.working.work_orders import split_order

if TYPE_CHECKING:
    from tests.service.working.conftest import Workplace


def test_only_what_a_killed_driver_had_begun_counts(workplace: Workplace) -> None:
    """Of three trials of one claim one had begun: it is given back as crashed, the others as if nothing had been."""
    trials = [workplace.add(name) for name in ("shared", "single-left", "single-right")]
    driver = DriverHandle(workplace.driver_order(executor="ray"), {})  # it waits for a cluster, and so begins nothing
    begun_path = Path(str(driver.order.begun_path))
    begun_path.write_text(f"{trials[0].attempts[0].id}\n")
    assert driver.begun == {trials[0].attempts[0].id}
    os.killpg(driver.pid, signal.SIGKILL)
    begun = driver.begun
    driver.end()
    releases = Releases()
    releases.add_fallen(driver.order, begun, "The driver ended with -9")
    releases.try_all()
    assert [trial.attempts[0].reason for trial in trials] == ["worker_crashed", "worker_stopped", "worker_stopped"]
    assert "before this trial began" in trials[1].attempts[0].message
    assert not begun_path.parent.exists()
    assert list_session(driver.pid) == []


def test_a_trial_is_noted_as_begun_when_its_turn_comes(workplace: Workplace) -> None:
    """One that is given back or refused without a process of its own never began."""
    for name in ("shared", "single-left"):
        workplace.add(name)
    noted: list[str] = []
    room = WaitingRoom(split_order(workplace.driver_order()), noted.append)
    assert room.take("att_trial_0_1")
    assert not room.take("att_trial_0_1")
    room.close()
    assert noted == ["att_trial_0_1"]
