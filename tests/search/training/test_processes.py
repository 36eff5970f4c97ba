"""The line from a process to the ports outside; whole crews are in tests/search/test_lesson.py."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from search.ports import Cancelled, MemoryReporter, MemoryStore, Message, never_cancelled
from search.training.processes import _Line, _serve


@dataclass
class Ports:
    """What is outside, in memory."""

    store: MemoryStore = field(default_factory=MemoryStore)
    reporter: MemoryReporter = field(default_factory=MemoryReporter)
    cancelled: Cancelled = never_cancelled


def serve_all(connection: Connection, outside: Ports) -> None:
    """Serve a line until its other end is closed."""
    with suppress(EOFError):
        while True:
            name, arguments = connection.recv()
            _serve(connection, name, arguments, outside)


@pytest.mark.parametrize("speaks", [True, False])
def test_only_who_speaks_is_heard_outside(speaks: bool) -> None:
    """Events, files and deletions of a silent process go nowhere; what is outside it can read."""
    outside, (ours, theirs) = Ports(), Pipe()
    outside.store.write("begun", b"1")
    server = threading.Thread(target=serve_all, args=(theirs, outside))
    server.start()
    line = _Line(ours, speaks=speaks)
    line.emit(Message("hello"))
    line.write("state", b"2")
    assert [line.exists("begun"), line.exists("state")] == [True, speaks]
    assert line.read("begun") == b"1"
    line.delete("begun")
    assert line.cancelled() is False
    ours.close()
    server.join()
    assert outside.store.contents == ({"state": b"2"} if speaks else {"begun": b"1"})
    assert outside.reporter.events == ([Message("hello")] if speaks else [])
