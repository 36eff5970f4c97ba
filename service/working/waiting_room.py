"""The trials of a claim that no process runs yet: their leases are held, and they are given back when that ends.

Neighbours: an executor takes trials out as their turn comes; who takes one out answers for it from then on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from db.records.states import Reason
from service.errors import AttemptLostError, ServerAwayError, ServiceError, ServiceProblem
from service.working.work_orders import AttemptOrder
from service.working.worker_client import AttemptClient, open_attempt

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 2.0
_BEATS_PER_LEASE = 4


class WaitingRoom:
    """Holds the leases of trials that wait.

    Args:
        orders: All trials of a claim; they all wait at first.
        note_begun: Gets the id of each attempt whose process begins, before anything else happens to it.
    """

    def __init__(
        self, orders: Sequence[AttemptOrder], note_begun: Callable[[str], None] = lambda attempt_id: None
    ) -> None:
        self._note_begun = note_begun
        self._orders = {order.attempt_id: order for order in orders}
        self._clients = {order.attempt_id: open_attempt(order, _PATIENCE_SECONDS) for order in orders}
        self._waiting = set(self._orders)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        first = orders[0]
        self._seconds = min(first.heartbeat_seconds, first.lease_seconds / _BEATS_PER_LEASE)
        self._thread = threading.Thread(target=self._run, name="waiting-room", daemon=True)
        self._thread.start()

    def take(self, attempt_id: str) -> bool:
        """Take a trial out because its process begins; return whether it was still there to be taken."""
        taken = self._drop(attempt_id)
        if taken:
            self._note_begun(attempt_id)
        return taken

    def is_waiting(self, attempt_id: str) -> bool:
        """Return whether a trial waits and is still ours."""
        return attempt_id in self._waiting

    def give_back(self, attempt_id: str, reason: Reason, message: str) -> None:
        """Release an attempt whose process is gone, or that never had one; one that has ended stays as it is."""
        self._drop(attempt_id)
        self._say(self._clients[attempt_id], "release", reason, message)

    def refuse(self, attempt_id: str, reason: Reason, message: str) -> None:
        """Fail an attempt that cannot be run here."""
        self._drop(attempt_id)
        self._say(self._clients[attempt_id], "fail", reason, message)

    def give_back_all(self, reason: Reason, message: str) -> None:
        """Release all trials that still wait."""
        for attempt_id in list(self._waiting):
            self.give_back(attempt_id, reason, message)

    def close(self) -> None:
        """Stop holding leases."""
        self._closed.set()
        self._thread.join(timeout=1.0)
        for client in self._clients.values():
            client.close()

    def _drop(self, attempt_id: str) -> bool:
        """Wait no more for the turn of a trial; return whether it was still waited for."""
        with self._lock:
            if attempt_id in self._waiting:
                self._waiting.discard(attempt_id)
                return True
            return False

    def _run(self) -> None:
        """Send heartbeats for all that wait until the room closes."""
        while not self._closed.wait(self._seconds):
            for attempt_id in list(self._waiting):
                if self._closed.is_set():
                    return
                self._beat(attempt_id)

    def _beat(self, attempt_id: str) -> None:
        """Send a heartbeat for one that waits, and do what the server answers."""
        client = self._clients[attempt_id]
        try:
            stop = client.heartbeat(None)
        except AttemptLostError:
            self._drop(attempt_id)
            return
        except (ServerAwayError, ServiceProblem) as error:
            _LOG.warning("A waiting trial got no answer to its heartbeat: %s", error)
            return
        if stop == "kill":
            self._drop(attempt_id)
        elif stop == "cancel" and self._drop(attempt_id):
            deadline = self._orders[attempt_id].job.deadline_at
            if deadline is not None and datetime.now(UTC) >= deadline:
                self._say(client, "fail", Reason.DEADLINE, "The deadline of the job passed before this trial began.")
            else:
                self._say(client, "fail", Reason.USER_CANCEL, "Cancelled before this trial began.")

    @staticmethod
    def _say(client: AttemptClient, word: str, reason: Reason, message: str) -> None:
        """Say the last word for an attempt; where the server cannot be told, the lease runs out by itself."""
        try:
            if word == "release":
                client.release(reason, message)
            else:
                client.fail(reason, message)
        except AttemptLostError:
            pass  # it ended by itself
        except ServiceError as error:
            _LOG.warning("The server was not told that an attempt is over: %s", error)
