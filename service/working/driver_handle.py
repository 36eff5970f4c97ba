"""A driver as the worker sees it: a child process in a session of its own, and the attempts it answers for."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from db.records.states import Reason
from service.errors import AttemptLostError, ServiceError
from service.settings import child_environment
from service.working.process_sessions import kill_session
from service.working.temporary_folders import TemporaryFolder
from service.working.work_orders import AttemptOrder, DriverOrder, split_order
from service.working.worker_client import AttemptClient, open_attempt

_LOG = logging.getLogger(__name__)


class DriverHandle:
    """A driver that runs.

    Args:
        order: What it drives.
        variables: Environment variables beside the worker's own; nothing secret.
    """

    def __init__(self, order: DriverOrder, variables: dict[str, str]) -> None:
        self._folder = TemporaryFolder()  # also what it and its children leave goes with it
        self._begun_path = self._folder.path / "begun"
        self.order = order.model_copy(update={"begun_path": str(self._begun_path)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "service.working.driver"],
            stdin=subprocess.PIPE,
            env=child_environment({**variables, **self._folder.variables}),
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self._write(self.order.to_line())
        self._was_told = False

    @property
    def pid(self) -> int:
        """Return the process id, which is that of the session as well."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    @property
    def begun(self) -> frozenset[str]:
        """Return the ids of the attempts whose processes it has begun; ask before `end`."""
        with contextlib.suppress(FileNotFoundError):
            return frozenset(self._begun_path.read_text(encoding="ascii").split())
        return frozenset()

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
        """Kill what is left of the driver's session, wait for the driver itself, and remove what they left."""
        kill_session(self.pid)
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        self._folder.remove()

    def _write(self, line: bytes) -> None:
        """Write to the driver's stdin; one that fell is found by its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line)
            self._stdin.flush()


class Releases:
    """Attempts of drivers that are gone: given back as soon as the server hears it, or forgotten with their lease."""

    def __init__(self) -> None:
        self._pending: list[_Release] = []

    def add(self, orders: Iterable[AttemptOrder], reason: Reason, message: str) -> None:
        """Give back attempts; those that ended by themselves stay as they are."""
        for order in orders:
            forget_at = time.monotonic() + order.lease_seconds
            self._pending.append(_Release(open_attempt(order, 0.0), reason, message, forget_at))

    def add_fallen(self, order: DriverOrder, begun: frozenset[str], what: str) -> None:
        """Give back what a fallen driver held; what had not begun cannot have been at fault, and does not count."""
        for one in split_order(order):
            if one.attempt_id in begun:
                self.add([one], Reason.WORKER_CRASHED, f"{what}.")
            else:
                self.add([one], Reason.WORKER_STOPPED, f"{what} before this trial began.")

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
