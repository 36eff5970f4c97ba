"""Work in several processes gives what one gives, in order, and leaves nothing running."""

import math
import multiprocessing
import os
from itertools import count, islice

import pytest

from search.data.reading.reading_processes import FEWEST_FOR_PROCESSES, limit_processes, map_in_processes
from search.errors import DatasetError


@pytest.mark.parametrize("num_processes", [1, 2])
def test_results_come_in_order_and_errors_come_through(num_processes: int) -> None:
    """Until an item fails, the results are those of the items in their order."""
    found = map_in_processes(math.sqrt, iter([0, 1, 4, 9, 16, -1, 36]), num_processes)
    assert list(islice(found, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="math domain error"):
        next(found)
    assert not multiprocessing.active_children()


def test_items_are_taken_as_there_is_room() -> None:
    """A stream without an end is worked on bit by bit, and who stops early leaves nothing running."""
    found = map_in_processes(math.sqrt, count(1), 2)
    assert next(found) == 1
    found.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_said() -> None:
    """As the system's killer of large processes would end it."""
    with pytest.raises(DatasetError, match="ended from outside"):
        list(map_in_processes(os._exit, [9] * 6, 2))


def test_work_that_is_soon_done_starts_no_process() -> None:
    """Of longer work this process does the beginning, and no item is done twice or forgotten."""
    started = map_in_processes(math.sqrt, count(1), 2, seconds_alone=60)
    assert list(islice(started, 3)) == [1, math.sqrt(2), math.sqrt(3)]
    assert not multiprocessing.active_children()
    squares = [number**2 for number in range(60)]
    assert list(map_in_processes(math.sqrt, squares, 2, seconds_alone=2e-6)) == list(range(60))


def test_few_items_are_not_worth_a_process() -> None:
    """Starting one takes longer than reading some samples."""
    assert [limit_processes(4, number) for number in (0, FEWEST_FOR_PROCESSES)] == [1, 4]
