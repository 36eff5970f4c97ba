"""The worker that a server starts beside itself: begun again when it falls, ended with the server.

The worker reads a pipe whose other end the server holds: however the server dies, the pipe closes and the worker goes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_STEADY_SECONDS = 60.0


class LocalWorker:
    """Keeps one child process running.

    Args:
        command: What to run.
        environment: Its environment.
        now: Tells the seconds.
    """

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = list(command)
        self._environment = environment
        self._now = now
        self._child: subprocess.Popen[bytes] | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._started_at = 0.0
        self._next_start = 0.0
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, None while there is none."""
        return None if self._child is None else self._child.pid

    def tend(self) -> None:
        """Start the child when it is not there and its pause is over; call it several times a second."""
        if self._child is not None and self._child.poll() is not None:
            self._note_end(self._child)
            self._child = None
        if self._child is None and not self._stopping and self._now() >= self._next_start:
            self._child = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in the terminal reaches the server, which ends the worker itself
            )
            self._started_at = self._now()

    def ask_to_stop(self) -> None:
        """Ask the child to save its work and end; returns at once."""
        self._stopping = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    @property
    def has_ended(self) -> bool:
        """Return whether there is no living child."""
        return self._child is None or self._child.poll() is not None

    def end_now(self) -> None:
        """Kill what is left of the child and its group."""
        self._stopping = True
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()

    def _note_end(self, child: subprocess.Popen[bytes]) -> None:
        """Plan the next start after the child has ended: later and later while it falls soon after its start."""
        if child.stdin is not None:
            child.stdin.close()
        if self._now() - self._started_at >= _STEADY_SECONDS:
            self._pause = _FIRST_PAUSE_SECONDS
        self._next_start = self._now() + self._pause
        if not self._stopping:
            _LOG.warning("The local worker ended with %s; starting it again in %g s.", child.returncode, self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
