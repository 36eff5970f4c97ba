"""A driver as the worker sees it: a child process in a session of its own, and the attempts it answers for."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
from dataclasses import dataclass

from db.records.states import Reason
from service.errors import AttemptLostError, ServiceError
from service.settings import child_environment
from service.working.process_sessions import kill_session
from service.working.work_orders import DriverOrder, split_order
from service.working.worker_client import AttemptClient, open_attempt

_LOG = logging.getLogger(__name__)


class DriverHandle:
    """A driver that runs.

    Args:
        order: What it drives.
        variables: Environment variables beside the worker's own; nothing secret.
    """

    def __init__(self, order: DriverOrder, variables: dict[str, str]) -> None:
        self.order = order
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service.working.driver"],
            stdin=subprocess.PIPE,
            env=child_environment(variables),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._write(order.to_line())
        self._was_told = False

    @property
    def pid(self) -> int:
        """Return the process id, which is that of the session as well."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def tell_cluster(self, address: str) -> None:
        """Tell the driver once where the Ray cluster is that it is to join."""
        if not self._was_told:
            self._was_told = True
            self._write(f"{address}\n".encode())

    def ask_to_stop(self) -> None:
        """Ask the driver to have its trials saved and given back."""
        if self.code is None:
            self._process.terminate()

    def end(self) -> None:
        """Kill what is left of the driver's session, and wait for the driver itself."""
        kill_session(self.pid)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def _write(self, line: bytes) -> None:
        """Write to the driver's stdin; one that fell is found by its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line)
            self._stdin.flush()


class Releases:
    """Attempts of drivers that are gone: given back as soon as the server hears it, or forgotten with their lease."""

    def __init__(self) -> None:
        self._pending: list[_Release] = []

    def add(self, order: DriverOrder, reason: Reason, message: str) -> None:
        """Give back all attempts of a claim; those that ended by themselves stay as they are."""
        forget_at = time.monotonic() + order.claim.lease_seconds
        self._pending += [_Release(open_attempt(one, 0.0), reason, message, forget_at) for one in split_order(order)]

    def try_all(self) -> None:
        """Tell the server once of every attempt that it has not heard of yet."""
        self._pending = [release for release in self._pending if not release.is_done()]


@dataclass(frozen=True)
class _Release:
    """One attempt to be given back."""

    client: AttemptClient
    reason: Reason
    message: str
    forget_at: float

    def is_done(self) -> bool:
        """Tell the server and return whether there is nothing more to tell."""
        try:
            self.client.release(self.reason, self.message)
        except AttemptLostError:
            pass  # it ended by itself, or somebody else has it
        except ServiceError as error:
            _LOG.warning("An attempt could not be given back yet: %s", error)
            if time.monotonic() < self.forget_at:
                return False
        self.client.close()
        return True
