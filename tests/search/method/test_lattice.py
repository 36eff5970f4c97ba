"""The lattice in arrays against the branch algebra in names."""

import numpy as np
import pytest

from models.branching import enumerate_partitions, enumerate_refinements
from search.method.lattice import Lattice, build_lattice, number_by_first_task


def as_labels(grouping: tuple[tuple[str, ...], ...], num_tasks: int) -> tuple[int, ...]:
    """Return the index of each task's group, groups in the order of their first task."""
    ordered = sorted(sorted(group) for group in grouping)
    return tuple(next(i for i, group in enumerate(ordered) if str(task) in group) for task in range(num_tasks))


@pytest.mark.parametrize(("num_tasks", "bell"), [(1, 1), (2, 2), (3, 5), (4, 15), (5, 52), (6, 203)])
def test_holds_every_partition_once(num_tasks: int, bell: int) -> None:
    """The lattice has Bell(T) groupings, from fully shared to fully split, the same as `enumerate_partitions`."""
    labels_GT = build_lattice(num_tasks).labels_GT
    named = {as_labels(p, num_tasks) for p in enumerate_partitions(tuple(str(task) for task in range(num_tasks)))}
    assert len(labels_GT) == bell
    assert {tuple(row) for row in labels_GT.tolist()} == named
    assert labels_GT[0].max() == 0
    assert labels_GT[-1].tolist() == list(range(num_tasks))


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 4])
def test_pairs_are_all_refinements(num_tasks: int) -> None:
    """The pairs are exactly (grouping, refinement), sorted by the coarse one."""
    lattice = build_lattice(num_tasks)
    rows = [tuple(row) for row in lattice.labels_GT.tolist()]
    pairs = {(rows[u], rows[v]) for u, v in zip(lattice.coarse_P, lattice.fine_P, strict=True)}
    named = {
        (as_labels(coarse, num_tasks), as_labels(fine, num_tasks))
        for coarse in enumerate_partitions(tuple(str(task) for task in range(num_tasks)))
        for fine in enumerate_refinements(coarse)
    }
    assert pairs == named
    assert len(lattice.coarse_P) == len(named)
    assert (np.diff(lattice.coarse_P) >= 0).all()


def test_masks_are_the_groups() -> None:
    """Each grouping's masks partition the tasks, padded with zeros, one per group."""
    lattice = build_lattice(5)
    assert (lattice.masks_GT.sum(axis=1) == 31).all()
    assert ((lattice.masks_GT > 0).sum(axis=1) == lattice.num_groups_G).all()


def test_numbering_by_first_task() -> None:
    """Group numbers follow the order of the groups' first tasks, whatever they were."""
    numbered = number_by_first_task(np.array([[2, 0, 2, 1], [3, 3, 3, 3]]))
    assert numbered.tolist() == [[0, 1, 0, 2], [0, 0, 0, 0]]
    assert len(Lattice.from_labels(numbered).coarse_P) == 3
