"""The lattice of groupings as arrays: all set partitions of the tasks, and which of them refine which.

`models.branching` speaks of one tree in names; objective and discretisation need all groupings at once, in numbers.
Pure NumPy. Shapes: T tasks, G groupings, P pairs of a grouping and one that refines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Lattice:
    """Some groupings of T tasks, coarse before fine in every pair.

    Attributes:
        labels_GT: Index of each task's group; groups are numbered in the order of their first task.
        coarse_P: First grouping of every pair, ascending.
        fine_P: Second grouping of every pair, refining the first; ascending within equal `coarse_P`. Every grouping
            is paired with itself as well.
    """

    labels_GT: IntArray
    coarse_P: IntArray
    fine_P: IntArray

    @classmethod
    def from_labels(cls, labels_GT: IntArray) -> Lattice:
        """Return the lattice of these groupings, which must be distinct and numbered by first task."""
        num_tasks = labels_GT.shape[1]
        first, second = np.triu_indices(num_tasks, k=1)
        together = (labels_GT[:, first] == labels_GT[:, second]).astype(np.float32)
        # v refines u when no two tasks are together in v but apart in u.
        breaches_GG = (1 - together) @ together.T
        coarse_P, fine_P = np.nonzero(breaches_GG == 0)
        return cls(labels_GT, coarse_P.astype(np.int64), fine_P.astype(np.int64))

    @property
    def num_groups_G(self) -> IntArray:
        """Return how many groups each grouping has, shape (G,)."""
        return np.asarray(self.labels_GT.max(axis=1) + 1, dtype=np.int64)

    @property
    def masks_GT(self) -> IntArray:
        """Return each grouping's groups as bit masks of tasks, shape (G, T), padded with 0."""
        num_groupings, num_tasks = self.labels_GT.shape
        masks_GT = np.zeros((num_groupings, num_tasks), dtype=np.int64)
        rows = np.arange(num_groupings)
        for task in range(num_tasks):
            masks_GT[rows, self.labels_GT[:, task]] |= 1 << task
        return masks_GT


@lru_cache(maxsize=16)
def build_lattice(num_tasks: int) -> Lattice:
    """Return the lattice of all Bell(T) groupings, the fully shared one first and the fully split one last."""
    labels_GT = np.zeros((1, 1), dtype=np.int64)
    for _ in range(1, num_tasks):
        choices = labels_GT.max(axis=1) + 2  # the next task joins one of the groups or opens a new one
        starts = np.repeat(np.cumsum(choices) - choices, choices)
        joined = np.arange(choices.sum()) - starts
        labels_GT = np.column_stack([np.repeat(labels_GT, choices, axis=0), joined])
    return Lattice.from_labels(labels_GT)


def number_by_first_task(labels_GT: IntArray) -> IntArray:
    """Return the same groupings with groups numbered in the order of their first task, shape (G, T)."""
    numbered_GT = np.zeros_like(labels_GT)
    for row, labels in zip(numbered_GT, labels_GT, strict=True):
        seen: dict[int, int] = {}
        row[:] = [seen.setdefault(int(label), len(seen)) for label in labels]
    return numbered_GT
