"""From architecture logits to one tree: the most likely one, and the most likely one within a budget.

Source: Bruggemann et al., BMVC 2020, Sec. 3.2 for the argmax; the budgeted tree is this project's.
Shapes: L layers, T tasks, K ops per layer, G groupings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.branching import Branching
from search.errors import BudgetError, SettingError
from search.method.lattice import IntArray, Lattice, build_lattice, number_by_first_task
from search.method.tree_programme import FloatArray, TreeProgramme

MAX_EXACT_TASKS = 7  # Bell(7) = 877 groupings; beyond, a growing pool of groupings is searched
MAX_LABELS = 4000  # partial trees kept per layer in the pool search
MAX_POOL = 500  # groupings in the pool: 16 tasks and 18 layers take some seconds
MAX_ROUNDS = 6


def most_likely(arch_logits_LTK: Tensor, tasks: Sequence[str]) -> Branching:
    """Return the tree of the most probable routing: every task takes its likeliest op in every layer.

    Of equal logits the op with the lower index wins.

    Args:
        arch_logits_LTK: Architecture logits, any dtype and device; rows in the order of `tasks`.
        tasks: T task names.

    Raises:
        SettingError: The logits hold NaN or do not fit the tasks.
    """
    log_probs_LTK = _log_probs(arch_logits_LTK, len(tasks))
    return Branching.from_routing(tasks, log_probs_LTK.argmax(axis=-1).tolist())


def most_likely_within(
    arch_logits_LTK: Tensor,
    tasks: Sequence[str],
    layer_madds: Sequence[int],
    budget_madds: int,
    *,
    floor_madds: int = 0,
    max_exact_tasks: int = MAX_EXACT_TASKS,
) -> Branching:
    """Return the tree of the most probable routing among those whose trees cost from floor to budget.

    Up to `max_exact_tasks` the answer is exact. For more, it is the best tree over a pool of groupings, which starts
    from the greedy mergers of tasks by log-probability and grows around the best tree until that stays; it keeps the
    budget all the same. If no tree lies in the band, the floor is dropped. Of equally probable trees (to about 1e-12 in
    log-probability) the cheaper one wins, then the one whose last grouping comes first when the tasks are sorted by
    name, so that the order of the tasks changes nothing.

    Args:
        arch_logits_LTK: Architecture logits, any dtype and device; -inf switches an op off.
        tasks: T task names.
        layer_madds: MAdds of one copy of each layer's block.
        budget_madds: Most MAdds of all layers together (no stem, no heads).
        floor_madds: Fewest MAdds, for a budget that shall be used.
        max_exact_tasks: Most tasks for which all groupings are tried.

    Raises:
        BudgetError: The budget lies below the fully shared layers.
        SettingError: The logits hold NaN, or logits, tasks and costs do not fit each other.
    """
    log_probs_LTK = _log_probs(arch_logits_LTK, len(tasks))
    costs_L = np.array([int(madds) for madds in layer_madds], dtype=np.int64)
    if len(costs_L) != len(log_probs_LTK) or (costs_L < 0).any():
        raise SettingError(
            f"Each of the {len(log_probs_LTK)} layers needs one cost of 0 or more MAdds, got {list(layer_madds)}."
        )
    lowest = int(costs_L.sum())
    if budget_madds < lowest:
        raise BudgetError(
            f"The budget must be at least {lowest} MAdds, which the layers cost when all tasks share them, "
            f"got {budget_madds}. Raise it to {lowest} or more."
        )
    by_name = sorted(range(len(tasks)), key=lambda task: tasks[task])
    units_LTK = _whole_units(log_probs_LTK[:, by_name])
    names = [tasks[task] for task in by_name]
    floor = floor_madds if floor_madds <= budget_madds else 0
    find = _find_exact if len(tasks) <= max_exact_tasks else _find_in_pool
    labels_LT = find(units_LTK, costs_L, budget_madds, floor)
    if labels_LT is None:
        labels_LT = find(units_LTK, costs_L, budget_madds, 0)
    assert labels_LT is not None, "the fully shared tree fits every budget that came so far"
    tree = Branching.from_routing(names, labels_LT.tolist())
    return Branching(tuple(tasks), tree.groups)


def _log_probs(arch_logits_LTK: Tensor, num_tasks: int) -> FloatArray:
    """Return log-probabilities in float64, shape (L, T, K), refusing logits that are no such thing."""
    logits_LTK = arch_logits_LTK.detach().cpu().to(torch.float64)
    if logits_LTK.ndim != 3 or logits_LTK.shape[1] != num_tasks or 0 in logits_LTK.shape:
        raise SettingError(
            f"The logits must have the shape (layers, {num_tasks} tasks, ops), got {tuple(logits_LTK.shape)}."
        )
    log_probs_LTK: FloatArray = torch.log_softmax(logits_LTK, dim=-1).numpy()
    if np.isnan(log_probs_LTK).any():
        raise SettingError("The logits must be numbers with one finite op per task at least, got NaN or infinity.")
    return log_probs_LTK


def _whole_units(log_probs_LTK: FloatArray) -> FloatArray:
    """Return the log-probabilities as whole multiples of a power of two, so small that all sums stay exact in float64.

    An op that is switched off (-inf) gets less than all others together can make good, so that it is taken only where
    the budget leaves no other tree.
    """
    off = np.isneginf(log_probs_LTK)
    num_picks = log_probs_LTK.shape[0] * log_probs_LTK.shape[1]
    worst = float(-log_probs_LTK[~off].min())
    finite_LTK = np.where(off, -(worst + 1) * (num_picks + 1), log_probs_LTK)
    largest_sum = max(1.0, -float(finite_LTK.min()) * num_picks)
    units: FloatArray = np.rint(np.ldexp(finite_LTK, min(40, 51 - math.ceil(math.log2(largest_sum)))))
    return units


def _find_exact(units_LTK: FloatArray, costs_L: IntArray, budget: int, floor: int) -> IntArray | None:
    """Return the best tree as group labels (L, T), over all groupings, or None if none costs from floor to budget."""
    lattice = build_lattice(units_LTK.shape[1])
    chain = TreeProgramme.build(lattice, units_LTK, costs_L).find_chain(budget, floor)
    return None if chain is None else lattice.labels_GT[chain.groupings_L]


def _find_in_pool(units_LTK: FloatArray, costs_L: IntArray, budget: int, floor: int) -> IntArray | None:
    """Return a good tree as group labels (L, T), over a pool of groupings that grows around the best tree so far."""
    pool_GT = _merged_groupings(units_LTK)
    best_LT: IntArray | None = None
    best_score = -math.inf
    for _ in range(MAX_ROUNDS):
        lattice = Lattice.from_labels(pool_GT)
        chain = TreeProgramme.build(lattice, units_LTK, costs_L).find_chain(budget, floor, MAX_LABELS)
        if chain is None or chain.score <= best_score:
            break
        best_score, best_LT = chain.score, lattice.labels_GT[chain.groupings_L]
        pool_GT = _first_distinct([best_LT, _neighbours(best_LT), pool_GT], MAX_POOL)
    return best_LT


def _first_distinct(parts: list[IntArray], most: int) -> IntArray:
    """Return the fully shared grouping and the first distinct ones of these, at most so many, shape (G, T)."""
    labels_GT = np.concatenate([np.zeros_like(parts[0][:1]), *parts])
    first = np.sort(np.unique(labels_GT, axis=0, return_index=True)[1])
    return np.asarray(labels_GT[first[:most]], dtype=np.int64)


def _merged_groupings(units_LTK: FloatArray) -> IntArray:
    """Return groupings to start from: for some depths, tasks merged one by one where sharing to there costs least."""
    num_layers, num_tasks, _ = units_LTK.shape
    depths = sorted({round(depth) for depth in np.linspace(1, num_layers, 6)}, reverse=True)
    found = []
    for depth in depths:
        groups = [[task] for task in range(num_tasks)]
        found.append(_labels_of(groups, num_tasks))
        while len(groups) > 1:
            first, second = _cheapest_merger(units_LTK[:depth], groups)
            groups[first] = groups[first] + groups.pop(second)
            found.append(_labels_of(groups, num_tasks))
    return _first_distinct([number_by_first_task(np.array(found))], MAX_POOL)


def _cheapest_merger(units_LTK: FloatArray, groups: list[list[int]]) -> tuple[int, int]:
    """Return the pair of groups, first index lower, that loses least log-probability by sharing all these layers."""
    sums = [units_LTK[:, group].sum(axis=1) for group in groups]
    alone = [float(sum_LK.max(axis=1).sum()) for sum_LK in sums]
    pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
    return max(pairs, key=lambda ij: float((sums[ij[0]] + sums[ij[1]]).max(axis=1).sum()) - alone[ij[0]] - alone[ij[1]])


def _labels_of(groups: list[list[int]], num_tasks: int) -> list[int]:
    """Return the index of each task's group."""
    return [next(index for index, group in enumerate(groups) if task in group) for task in range(num_tasks)]


def _neighbours(labels_LT: IntArray) -> IntArray:
    """Return the groupings one move away from those of a tree: one task moved or split off, or two groups merged."""
    found = []
    for labels in np.unique(labels_LT, axis=0):
        num_groups = int(labels.max()) + 1
        for task in range(len(labels)):
            for group in range(num_groups + 1):
                moved = labels.copy()
                moved[task] = group
                found.append(moved)
        for low in range(num_groups):
            found.extend(np.where(labels == high, low, labels) for high in range(low + 1, num_groups))
    return number_by_first_task(np.array(found))
