"""Batches prepared ahead of the loop that trains on them, the same to the bit as if the loop had made them itself.

Threads do it, not processes: reading, converting and augmenting let go of Python's lock, nothing has to be copied
between processes, and nothing is left behind by a stop. `benchmarks/loading.py` compares the two.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from search.data.cores import choose_num_workers, count_cores
from search.data.loading import TaskDataset

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class PlannedBatch:
    """What determines a batch.

    Attributes:
        indices: Its samples in order, int64 (B,).
        seed: Of the generator that draws its augmentation, see `search.data.splits.derive_seed`; None for samples as
            they are.
    """

    indices: Tensor
    seed: int | None = None

    def load(self, dataset: TaskDataset) -> Batch:
        """Return the batch; equal calls give equal batches."""
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        return dataset.batch(self.indices, generator)


@dataclass
class WaitClock:
    """How long a loop had to wait for its batches, of all the time that passed in it.

    Attributes:
        now: Tells seconds.
        waited_seconds: Spent waiting since the last reading.
    """

    now: Callable[[], float] = time.perf_counter
    waited_seconds: float = 0.0
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.now()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of a block as spent waiting."""
        start = self.now()
        try:
            yield
        finally:
            self.waited_seconds += self.now() - start

    def read(self) -> tuple[float, float]:
        """Return (seconds waited, seconds in all) since the last reading or the beginning, and begin anew."""
        now = self.now()
        reading = self.waited_seconds, now - self._started
        self.waited_seconds, self._started = 0.0, now
        return reading


def find_num_workers(dataset: TaskDataset) -> int:
    """Return how many threads should prepare the batches of a dataset in this process; 0 for one in memory."""
    return choose_num_workers(count_cores(), in_memory=getattr(dataset, "in_memory", False))


@contextmanager
def feed(
    dataset: TaskDataset,
    plan: Iterable[PlannedBatch],
    *,
    num_workers: int,
    pin: bool = False,
    clock: WaitClock | None = None,
) -> Iterator[Iterator[Batch]]:
    """Give the batches of a plan in order, for the length of a with block; its end stops all threads.

    An error in a batch is raised when its turn comes, as if the loop had made the batch itself.

    Args:
        dataset: Where the samples come from; its `batch` is called by several threads at once.
        plan: What to prepare, read one batch per worker ahead of the loop; may be endless.
        num_workers: Threads that prepare batches ahead; 0 makes each when it is asked for.
        pin: Whether to put batches into page-locked memory, from which a GPU copies while it computes.
        clock: Counts how long the consumer waits.
    """
    clock = clock or WaitClock()
    load = partial(_load, dataset, pin)
    if num_workers == 0:
        yield _make_batches(load, plan, clock)
        return
    # Reading this settles torch's number of threads for the calling thread, before the workers change the default.
    num_threads = torch.get_num_threads()
    begun = threading.Barrier(num_workers + 1)
    pool = ThreadPoolExecutor(num_workers, "feed", _begin_worker, (begun,))
    try:
        for _ in range(num_workers):
            pool.submit(int)  # each starts a thread, since none is idle before the barrier
        begun.wait()
        torch.set_num_threads(num_threads)
        yield _take_batches(partial(pool.submit, load), plan, num_workers, clock)
    finally:
        begun.abort()  # should not all of them have started
        pool.shutdown(wait=True, cancel_futures=True)


def _make_batches(
    load: Callable[[PlannedBatch], Batch], plan: Iterable[PlannedBatch], clock: WaitClock
) -> Iterator[Batch]:
    """Yield the batches, each made when it is asked for: the plain twin of `_take_batches`."""
    for planned in plan:
        with clock.waiting():
            batch = load(planned)
        yield batch


def _take_batches(
    submit: Callable[[PlannedBatch], Future[Batch]], plan: Iterable[PlannedBatch], num_ahead: int, clock: WaitClock
) -> Iterator[Batch]:
    """Yield the batches in order while the next ones are prepared."""
    coming: deque[Future[Batch]] = deque()
    for planned in plan:
        coming.append(submit(planned))
        if len(coming) > num_ahead:
            yield _wait_for(coming, clock)
    while coming:
        yield _wait_for(coming, clock)


def _wait_for(coming: deque[Future[Batch]], clock: WaitClock) -> Batch:
    """Return the next batch, which nothing else holds on to any more."""
    with clock.waiting():
        return coming.popleft().result()


def _load(dataset: TaskDataset, pin: bool, planned: PlannedBatch) -> Batch:
    """Return a batch, in page-locked memory where that is wanted."""
    batch = planned.load(dataset)
    return {name: tensor.pin_memory() for name, tensor in batch.items()} if pin else batch


def _begin_worker(begun: threading.Barrier) -> None:
    """Prepare a thread: it computes alone, since several batches are made at the same time."""
    torch.set_num_threads(1)
    begun.wait()
