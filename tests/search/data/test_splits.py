import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.splits import derive_seed, epoch_batches, make_generator, split_search
from search.errors import SettingError


def test_a_derived_seed_is_the_same_in_every_process() -> None:
    """The seed is fixed by its arguments alone; the number was written down once."""
    assert derive_seed(0, "order", 1) == 3808397609164980503


def test_derived_seeds_of_different_paths_differ() -> None:
    """Neither the kind of a part nor where parts are joined is lost."""
    paths: list[tuple[str | int, ...]] = [("a", "b"), ("ab",), ("a/b",), ("1",), (1,), (), ("a", "b", 0)]
    seeds = [derive_seed(7, *path) for path in paths] + [derive_seed(8, "a", "b")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_of_equal_seeds_draw_equal_numbers() -> None:
    """A generator is a function of seed and path."""
    first, second = (torch.rand(4, generator=make_generator(3, "noise")) for _ in range(2))
    assert torch.equal(first, second)


@settings(max_examples=30, deadline=None)
@given(num=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**31 - 1))
def test_the_search_split_covers_every_sample_once(num: int, fraction: float, seed: int) -> None:
    """Both parts are non-empty, disjoint, complete and drawn again identically."""
    weight_indices, arch_indices = split_search(num, fraction, seed)
    assert sorted(weight_indices.tolist() + arch_indices.tolist()) == list(range(num))
    assert min(len(weight_indices), len(arch_indices)) >= 1
    assert abs(len(arch_indices) - num * fraction) <= 1
    again = split_search(num, fraction, seed)
    assert torch.equal(again[0], weight_indices)
    assert torch.equal(again[1], arch_indices)


def test_another_seed_splits_otherwise() -> None:
    """The split follows the job's seed."""
    assert not torch.equal(split_search(100, 0.2, 0)[1], split_search(100, 0.2, 1)[1])


@pytest.mark.parametrize(("num", "fraction"), [(1, 0.2), (10, 0.0), (10, 1.0)])
def test_a_split_that_leaves_a_part_empty_is_refused(num: int, fraction: float) -> None:
    """One sample, or a fraction of nothing or all, cannot be split."""
    with pytest.raises(SettingError):
        split_search(num, fraction, 0)


@settings(max_examples=30, deadline=None)
@given(num=st.integers(1, 60), batch_size=st.integers(1, 20), epoch=st.integers(0, 5))
def test_an_epoch_sees_each_sample_at_most_once_in_full_batches(num: int, batch_size: int, epoch: int) -> None:
    """Only what does not fill a batch is left out, and only when there is a full one."""
    indices = torch.arange(100, 100 + num)
    batches = epoch_batches(indices, batch_size, 0, epoch, "weights")
    seen = torch.cat(batches).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(indices.tolist())
    expected = [batch_size] * (num // batch_size) if num >= batch_size else [num]
    assert [len(batch) for batch in batches] == expected


def test_orders_differ_by_epoch_and_purpose_and_repeat_by_seed() -> None:
    """The order is a pure function of seed, epoch and purpose."""
    indices = torch.arange(50)
    orders = [torch.cat(epoch_batches(indices, 10, 1, epoch, what)) for epoch in (0, 1) for what in ("weights", "arch")]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(orders[0], torch.cat(epoch_batches(indices, 10, 1, 0, "weights")))


def test_no_samples_give_no_batches() -> None:
    """An empty set of samples is an epoch without steps."""
    assert epoch_batches(torch.arange(0), 4, 0, 0, "weights") == []
