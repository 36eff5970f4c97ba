"""Held-out losses with labels missing: exact means by task, the old sum where nothing is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.training.held_out import HELD_OUT, mean_by_task, mean_held_out, note_first_losses, sum_held_out

TASKS = ("a", "b", "c")
LOSSES = st.floats(0.01, 100)
FULL = st.lists(st.fixed_dictionaries(dict.fromkeys(TASKS, LOSSES)), min_size=1, max_size=8)


@given(rows=FULL)
def test_with_all_labels_it_is_the_mean_of_the_sums(rows: list[dict[str, float]]) -> None:
    """To the bit what the loop has always computed: the losses of each batch added up, then the mean of the batches."""
    totals = []
    for row in rows:
        total = 0.0
        for loss in row.values():
            total += loss
        totals.append(total)
    assert sum_held_out(rows, mean_by_task(rows, {}), TASKS) == sum(totals) / len(totals)


@given(rows=FULL, present=st.data())
def test_missing_labels_do_not_make_a_task_cheaper(rows: list[dict[str, float]], present: st.DataObject) -> None:
    """Each task counts with the mean of the batches in which it had labels, however few these are."""
    kept = [present.draw(st.sets(st.sampled_from(TASKS))) for _ in rows]
    kept[0] = set(TASKS)
    partial = [{task: row[task] for task in TASKS if task in names} for row, names in zip(rows, kept, strict=True)]
    expected = 0.0
    for task in TASKS:
        values = [row[task] for row in partial if task in row]
        expected += sum(values) / len(values)
    assert sum_held_out(partial, mean_by_task(partial, {}), TASKS) == pytest.approx(expected)


def test_a_task_absent_from_an_epoch_keeps_its_last_mean() -> None:
    """Epochs stay comparable; a task that was never met counts nothing."""
    before = mean_by_task([{"a": 1.0, "b": 4.0}, {"b": 6.0}], {})
    means = mean_by_task([{"a": 2.0}], before)
    assert means == {"a": 2.0, "b": 5.0}
    assert sum_held_out([{"a": 2.0}], means, TASKS) == 7.0


def test_first_losses_are_noted_once_per_task() -> None:
    """A task that comes later adds its own first loss; as long as all is 0, the next batch counts as the first."""
    first = note_first_losses({}, {"a": 0.0, "b": 0.0})
    first = note_first_losses(first, {"a": 3.0})
    first = note_first_losses(first, {"a": 9.0, "b": 2.0})
    assert first == {"a": 3.0, "b": 2.0}


def test_the_last_epochs_are_averaged() -> None:
    """Rows of the warm-up have no such loss; without any the mean is 0."""
    rows: list[dict[str, float]] = [{"epoch": 1}, {HELD_OUT: 8.0}, {HELD_OUT: 4.0}, {HELD_OUT: 2.0}]
    assert mean_held_out(rows, 0.5) == 3.0
    assert mean_held_out(rows, 1.0) == pytest.approx(14 / 3)
    assert mean_held_out(rows[:1], 1.0) == 0.0
