"""Lines from the process that started this one, read without the lock that Python holds on its stdin.

A thread that waits in `sys.stdin` when the process ends makes Python abort; one that waits here does not.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator


def read_lines(handle: int | None = None) -> Iterator[bytes]:
    """Yield the lines of a pipe, of this process's stdin when none is given, until its other end is closed."""
    source = sys.stdin.fileno() if handle is None else handle
    rest = b""
    while chunk := os.read(source, 65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def follow_lines(lines: Iterator[bytes], take: Callable[[bytes], None], ended: Callable[[], None]) -> None:
    """Hand over the lines that are still to come, from a thread, and tell when there are no more."""

    def follow() -> None:
        """Read until the end."""
        for line in lines:
            take(line)
        ended()

    threading.Thread(target=follow, name="stdin", daemon=True).start()
