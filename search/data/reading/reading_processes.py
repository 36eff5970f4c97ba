"""Work on many samples in several processes: results come in order, and nothing is left running however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from search.errors import DatasetError

FEWEST_FOR_PROCESSES = 24
"""Items below which it does not pay to start processes."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def count_processors() -> int:
    """Return how many processes may compute at once here."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every Unix
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def limit_processes(num_processes: int, num_items: int) -> int:
    """Return how many of the allowed processes it pays to start for some items, 1 for this one alone."""
    return num_processes if num_items >= FEWEST_FOR_PROCESSES else 1


def map_in_processes(
    work: Callable[[_Item], _Result], items: Iterable[_Item], num_processes: int, *, seconds_alone: float = 0.0
) -> Iterator[_Result]:
    """Yield the result of every item, in order; nothing is left running however this ends.

    Args:
        work: What is done with an item; it is sent to each process once, so it must be picklable.
        items: What to work on; taken one by one, as there is room for them.
        num_processes: Processes that work, 1 for this one alone.
        seconds_alone: How long this process works by itself before it starts others, which takes some seconds.

    Raises:
        DatasetError: A process was ended from outside.
    """
    items, deadline = iter(items), time.monotonic() + seconds_alone
    while num_processes < 2 or time.monotonic() < deadline:
        for item in items:
            yield work(item)
            break
        else:
            return
    # Fresh processes: a copy of one that has started torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, _begin_process, (work,))
    try:
        yield from _map_in_order(pool, items, 4 * num_processes)
    except BrokenProcessPool as error:
        raise DatasetError(
            "A helping process was ended from outside, perhaps for want of memory. Free some and start again."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _map_in_order(pool: ProcessPoolExecutor, items: Iterable[Any], most_pending: int) -> Iterator[Any]:
    """Yield the results of a pool in order, with few items waiting in it at a time."""
    pending: deque[Future[Any]] = deque()
    for item in items:
        pending.append(pool.submit(_work_on, item))
        if len(pending) > most_pending:
            yield pending.popleft().result()
    for future in pending:
        yield future.result()


_work: Callable[[Any], Any] | None = None
"""What a helping process does with its items; sent once, not with every item."""


def _begin_process(work: Callable[[Any], Any]) -> None:
    """Prepare a helping process: Ctrl-C is its parent's business, and it leaves when its parent does."""
    global _work  # noqa: PLW0603 - a process pool hands its workers nothing else that lasts
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process once its parent is gone, even by a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work_on(item: Any) -> Any:
    """Return the result of one item in a helping process."""
    assert _work is not None  # _begin_process has run
    return _work(item)
