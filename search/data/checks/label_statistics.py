"""What labels hold, sample by sample in a few numbers, and summed up over a dataset.

Depth is counted in classes of equal ratio, so that quantiles of any number of pixels need little memory. Shapes: H W
pixels, N classes of depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.data.checks.findings import ClassCount, DepthRange, TaskFindings
from search.data.files.sources import Label, Split

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
"""In percent."""
_EDGES_N = np.geomspace(1e-4, 1e5, 4001)
"""Borders of the classes of depth in metres: 0.5 % apart."""


@dataclass(frozen=True)
class LabelCounts:
    """What one label holds.

    Attributes:
        num_pixels: Of the label; 1 for a class of a whole sample.
        num_labelled: Those of them that are not ignored.
        values: Pixels of each class; of positive ones for edges and saliency; of each class of depth; else empty.
        extremes: (Smallest, largest) metres of depth.
    """

    num_pixels: int
    num_labelled: int
    values: NDArray[np.int64]
    extremes: tuple[float, float] | None = None


def count_label(task: TaskInfo, label: Label) -> LabelCounts | None:
    """Return what a label holds; None where there is none, or all of it is ignored."""
    if label is None:
        return None
    label_HW = np.asarray(label)
    if task.kind == "normals":
        known_HW = (label_HW != IGNORE_LABEL).any(axis=-1)
        counts = LabelCounts(known_HW.size, int(known_HW.sum()), np.zeros(0, dtype=np.int64))
    else:
        known = label_HW[label_HW != IGNORE_LABEL]
        extremes = (float(known.min()), float(known.max())) if task.kind == "depth" and known.size else None
        counts = LabelCounts(label_HW.size, known.size, _count_values(task, known), extremes)
    return counts if counts.num_labelled else None


def _count_values(task: TaskInfo, known: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return how often each value, or class of values, occurs."""
    if task.kind == "depth":
        inside = np.clip(known.astype(np.float64), _EDGES_N[0], _EDGES_N[-1])
        counted: NDArray[np.int64] = np.histogram(inside, bins=_EDGES_N)[0]
        return counted
    if task.kind in ("edge", "saliency"):
        return np.array([int((known == 1).sum())])
    return np.bincount(known.astype(np.int64), minlength=task.channels)


class TaskTotals:
    """Sums up the labels of one task, sample by sample, in as much memory as one sample needs.

    Args:
        task: The task.
        splits: Names of the splits.
    """

    def __init__(self, task: TaskInfo, splits: Sequence[Split]) -> None:
        self._task = task
        self._num_labelled: dict[str, int] = {split: 0 for split in splits}
        self._num_missing: dict[str, int] = {split: 0 for split in splits}
        self._num_pixels = self._num_known = 0
        self._values: NDArray[np.int64] | int = 0
        self._occurs: NDArray[np.int64] | int = 0
        self._smallest, self._largest = math.inf, -math.inf

    def add(self, split: Split, counts: LabelCounts | None) -> None:
        """Add the label of one sample of a split, None where it has none."""
        if counts is None:
            self._num_missing[split] += 1
            return
        self._num_labelled[split] += 1
        self._num_pixels += counts.num_pixels
        self._num_known += counts.num_labelled
        self._values = self._values + counts.values
        self._occurs = self._occurs + (counts.values > 0)
        if counts.extremes is not None:
            self._smallest = min(self._smallest, counts.extremes[0])
            self._largest = max(self._largest, counts.extremes[1])

    def describe(self) -> TaskFindings:
        """Return what the labels are."""
        kind, is_known = self._task.kind, self._num_known > 0
        values = np.asarray(self._values)
        return TaskFindings(
            kind=kind,
            num_labelled=self._num_labelled,
            num_missing=self._num_missing,
            labelled_share=self._num_known / self._num_pixels if kind != "classification" and is_known else None,
            classes=self._describe_classes() if self._task.class_names else (),
            positive_share=float(values[0]) / self._num_known if kind in ("edge", "saliency") and is_known else None,
            metres=self._describe_depth(values) if kind == "depth" and is_known else None,
        )

    def _describe_classes(self) -> tuple[ClassCount, ...]:
        """Return how much each class takes."""
        names = self._task.class_names
        values, occurs = (np.broadcast_to(np.asarray(found), len(names)) for found in (self._values, self._occurs))
        return tuple(
            ClassCount(name=name, share=float(value) / max(self._num_known, 1), num_samples=int(number))
            for name, value, number in zip(names, values, occurs, strict=True)
        )

    def _describe_depth(self, values_N: NDArray[np.int64]) -> DepthRange:
        """Return the metres; quantiles are true to half a percent."""
        share_N = np.cumsum(values_N) / values_N.sum()
        middles_N = np.sqrt(_EDGES_N[:-1] * _EDGES_N[1:])
        quantiles = {
            f"{percent}%": float(
                np.clip(middles_N[np.searchsorted(share_N, percent / 100)], self._smallest, self._largest)
            )
            for percent in QUANTILES
        }
        return DepthRange(smallest=self._smallest, largest=self._largest, quantiles=quantiles)
