"""Processes by session: what a child has started is found and ended with it, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
import time

from service.working.process_sessions import is_alive, kill_session, list_session

NESTED = (
    "import os, subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], process_group=0);"
    "print(child.pid, flush=True); time.sleep(60)"
)


def start(code: str) -> subprocess.Popen[bytes]:
    """Start a Python with a session of its own."""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)


def test_everything_of_a_session_ends_even_when_its_parent_is_gone() -> None:
    """A grandchild in a group of its own, whose parent was killed, is still of the session."""
    with start(NESTED) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        child.kill()
        child.wait()
        assert [entry.pid for entry in list_session(child.pid)] == [grandchild]
        assert kill_session(child.pid) == [grandchild]
    deadline = time.monotonic() + 5
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list_session(child.pid) == []


def test_a_session_of_others_is_left_alone() -> None:
    """Killing one leaves the other running; one that ended but was not waited for counts as dead."""
    with start("import time; time.sleep(60)") as one, start("import time; time.sleep(60)") as other:
        kill_session(one.pid)
        time.sleep(0.1)
        assert not is_alive(one.pid)
        assert is_alive(other.pid)
        assert kill_session(other.pid) == [other.pid]


def test_no_session_has_no_processes() -> None:
    """An id that nobody has gives nothing."""
    assert list_session(2**22 + 1) == []
    assert kill_session(2**22 + 1) == []
