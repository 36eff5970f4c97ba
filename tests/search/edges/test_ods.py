"""odsF: the published protocol's known cases, and plain twins of suppression, matching and the shared pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.edges import counts as edge_counts
from search.edges import ods as edges
from search.errors import DatasetError

FEW = settings(max_examples=15, deadline=None)
HEIGHT, WIDTH = 321, 481  # the tolerance is 0.0075 x 578.3 = 4.34 pixels


def line(row: int, *, thickness: int = 1) -> edge_counts.Mask:
    """Return a horizontal line across the middle of a 321 x 481 image."""
    mask_HW = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask_HW[row : row + thickness, 50:430] = True
    return mask_HW


def score(probability_HW: edge_counts.FloatImage, truth_HW: edge_counts.Mask, num_thresholds: int = 9) -> float:
    """Return the odsF of one fully labelled image, percent."""
    metric = edges.EdgeODS(num_thresholds=num_thresholds)
    image = edge_counts.EdgeImage(probability_HW, truth_HW, np.ones_like(truth_HW))
    metric.add(edge_counts.count_image(image, metric.thresholds, metric.max_distance))
    return metric.compute()


def draw_regions(seed: int, size: int) -> edge_counts.Mask:
    """Return the boundaries, one to two pixels wide, between random regions."""
    random = np.random.default_rng(seed)
    place_P2 = np.indices((size, size)).reshape(2, -1).T
    centre_K2 = random.uniform(0, size, (6, 2))
    region_HW = ((place_P2[:, None] - centre_K2) ** 2).sum(-1).argmin(1).reshape(size, size)
    boundary_HW = np.zeros((size, size), dtype=np.bool_)
    boundary_HW[1:] |= region_HW[1:] != region_HW[:-1]
    boundary_HW[:, 1:] |= region_HW[:, 1:] != region_HW[:, :-1]
    return boundary_HW


@FEW
@given(seed=st.integers(0, 10**6))
def test_the_truth_itself_scores_100(seed: int) -> None:
    """Predicting the label gives 100 up to the image's border, junctions included."""
    truth_HW = draw_regions(seed, 48)
    assert score(truth_HW.astype(np.float64), truth_HW) == pytest.approx(100)


@pytest.mark.parametrize(("shift", "expected"), [(0, 100), (4, 100), (-4, 100), (5, 0), (-5, 0)])
def test_a_line_may_be_off_by_the_tolerance(shift: int, expected: float) -> None:
    """In a 321 x 481 image 4 pixels off is a hit and 5 pixels off a miss."""
    assert score(line(160 + shift).astype(np.float64), line(160)) == pytest.approx(expected)


def test_a_thick_line_matches_one_to_one() -> None:
    """An unthinned line of three pixels has precision 1/3 and recall 1."""
    thick_HW, true_HW = line(159, thickness=3), line(160)
    matched = edge_counts.match_size(edge_counts.find_near_pairs(thick_HW, true_HW, 4.34))
    assert matched / thick_HW.sum() == pytest.approx(1 / 3)
    assert matched / true_HW.sum() == 1


def test_a_thick_prediction_is_thinned_first() -> None:
    """Thickness alone costs almost nothing, since predictions are thinned before they are matched."""
    assert score(line(159, thickness=3).astype(np.float64), line(160)) > 99


def test_fewer_pixels_remain_at_higher_thresholds() -> None:
    """Along a line that fades, hits and predictions fall as the threshold rises."""
    strength_HW = line(160) * np.linspace(0, 1, WIDTH)
    thresholds = np.arange(1, 20) / 20
    counts = edge_counts.count_matches(strength_HW, line(160), thresholds, 4.34)
    assert (np.diff(counts.predicted) <= 0).all()
    assert (np.diff(counts.matched) <= 0).all()
    assert (counts.predicted[0], counts.predicted[-1], counts.true) == (380, 0, 380)


@FEW
@given(angle=st.floats(0, math.pi), offset=st.floats(-5, 5))
def test_only_the_crest_of_a_ridge_survives(angle: float, offset: float) -> None:
    """Suppression keeps what lies within a pixel of a blurred line's crest, in any direction, and all along it."""
    row_HW, column_HW = np.indices((41, 41), dtype=np.float64) - 20
    distance_HW = row_HW * math.cos(angle) + column_HW * math.sin(angle) - offset
    ridge_HW = np.exp(-0.5 * (distance_HW / 2) ** 2)
    inner = (slice(6, -6), slice(6, -6))
    kept_HW = (edge_counts.suppress_non_maxima(ridge_HW) > 0.1)[inner]
    assert (np.abs(distance_HW[inner][kept_HW]) <= 1).all()
    assert kept_HW[np.abs(distance_HW[inner]) < 0.3].all()


def plain_match_size(first_HW: edge_counts.Mask, second_HW: edge_counts.Mask, tolerance_px: float) -> int:
    """Return the size of a maximum matching by augmenting paths over plain lists."""
    second = np.argwhere(second_HW).tolist()
    near = [
        [at for at, place in enumerate(second) if math.dist(place, start) <= tolerance_px]
        for start in np.argwhere(first_HW).tolist()
    ]
    partner: dict[int, int] = {}

    def augment(start: int, seen: set[int]) -> bool:
        for at in near[start]:
            if at not in seen:
                seen.add(at)
                if at not in partner or augment(partner[at], seen):
                    partner[at] = start
                    return True
        return False

    return sum(augment(start, set()) for start in range(len(near)))


@FEW
@given(seed=st.integers(0, 10**6), tolerance_px=st.sampled_from([0.5, 1.0, 1.5, 2.9]))
def test_matching_equals_augmenting_paths(seed: int, tolerance_px: float) -> None:
    """The sparse matching has the size that a plain one has."""
    random = np.random.default_rng(seed)
    first_HW, second_HW = random.random((9, 9)) < 0.2, random.random((9, 9)) < 0.25
    size = edge_counts.match_size(edge_counts.find_near_pairs(first_HW, second_HW, tolerance_px))
    assert size == plain_match_size(first_HW, second_HW, tolerance_px)


@FEW
@given(
    seed=st.integers(0, 10**6),
    num_thresholds=st.sampled_from([1, 19, 99]),
    tolerance_px=st.sampled_from([0.5, 1.5, 2.9]),
    share=st.floats(0, 1),
)
def test_all_thresholds_at_once_equal_each_on_its_own(
    seed: int, num_thresholds: int, tolerance_px: float, share: float
) -> None:
    """Counts of masks thinned together and matched pixel by pixel equal those of every threshold on its own."""
    random = np.random.default_rng(seed)
    size = (int(random.integers(1, 28)), int(random.integers(1, 28)))
    strength_HW = random.random(size) * (random.random(size) < share)
    truth_HW = edge_counts.thin_lines(random.random(size) < 0.5 * random.random())
    asked = (strength_HW, truth_HW, np.arange(1, num_thresholds + 1) / (num_thresholds + 1), tolerance_px)
    fast, plain = edge_counts.count_matches(*asked), edge_counts.count_matches_plainly(*asked)
    assert fast.matched.tolist() == plain.matched.tolist()
    assert fast.predicted.tolist() == plain.predicted.tolist()
    assert fast.true == plain.true


def test_sums_run_over_the_data_set() -> None:
    """Batches add up: one found line and one missed line of the same length give F = 2/3."""
    truth = torch.from_numpy(line(160)).float()[None, None]
    metric = edges.EdgeODS(num_thresholds=3)
    metric.update(20 * truth - 10, truth)
    metric.update(torch.full_like(truth, -10.0), truth)
    assert metric.compute() == pytest.approx(200 / 3)
    figures = {figure.name: figure.value for figure in metric.describe(()).figures}
    assert 2 / (1 / figures["precision"] + 1 / figures["recall"]) == pytest.approx(200 / 3, abs=1e-3)
    assert 0 < figures["best threshold"] < 1


def test_ignored_pixels_count_neither_way() -> None:
    """A false alarm where the label says nothing costs nothing."""
    truth = torch.from_numpy(line(160)).float()[None, None]
    truth[:, :, 200:] = 255
    found = torch.from_numpy(line(160) | line(260)).float()[None, None]
    metric = edges.EdgeODS(num_thresholds=3)
    metric.update(20 * found - 10, truth)
    assert metric.compute() == pytest.approx(100)


def test_nothing_found_scores_0() -> None:
    """An empty prediction gives 0, as does an image without any edge in either."""
    empty_HW = np.zeros((HEIGHT, WIDTH))
    assert score(empty_HW, line(160)) == 0
    assert score(empty_HW, empty_HW > 0) == 0


def test_no_label_at_all_is_refused() -> None:
    """Without any labelled pixel there is no number to give."""
    metric = edges.EdgeODS()
    metric.update(torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 255.0))
    with pytest.raises(DatasetError, match="at least one labelled"):
        metric.compute()


@FEW
@given(seed=st.integers(0, 10**6))
def test_ignored_pixels_are_as_if_they_were_not_there(seed: int) -> None:
    """Whatever is predicted where the label says nothing, and images that are ignored throughout, change no count."""
    random = np.random.default_rng(seed)
    output = torch.from_numpy(random.normal(size=(3, 1, 20, 24)))
    label = torch.from_numpy(random.choice([0.0, 1.0, 255.0], (3, 1, 20, 24), p=[0.6, 0.2, 0.2]))
    label[1] = 255
    metric, plain = edges.EdgeODS(num_thresholds=9), edges.EdgeODS(num_thresholds=9)
    metric.update(output, label)
    for index in (0, 2):
        valid_HW = (label[index, 0] != 255).numpy()
        strength_HW = edge_counts.suppress_non_maxima(torch.sigmoid(output[index, 0]).numpy()) * valid_HW
        truth_HW = edge_counts.thin_lines((label[index, 0] == 1).numpy())
        tolerance_px = plain.max_distance * math.hypot(20, 24)
        plain.add(edge_counts.count_matches_plainly(strength_HW, truth_HW, plain.thresholds, tolerance_px))
    assert (metric.matched == plain.matched).all()
    assert (metric.predicted == plain.predicted).all()
    assert (metric.true, metric.num_images) == (plain.true, 2)
