"""Evaluation over a data set, and delta_m at its limits (the paper's rows stand in tests/reference)."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from search.data.catalogue import TaskInfo
from search.delta import compute_delta_m
from search.errors import DatasetError, SearchError, TaskSetError
from search.judging.evaluate import evaluate
from search.results import MetricValue

TASKS = (TaskInfo("digit", "classification", 3), TaskInfo("depth", "depth", 1))


class SevenSamples:
    """A data set in memory: the image's mean is the depth, its first pixel the digit."""

    def __init__(self, *, labelled: bool = True) -> None:
        self.image = torch.arange(7.0).reshape(7, 1, 1, 1).expand(7, 1, 4, 4) % 3
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.image)

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return samples by index."""
        assert generator is None  # an evaluation never augments
        image = self.image[torch.as_tensor(indices)]
        digit = image[:, 0, 0, 0].long() if self.labelled else torch.full((len(image),), 255)
        return {"image": image, "digit": digit, "depth": image + 0.5}


class Reader(nn.Module):
    """A network that reads both tasks off the image, with a batch norm that training mode would move."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False, eps=0)
        self.frozen = nn.BatchNorm2d(1).eval()

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return right digits and a depth half a metre short."""
        image_BCHW = self.norm(image_BCHW)
        digit = nn.functional.one_hot(image_BCHW[:, 0, 0, 0].long(), 3).float()
        return {"digit": digit, "depth": image_BCHW}


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_metrics_do_not_depend_on_the_batch_size(batch_size: int, device: torch.device) -> None:
    """Every sample counts once, the last short batch included."""
    values = evaluate(Reader().to(device), SevenSamples(), TASKS, batch_size=batch_size, device=device)
    assert list(values) == ["digit", "depth"]
    plain = {name: value.model_copy(update={"details": None}) for name, value in values.items()}
    assert plain["digit"] == MetricValue(metric="accuracy", value=100.0, higher_is_better=True)
    assert plain["depth"] == MetricValue(metric="RMSE", value=0.5, higher_is_better=False)
    assert all(value.details is not None for value in values.values())


def test_the_network_is_left_as_it_was() -> None:
    """Running statistics, training mode and frozen parts are the same afterwards."""
    network = Reader()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, SevenSamples(), TASKS, batch_size=2, device="cpu")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert (network.training, network.norm.training, network.frozen.training) == (True, True, False)


def test_progress_is_told_batch_by_batch() -> None:
    """The caller hears of every batch, and of how many there are."""
    heard: list[tuple[int, int]] = []
    evaluate(Reader(), SevenSamples(), TASKS, batch_size=3, device="cpu", on_batch=lambda *told: heard.append(told))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_task_without_labels_is_refused() -> None:
    """A data set that never labels a task has no metric for it."""
    with pytest.raises(DatasetError, match="at least one labelled"):
        evaluate(Reader(), SevenSamples(labelled=False), TASKS, batch_size=3, device="cpu")


class Diverged(Reader):
    """A network whose depth is no number any more."""

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return the reader's digits and a depth of NaN."""
        outputs = super().forward(image_BCHW)
        return outputs | {"depth": outputs["depth"] * float("nan")}


def test_a_metric_is_finite() -> None:
    """A diverged network is said to be one, before its number reaches a table."""
    with pytest.raises(SearchError, match="diverged"):
        evaluate(Diverged(), SevenSamples(), TASKS, batch_size=3, device="cpu")


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (5.0, 500.0)])
def test_a_baseline_of_zero_counts_as_one_point(value: float, expected: float) -> None:
    """Over a baseline that learned nothing the gain is finite and grows with the metric."""
    baseline = {"edge": MetricValue(metric="odsF", value=0.0, higher_is_better=True)}
    assert (
        compute_delta_m({"edge": MetricValue(metric="odsF", value=value, higher_is_better=True)}, baseline) == expected
    )


def test_a_perfect_error_baseline_stays_finite() -> None:
    """Over a baseline without error the loss is finite and negative."""
    baseline = {"depth": MetricValue(metric="RMSE", value=0.0, higher_is_better=False)}
    measured = {"depth": MetricValue(metric="RMSE", value=0.001, higher_is_better=False)}
    assert compute_delta_m(measured, baseline) == pytest.approx(-100)


def test_delta_m_compares_the_same_tasks() -> None:
    """A missing task, another metric or no task at all is refused."""
    digit = {"digit": MetricValue(metric="accuracy", value=90.0, higher_is_better=True)}
    depth = {"depth": MetricValue(metric="RMSE", value=0.5, higher_is_better=False)}
    for metrics, baselines in ((digit, depth), (digit, {**digit, **depth}), ({}, {})):
        with pytest.raises(TaskSetError, match="same tasks"):
            compute_delta_m(metrics, baselines)
