"""One metric per kind of task, kept as running sums so that a data set of any length needs no more memory.

Neighbours: `search.judging.tasks` picks one for a task, `search.judging.evaluate` feeds it; odsF stands in
`search.edges`. Values are in natural units: percent (0..100), degrees, metres. Sums are int64 or float64.
Legend: B batch, C classes, H W pixels, N thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL
from search.errors import DatasetError
from search.results import ClassFigure, MetricDetails, SideFigure

SALIENCY_THRESHOLDS = tuple(round(0.20 + 0.05 * step, 2) for step in range(15))
"""0.20, 0.25 .. 0.90: the thresholds of the code that the literature on PASCAL-Context evaluates saliency with."""


ANGLES_BELOW = (11.25, 22.5, 30.0)
"""Degrees: the limits that papers count normals below."""
ANGLE_BIN = 0.05  # degrees; the median is known to half of it


class Metric(Protocol):
    """Adds up what is needed of every batch and says the metric of all of them."""

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add one batch of raw network outputs and their labels."""
        ...

    def compute(self) -> float:
        """Return the metric of all batches so far.

        Raises:
            DatasetError: Nothing that was added carries a label.
        """
        ...

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return what stands behind the metric of all batches so far, of which at least one carries a label."""
        ...


def describe_classes(values: Sequence[float | None], class_names: Sequence[str]) -> tuple[ClassFigure, ...]:
    """Return a row per class, under its number where it has no name."""
    names = class_names if len(class_names) == len(values) else [str(index) for index in range(len(values))]
    rounded = [None if value is None else round(value, 4) for value in values]
    return tuple(ClassFigure(name=name, value=value) for name, value in zip(names, rounded, strict=True))


class MeanIoU:
    """Mean intersection over union in percent; classes in neither prediction nor label are left out."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch.

        Args:
            output: Logits (B, C, H, W).
            label: int64 (B, H, W), 255 to ignore.

        Raises:
            DatasetError: A label is neither 255 nor below the number of classes.
        """
        valid = label != IGNORE_LABEL
        pairs = label[valid] * self.num_classes + output.argmax(dim=1)[valid]
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        # A label of C or more lands behind the last pair, never inside the table.
        if counts.numel() > self.num_classes**2:
            raise DatasetError(
                f"A label must be below the number of classes {self.num_classes} or {IGNORE_LABEL}, "
                f"got {int(label[valid].max())}. Correct the labels or the number of classes."
            )
        self.confusion += counts.reshape(self.num_classes, self.num_classes).cpu()

    def compute(self) -> float:
        """Return the mean over the classes that occur, percent."""
        _require_labels(int(self.confusion.sum()))
        hits, union = self._count_hits_and_union()
        occurs = union > 0
        return 100 * float((hits[occurs] / union[occurs]).mean())

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return the intersection over union of every class, percent."""
        hits, union = (counts.tolist() for counts in self._count_hits_and_union())
        values = [100 * hit / size if size > 0 else None for hit, size in zip(hits, union, strict=True)]
        return MetricDetails(per_class=describe_classes(values, class_names))

    def _count_hits_and_union(self) -> tuple[Tensor, Tensor]:
        """Return the pixels of every class (C,) that label and prediction share, and those that either has."""
        hits = self.confusion.diagonal().double()
        return hits, (self.confusion.sum(dim=0) + self.confusion.sum(dim=1)).double() - hits


class Accuracy:
    """Share of the labelled samples whose highest logit is the true class, percent."""

    def __init__(self) -> None:
        self.hits = 0
        self.labelled = 0
        self.hits_C: Tensor = torch.zeros(0, dtype=torch.int64)
        self.labelled_C: Tensor = torch.zeros(0, dtype=torch.int64)

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of logits (B, C) and int64 labels (B,), 255 to ignore."""
        # 255 can never be a hit: no head has that many classes (`search.judging.tasks` refuses it).
        is_hit = output.argmax(dim=1) == label
        self.hits += int(is_hit.sum())
        self.labelled += int((label != IGNORE_LABEL).sum())
        num_classes = output.shape[1]
        if not len(self.hits_C):
            self.hits_C, self.labelled_C = (torch.zeros(num_classes, dtype=torch.int64) for _ in range(2))
        self.hits_C += torch.bincount(label[is_hit], minlength=num_classes).cpu()
        self.labelled_C += torch.bincount(label[label < num_classes], minlength=num_classes).cpu()

    def compute(self) -> float:
        """Return the accuracy, percent."""
        _require_labels(self.labelled)
        return 100 * self.hits / self.labelled

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return the accuracy on the samples of every class, percent."""
        pairs = zip(self.hits_C.tolist(), self.labelled_C.tolist(), strict=True)
        values = [100 * hits / labelled if labelled else None for hits, labelled in pairs]
        return MetricDetails(per_class=describe_classes(values, class_names))


class SaliencyMaxIoU:
    """Mean over the images of the foreground's intersection over union, at the best threshold, percent.

    The threshold is one for the whole data set. An image without foreground in label and prediction counts 1, an image
    without any label is left out. Source: the evaluation of Maninis et al., CVPR 2019, which Bruggemann et al. follow.
    """

    def __init__(self, thresholds: tuple[float, ...] = SALIENCY_THRESHOLDS) -> None:
        self.thresholds = thresholds
        self.sum_iou_N = torch.zeros(len(thresholds), dtype=torch.float64)
        self.num_images = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of logits (B, 1, H, W) and float labels (B, 1, H, W) in {0, 1}, 255 to ignore."""
        valid_BP = (label != IGNORE_LABEL).flatten(1)
        truth_BP = (label > 0.5).flatten(1) & valid_BP
        probability_BP = output.float().sigmoid().flatten(1)
        labelled_B = valid_BP.any(dim=1)
        for index, threshold in enumerate(self.thresholds):
            chosen_BP = (probability_BP > threshold) & valid_BP
            overlap_B = (chosen_BP & truth_BP).sum(dim=1).double()
            union_B = (chosen_BP | truth_BP).sum(dim=1).double()
            iou_B = torch.where(union_B > 0, overlap_B / union_B.clamp(min=1), torch.ones_like(union_B))
            self.sum_iou_N[index] += float(iou_B[labelled_B].sum())
        self.num_images += int(labelled_B.sum())

    def compute(self) -> float:
        """Return the mean IoU at the best threshold, percent."""
        _require_labels(self.num_images)
        return 100 * float(self.sum_iou_N.max()) / self.num_images

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return the best threshold."""
        del class_names
        best = self.thresholds[int(self.sum_iou_N.argmax())]
        return MetricDetails(figures=(SideFigure(name="best threshold", value=best),))


class MeanAngularError:
    """Mean angle between predicted and true normal over the labelled pixels, degrees.

    A prediction of length 0 points nowhere and counts as 90 degrees.
    """

    def __init__(self) -> None:
        self.sum_degrees = 0.0
        self.num_pixels = 0
        self.num_below = dict.fromkeys(ANGLES_BELOW, 0)
        self.num_by_bin = torch.zeros(round(180 / ANGLE_BIN) + 1, dtype=torch.int64)

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of raw outputs (B, 3, H, W) and unit normals (B, 3, H, W), 255 in all channels to ignore."""
        valid_BHW = (label != IGNORE_LABEL).any(dim=1)
        predicted_P3 = output.movedim(1, -1)[valid_BHW].double()
        true_P3 = label.movedim(1, -1)[valid_BHW].double()
        # atan2 of cross and dot product keeps its digits near 0 and 180 degrees, where acos loses half of them.
        sine_P = torch.linalg.vector_norm(torch.linalg.cross(predicted_P3, true_P3), dim=1)
        cosine_P = (predicted_P3 * true_P3).sum(dim=1)
        degrees_P = torch.rad2deg(torch.atan2(sine_P, cosine_P))
        nowhere_P = (predicted_P3 == 0).all(dim=1)
        degrees_P = torch.where(nowhere_P, torch.full_like(degrees_P, 90.0), degrees_P)
        self.sum_degrees += float(degrees_P.sum())
        self.num_pixels += int(valid_BHW.sum())
        for limit in ANGLES_BELOW:
            self.num_below[limit] += int((degrees_P < limit).sum())
        known_P = degrees_P[degrees_P.isfinite()]
        self.num_by_bin += torch.bincount((known_P / ANGLE_BIN).long(), minlength=len(self.num_by_bin)).cpu()

    def compute(self) -> float:
        """Return the mean angular error, degrees."""
        _require_labels(self.num_pixels)
        return self.sum_degrees / self.num_pixels

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return mean and median angle, the latter to half a bin, and the shares of pixels below the usual limits."""
        del class_names
        cumulated = self.num_by_bin.cumsum(dim=0)
        middle_bin = int(torch.searchsorted(cumulated, (int(cumulated[-1]) + 1) // 2))
        angles = {"mean": self.compute(), "median": (middle_bin + 0.5) * ANGLE_BIN}
        shares = {f"below {limit:g}\u00b0": 100 * count / self.num_pixels for limit, count in self.num_below.items()}
        return MetricDetails(
            figures=(
                *(SideFigure(name=name, value=round(value, 4), unit="degrees") for name, value in angles.items()),
                *(SideFigure(name=name, value=round(value, 4), unit="%") for name, value in shares.items()),
            )
        )


class RootMeanSquareError:
    """Root of the mean squared depth error over all labelled pixels of the data set, metres."""

    def __init__(self) -> None:
        self.sum_squares = 0.0
        self.num_pixels = 0
        self.sum_relative = 0.0
        self.num_relative = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of raw outputs (B, 1, H, W) and labels (B, 1, H, W), metres, 255 to ignore."""
        valid = label != IGNORE_LABEL
        error_P, true_P = output[valid].double() - label[valid].double(), label[valid].double()
        self.sum_squares += float(error_P.square().sum())
        self.num_pixels += int(valid.sum())
        ahead_P = true_P > 0  # nothing can be said in shares of no distance
        self.sum_relative += float((error_P[ahead_P].abs() / true_P[ahead_P]).sum())
        self.num_relative += int(ahead_P.sum())

    def compute(self) -> float:
        """Return the root mean square error, metres."""
        _require_labels(self.num_pixels)
        return math.sqrt(self.sum_squares / self.num_pixels)

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return the error in metres, and the mean of absolute errors as shares of the true depth."""
        del class_names
        relative = self.sum_relative / max(self.num_relative, 1)
        return MetricDetails(
            figures=(
                SideFigure(name="rmse", value=round(self.compute(), 6), unit="m"),
                SideFigure(name="abs_rel", value=round(relative, 6)),
            )
        )


def _require_labels(count: int) -> None:
    if count == 0:
        raise DatasetError(
            "A metric needs at least one labelled pixel or sample, got none. "
            "Evaluate on data that carries labels for the task."
        )
