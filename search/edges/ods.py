"""Edge quality as odsF: the F-measure of thinned edges matched one to one, at the data set's best threshold.

Neighbours: `search.edges.counts` counts the pixels of an image, here they are added up. Legend: B batch, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL
from search.edges.counts import EdgeCounts, EdgeImage, FloatImage, count_image
from search.errors import DatasetError
from search.results import MetricDetails, SideFigure

DEFAULT_NUM_THRESHOLDS = 24
"""0.04, 0.08 .. 0.96."""

PAPER_NUM_THRESHOLDS = 99
"""0.01, 0.02 .. 0.99, as papers print; data sets of photographs are judged so."""

DEFAULT_MAX_DISTANCE = 0.0075
"""Largest distance of a match as a share of the image diagonal, as on PASCAL-Context; a task may have its own."""


class EdgeODS:
    """Running sums of matched and of all edge pixels per threshold; odsF in percent."""

    def __init__(
        self, *, num_thresholds: int = DEFAULT_NUM_THRESHOLDS, max_distance: float = DEFAULT_MAX_DISTANCE
    ) -> None:
        self.thresholds: FloatImage = np.arange(1, num_thresholds + 1) / (num_thresholds + 1)
        self.max_distance = max_distance
        self.matched = np.zeros(num_thresholds, dtype=np.int64)
        self.predicted = np.zeros(num_thresholds, dtype=np.int64)
        self.true = 0
        self.num_images = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of logits (B, 1, H, W) and float labels (B, 1, H, W) in {0, 1}, 255 to ignore."""
        for image in list_images(output, label):
            self.add(count_image(image, self.thresholds, self.max_distance))

    def add(self, counts: EdgeCounts) -> None:
        """Add the counts of one image."""
        self.matched += counts.matched
        self.predicted += counts.predicted
        self.true += counts.true
        self.num_images += 1

    def compute(self) -> float:
        """Return the best F-measure over the thresholds, percent; 0 where there is no edge to find or none was found.

        Raises:
            DatasetError: Nothing that was added carries a label.
        """
        if self.num_images == 0:
            raise DatasetError(
                "odsF needs at least one labelled pixel, got none. Evaluate on data that carries labels for the task."
            )
        return float(self._score_thresholds().max())

    def describe(self, class_names: Sequence[str]) -> MetricDetails:
        """Return the best threshold, and precision and recall there."""
        del class_names
        best = int(self._score_thresholds().argmax())
        matched = int(self.matched[best])
        shares = {"precision": int(self.predicted[best]), "recall": self.true}
        return MetricDetails(
            figures=(
                SideFigure(name="best threshold", value=round(float(self.thresholds[best]), 4)),
                *(
                    SideFigure(name=name, value=round(100 * matched / max(count, 1), 4), unit="%")
                    for name, count in shares.items()
                ),
            )
        )

    def _score_thresholds(self) -> FloatImage:
        """Return the F-measure at every threshold, percent."""
        # 2PR / (P + R) with P = matched / predicted and R = matched / true.
        scores: FloatImage = 100 * (2 * self.matched / np.maximum(self.predicted + self.true, 1))
        return scores


def list_images(output: Tensor, label: Tensor) -> Iterator[EdgeImage]:
    """Yield the images of a batch that carry a label; counted here or in other processes, they go to `EdgeODS.add`."""
    probability_BHW = torch.sigmoid(output.double())[:, 0].cpu().numpy()
    label_BHW = label[:, 0].cpu().numpy()
    for probability_HW, label_HW in zip(probability_BHW, label_BHW, strict=True):
        valid_HW = label_HW != IGNORE_LABEL
        if valid_HW.any():
            yield EdgeImage(probability_HW, (label_HW > 0.5) & valid_HW, valid_HW)
