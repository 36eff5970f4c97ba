"""The batches of a training loop, prepared ahead of it, and how long it waits for them.

Neighbours: `search.data.feeding` prepares; loops say what is upcoming.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from search.compute import Compute
from search.data.feeding import PlannedBatch, WaitClock, feed, find_num_workers
from search.data.loading import TaskDataset
from search.results import WAITING
from search.training.parts import Batch


class Batches:
    """The batches that a loop asks for, one after another.

    Args:
        coming: Gives them.
        clock: Counts how long the loop waits.
        is_told: Whether waiting is worth a word: batches in memory are not waited for.
    """

    def __init__(self, coming: Iterator[Batch], clock: WaitClock, *, is_told: bool) -> None:
        self._coming, self._clock, self._is_told = coming, clock, is_told

    def __next__(self) -> Batch:
        return next(self._coming)

    def describe_waiting(self) -> dict[str, float]:
        """Return the share of the time since the last call in which the loop waited, under its name."""
        waited, seconds = self._clock.read()
        return {WAITING: waited / seconds} if self._is_told and seconds > 0 else {}


@contextmanager
def feeding(dataset: TaskDataset, plan: Iterator[PlannedBatch], compute: Compute) -> Iterator[Batches]:
    """Give the batches of a plan for the length of a with block, in pinned memory where a GPU fetches them."""
    num_workers, clock = find_num_workers(dataset), WaitClock()
    with feed(dataset, plan, num_workers=num_workers, pin=compute.pins, clock=clock) as coming:
        yield Batches(coming, clock, is_told=num_workers > 0)
