"""A batch taken in parts: micro batches one after another, shares of several processes side by side.

The gradients of all parts add up to the gradient of the whole batch, since each loss is counted over the labels of the
whole batch. Only batch norm differs: it sees a part at a time, unless processes synchronise it.
Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.judging import losses
from search.judging.tasks import build_loss

Batch = dict[str, Tensor]


def split_batch(batch: Mapping[str, Tensor], num_parts: int) -> Iterator[Batch]:
    """Yield a batch in parts that differ by one sample at most, fewer where it has fewer samples; itself for one."""
    num_parts = min(num_parts, len(batch["image"]))
    chunks = {name: tensor.tensor_split(num_parts) for name, tensor in batch.items()}
    for part in range(num_parts):
        yield {name: pieces[part] for name, pieces in chunks.items()}


def build_losses(tasks: Iterable[TaskInfo], batch: Mapping[str, Tensor], num_parts: int) -> dict[str, losses.Loss]:
    """Return per task a loss of a part of a batch; over all parts they add up to the loss of the batch.

    Args:
        tasks: The tasks wanted; one without labels in the batch gets a loss of 0.
        batch: The labels of the whole batch.
        num_parts: Parts in all; of one part the loss is the plain one, to the bit.
    """
    if num_parts == 1:
        return {task.name: build_loss(task) for task in tasks}
    return {task.name: _build_part_loss(task, batch[task.name]) for task in tasks}


def _build_part_loss(task: TaskInfo, label: Tensor) -> losses.Loss:
    """Return the loss of a part of a batch with these labels."""
    valid = label != IGNORE_LABEL
    num_valid = valid.sum().clamp(min=1)
    whole = build_loss(task)
    if task.kind == "saliency":  # the only loss whose weights depend on the other labels of the batch
        negatives = (valid & (label < 0.5)).sum()
        whole = partial(losses.fixed_binary_cross_entropy, positive_weight=float(negatives / num_valid))

    def loss_of_part(output: Tensor, part: Tensor) -> Tensor:
        """Return a scalar: the part's mean, weighed by its share of the labels."""
        return whole(output, part) * ((part != IGNORE_LABEL).sum() / num_valid.to(part.device))

    return loss_of_part
