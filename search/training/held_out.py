"""The loss of all tasks on the samples that train the logits, exact when labels are missing.

A batch without labels of a task says nothing about that task: such a task keeps the mean of the batches that had some.
Neighbours: `search.method.bilevel` notes the losses, and judges a search by their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

HELD_OUT = "held-out loss"
"""Name in the history of the weighted loss of all tasks on the samples that train the logits, not the weights."""
Losses = Mapping[str, float]
"""Weighted loss by task, of those tasks that had labels."""


def mean_by_task(losses: Iterable[Losses], before: Losses) -> dict[str, float]:
    """Return each task's mean over the batches in which it had labels, or what it was before where none had.

    Args:
        losses: Of one batch each.
        before: The means of earlier epochs.
    """
    seen: dict[str, list[float]] = {}
    for row in losses:
        for task, loss in row.items():
            seen.setdefault(task, []).append(loss)
    return {**before, **{task: sum(values) / len(values) for task, values in seen.items()}}


def sum_held_out(losses: Sequence[Losses], means: Losses, tasks: Sequence[str]) -> float:
    """Return the loss of all tasks in one epoch.

    Args:
        losses: Of one batch each, at least one.
        means: What `mean_by_task` made of them.
        tasks: All tasks of the search.
    """
    if all(row.keys() == set(tasks) for row in losses):  # the same mean, added up batch by batch as ever
        return sum(sum(row.values()) for row in losses) / len(losses)
    return sum(means.get(task, 0.0) for task in tasks)


def note_first_losses(first: Losses, losses: Losses) -> dict[str, float]:
    """Return the first loss of every task that had labels so far; all begin anew as long as their sum is 0.

    Args:
        first: Those of the batches before.
        losses: Of this batch.
    """
    return {**losses, **first} if sum(first.values()) else dict(losses)


def mean_held_out(history: Sequence[Mapping[str, object]], share: float) -> float:
    """Return the mean held-out loss of the last epochs, 0 where there is none.

    Args:
        history: One row per epoch.
        share: Which share of the rows counts.
    """
    last = history[-math.ceil(share * len(history)) :]
    losses = [value for row in last if isinstance(value := row.get(HELD_OUT), float)]
    return sum(losses) / len(losses) if losses else 0.0
