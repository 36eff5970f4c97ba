"""Edge quality as odsF: the F-measure of thinned edges matched one to one, at the data set's best threshold.

Follows the published protocol of SEISM (Pont-Tuset and Marques, TPAMI 2016); departures are named where they are made.
Precision and recall need the number of matches only, and an unmatched pixel costs more than any distance, so the
minimum-cost assignment has the size of a maximum matching. Legend: B batch, H W pixels, P pixels of a set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, sparse
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from skimage.morphology import thin
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL
from search.errors import DatasetError
from search.results import MetricDetails, SideFigure

FloatImage = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DEFAULT_NUM_THRESHOLDS = 24
"""0.04, 0.08 .. 0.96; 99 gives the 0.01 .. 0.99 that papers print."""

DEFAULT_MAX_DISTANCE = 0.0075
"""Largest distance of a match as a share of the image diagonal, as on PASCAL-Context; a task may have its own."""

SUPPRESSION_SLACK = 1.01
"""A pixel survives when this many times its strength reaches its neighbours': plateaus are left to the thinning."""


class EdgeODS:
    """Running sums of matched and of all edge pixels per threshold; odsF in percent."""

    def __init__(
        self, *, num_thresholds: int = DEFAULT_NUM_THRESHOLDS, max_distance: float = DEFAULT_MAX_DISTANCE
    ) -> None:
        self.thresholds = np.arange(1, num_thresholds + 1) / (num_thresholds + 1)
        self.max_distance = max_distance
        self.matched = np.zeros(num_thresholds, dtype=np.int64)
        self.predicted = np.zeros(num_thresholds, dtype=np.int64)
        self.true = 0
        self.num_images = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add a batch of logits (B, 1, H, W) and float labels (B, 1, H, W) in {0, 1}, 255 to ignore."""
        probability_BHW = torch.sigmoid(output.double())[:, 0].cpu().numpy()
        label_BHW = label[:, 0].cpu().numpy()
        for probability_HW, label_HW in zip(probability_BHW, label_BHW, strict=True):
            valid_HW = label_HW != IGNORE_LABEL
            if valid_HW.any():
                self.add_image(probability_HW, (label_HW > 0.5) & valid_HW, valid_HW)

    def add_image(self, probability_HW: FloatImage, truth_HW: Mask, valid_HW: Mask) -> None:
        """Add one image.

        Args:
            probability_HW: Edge strength in 0..1.
            truth_HW: True edge pixels, of any thickness.
            valid_HW: Where the label says something; predictions elsewhere are dropped.
        """
        strength_HW = np.where(valid_HW, suppress_non_maxima(probability_HW), 0.0)
        matched, predicted, num_true = count_matches(
            strength_HW, thin_lines(truth_HW), self.thresholds, self.max_distance * math.hypot(*truth_HW.shape)
        )
        self.matched += matched
        self.predicted += predicted
        self.true += num_true
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


def suppress_non_maxima(probability_HW: FloatImage) -> FloatImage:
    """Return the edge strengths with 0 where a pixel is weaker than a neighbour one pixel along the edge's normal.

    The normal is the direction in which the smoothed strengths are curved most: an eigenvector of the Hessian, where
    the reference takes an arctangent of two of its entries. The reference also fades a border of five
    pixels; here the border counts in full, or a perfect prediction would not score 100 on small images.

    Args:
        probability_HW: Edge strength in 0..1.
    """
    smooth_HW = _smooth_triangle(probability_HW, radius=4)
    slope_y, slope_x = np.gradient(smooth_HW)
    curve_yy, curve_yx = np.gradient(slope_y)
    curve_xx = np.gradient(slope_x, axis=1)
    # Half this angle is the eigenvector of the larger eigenvalue. On the crest the curvature across is negative, so the
    # normal stands upright on it; on the flanks it is positive, and the normal is that eigenvector itself.
    angle_HW = 0.5 * np.arctan2(2 * curve_yx, curve_xx - curve_yy)
    angle_HW = np.where(curve_xx + curve_yy < 0, angle_HW + np.pi / 2, angle_HW)
    step_y, step_x = np.sin(angle_HW), np.cos(angle_HW)
    row_HW, column_HW = np.indices(probability_HW.shape, dtype=np.float64)
    keep_HW = np.ones(probability_HW.shape, dtype=np.bool_)
    for side in (-1.0, 1.0):
        places = np.stack([row_HW + side * step_y, column_HW + side * step_x])
        neighbour_HW = ndimage.map_coordinates(probability_HW, places, order=1, mode="nearest")
        keep_HW &= probability_HW * SUPPRESSION_SLACK >= neighbour_HW
    return np.where(keep_HW, probability_HW, 0.0)


def count_matches(
    strength_HW: FloatImage, truth_HW: Mask, thresholds: FloatImage, tolerance_px: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return (matched, predicted, true) numbers of edge pixels; the first two per threshold.

    Args:
        strength_HW: Edge strength after suppression; thinned here at every threshold.
        truth_HW: Thinned true edges.
        thresholds: Rising, in 0..1; a pixel is predicted when its strength is above.
        tolerance_px: Largest distance of a matched pair, pixels.
    """
    matched = np.zeros(len(thresholds), dtype=np.int64)
    predicted = np.zeros(len(thresholds), dtype=np.int64)
    # Thinning only takes pixels away, so pairs found once for the lowest threshold serve all the others.
    candidates_HW = strength_HW > thresholds[0]
    row_of_pixel_HW = np.cumsum(candidates_HW).reshape(candidates_HW.shape) - 1
    near_pairs = find_near_pairs(candidates_HW, truth_HW, tolerance_px)
    last_size = -1
    for index, threshold in enumerate(thresholds):
        mask_HW = strength_HW > threshold
        size = int(mask_HW.sum())
        if size == last_size:  # masks are nested, so the same size is the same mask
            matched[index], predicted[index] = matched[index - 1], predicted[index - 1]
            continue
        last_size = size
        thinned_HW = thin_lines(mask_HW)
        predicted[index] = int(thinned_HW.sum())
        matched[index] = match_size(near_pairs[row_of_pixel_HW[thinned_HW]])
    return matched, predicted, int(truth_HW.sum())


def find_near_pairs(first_HW: Mask, second_HW: Mask, tolerance_px: float) -> sparse.csr_matrix:
    """Return a 0/1 matrix (pixels of the first mask, pixels of the second): within the tolerance of each other or not.

    Pixels are numbered in row-major order.
    """
    first_P2, second_P2 = np.argwhere(first_HW), np.argwhere(second_HW)
    shape = (len(first_P2), len(second_P2))
    if 0 in shape:
        return sparse.csr_matrix(shape, dtype=np.int8)
    near = cKDTree(first_P2).sparse_distance_matrix(cKDTree(second_P2), tolerance_px, output_type="coo_matrix")
    return sparse.csr_matrix((np.ones(near.nnz, dtype=np.int8), (near.row, near.col)), shape=shape)


def match_size(near_pairs: sparse.csr_matrix) -> int:
    """Return the size of a maximum matching: the most pairs in which no pixel occurs twice."""
    if near_pairs.nnz == 0:
        return 0
    return int((maximum_bipartite_matching(near_pairs, perm_type="column") >= 0).sum())


def thin_lines(mask_HW: Mask) -> Mask:
    """Return the mask with its lines worn down to one pixel of width."""
    thinned_HW: Mask = thin(mask_HW)  # type: ignore[no-untyped-call]
    return thinned_HW


def _smooth_triangle(image_HW: FloatImage, *, radius: int) -> FloatImage:
    rising = np.arange(1, radius + 1)
    weights = np.concatenate([rising, [radius + 1], rising[::-1]]) / (radius + 1) ** 2
    for axis in (0, 1):
        image_HW = ndimage.convolve1d(image_HW, weights, axis=axis, mode="reflect")
    return image_HW
