"""The metrics of a trained network on a data set.

Neighbours: networks come from `search.retrain`, metrics from `search.tasks`; `search.delta` compares what is returned.
Legend: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.errors import DivergedError
from search.metrics import Metric
from search.results import MetricValue
from search.tasks import KINDS, build_metric


def evaluate(
    network: nn.Module,
    dataset: TaskDataset,
    tasks: Sequence[TaskInfo],
    *,
    batch_size: int,
    device: torch.device | str,
    on_batch: Callable[[int, int], None] | None = None,
) -> dict[str, MetricValue]:
    """Return the metric of every task over the whole data set; the network's modes are left as they were.

    Args:
        network: On `device`; maps image (B, C, H, W) to one raw output per task name.
        dataset: Read once, in order.
        tasks: Tasks to judge.
        batch_size: Samples per forward pass; the metrics do not depend on it beyond rounding.
        device: Where the network is.
        on_batch: Told (batches done, batches in all) after every batch; it may raise to stop.

    Returns:
        One value per task name, in the order of `tasks`.

    Raises:
        DatasetError: The data set carries no label for a task.
        DivergedError: A metric is not finite.
    """
    task_metrics = {task.name: build_metric(task) for task in tasks}
    starts = range(0, len(dataset), batch_size)
    with eval_mode(network), torch.no_grad():
        for done, start in enumerate(starts, start=1):
            batch = dataset.batch(list(range(start, min(start + batch_size, len(dataset)))))
            outputs = network(batch["image"].to(device))
            for name, metric in task_metrics.items():
                metric.update(outputs[name], batch[name].to(device))
            if on_batch is not None:
                on_batch(done, len(starts))
    return {task.name: _measured(task, task_metrics[task.name]) for task in tasks}


def _measured(task: TaskInfo, metric: Metric) -> MetricValue:
    kind, value = KINDS[task.kind], metric.compute()
    if not math.isfinite(value):
        raise DivergedError(
            f"A metric must be a finite number, got {kind.metric} = {value} for task '{task.name}'. "
            "The training diverged: lower the learning rate."
        )
    details = metric.describe(task.class_names)
    return MetricValue(metric=kind.metric, value=value, higher_is_better=kind.higher_is_better, details=details)


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode for the length of a block."""
    # Module by module: a plain train() afterwards would also wake batch norms that somebody had frozen.
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
