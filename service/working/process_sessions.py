"""Processes by session: everything that a child with a session of its own has started, found and ended by process id.

Children of children keep the session even when their parent dies, so nothing that was leaked stays behind. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessEntry:
    """A living process: its id, its session, and the words of its command line."""

    pid: int
    session: int
    command: str


def list_session(session: int) -> list[ProcessEntry]:
    """Return the living processes of a session; those that ended and were not waited for yet are left out."""
    found = (_read(folder) for folder in _PROC.iterdir() if folder.name.isdigit())
    return [entry for entry in found if entry is not None and entry.session == session]


def is_alive(pid: int) -> bool:
    """Return whether a process lives, one that ended and was not waited for yet does not."""
    return _read(_PROC / str(pid)) is not None


def kill_session(session: int) -> list[int]:
    """Kill every process of a session, but for this one, and return their ids."""
    killed: list[int] = []
    for _ in range(3):  # one that starts another while we look is caught in the next round
        entries = [entry for entry in list_session(session) if entry.pid not in (os.getpid(), *killed)]
        if not entries:
            break
        for entry in entries:
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.pid, signal.SIGKILL)
            killed.append(entry.pid)
    return killed


def _read(folder: Path) -> ProcessEntry | None:
    """Return the process that a folder of /proc describes, None where it is gone or only waits to be waited for."""
    try:
        state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else ProcessEntry(int(folder.name), int(session), command)
