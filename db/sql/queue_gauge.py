"""Whether one more job is welcome: counted to the job near a limit, at most once a second far below it.

To count thousands of rows under a lock for each submit would hold all other submits up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy import bindparam, func, select

from db.errors import QueueFullError
from db.questions import QueueLimits
from db.sql import schema
from db.sql.ledger import Ledger

_QUEUE_LOCK = "queue limits"
_TRUSTED_SECONDS = 1.0
_FAR = 1_000
"""Below a limit by so many, the count of the last second will do: other servers submit far fewer in it."""
_MOST_OWNERS = 1_000

_COUNT = select(func.count(), func.count().filter(schema.job.c.owner == bindparam("owner"))).where(schema.JOB_IS_OPEN)


class QueueGauge:
    """Knows roughly how many jobs are unfinished, and exactly where that matters.

    Args:
        now: Tells the seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._counted: dict[str, tuple[float, int, int]] = {}
        self._guard = threading.Lock()

    def check(self, ledger: Ledger, owner: str, limits: QueueLimits) -> None:
        """Return when one more job of an owner is welcome.

        Raises:
            QueueFullError: As many as may be are unfinished.
        """
        if self._is_far_off(owner, limits):
            return
        counts = _count(ledger, owner)
        if _is_far_below(counts, limits):
            self._remember(owner, counts)
            return
        if ledger.tx.is_postgres:  # SQLite has one writer: nobody else submits meanwhile.
            ledger.tx.lock_names([_QUEUE_LOCK])
            counts = _count(ledger, owner)
        _check_counts(counts, limits)

    def _is_far_off(self, owner: str, limits: QueueLimits) -> bool:
        """Return whether the limits are far by a count of the last second and what this process accepted since."""
        with self._guard:
            counted_at, total, own = self._counted.get(owner, (-_TRUSTED_SECONDS, 0, 0))
            if self._now() - counted_at >= _TRUSTED_SECONDS or not _is_far_below((total, own), limits):
                return False
            self._counted[owner] = (counted_at, total + 1, own + 1)
            return True

    def _remember(self, owner: str, counts: tuple[int, int]) -> None:
        """Trust a count for a second."""
        with self._guard:
            if len(self._counted) >= _MOST_OWNERS:
                self._counted.clear()
            self._counted[owner] = (self._now(), *counts)


def _count(ledger: Ledger, owner: str) -> tuple[int, int]:
    """Return how many unfinished jobs there are, in all and of an owner."""
    total, own = ledger.tx.connection.execute(_COUNT, {"owner": owner}).one()
    return int(total), int(own)


def _is_far_below(counts: tuple[int, int], limits: QueueLimits) -> bool:
    """Return whether both counts are so far below their limits that nobody need count exactly."""
    return counts[0] + _FAR <= limits.total and counts[1] + _FAR <= limits.per_owner


def _check_counts(counts: tuple[int, int], limits: QueueLimits) -> None:
    """Return when both counts are below their limits, or raise QueueFullError."""
    named = zip(counts, (limits.total, limits.per_owner), ("in all", "of one owner"), strict=True)
    for number, limit, whose in named:
        if number >= limit:
            raise QueueFullError(
                f"At most {limit} unfinished jobs {whose} are accepted, and {number} are there. "
                f"Wait until some have ended, then submit again."
            )
