"""Statistics of labels agree with counting all pixels at once."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.catalogue import TaskInfo
from search.data.checks.findings import TaskFindings
from search.data.checks.label_statistics import QUANTILES, TaskTotals, count_label
from search.data.files.sources import Label

DEPTH = TaskInfo("depth", "depth", 1)
CLASSES = TaskInfo("semseg", "segmentation", 3, ("road", "car", "person"))


def describe(task: TaskInfo, labels: Sequence[Label]) -> TaskFindings:
    """Return what training labels are."""
    totals = TaskTotals(task, ("train", "val"))
    for label in labels:
        totals.add("train", count_label(task, label))
    return totals.describe()


@given(st.lists(st.floats(min_value=0.01, max_value=200), min_size=1, max_size=40), st.integers(0, 3))
def test_quantiles_of_depth_are_true_to_half_a_percent(metres: list[float], num_ignored: int) -> None:
    """Classes of equal ratio replace the pixels themselves; 255 is no distance."""
    label = np.array([*metres, *([255.0] * num_ignored)], dtype=np.float32)[None]
    found = describe(DEPTH, [label]).metres
    assert found is not None
    known = np.sort(label[label != 255])
    assert (found.smallest, found.largest) == (known[0], known[-1])
    for percent in QUANTILES:
        plain = np.quantile(known, percent / 100, method="inverted_cdf")
        assert found.quantiles[f"{percent}%"] == pytest.approx(plain, rel=0.006)


@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_shares_of_classes_are_those_of_all_labelled_pixels(labels: list[list[int]]) -> None:
    """Counting sample by sample and summing up is counting all at once."""
    arrays = [np.array(label, dtype=np.uint8).reshape(2, 2) for label in labels]
    found = describe(CLASSES, arrays)
    known = np.concatenate([array[array != 255] for array in arrays])
    for number, entry in enumerate(found.classes):
        assert entry.share == pytest.approx((known == number).mean() if len(known) else 0)
        assert entry.num_samples == sum((array == number).any() for array in arrays)


def test_a_label_that_says_nothing_is_none() -> None:
    """All ignored is as good as missing."""
    assert count_label(CLASSES, np.full((2, 2), 255, dtype=np.uint8)) is None
    assert count_label(CLASSES, None) is None
    found = describe(CLASSES, [None])
    assert (found.num_labelled, found.num_missing) == ({"train": 0, "val": 0}, {"train": 1, "val": 0})
