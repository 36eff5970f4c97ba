import os

import pytest
import torch

from search.data.cores import MOST_WORKERS, choose_num_workers, count_cores
from search.data.digits import DigitsDataset


def test_a_process_keeps_to_what_it_was_given() -> None:
    """Torch's threads bound it, which Ray sets, and so does its affinity."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert count_cores() == 1
        torch.set_num_threads(500)
        assert count_cores() == len(os.sched_getaffinity(0))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("num_cores", "num_workers"), [(1, 1), (2, 1), (3, 2), (8, 7), (64, MOST_WORKERS)])
def test_one_core_is_left_to_the_training(num_cores: int, num_workers: int) -> None:
    """But a single one still reads ahead while a GPU computes."""
    assert choose_num_workers(num_cores, in_memory=False) == num_workers


def test_what_lies_in_memory_needs_no_workers() -> None:
    """Handing over a slice would cost more than taking it."""
    assert choose_num_workers(16, in_memory=DigitsDataset.in_memory) == 0
