"""One table: what each kind of task is trained and judged with; nothing else in `search` asks for a task's kind.

Neighbours: `search.data.catalogue` names the tasks, `search.judging.losses`, `search.judging.metrics` and
`search.edges` do the work. Loss weights: PASCAL-Context and NYUD-v2 settings of the code published with Bruggemann et
al., BMVC 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo, TaskKind
from search.errors import SettingError
from search.judging import losses, metrics


@dataclass(frozen=True)
class KindInfo:
    """What all tasks of one kind have in common.

    Attributes:
        kind: Key in the table.
        dense: Whether every pixel has a label, not the image as a whole.
        metric: Name of its metric; percent, degrees (mErr) or metres (RMSE).
        higher_is_better: Direction of the metric.
        loss_weight: Factor of the loss in the sum over tasks; see `get_loss_weight`.
    """

    kind: TaskKind
    dense: bool
    metric: str
    higher_is_better: bool
    loss_weight: float


KINDS: dict[TaskKind, KindInfo] = {
    info.kind: info
    for info in (
        KindInfo("segmentation", dense=True, metric="mIoU", higher_is_better=True, loss_weight=1.0),
        KindInfo("parts", dense=True, metric="mIoU", higher_is_better=True, loss_weight=2.0),
        KindInfo("saliency", dense=True, metric="maxIoU", higher_is_better=True, loss_weight=5.0),
        KindInfo("normals", dense=True, metric="mErr", higher_is_better=False, loss_weight=10.0),
        KindInfo("depth", dense=True, metric="RMSE", higher_is_better=False, loss_weight=1.0),
        KindInfo("edge", dense=True, metric="odsF", higher_is_better=True, loss_weight=50.0),
        KindInfo("classification", dense=False, metric="accuracy", higher_is_better=True, loss_weight=1.0),
    )
}


def build_loss(task: TaskInfo) -> losses.Loss:
    """Return the unweighted loss of a task: (output, label) -> scalar, finite for any labels.

    Raises:
        SettingError: The task has more classes than labels can tell from "ignore", or an edge task has no weight.
    """
    _check_task(task)
    match task.kind:
        case "segmentation" | "parts" | "classification":
            return losses.cross_entropy
        case "saliency":
            return losses.balanced_binary_cross_entropy
        case "edge":
            assert task.positive_weight is not None  # _check_task has seen to it
            return partial(losses.fixed_binary_cross_entropy, positive_weight=task.positive_weight)
        case "normals":
            return losses.normals_l1
        case "depth":
            return losses.depth_l1


def get_loss_weight(task: TaskInfo) -> float:
    """Return the factor of a task's loss in the sum over tasks.

    Labels of few classes start at a small loss (ln 2 for two, ln 10 for ten) and would hardly be heard; the
    cross-entropy of a classification task is therefore counted in units of its value at chance, ln(classes).
    """
    weight = KINDS[task.kind].loss_weight
    return weight / math.log(max(task.channels, 2)) if task.kind == "classification" else weight


def build_metric(task: TaskInfo, *, in_full: bool = False) -> metrics.Metric:
    """Return a fresh metric of a task, with nothing added yet.

    Args:
        task: The task.
        in_full: Whether to judge as finely as papers do, which embedded data sets are not.

    Raises:
        SettingError: The task has more classes than labels can tell from "ignore", or an edge task has no weight.
    """
    _check_task(task)
    match task.kind:
        case "segmentation" | "parts":
            return metrics.MeanIoU(task.channels)
        case "classification":
            return metrics.Accuracy()
        case "saliency":
            return metrics.SaliencyMaxIoU()
        case "edge":
            from search.edges import ods  # noqa: PLC0415 - scipy takes half a second, and few jobs have edges

            num_thresholds = ods.PAPER_NUM_THRESHOLDS if in_full else ods.DEFAULT_NUM_THRESHOLDS
            return ods.EdgeODS(num_thresholds=num_thresholds, max_distance=task.edge_tolerance)
        case "normals":
            return metrics.MeanAngularError()
        case "depth":
            return metrics.RootMeanSquareError()


def has_labels(task: TaskInfo, label: Tensor) -> bool:
    """Return whether any pixel or sample of a batch of labels is not ignored; a search skips a task without."""
    del task  # 255 means "ignore" for every kind, in all three channels of a normal
    return bool((label != IGNORE_LABEL).any())


def _check_task(task: TaskInfo) -> None:
    if task.kind in ("segmentation", "parts", "classification") and task.channels > IGNORE_LABEL:
        raise SettingError(
            f"Task '{task.name}' may have at most {IGNORE_LABEL} classes, because label "
            f"{IGNORE_LABEL} means 'ignore'; got {task.channels}. Merge classes."
        )
    if task.kind == "edge" and not (task.positive_weight is not None and 0 < task.positive_weight < 1):
        raise SettingError(
            f"Edge task '{task.name}' needs a weight of its positive pixels between 0 and 1, "
            f"got {task.positive_weight}. Set positive_weight, e.g. 0.95."
        )
    if task.kind == "edge" and not 0 < task.edge_tolerance < 1:
        raise SettingError(
            f"Edge task '{task.name}' needs a tolerance between 0 and 1, a share of the image diagonal, got "
            f"{task.edge_tolerance}. Set edge_tolerance, e.g. 0.0075."
        )
