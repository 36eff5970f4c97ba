"""The guard of an attempt: who does not stop in time is ended, and not before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from service.working.lease import Guard, Lease

Wait = Callable[..., None]


def test_a_run_gets_the_time_it_was_given_to_stop(wait_until: Wait) -> None:
    """Asked to stop, it is ended when that time is over and not earlier."""
    ends: list[tuple[str, float]] = []
    stop = threading.Event()
    guard = Guard(Lease(60.0), stop, lambda why: ends.append((why, time.monotonic())), stop_seconds=0.6)
    guard.start()
    asked_at = time.monotonic()
    stop.set()
    wait_until(lambda: ends, 10, "the end")
    ((why, ended_at),) = ends
    assert why == "stop"
    assert ended_at - asked_at >= 0.6


def test_a_run_that_stops_in_time_is_left_alone() -> None:
    """Once it has ended by itself, the guard does nothing any more."""
    ends: list[str] = []
    stop = threading.Event()
    guard = Guard(Lease(60.0), stop, ends.append, stop_seconds=0.3)
    guard.start()
    stop.set()
    guard.stop()
    time.sleep(0.8)
    assert ends == []
