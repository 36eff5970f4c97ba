"""One metric per kind of task, kept as running sums so that a data set of any length needs no more memory.

Neighbours: `search.tasks` picks one for a task, `search.evaluate` feeds it; odsF stands in `search.edges`. Values are
in natural units: percent (0..100), degrees, metres. Sums are int64 or float64.
Legend: B batch, C classes, H W pixels, N thresholds.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL
from search.errors import DatasetError

SALIENCY_THRESHOLDS = tuple(round(0.20 + 0.05 * step, 2) for step in range(15))
"""0.20, 0.25 .. 0.90: the thresholds of the code that the literature on PASCAL-Context evaluates saliency with."""


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
        hits = self.confusion.diagonal().double()
        union = (self.confusion.sum(dim=0) + self.confusion.sum(dim=1)).double() - hits
        occurs = union > 0
        return 100 * float((hits[occurs] / union[occurs]).mean())


class Accuracy:
    """Share of the labelled samples whose highest logit is the true class, percent."""

    def __init__(self) -> None:
        self.hits = 0
        self.labelled = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of logits (B, C) and int64 labels (B,), 255 to ignore."""
        # 255 can never be a hit: no head has that many classes (`search.tasks` refuses it).
        self.hits += int((output.argmax(dim=1) == label).sum())
        self.labelled += int((label != IGNORE_LABEL).sum())

    def compute(self) -> float:
        """Return the accuracy, percent."""
        _require_labels(self.labelled)
        return 100 * self.hits / self.labelled


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


class MeanAngularError:
    """Mean angle between predicted and true normal over the labelled pixels, degrees.

    A prediction of length 0 points nowhere and counts as 90 degrees.
    """

    def __init__(self) -> None:
        self.sum_degrees = 0.0
        self.num_pixels = 0

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
        self.sum_degrees += float(torch.where(nowhere_P, torch.full_like(degrees_P, 90.0), degrees_P).sum())
        self.num_pixels += int(valid_BHW.sum())

    def compute(self) -> float:
        """Return the mean angular error, degrees."""
        _require_labels(self.num_pixels)
        return self.sum_degrees / self.num_pixels


class RootMeanSquareError:
    """Root of the mean squared depth error over all labelled pixels of the data set, metres."""

    def __init__(self) -> None:
        self.sum_squares = 0.0
        self.num_pixels = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of raw outputs (B, 1, H, W) and labels (B, 1, H, W), metres, 255 to ignore."""
        valid = label != IGNORE_LABEL
        self.sum_squares += float((output[valid].double() - label[valid].double()).square().sum())
        self.num_pixels += int(valid.sum())

    def compute(self) -> float:
        """Return the root mean square error, metres."""
        _require_labels(self.num_pixels)
        return math.sqrt(self.sum_squares / self.num_pixels)


def _require_labels(count: int) -> None:
    if count == 0:
        raise DatasetError(
            "A metric needs at least one labelled pixel or sample, got none. "
            "Evaluate on data that carries labels for the task."
        )
