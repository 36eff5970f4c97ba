"""Token buckets: how much one caller may ask, refilled evenly."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MAX_KEYS = 20_000


@dataclass(frozen=True)
class Allowance:
    """What is left of a bucket.

    Attributes:
        allowed: Whether the request may go on.
        remaining: Whole requests left.
        limit: Size of the bucket.
        reset_seconds: Until the bucket is full again.
        retry_seconds: Until the next request is allowed; 0 when one is now.
        window_seconds: In which an empty bucket fills.
    """

    allowed: bool
    remaining: int
    limit: int
    reset_seconds: int
    retry_seconds: int
    window_seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Return the RateLimit fields (IETF draft), and Retry-After where the request was refused."""
        fields = {
            "RateLimit-Policy": f'"default";q={self.limit};w={self.window_seconds}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_seconds}',
        }
        return fields if self.allowed else {**fields, "Retry-After": str(self.retry_seconds)}


class TokenBuckets:
    """One bucket per key; safe to use from several threads.

    Args:
        per_second: Refill.
        size: Requests that a full bucket holds.
        now: Tells the seconds.
    """

    def __init__(self, per_second: float, size: int, now: Callable[[], float]) -> None:
        self.per_second = per_second
        self.size = size
        self._now = now
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> Allowance:
        """Return what is left after one request, which is counted if it is allowed."""
        with self._lock:
            level = self._refill(key)
            allowed = level >= 1
            level -= allowed
            self._levels[key] = (level, self._now())
            self._levels.move_to_end(key)
            if len(self._levels) > _MAX_KEYS:  # the longest unused bucket is full again, or nearly so
                self._levels.popitem(last=False)
        return self._describe(level, allowed)

    def _refill(self, key: str) -> float:
        """Return the level of a bucket now."""
        level, since = self._levels.get(key, (float(self.size), self._now()))
        return min(float(self.size), level + (self._now() - since) * self.per_second)

    def _describe(self, level: float, allowed: bool) -> Allowance:
        """Return a level in the words of the RateLimit fields."""
        return Allowance(
            allowed=allowed,
            remaining=max(0, math.floor(level)),
            limit=self.size,
            reset_seconds=math.ceil((self.size - level) / self.per_second),
            retry_seconds=max(1, math.ceil((1 - level) / self.per_second)) if level < 1 else 0,
            window_seconds=math.ceil(self.size / self.per_second),
        )
