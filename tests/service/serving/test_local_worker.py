"""The worker beside a server: started, started again later and later, ended with the server."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.serving.local_worker import LocalWorker


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Hands:
    """A local worker on a clock that the test moves."""

    def __init__(self, code: str) -> None:
        self.seconds = 0.0
        self.worker = LocalWorker([sys.executable, "-c", code], dict(os.environ), lambda: self.seconds)

    def tend(self) -> int | None:
        """Look after the worker and return the child's process id."""
        self.worker.tend()
        return self.worker.pid


def test_a_fallen_worker_is_started_again_later_and_later(caplog: pytest.LogCaptureFixture) -> None:
    """The pauses double from one second on, and each fall is logged."""
    hands = Hands("raise SystemExit(3)")
    for pause in (1.0, 2.0, 4.0):
        assert hands.tend() is not None
        wait_for(lambda: hands.worker.has_ended)
        with caplog.at_level(logging.WARNING):
            assert hands.tend() is None
        hands.seconds += pause - 0.1
        assert hands.tend() is None
        hands.seconds += 0.1
    assert "ended with 3; starting it again in 4 s" in caplog.text
    hands.worker.end_now()


def test_a_worker_that_ran_well_comes_back_soon() -> None:
    """After a minute of running, the next pause is the first one again."""
    hands = Hands("raise SystemExit(3)")
    for _ in range(2):
        hands.tend()
        wait_for(lambda: hands.worker.has_ended)
        hands.seconds += 61.0
        hands.tend()
        hands.seconds += 1.0
    assert hands.tend() is not None
    hands.worker.end_now()


def test_a_worker_that_was_asked_to_stop_is_not_started_again() -> None:
    """Asked to stop, the child gets SIGTERM, and no other one comes."""
    hands = Hands("import time; time.sleep(60)")
    first = hands.tend()
    assert first is not None
    hands.worker.ask_to_stop()
    wait_for(lambda: hands.worker.has_ended)
    hands.seconds += 100.0
    assert hands.tend() is None


def test_a_worker_that_ignores_the_request_is_killed_with_its_group(tmp_path: Path) -> None:
    """At last nothing of it is left."""
    mark = tmp_path / "ready"
    code = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(mark)!r}, 'w').close(); time.sleep(60)"
    hands = Hands(code)
    child = hands.tend()
    assert child is not None
    wait_for(mark.exists)
    hands.worker.ask_to_stop()
    hands.worker.end_now()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_the_worker_sees_when_the_server_dies(tmp_path: Path) -> None:
    """Its standard input closes with the server, even if that is killed."""
    mark = tmp_path / "closed"
    child = f"import sys; sys.stdin.read(); open({str(mark)!r}, 'w').close()"
    server = (
        "import os, sys, time; from service.serving.local_worker import LocalWorker\n"
        f"w = LocalWorker([sys.executable, '-c', {child!r}], dict(os.environ)); w.tend(); print(w.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    wait_for(mark.exists)
