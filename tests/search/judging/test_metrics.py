"""Metrics: small cases by hand, plain twins, and independence of how a data set is cut into batches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from search.errors import DatasetError
from search.judging import metrics

FEW = settings(max_examples=15, deadline=None)


def one_hot_logits(prediction: Tensor, num_classes: int) -> Tensor:
    """Return logits (B, C, ...) whose highest channel is the prediction (B, ...)."""
    return torch.nn.functional.one_hot(prediction, num_classes).movedim(-1, 1).float()


def plain_mean_iou(prediction: list[int], label: list[int], num_classes: int) -> float:
    """Return the mean IoU in percent, class by class with sets of pixels."""
    scores = []
    for index in range(num_classes):
        chosen = {at for at, value in enumerate(prediction) if value == index and label[at] != 255}
        truth = {at for at, value in enumerate(label) if value == index}
        if chosen | truth:
            scores.append(len(chosen & truth) / len(chosen | truth))
    return 100 * sum(scores) / len(scores)


@FEW
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), min_size=2, max_size=30))
def test_mean_iou_equals_sets_of_pixels(pairs: list[tuple[int, int]]) -> None:
    """The confusion matrix gives what sets of pixels give, in any number of updates."""
    pairs = [*pairs, (0, 1)]  # at least one pixel is labelled
    metric = metrics.MeanIoU(4)
    for prediction, label in pairs:
        metric.update(one_hot_logits(torch.tensor([[[prediction]]]), 4), torch.tensor([[[label]]]))
    prediction_list, label_list = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert metric.compute() == pytest.approx(plain_mean_iou(prediction_list, label_list, 4), rel=1e-12)


def test_mean_iou_leaves_absent_classes_out() -> None:
    """Two perfect classes out of twenty-one are 100 %, not 10 %."""
    label = torch.tensor([[[0, 7], [7, 255]]])
    metric = metrics.MeanIoU(21)
    metric.update(one_hot_logits(torch.tensor([[[0, 7], [7, 3]]]), 21), label)
    assert metric.compute() == 100


def test_mean_iou_refuses_labels_beyond_the_classes() -> None:
    """A label that the head cannot give is an error in the data, not a miss."""
    with pytest.raises(DatasetError, match=r"number of classes 2.*got 5"):
        metrics.MeanIoU(2).update(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 5]]]))


def test_accuracy_counts_labelled_samples() -> None:
    """One hit among two labelled samples is 50 %."""
    metric = metrics.Accuracy()
    metric.update(one_hot_logits(torch.tensor([1, 2]), 3), torch.tensor([1, 0]))
    metric.update(one_hot_logits(torch.tensor([2]), 3), torch.tensor([255]))
    assert metric.compute() == 50


def figures_of(metric: metrics.Metric) -> dict[str, float]:
    """Return the side figures of a metric by name."""
    return {figure.name: figure.value for figure in metric.describe(()).figures}


@FEW
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), min_size=1, max_size=30))
def test_the_classes_make_up_the_metric(pairs: list[tuple[int, int]]) -> None:
    """The mean over the classes that occur is the mean IoU; the others are told of without a value."""
    prediction, label = (torch.tensor([[[*part, 0]]]) for part in zip(*pairs, strict=True))
    metric = metrics.MeanIoU(4)
    metric.update(one_hot_logits(prediction, 4), label)
    rows = metric.describe(("sky", "road", "car", "tree")).per_class
    assert [row.name for row in rows] == ["sky", "road", "car", "tree"]
    known = [row.value for row in rows if row.value is not None]
    assert sum(known) / len(known) == pytest.approx(metric.compute(), abs=1e-3)


def test_accuracy_tells_of_every_class() -> None:
    """Hits among the labelled samples of a class, under its number where it has no name, None without samples."""
    metric = metrics.Accuracy()
    metric.update(one_hot_logits(torch.tensor([1, 2, 1]), 3), torch.tensor([1, 1, 255]))
    metric.update(one_hot_logits(torch.tensor([0]), 3), torch.tensor([0]))
    assert [(row.name, row.value) for row in metric.describe(()).per_class] == [("0", 100), ("1", 50), ("2", None)]


def test_normals_tell_median_and_shares() -> None:
    """Angles of 10, 20 and 80 degrees: the median is 20, one is below 11.25 and two below 22.5."""
    radians = torch.deg2rad(torch.tensor([10.0, 20.0, 80.0]))
    output = torch.stack([radians.sin(), torch.zeros(3), radians.cos()]).reshape(1, 3, 1, 3)
    metric = metrics.MeanAngularError()
    metric.update(output, torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 3))
    found = figures_of(metric)
    assert found["mean"] == pytest.approx(110 / 3, abs=1e-3)
    assert found["median"] == pytest.approx(20, abs=metrics.ANGLE_BIN)
    shares = [found["below 11.25\u00b0"], found["below 22.5\u00b0"], found["below 30\u00b0"]]
    assert shares == pytest.approx([100 / 3, 200 / 3, 200 / 3], abs=1e-3)


def test_depth_tells_the_relative_error() -> None:
    """Errors of 1 m at 2 m and of 1 m at 4 m are 0.375 on average."""
    metric = metrics.RootMeanSquareError()
    metric.update(
        torch.tensor([1.0, 5.0, 3.0]).reshape(1, 1, 1, 3), torch.tensor([2.0, 4.0, 255.0]).reshape(1, 1, 1, 3)
    )
    assert figures_of(metric) == {"rmse": pytest.approx(1.0), "abs_rel": pytest.approx(0.375)}


def test_saliency_takes_the_best_threshold() -> None:
    """Probabilities .3 on the object and .1 beside it are perfect at one threshold and scored there."""
    truth = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).reshape(1, 1, 2, 2)
    metric = metrics.SaliencyMaxIoU()
    metric.update(torch.logit(torch.where(truth > 0, 0.3, 0.1)), truth)
    assert metric.compute() == 100


def test_saliency_is_a_mean_over_images() -> None:
    """A small and a large object weigh the same; an empty image found empty counts 1, an unlabelled one not at all."""
    truth = torch.zeros(4, 1, 2, 4)
    truth[0, 0, 0, 0] = 1
    truth[1] = 1
    truth[3] = 255
    found = torch.zeros(4, 1, 2, 4)
    found[0, 0, 0, :2] = 1  # IoU 1/2
    found[1, 0, 0] = 1  # IoU 4/8
    metric = metrics.SaliencyMaxIoU()
    metric.update(20 * found - 10, truth)
    assert metric.compute() == pytest.approx(100 * (0.5 + 0.5 + 1) / 3)


def test_saliency_leaves_ignored_pixels_out() -> None:
    """A false alarm in an ignored region costs nothing."""
    truth = torch.tensor([1.0, 0.0, 255.0]).reshape(1, 1, 1, 3)
    metric = metrics.SaliencyMaxIoU()
    metric.update(torch.tensor([5.0, -5.0, 5.0]).reshape(1, 1, 1, 3), truth)
    assert metric.compute() == 100


@FEW
@given(angle=st.floats(0, 180), length=st.floats(1e-3, 1e3))
def test_angular_error_is_the_angle(angle: float, length: float) -> None:
    """Turning a normal by an angle gives that angle, whatever the length of the prediction."""
    turn = math.radians(angle)
    output = length * torch.tensor([math.cos(turn), math.sin(turn), 0.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    metric = metrics.MeanAngularError()
    metric.update(output, torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    assert metric.compute() == pytest.approx(angle, abs=1e-9)


def test_angular_error_of_no_direction_is_a_right_angle() -> None:
    """The zero vector is not a perfect prediction, and an ignored pixel counts neither way."""
    label = torch.tensor([[0.0, 0.0, 1.0], [255.0, 255.0, 255.0]]).T.reshape(1, 3, 1, 2)
    metric = metrics.MeanAngularError()
    metric.update(torch.zeros(1, 3, 1, 2), label)
    assert metric.compute() == 90


def test_rmse_is_taken_over_the_data_set() -> None:
    """Squares are averaged over all pixels before the root, not per image."""
    metric = metrics.RootMeanSquareError()
    metric.update(torch.tensor([3.0]).reshape(1, 1, 1, 1), torch.tensor([0.0]).reshape(1, 1, 1, 1))
    metric.update(torch.tensor([1.0, 9.0]).reshape(1, 1, 1, 2), torch.tensor([2.0, 255.0]).reshape(1, 1, 1, 2))
    assert metric.compute() == pytest.approx(math.sqrt((9 + 1) / 2))


@pytest.mark.parametrize(
    ("metric", "output", "label"),
    [
        pytest.param(metrics.MeanIoU(2), torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), 255), id="mIoU"),
        pytest.param(metrics.Accuracy(), torch.zeros(2, 2), torch.full((2,), 255), id="accuracy"),
        pytest.param(metrics.SaliencyMaxIoU(), torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 255.0), id="maxIoU"),
        pytest.param(metrics.MeanAngularError(), torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 255.0), id="mErr"),
        pytest.param(
            metrics.RootMeanSquareError(), torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 255.0), id="RMSE"
        ),
    ],
)
def test_a_metric_of_nothing_is_refused(metric: metrics.Metric, output: Tensor, label: Tensor) -> None:
    """Without any label there is no number to give, and none is made up."""
    metric.update(output, label)
    with pytest.raises(DatasetError, match="at least one labelled"):
        metric.compute()


@given(
    images=st.lists(
        st.lists(
            st.tuples(st.sampled_from([-3.0, -0.5, 0.1, 0.6, 2.0]), st.sampled_from([0.0, 1.0, 255.0])),
            min_size=4,
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_saliency_of_partly_labelled_images_equals_plain_counting(images: list[list[tuple[float, float]]]) -> None:
    """Ignored pixels and images without any label count for nothing, in one batch or one image at a time."""
    output, label = torch.tensor(images).unbind(-1)
    output, label = output.reshape(-1, 1, 2, 2), label.reshape(-1, 1, 2, 2)
    together, apart = metrics.SaliencyMaxIoU(), metrics.SaliencyMaxIoU()
    together.update(output, label)
    for index in range(len(images)):
        apart.update(output[index : index + 1], label[index : index + 1])
    labelled = [[(1 / (1 + math.exp(-x)), y) for x, y in pixels if y != 255] for pixels in images]
    labelled = [pixels for pixels in labelled if pixels]
    if not labelled:
        with pytest.raises(DatasetError, match="at least one labelled"):
            together.compute()
        return
    best = max(sum(_count_iou(pixels, limit) for pixels in labelled) for limit in metrics.SALIENCY_THRESHOLDS)
    assert together.compute() == pytest.approx(100 * best / len(labelled))
    assert apart.compute() == pytest.approx(together.compute())


def _count_iou(pixels: list[tuple[float, float]], limit: float) -> float:
    """Return the intersection over union of the foreground of one image."""
    chosen = {at for at, (x, _) in enumerate(pixels) if x > limit}
    true = {at for at, (_, y) in enumerate(pixels) if y == 1}
    return len(chosen & true) / len(chosen | true) if chosen | true else 1.0


@given(rows=st.lists(st.tuples(st.floats(0, 9), st.sampled_from([0.5, 3.0, 255.0])), min_size=1, max_size=12))
def test_depth_of_partly_labelled_pixels_equals_plain_counting(rows: list[tuple[float, float]]) -> None:
    """Ignored pixels count for nothing, and nothing but them is no number but a sentence."""
    output, label = torch.tensor(rows, dtype=torch.float64).unbind(-1)
    metric = metrics.RootMeanSquareError()
    metric.update(output.reshape(1, 1, 1, -1), label.reshape(1, 1, 1, -1))
    errors = [found - true for found, true in rows if true != 255]
    if not errors:
        with pytest.raises(DatasetError, match="at least one labelled"):
            metric.compute()
        return
    assert metric.compute() == pytest.approx(math.sqrt(sum(error**2 for error in errors) / len(errors)))
