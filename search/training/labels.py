"""Which tasks have labels: in a batch, in an epoch, in a training set at all.

A sample may have labels of some tasks only. A task without any in a batch has no loss there and is passed over; one
without any in a whole epoch is reported, and one without any at all is refused before a training begins.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from models.branched import BranchedNetwork
from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.errors import DatasetError
from search.judging.tasks import has_labels
from search.ports import Message

SAMPLES_AT_ONCE = 16
ABSENT, ABSENT_HELD_OUT = "no labels ", "no labels held out "
"""A row of history says 1 under this and the name of a task that had no labels in its epoch, in the weights pass of a
search or in that of the logits."""


def find_labelled(tasks: Iterable[TaskInfo], batch: Mapping[str, Tensor]) -> tuple[TaskInfo, ...]:
    """Return the tasks with at least one label in a batch; ask before it goes to a GPU, which would be waited for."""
    return tuple(task for task in tasks if has_labels(task, batch[task.name]))


def check_labels(
    dataset: TaskDataset,
    tasks: Sequence[TaskInfo],
    *,
    what: str,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Refuse samples of which none has a label of some task; reads no further than until every task was met.

    Args:
        dataset: The samples.
        tasks: The tasks that are to be learned from them.
        what: What they are, e.g. "training samples of dataset 'scenes'".
        on_batch: Told (samples read, samples in all) before more are read; it may raise to stop.

    Raises:
        DatasetError: There is such a task.
    """
    missing, total = tuple(tasks), len(dataset)
    for start in range(0, total, SAMPLES_AT_ONCE):
        batch = dataset.batch(range(start, min(start + SAMPLES_AT_ONCE, total)))
        labelled = {task.name for task in find_labelled(missing, batch)}
        missing = tuple(task for task in missing if task.name not in labelled)
        if not missing:
            return
        on_batch(min(start + SAMPLES_AT_ONCE, total), total)
    names = ", ".join(f"'{task.name}'" for task in missing)
    raise DatasetError(
        f"Every task needs labels in some of the samples, but of the {total} {what} none has a label of {names}. "
        "Add labels, or leave the task out with --tasks."
    )


def describe_absence(absent: Iterable[str], *, epoch: int, stage: str, where: str = "") -> list[Message]:
    """Return a sentence for every task that had no labels in an epoch.

    Args:
        absent: Names of the tasks.
        epoch: Counted from 1.
        stage: What events call the stage.
        where: What of the epoch had none, e.g. " among the samples that train the routing".
    """
    return [
        Message(f"{stage}: task '{task}' had no labels in epoch {epoch}{where}, so it learned nothing there.")
        for task in absent
    ]


def parameters_of_only(network: BranchedNetwork, tasks: Container[str]) -> Iterator[nn.Parameter]:
    """Yield the parameters of a network that serve none but these tasks: their heads, and the blocks above them."""
    for index, groups in enumerate(network.branching.groups):
        for group, block in zip(groups, network.blocks(index), strict=True):
            if all(task in tasks for task in group):
                yield from block.parameters()
    for task, head in network.heads.items():
        if task in tasks:
            yield from head.parameters()
