"""The edge pixels of one image counted: suppressed, thinned at every threshold, matched one to one with the true ones.

Follows the published protocol of SEISM (Pont-Tuset and Marques, TPAMI 2016); departures are named where they are made.
Precision and recall need the number of matches only, and an unmatched pixel costs more than any distance, so the
minimum-cost assignment has the size of a maximum matching. No torch, so that helping processes start at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.csgraph import maximum_flow
from scipy.spatial import cKDTree
from skimage.morphology import thin

from search.edges.matching import Near, count_matched
from search.edges.thinning import thin_at_thresholds

FloatImage = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

SUPPRESSION_SLACK = 1.01
"""A pixel survives when this many times its strength reaches its neighbours': plateaus are left to the thinning."""


@dataclass(frozen=True)
class EdgeImage:
    """One image with a label.

    Attributes:
        probability_HW: Edge strength in 0..1.
        truth_HW: True edge pixels, of any thickness.
        valid_HW: Where the label says something; predictions elsewhere are dropped.
    """

    probability_HW: FloatImage
    truth_HW: Mask
    valid_HW: Mask


@dataclass(frozen=True)
class EdgeCounts:
    """Matched and predicted edge pixels at every threshold, and the true ones."""

    matched: Counts
    predicted: Counts
    true: int


@dataclass(frozen=True)
class EdgeWork:
    """One image to be counted, as it is sent to a helping process.

    Attributes:
        task: Whose image it is.
        image: Prediction and label.
        thresholds: See `count_image`.
        max_distance: See `count_image`.
    """

    task: str
    image: EdgeImage
    thresholds: FloatImage
    max_distance: float


def count_work(work: EdgeWork) -> tuple[str, EdgeCounts]:
    """Return the task of an image and its counts."""
    return work.task, count_image(work.image, work.thresholds, work.max_distance)


def count_image(image: EdgeImage, thresholds: FloatImage, max_distance: float) -> EdgeCounts:
    """Return the counts of one image.

    Args:
        image: Prediction and label.
        thresholds: Rising, in 0..1.
        max_distance: Largest distance of a matched pair, as a share of the image diagonal.
    """
    strength_HW = np.where(image.valid_HW, suppress_non_maxima(image.probability_HW), 0.0)
    tolerance_px = max_distance * math.hypot(*image.truth_HW.shape)
    return count_matches(strength_HW, thin_lines(image.truth_HW), thresholds, tolerance_px)


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


def count_matches(strength_HW: FloatImage, truth_HW: Mask, thresholds: FloatImage, tolerance_px: float) -> EdgeCounts:
    """Return the counts of suppressed strengths; `count_matches_plainly` is the specification.

    Args:
        strength_HW: Edge strength after suppression; thinned here at every threshold.
        truth_HW: Thinned true edges.
        thresholds: Rising, in 0..1; a pixel is predicted when its strength is above.
        tolerance_px: Largest distance of a matched pair, pixels.
    """
    thinned = thin_at_thresholds(strength_HW, thresholds)
    rows_N, columns_N = np.divmod(thinned.places_N, strength_HW.shape[1])
    places_N2, true_T2 = np.stack([rows_N, columns_N], axis=1), np.argwhere(truth_HW)
    near = _list_near(places_N2, true_T2, tolerance_px)
    matched = count_matched(thinned.present_KN, near, len(true_T2))
    return EdgeCounts(matched, thinned.present_KN.sum(axis=1, dtype=np.int64), len(true_T2))


def count_matches_plainly(
    strength_HW: FloatImage, truth_HW: Mask, thresholds: FloatImage, tolerance_px: float
) -> EdgeCounts:
    """Return what `count_matches` returns, every threshold thinned and matched on its own."""
    thinned = [thin_lines(strength_HW > threshold) for threshold in thresholds]
    matched = [match_size(find_near_pairs(mask_HW, truth_HW, tolerance_px)) for mask_HW in thinned]
    predicted = [int(mask_HW.sum()) for mask_HW in thinned]
    return EdgeCounts(np.array(matched, np.int64), np.array(predicted, np.int64), int(truth_HW.sum()))


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
    """Return the size of a maximum matching, the most pairs in which no pixel occurs twice, found as a flow."""
    pairs = near_pairs.tocoo()
    num_first, num_second = pairs.shape
    end = num_first + num_second + 1
    tails = np.concatenate([np.zeros(num_first, int), pairs.row + 1, np.arange(num_second) + num_first + 1])
    heads = np.concatenate([np.arange(num_first) + 1, pairs.col + num_first + 1, np.full(num_second, end)])
    ones = np.ones(len(tails), dtype=np.int32)
    return int(maximum_flow(sparse.csr_matrix((ones, (tails, heads)), shape=(end + 1, end + 1)), 0, end).flow_value)


def _list_near(first_N2: npt.NDArray[np.intp], second_T2: npt.NDArray[np.intp], tolerance_px: float) -> Near:
    """Return for each place of the first set the places of the second within the tolerance, nearest first."""
    if not len(first_N2) or not len(second_T2):
        return [[] for _ in first_N2]
    near = cKDTree(first_N2).sparse_distance_matrix(cKDTree(second_T2), tolerance_px, output_type="ndarray")
    near = near[np.lexsort((near["j"], near["v"], near["i"]))]
    ends = np.cumsum(np.bincount(near["i"], minlength=len(first_N2))).tolist()
    seconds = near["j"].tolist()
    return [seconds[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


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
