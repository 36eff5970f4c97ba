"""The table of task kinds: complete, with the paper's weights, and building what a task needs."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from search.data.catalogue import DATASETS, TaskInfo, TaskKind
from search.edges.ods import EdgeODS
from search.errors import SettingError
from search.judging.tasks import KINDS, build_loss, build_metric, get_loss_weight, has_labels

ALL_TASKS = [pytest.param(task, id=f"{info.name} {task.name}") for info in DATASETS.values() for task in info.tasks]


def draw_batch(task: TaskInfo) -> tuple[Tensor, Tensor]:
    """Return raw outputs and a label of a task, 2 samples of 16 x 16 pixels."""
    generator = torch.Generator().manual_seed(0)
    pixels = (16, 16) if KINDS[task.kind].dense else ()
    output = torch.randn(2, task.channels, *pixels, generator=generator)
    if task.kind in ("segmentation", "parts", "classification"):
        return output, torch.randint(task.channels, (2, *pixels), generator=generator)
    label = torch.rand(output.shape, generator=generator)
    if task.kind == "normals":
        return output, torch.nn.functional.normalize(label, dim=1)
    return output, label if task.kind == "depth" else label.round()


def test_every_kind_has_a_row() -> None:
    """The table holds each kind of the catalogue under its own name."""
    assert set(KINDS) == set(get_args(TaskKind))
    assert all(info.kind == kind for kind, info in KINDS.items())


def test_loss_weights_are_the_published_ones() -> None:
    """The weights are those the paper's code trains with."""
    weights = {kind: info.loss_weight for kind, info in KINDS.items()}
    assert weights == {
        "segmentation": 1, "parts": 2, "saliency": 5, "normals": 10, "depth": 1, "edge": 50, "classification": 1,
    }  # fmt: skip


@pytest.mark.parametrize("channels", [2, 10])
def test_classification_is_counted_in_units_of_chance(channels: int) -> None:
    """A network that knows nothing has a weighted loss of 1, however many classes there are."""
    task = TaskInfo("label", "classification", channels)
    loss = build_loss(task)(torch.zeros(4, channels), torch.zeros(4, dtype=torch.int64))
    assert float(get_loss_weight(task) * loss) == pytest.approx(1.0)


def test_only_errors_are_better_lower() -> None:
    """Degrees and metres are errors; all other metrics are scores."""
    assert {kind for kind, info in KINDS.items() if not info.higher_is_better} == {"normals", "depth"}


@pytest.mark.parametrize("task", ALL_TASKS)
def test_every_task_has_a_finite_loss_and_metric(task: TaskInfo) -> None:
    """Loss, gradient and metric of every task of every dataset are finite on random outputs."""
    output, label = draw_batch(task)
    output.requires_grad_()
    build_loss(task)(output, label).backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    metric = build_metric(task)
    metric.update(output.detach(), label)
    assert 0 <= metric.compute() <= 180


@pytest.mark.parametrize("task", ALL_TASKS)
def test_has_labels_sees_one_labelled_place(task: TaskInfo) -> None:
    """A label of nothing but 255 has none; one labelled place is enough."""
    _, label = draw_batch(task)
    empty = torch.full_like(label, 255)
    assert has_labels(task, label)
    assert not has_labels(task, empty)
    empty.view(-1)[0] = 0
    assert has_labels(task, empty)


@pytest.mark.parametrize("build", [build_loss, build_metric])
def test_more_classes_than_labels_can_say_are_refused(build: object) -> None:
    """Class 255 cannot be told from "ignore"."""
    assert callable(build)
    with pytest.raises(SettingError, match="at most 255 classes"):
        build(TaskInfo("identity", "classification", 256))


@pytest.mark.parametrize(("dataset", "tolerance"), [("scenes", 0.0075), ("pascal_context", 0.0075), ("nyud", 0.011)])
def test_edges_are_matched_as_their_dataset_says(dataset: str, tolerance: float) -> None:
    """How far apart a predicted and a true edge may lie is a fact of the task."""
    metric = build_metric(DATASETS[dataset].task("edge"))
    assert isinstance(metric, EdgeODS)
    assert metric.max_distance == tolerance


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_an_edge_task_needs_a_tolerance(tolerance: float) -> None:
    """A share of the diagonal lies between 0 and 1."""
    with pytest.raises(SettingError, match="Set edge_tolerance"):
        build_metric(TaskInfo("edge", "edge", 1, positive_weight=0.9, edge_tolerance=tolerance))


@pytest.mark.parametrize("weight", [None, 0.0, 1.0])
def test_an_edge_task_needs_a_weight(weight: float | None) -> None:
    """Without a weight inside (0, 1) one side of the edges would not be trained."""
    with pytest.raises(SettingError, match="between 0 and 1"):
        build_loss(TaskInfo("edge", "edge", 1, positive_weight=weight))
