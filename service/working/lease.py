"""What an attempt knows of its own lease, and the threads that keep it: heartbeats, and the guard that ends a zombie.

An attempt that lost its trial, or that reached no server for a whole lease, must not write any more: another attempt
may hold the trial by now. Time is this machine's monotonic clock, which goes on while the process is stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from db.records.jobs import Progress
from service.errors import AttemptLostError, ServerAwayError, ServiceProblem
from service.working.worker_client import AttemptClient, Stop

EXIT_FENCED = 3
"""Exit code of a process whose attempt lost its trial."""
_LOG = logging.getLogger(__name__)
_FASTEST_SECONDS = 1.0
_SLOWDOWN = 20.0  # heartbeats, which carry the progress, grow rarer with the age of the attempt: age / 20 apart


class Lease:
    """Until when an attempt may write, and how it was asked to stop.

    Args:
        lease_seconds: How long a heartbeat holds.
        now: Monotonic seconds.
    """

    def __init__(self, lease_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._now = now
        self._held_until = now() + lease_seconds
        self._lost = threading.Event()
        self.cancel_requested = threading.Event()

    @property
    def is_lost(self) -> bool:
        """Return whether the attempt must not write any more; once lost, it stays lost."""
        if self._now() > self._held_until:
            self._lost.set()
        return self._lost.is_set()

    def renew(self, asked_at: float) -> None:
        """Note that the server renewed the lease, which counts from when it was asked."""
        if not self.is_lost:
            self._held_until = max(self._held_until, asked_at + self._lease_seconds)

    def lose(self) -> None:
        """Note that the trial is not this attempt's any more."""
        self._lost.set()

    def check_held(self) -> None:
        """Raise AttemptLostError when the attempt must not write any more."""
        if self.is_lost:
            raise AttemptLostError("The lease of this attempt is over. Nothing more is written.")


class Heart:
    """Sends heartbeats from a thread of its own until it is stopped or the lease is lost.

    Args:
        client: Speaks for the attempt, with little patience: the next heartbeat tries again.
        lease: Renewed by every answer.
        seconds: Between two heartbeats of an old attempt; a young one sends them more often, for those who watch.
        progress: Tells how far the run is.
    """

    def __init__(
        self, client: AttemptClient, lease: Lease, *, seconds: float, progress: Callable[[], Progress]
    ) -> None:
        self._client = client
        self._lease = lease
        self._seconds = seconds
        self._progress = progress
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; one that is under way is waited for no longer than a moment."""
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def beat(self) -> None:
        """Send one heartbeat and note what the server says."""
        asked_at = time.monotonic()
        try:
            self._obey(self._client.heartbeat(self._progress()))
            self._lease.renew(asked_at)
        except AttemptLostError as error:
            _LOG.warning("Attempt %s lost its trial: %s", self._client.attempt_id, error)
            self._lease.lose()
        except (ServerAwayError, ServiceProblem) as error:
            _LOG.warning("Attempt %s got no answer to its heartbeat: %s", self._client.attempt_id, error)

    def _obey(self, stop: Stop | None) -> None:
        """Note how the server wants the attempt to stop."""
        if stop == "kill":
            self._lease.lose()
        elif stop == "cancel":
            self._lease.cancel_requested.set()

    def _run(self) -> None:
        """Send until there is no more reason to."""
        born = time.monotonic()
        while not self._lease.is_lost:
            pause = min(self._seconds, max(_FASTEST_SECONDS, (time.monotonic() - born) / _SLOWDOWN))
            if self._stopped.wait(pause):
                return
            self.beat()


class Guard:
    """Ends the process when the run does not end by itself in time: a fenced one, a cancelled one, a stopped one.

    Args:
        lease: Of the attempt.
        stop_requested: Set when the worker wants the process to end.
        end_now: Ends the process; gets "lost", "cancel" or "stop".
        stop_seconds: How long the run may go on after the worker wants it to end.
    """

    LOST_SECONDS = 3.0
    CANCEL_SECONDS = 30.0

    def __init__(
        self, lease: Lease, stop_requested: threading.Event, end_now: Callable[[str], None], *, stop_seconds: float
    ) -> None:
        self._lease = lease
        self._stop_requested = stop_requested
        self._end_now = end_now
        self._stop_seconds = stop_seconds
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more: the run has ended by itself."""
        self._finished.set()

    def _run(self) -> None:
        """Look several times a second for how long each reason to end has stood."""
        since: dict[str, float] = {}
        limits = {"lost": self.LOST_SECONDS, "stop": self._stop_seconds, "cancel": self.CANCEL_SECONDS}
        while not self._finished.wait(0.2):
            standing = {
                "lost": self._lease.is_lost,
                "stop": self._stop_requested.is_set(),
                "cancel": self._lease.cancel_requested.is_set(),
            }
            for why in (why for why, stands in standing.items() if stands):
                if time.monotonic() - since.setdefault(why, time.monotonic()) > limits[why]:
                    self._end_now(why)
                    return
