"""The metrics of a trained network on a data set; photographs are judged in their own size.

Neighbours: networks come from `search.training.retrain`, metrics from `search.judging.tasks`; `search.delta` compares
what is returned.
Legend: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from search.data.catalogue import TaskInfo
from search.data.cores import count_cores
from search.data.files.fitting import Placement
from search.data.files.sources import Sample
from search.data.loading import TaskDataset
from search.data.reading.reading_processes import map_in_processes
from search.errors import DatasetError, DivergedError
from search.judging.full_size import NativeSamples, pair_in_full
from search.judging.metrics import Metric
from search.judging.tasks import KINDS, build_metric
from search.results import MetricValue

MOST_PIXELS_AT_ONCE = 2**22
"""Of photographs in a batch: what a network makes of more would not fit into a small memory."""
FEWEST_PIXELS_FOR_PROCESSES = 20_000_000
"""Below this the edges of a data set are counted sooner than helping processes start."""


def evaluate(
    network: nn.Module,
    dataset: TaskDataset,
    tasks: Sequence[TaskInfo],
    *,
    batch_size: int,
    device: torch.device | str,
    on_batch: Callable[[int, int], None] | None = None,
    num_processes: int | None = None,
) -> dict[str, MetricValue]:
    """Return the metric of every task over the whole data set; the network's modes are left as they were.

    Args:
        network: On `device`; maps image (B, C, H, W) to one raw output per task name.
        dataset: Read once, in order.
        tasks: Tasks to judge.
        batch_size: Samples per forward pass; the metrics do not depend on it beyond rounding.
        device: Where the network is.
        on_batch: Told (batches done, batches in all) after every batch; it may raise to stop.
        num_processes: Processes that count edges; None for as many as the machine and the size of the data set suggest.

    Returns:
        One value per task name, in the order of `tasks`.

    Raises:
        DatasetError: The data set carries no label for a task.
        DivergedError: A metric is not finite.
    """
    in_full = isinstance(dataset, NativeSamples)
    task_metrics = {task.name: build_metric(task, in_full=in_full) for task in tasks}
    with eval_mode(network), torch.no_grad():
        pairs = _list_pairs(network, dataset, tasks, batch_size=batch_size, device=device, on_batch=on_batch)
        if any(task.kind == "edge" for task in tasks):
            _judge_with_edges(pairs, task_metrics, num_processes or _choose_num_processes(dataset))
        else:
            for name, output, label in pairs:
                task_metrics[name].update(output, label)
    return {task.name: _measured(task, task_metrics[task.name]) for task in tasks}


def _list_pairs(
    network: nn.Module,
    dataset: TaskDataset,
    tasks: Sequence[TaskInfo],
    *,
    batch_size: int,
    device: torch.device | str,
    on_batch: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield task, output and label of every batch, or of every image in its own size where the data set has these."""
    starts = range(0, len(dataset), batch_size)
    with ThreadPoolExecutor(count_cores()) as readers:
        for done, start in enumerate(starts, start=1):
            indices = list(range(start, min(start + batch_size, len(dataset))))
            batch = dataset.batch(indices)
            if isinstance(dataset, NativeSamples):
                natives = readers.map(partial(_read_native, dataset), indices)  # while the network runs
                outputs = network(batch["image"].to(device))
                yield from _list_in_full(natives, tasks, outputs)
            else:
                outputs = network(batch["image"].to(device))
                for task in tasks:
                    yield task.name, outputs[task.name], batch[task.name].to(device)
            if on_batch is not None:
                on_batch(done, len(starts))


def _read_native(dataset: NativeSamples, index: int) -> tuple[Sample, Placement]:
    """Return a sample in its own size, and where its image lies inside the network's input."""
    return dataset.native(index), dataset.placement(index)


def _list_in_full(
    natives: Iterable[tuple[Sample, Placement]], tasks: Sequence[TaskInfo], outputs: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield task, output and label of every image of a batch in its own size."""
    for row, (sample, placement) in enumerate(natives):
        for task in tasks:
            for output, label in pair_in_full(task, outputs[task.name][row], sample.labels.get(task.name), placement):
                yield task.name, output, label


def _judge_with_edges(
    pairs: Iterable[tuple[str, Tensor, Tensor]], task_metrics: Mapping[str, Metric], num_processes: int
) -> None:
    """Add all pairs to their metrics, the edges of many images counted by several processes."""
    from search.edges.counts import EdgeWork, count_work  # noqa: PLC0415 - scipy takes half a second
    from search.edges.ods import EdgeODS, list_images  # noqa: PLC0415

    def list_edges() -> Iterator[EdgeWork]:
        """Yield the images with edges, and add all else on the way."""
        for name, output, label in pairs:
            metric = task_metrics[name]
            if isinstance(metric, EdgeODS):
                for image in list_images(output, label):
                    yield EdgeWork(name, image, metric.thresholds, metric.max_distance)
            else:
                metric.update(output, label)

    for name, counts in map_in_processes(count_work, list_edges(), num_processes):
        metric = task_metrics[name]
        assert isinstance(metric, EdgeODS)
        metric.add(counts)


def choose_batch_size(dataset: TaskDataset, most: int) -> int:
    """Return how many samples to measure at once: fewer than `most` where they are large photographs."""
    if not isinstance(dataset, NativeSamples) or len(dataset) == 0:
        return most
    return max(1, min(most, MOST_PIXELS_AT_ONCE // math.prod(dataset.batch([0])["image"].shape[-2:])))


def _choose_num_processes(dataset: TaskDataset) -> int:
    """Return how many processes it pays to count the edges of a data set with."""
    num_pixels = len(dataset) * math.prod(dataset.batch([0])["image"].shape[-2:])
    return count_cores() if num_pixels >= FEWEST_PIXELS_FOR_PROCESSES else 1


def _measured(task: TaskInfo, metric: Metric) -> MetricValue:
    """Return the metric of a task.

    Raises:
        DatasetError: Nothing that was added carries a label.
        DivergedError: It is not finite.
    """
    kind = KINDS[task.kind]
    try:
        value = metric.compute()
    except DatasetError as error:
        raise DatasetError(f"Task '{task.name}' cannot be judged: {error}") from None
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
