"""What labels hold, sample by sample in a few numbers, and summed up over a dataset.

Depth is counted in classes of equal ratio, so that quantiles of any number of pixels need little memory. Shapes: H W
pixels, N classes of depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def describe_counts(task: TaskInfo, counts: Mapping[Split, Sequence[LabelCounts | None]]) -> TaskFindings:
    """Return what the labels of a task are, given the counts of the samples of each split."""
    known = [label for labels in counts.values() for label in labels if label is not None]
    num_labelled = sum(label.num_labelled for label in known)
    values = np.sum([label.values for label in known], axis=0) if known else np.zeros(task.channels, dtype=np.int64)
    dense = task.kind != "classification"
    return TaskFindings(
        kind=task.kind,
        num_labelled={split: sum(label is not None for label in labels) for split, labels in counts.items()},
        num_missing={split: sum(label is None for label in labels) for split, labels in counts.items()},
        labelled_share=num_labelled / sum(label.num_pixels for label in known) if dense and known else None,
        classes=_describe_classes(task, known, values, num_labelled),
        positive_share=float(values[0]) / num_labelled if task.kind in ("edge", "saliency") and known else None,
        metres=_describe_depth(known, values) if task.kind == "depth" and known else None,
    )


def _describe_classes(
    task: TaskInfo, known: Sequence[LabelCounts], values: NDArray[np.int64], num_labelled: int
) -> tuple[ClassCount, ...]:
    """Return how much each class of a task takes."""
    names = task.class_names
    if not names:
        return ()
    occurs = np.sum([label.values > 0 for label in known], axis=0) if known else np.zeros(len(names), dtype=np.int64)
    return tuple(
        ClassCount(name=name, share=float(values[index]) / max(num_labelled, 1), num_samples=int(occurs[index]))
        for index, name in enumerate(names)
    )


def _describe_depth(known: Sequence[LabelCounts], values_N: NDArray[np.int64]) -> DepthRange:
    """Return the metres of a depth task; quantiles are true to half a percent."""
    extremes = [label.extremes for label in known if label.extremes is not None]
    smallest, largest = min(low for low, _ in extremes), max(high for _, high in extremes)
    share_N = np.cumsum(values_N) / values_N.sum()
    middles_N = np.sqrt(_EDGES_N[:-1] * _EDGES_N[1:])
    quantiles = {
        f"{percent}%": float(np.clip(middles_N[np.searchsorted(share_N, percent / 100)], smallest, largest))
        for percent in QUANTILES
    }
    return DepthRange(smallest=smallest, largest=largest, quantiles=quantiles)
