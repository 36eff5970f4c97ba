"""Events as they come, for many clients: one look at the database for all, a bounded queue for each.

A client that is slow loses its queue, not its events: it reads them from the database when it can take more. A job's
events are numbered without gaps, so a missing one is seen by its number.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from db.errors import DbError, NotFoundError
from db.records.jobs import EventRecord
from db.records.states import JobState
from db.stores import Store
from service.server_settings import EventLimits
from service.web.problems import ProblemError

_LOG = logging.getLogger(__name__)
_PAGE = 500
_OVERLAP_SECONDS = 2.0  # a transaction that began earlier may commit later: what is this young is read again
_RETRY_MS = 2000
_EVERY_JOB = ""  # stands for all jobs where an id names one
_NEWS_KINDS = frozenset({"state", "trial", "progress"})


class Subscription:
    """What one client has not been sent yet."""

    def __init__(self, job_id: str, size: int) -> None:
        self.job_id = job_id
        self._waiting: deque[EventRecord] = deque()
        self._size = size
        self._newest = 0
        self._overflowed = False
        self._news = asyncio.Event()

    def offer(self, event: EventRecord) -> None:
        """Add an event unless it came before."""
        if event.seq > self._newest:
            self._newest = event.seq
            self.add(event)

    def add(self, event: EventRecord) -> None:
        """Add an event; when the client lags too far behind, all are dropped and it is told."""
        if len(self._waiting) >= self._size:
            self._waiting.clear()
            self._overflowed = True
        elif not self._overflowed:
            self._waiting.append(event)
        self._news.set()

    def wake(self) -> None:
        """Let the client look around: the server is about to end."""
        self._news.set()

    async def take(self, timeout_seconds: float) -> tuple[list[EventRecord], bool]:
        """Return what has come, and whether something was dropped; empty-handed after the timeout."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        except TimeoutError:
            return [], False
        self._news.clear()
        events, overflowed = list(self._waiting), self._overflowed
        self._waiting.clear()
        self._overflowed = False
        return events, overflowed


class EventHub:
    """Looks for new events and hands them to those who follow their job.

    Args:
        store: Where the events are.
        limits: How often, how many, how long.
        draining: Ends all streams when it is set.
    """

    def __init__(self, store: Store, limits: EventLimits, draining: threading.Event) -> None:
        self._store = store
        self._limits = limits
        self._draining = draining
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._num_streams = 0
        self._marks: deque[tuple[float, int]] = deque()  # (seen at, newest global id then), oldest first
        self._told: frozenset[int] = frozenset()  # global ids above the oldest mark that were handed out already
        self._starting = asyncio.Lock()

    @property
    def num_streams(self) -> int:
        """Return how many clients follow a job now."""
        return self._num_streams

    def check_room(self) -> None:
        """Refuse one more stream than there may be, and all when the server is about to end.

        Raises:
            ProblemError: too_many_streams, draining.
        """
        if self._draining.is_set():
            raise ProblemError("draining", headers={"Retry-After": "5"})
        if self._num_streams >= self._limits.max_streams:
            raise ProblemError("too_many_streams", headers={"Retry-After": "5"})

    async def run(self) -> None:
        """Look for new events until cancelled; a database that is away is asked again."""
        away = False
        while True:
            await asyncio.sleep(self._limits.poll_seconds)
            if self._draining.is_set():
                self._wake_all()
            elif self._subscriptions:
                try:
                    await self._poll()
                    away = False
                except DbError:
                    if not away:
                        _LOG.warning("Events cannot be read: the database does not answer.")
                    away = True

    async def follow(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        """Yield the events of a job above `after` as server-sent events, until it has ended or the server ends.

        Args:
            job_id: A job that exists.
            after: Number of the last event that the client has.
        """
        subscription = await self._subscribe(job_id)
        try:
            yield f"retry: {_RETRY_MS}\n\n".encode()
            last, behind = after, True
            while not self._draining.is_set():
                if behind:
                    async for event in self._read_stored(job_id, last):
                        last = event.seq
                        yield frame_event(event)
                    if await self._has_ended(job_id, last):
                        return
                events, behind = await subscription.take(self._limits.ping_seconds)
                if not events and not behind:
                    yield b": ping\n\n"
                    behind = True  # a look at the database now and then heals whatever went wrong before
                for event in events:
                    if event.seq == last + 1:
                        last = event.seq
                        yield frame_event(event)
                    behind = behind or event.seq > last or _is_final(event)
        finally:
            self._unsubscribe(subscription)

    async def follow_news(self) -> AsyncIterator[bytes]:
        """Yield what changes the lists of jobs (state, trial, progress) from now on, until the server ends.

        Nothing is repeated: who was away, or is told `reset` for being slow, reads the lists again.
        """
        subscription = await self._subscribe(_EVERY_JOB)
        try:
            yield f"retry: {_RETRY_MS}\n\n".encode()
            while not self._draining.is_set():
                events, overflowed = await subscription.take(self._limits.ping_seconds)
                if overflowed:
                    yield b"event: reset\ndata: {}\n\n"
                elif not events:
                    yield b": ping\n\n"
                for event in events:
                    yield frame_news(event)
        finally:
            self._unsubscribe(subscription)

    async def _read_stored(self, job_id: str, after: int) -> AsyncIterator[EventRecord]:
        """Yield the stored events of a job above a number; an away database ends it early, which pings will repeat."""
        while True:
            try:
                page = await run_in_threadpool(self._store.list_events, job_id, after=after, limit=_PAGE)
            except DbError:
                return
            for event in page:
                after = event.seq
                yield event
            if len(page) < _PAGE or self._draining.is_set():
                return

    async def _has_ended(self, job_id: str, last: int) -> bool:
        """Return whether a job is gone, or has ended and all its events are sent."""
        try:
            job = await run_in_threadpool(self._store.get_job, job_id)
            _, newest = await run_in_threadpool(self._store.get_last_event, job_id)
        except NotFoundError:
            return True
        except DbError:
            return False
        return job.state.is_terminal and last >= newest

    async def _subscribe(self, job_id: str) -> Subscription:
        """Return a new subscription, from which on no event of the job is missed."""
        self._num_streams += 1
        subscription = Subscription(job_id, self._limits.queue_size)
        try:
            async with self._starting:
                if not self._subscriptions:
                    newest = await run_in_threadpool(self._store.get_newest_event_id)
                    self._marks = deque([(time.monotonic(), newest)])
                    self._told = frozenset()
                self._subscriptions.setdefault(job_id, set()).add(subscription)
        except BaseException:
            self._num_streams -= 1
            raise
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._num_streams -= 1
        followers = self._subscriptions.get(subscription.job_id, set())
        followers.discard(subscription)
        if not followers:
            self._subscriptions.pop(subscription.job_id, None)

    async def _poll(self) -> None:
        """Hand out what is new, and once more what is so young that a late one may stand before it."""
        now = time.monotonic()
        while len(self._marks) > 1 and self._marks[1][0] <= now - _OVERLAP_SECONDS:
            self._marks.popleft()
        after = self._marks[0][1]
        told: set[int] = set()
        while True:
            page = await run_in_threadpool(self._store.list_new_events, after, 1000)
            for global_id, event in page:
                after = global_id
                for subscription in tuple(self._subscriptions.get(event.job_id, ())):
                    subscription.offer(event)
                if global_id not in self._told and event.kind in _NEWS_KINDS:
                    for subscription in tuple(self._subscriptions.get(_EVERY_JOB, ())):
                        subscription.add(event)
                told.add(global_id)
            if len(page) < 1000:
                break
        self._told = frozenset(told)
        if self._marks and after > self._marks[-1][1]:
            self._marks.append((now, after))

    def _wake_all(self) -> None:
        """Let every client see that the server is about to end."""
        for followers in self._subscriptions.values():
            for subscription in followers:
                subscription.wake()


def frame_event(event: EventRecord) -> bytes:
    """Return an event as it stands on the wire; its data is one line of ASCII."""
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {json.dumps(dict(event.data))}\n\n".encode()


def frame_news(event: EventRecord) -> bytes:
    """Return an event as it stands on the wire among those of other jobs: without a number to go on from."""
    data = {"job_id": event.job_id, **event.data}
    return f"event: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()


def _is_final(event: EventRecord) -> bool:
    """Return whether an event says that its job has ended."""
    return event.kind == "state" and JobState(event.data["state"]).is_terminal
