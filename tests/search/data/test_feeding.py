import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.data.digits import DigitsDataset
from search.data.feeding import PlannedBatch, WaitClock, feed, find_num_workers


class NoiseDataset:
    """Samples that are their own index, with noise by a generator; some take longer than others."""

    def __init__(self, broken: int | None = None, seconds: float = 0.0) -> None:
        self.broken, self.seconds = broken, seconds
        self.seen: list[str] = []

    def __len__(self) -> int:
        return 100

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return indices and noise."""
        chosen = torch.as_tensor(indices)
        self.seen.append(threading.current_thread().name)
        if self.broken in chosen.tolist():
            raise LookupError(f"sample {self.broken} is broken")
        time.sleep(self.seconds * (1 + int(chosen[0]) % 3))
        noise = torch.zeros(len(chosen), 64) if generator is None else torch.rand(len(chosen), 64, generator=generator)
        return {"image": noise.cumsum(1), "label": chosen}


def _plan(num: int, seed: int = 0) -> list[PlannedBatch]:
    """Return batches of two samples, every third without augmentation."""
    return [PlannedBatch(torch.tensor([step, step + 1]), None if step % 3 == 0 else seed + step) for step in range(num)]


def _workers() -> list[threading.Thread]:
    """Return the threads of all feeds that run."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


@settings(max_examples=25, deadline=None)
@given(num=st.integers(0, 12), num_workers=st.integers(0, 4), first=st.integers(0, 12), seed=st.integers(0, 99))
def test_batches_are_those_of_the_plain_loop(num: int, num_workers: int, first: int, seed: int) -> None:
    """To the bit, in order, from wherever the loop takes up the plan, with as many threads as you like."""
    dataset, plan = NoiseDataset(seconds=1e-4), _plan(num, seed)[first:]
    with feed(dataset, plan, num_workers=num_workers) as batches:
        found = list(batches)
    wanted = [planned.load(dataset) for planned in plan]
    assert len(found) == len(wanted)
    for batch, twin in zip(found, wanted, strict=True):
        assert list(batch) == list(twin)
        assert all(torch.equal(batch[name], twin[name]) for name in twin)
    assert not _workers()


def _await(dataset: NoiseDataset, num_batches: int) -> None:
    """Wait until a dataset has been asked for so many batches, and a little longer."""
    deadline = time.monotonic() + 20
    while len(dataset.seen) < num_batches and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)


def test_batches_are_made_before_they_are_asked_for() -> None:
    """One per worker beyond the one at hand, and no more, so that memory holds few of them."""
    dataset = NoiseDataset()
    with feed(dataset, _plan(50), num_workers=3) as batches:
        next(batches)
        _await(dataset, 4)
        assert len(dataset.seen) == 4
        next(batches)
        _await(dataset, 5)
        assert len(dataset.seen) == 5


def test_without_workers_the_loop_makes_its_batches_itself() -> None:
    """No thread is started, and nothing is made ahead of time."""
    dataset = NoiseDataset()
    with feed(dataset, _plan(8), num_workers=0) as batches:
        next(batches)
        assert dataset.seen == [threading.current_thread().name]
        assert not _workers()


def _consume(dataset: NoiseDataset, num_workers: int, found: list[Tensor], stop: BaseException | None = None) -> None:
    """Collect the labels of an endless plan; raise an exception after five of them."""
    plan = (PlannedBatch(torch.tensor([step % 100])) for step in count())
    with feed(dataset, plan, num_workers=num_workers) as batches:
        for batch in batches:
            found.append(batch["label"])
            if stop is not None and len(found) == 5:
                raise stop


@pytest.mark.parametrize("num_workers", [0, 3])
def test_an_error_comes_when_its_batch_comes(num_workers: int) -> None:
    """The batches before it are delivered, so that a loop which saves after each step loses none."""
    found = list[Tensor]()
    with pytest.raises(LookupError, match="sample 7 is broken"):
        _consume(NoiseDataset(broken=7), num_workers, found)
    assert len(found) == 7
    assert not _workers()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("cancelled")])
def test_leaving_the_loop_stops_all_threads(error: BaseException) -> None:
    """Whatever ended it, even in the middle of an endless plan."""
    with pytest.raises(type(error)):
        _consume(NoiseDataset(seconds=0.001), 2, [], error)
    assert not _workers()


def test_a_plan_that_breaks_off_stops_all_threads() -> None:
    """Its error reaches the loop."""

    def broken() -> Iterator[PlannedBatch]:
        yield PlannedBatch(torch.tensor([1]))
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"), feed(NoiseDataset(), broken(), num_workers=2) as batches:
        list(batches)
    assert not _workers()


def test_threads_of_torch_stay_as_they_were() -> None:
    """Workers compute alone; the loop keeps what it had, and so do threads that start later."""
    before, inside = torch.get_num_threads(), list[int]()
    torch.set_num_threads(3)
    try:
        with feed(NoiseDataset(), _plan(2), num_workers=2) as batches:
            list(batches)
            inside.append(torch.get_num_threads())
            later = threading.Thread(target=lambda: inside.append(torch.get_num_threads()))
            later.start()
            later.join()
        assert inside == [3, 3]
    finally:
        torch.set_num_threads(before)


def test_a_clock_tells_waiting_from_working() -> None:
    """Each reading begins anew."""
    times = iter([0.0, 1.0, 3.0, 10.0, 11.0, 12.0, 20.0])
    clock = WaitClock(now=lambda: next(times))
    with clock.waiting():
        pass
    assert clock.read() == (2.0, 10.0)
    with clock.waiting():
        pass
    assert clock.read() == (1.0, 10.0)


def test_what_lies_in_memory_is_not_prepared_ahead() -> None:
    """Other datasets get at least one thread, whatever the machine."""
    assert find_num_workers(DigitsDataset("val", 2, ["left"])) == 0
    assert find_num_workers(NoiseDataset()) >= 1
