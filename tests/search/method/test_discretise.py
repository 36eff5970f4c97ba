"""The most likely trees against exhaustive search, with ties, floors and odd logits.

Shapes: L layers, T tasks, K ops.
"""

import itertools
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.branching import Branching, enumerate_branchings
from search.errors import BudgetError, SettingError
from search.method.discretise import most_likely, most_likely_within

TASKS = ("seg", "depth", "edge", "parts", "normals", "saliency", "keypoints", "colour")


def random_logits(num_layers: int, num_tasks: int, num_ops: int, seed: int) -> Tensor:
    """Return normal logits (L, T, K)."""
    return torch.randn(num_layers, num_tasks, num_ops, generator=torch.Generator().manual_seed(seed)) * 2


def count_madds(tree: Branching, layer_madds: list[int]) -> int:
    """Return the cost of all layers of a tree."""
    return sum(num * madds for num, madds in zip(tree.num_branches, layer_madds, strict=True))


def log_prob_of_best_routing(tree: Branching, log_probs: list[list[list[float]]]) -> float:
    """Return the log-probability of the likeliest routing that builds this tree, by trying all ops for all groups."""
    total = 0.0
    above: tuple[tuple[str, ...], ...] = (tree.tasks,)
    for layer, ops in zip(tree.groups, log_probs, strict=True):
        for wide in above:
            parts = [group for group in layer if set(group) <= set(wide)]
            ways = itertools.permutations(range(len(ops[0])), len(parts))
            total += max(
                (
                    sum(ops[tree.tasks.index(task)][op] for op, part in zip(way, parts, strict=True) for task in part)
                    for way in ways
                ),
                default=-float("inf"),
            )
        above = layer
    return total


def best_tree(
    logits_LTK: Tensor, tasks: tuple[str, ...], madds: list[int], budget: int, floor: int
) -> Branching | None:
    """Return the best of all trees in the band, each with its best routing; None where the band is empty."""
    log_probs = logits_LTK.double().log_softmax(-1).tolist()
    trees = enumerate_branchings(tasks, len(madds))
    scores = {
        tree: log_prob_of_best_routing(tree, log_probs) for tree in trees if floor <= count_madds(tree, madds) <= budget
    }
    reachable = {tree: score for tree, score in scores.items() if score > -float("inf")}
    return max(reachable, key=lambda tree: reachable[tree]) if reachable else None


def best_routed_tree(logits_LTK: Tensor, tasks: tuple[str, ...], madds: list[int], budget: int) -> Branching:
    """Return the tree of the best of all routings within the budget."""
    num_layers, num_tasks, num_ops = logits_LTK.shape
    log_probs = logits_LTK.double().log_softmax(-1).tolist()
    rows = list(itertools.product(range(num_ops), repeat=num_tasks))

    def log_prob(routing: tuple[tuple[int, ...], ...]) -> Any:
        """Return the log-probability of one routing."""
        return sum(log_probs[m][t][op] for m, row in enumerate(routing) for t, op in enumerate(row))

    for routing in sorted(itertools.product(rows, repeat=num_layers), key=log_prob, reverse=True):
        tree = Branching.from_routing(tasks, routing)
        if count_madds(tree, madds) <= budget:
            return tree
    raise AssertionError("the fully shared tree fits")


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))
def test_equals_exhaustive_search_over_trees(num_tasks: int, num_layers: int, num_ops: int, seed: int) -> None:
    """Up to four tasks and four layers the answer is the best tree in the band, or below it if that is empty."""
    choose = random.Random(seed)
    madds = [choose.randint(1, 9) for _ in range(num_layers)]
    budget = choose.randint(sum(madds), num_tasks * sum(madds))
    floor = choose.choice([0, choose.randint(0, budget)])
    logits_LTK = random_logits(num_layers, num_tasks, num_ops, seed)
    tasks = tuple(choose.sample(TASKS, num_tasks))
    best = best_tree(logits_LTK, tasks, madds, budget, floor) or best_tree(logits_LTK, tasks, madds, budget, 0)
    assert most_likely_within(logits_LTK, tasks, madds, budget, floor_madds=floor) == best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_exhaustive_search_at_four_by_four(seed: int) -> None:
    """All 315 trees of four tasks and four layers: the most probable one within the budget is found."""
    madds = [7, 3, 11, 5]
    logits_LTK = random_logits(4, 4, 4, seed)
    for budget, floor in [(26, 0), (52, 0), (70, 0), (70, 69), (90, 85), (104, 0)]:
        best = best_tree(logits_LTK, TASKS[:4], madds, budget, floor)
        assert most_likely_within(logits_LTK, TASKS[:4], madds, budget, floor_madds=floor) == best


@pytest.mark.parametrize(
    ("num_layers", "num_tasks", "num_ops"), [(4, 2, 2), (3, 3, 2), (2, 3, 3), (2, 2, 4), (1, 4, 4)]
)
def test_equals_exhaustive_search_over_routings(num_layers: int, num_tasks: int, num_ops: int) -> None:
    """The tree is that of the single most probable routing whose tree fits."""
    madds = [5, 2, 9, 4][:num_layers]
    for seed in range(3):
        logits_LTK = random_logits(num_layers, num_tasks, num_ops, seed)
        for budget in range(sum(madds), num_tasks * sum(madds) + 1, 6):
            best = best_routed_tree(logits_LTK, TASKS[:num_tasks], madds, budget)
            assert most_likely_within(logits_LTK, TASKS[:num_tasks], madds, budget) == best


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_loose_budget_gives_the_most_likely_tree(num_tasks: int, num_layers: int, seed: int) -> None:
    """A budget that does not bind changes nothing."""
    logits_LTK = random_logits(num_layers, num_tasks, num_tasks, seed)
    madds = list(range(1, num_layers + 1))
    assert most_likely_within(logits_LTK, TASKS[:num_tasks], madds, 10**6) == most_likely(logits_LTK, TASKS[:num_tasks])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)), st.sampled_from([0.0, 1.0]))
def test_order_of_tasks_changes_nothing(order: list[int], spread: float) -> None:
    """Naming the tasks in another order gives the same tree, even where all trees are equally probable."""
    logits_LTK = spread * random_logits(6, 5, 5, 3)
    shuffled = [TASKS[task] for task in order]
    tree = most_likely_within(logits_LTK, TASKS[:5], [3] * 6, 60, floor_madds=50)
    assert most_likely_within(logits_LTK[:, order], shuffled, [3] * 6, 60, floor_madds=50) == tree


def test_equal_probability_goes_to_the_cheaper_tree() -> None:
    """At zero logits all routings are as probable: the cheapest tree in the band is delivered."""
    assert most_likely_within(torch.zeros(3, 4, 4), TASKS[:4], [2, 2, 2], 24) == Branching.shared(TASKS[:4], 3)
    tree = most_likely_within(torch.zeros(3, 4, 4), TASKS[:4], [2, 2, 2], 24, floor_madds=13)
    assert count_madds(tree, [2, 2, 2]) == 14


def test_equal_logits_go_to_the_lower_op() -> None:
    """The argmax of equal logits is the first op, so that zero logits share everything."""
    assert most_likely(torch.zeros(2, 3, 3), TASKS[:3]) == Branching.shared(TASKS[:3], 2)


def test_argmax_meets_all_layers_above() -> None:
    """Tasks that parted stay apart even where they pick the same op again."""
    logits_LTK = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1], [0, 0, 0]]), 3).float()
    assert most_likely(logits_LTK, TASKS[:3]).num_branches == (2, 2)


def test_a_tree_that_fits_exactly_fits() -> None:
    """Costs compare as whole numbers: the budget of a tree is enough for it, and one less is not."""
    madds = [1234567891011, 3, 987654321]
    logits_LTK = random_logits(3, 4, 4, 5)
    tree = most_likely(logits_LTK, TASKS[:4])
    cost = count_madds(tree, madds)
    assert most_likely_within(logits_LTK, TASKS[:4], madds, cost) == tree
    assert count_madds(most_likely_within(logits_LTK, TASKS[:4], madds, cost - 1), madds) < cost


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e5])
def test_saturated_logits_neither_underflow_nor_overflow(scale: float) -> None:
    """Scaling all logits leaves the order of the routings, and so the tree, as it was."""
    logits_LTK = random_logits(6, 4, 4, 1).double()
    madds = [4, 4, 2, 2, 1, 1]
    assert most_likely_within(scale * logits_LTK, TASKS[:4], madds, 30) == most_likely_within(
        logits_LTK, TASKS[:4], madds, 30
    )


def test_ops_switched_off_are_the_last_resort() -> None:
    """An op of minus infinity is taken only where the budget leaves no other tree."""
    logits_LTK = torch.tensor([[[0.0, -torch.inf], [-torch.inf, 0.0], [0.0, -9.0]]])
    tree = most_likely_within(logits_LTK, TASKS[:3], [1], 2)
    assert tree == Branching(TASKS[:3], ((("seg", "edge"), ("depth",)),))
    assert most_likely_within(logits_LTK, TASKS[:3], [1], 1) == Branching.shared(TASKS[:3], 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_logits_as_they_come(dtype: torch.dtype, device: torch.device) -> None:
    """Any dtype, any device, with or without gradient."""
    logits_LTK = torch.eye(3, dtype=dtype, device=device).repeat(2, 1, 1).requires_grad_()
    assert most_likely(logits_LTK, TASKS[:3]) == Branching.split(TASKS[:3], 2)
    assert most_likely_within(logits_LTK, TASKS[:3], [1, 1], 6) == Branching.split(TASKS[:3], 2)


def test_many_tasks_keep_the_budget() -> None:
    """Twelve tasks: the planted tree is found where it fits, and a smaller budget is kept and used."""
    tasks = [f"task{index:02d}" for index in range(12)]
    planted = Branching.from_routing(tasks, [[0] * 12] * 2 + [[t % 3 for t in range(12)]] * 3 + [list(range(12))])
    logits_LTK = 5 * torch.nn.functional.one_hot(torch.tensor(planted.routing_LT), 12).double()
    madds = [9, 8, 7, 6, 5, 4]
    cost = count_madds(planted, madds)
    assert most_likely_within(logits_LTK, tasks, madds, cost) == planted
    smaller = most_likely_within(logits_LTK, tasks, madds, cost - 20, floor_madds=cost - 30)
    assert cost - 30 <= count_madds(smaller, madds) <= cost - 20


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_pool_search_comes_close_to_the_exact_one(seed: int) -> None:
    """On six tasks of pure noise, the pool search loses at most 5 % in log-probability against the exact programme."""
    logits_LTK = random_logits(8, 6, 6, seed)
    log_probs = logits_LTK.double().log_softmax(-1).tolist()
    madds = [3, 5, 2, 8, 4, 4, 9, 6]
    exact = log_prob_of_best_routing(most_likely_within(logits_LTK, TASKS[:6], madds, 120), log_probs)
    pooled_tree = most_likely_within(logits_LTK, TASKS[:6], madds, 120, max_exact_tasks=5)
    assert count_madds(pooled_tree, madds) <= 120
    assert 1.05 * exact <= log_prob_of_best_routing(pooled_tree, log_probs) <= exact + 1e-9


def test_refuses_a_budget_below_the_shared_layers() -> None:
    """The message names the lowest feasible number."""
    with pytest.raises(BudgetError, match=r"at least 15 MAdds.*got 14\. Raise it to 15"):
        most_likely_within(torch.zeros(2, 3, 3), TASKS[:3], [7, 8], 14)
    assert most_likely_within(torch.zeros(2, 3, 3), TASKS[:3], [7, 8], 15) == Branching.shared(TASKS[:3], 2)


def test_refuses_logits_that_are_none() -> None:
    """NaN, a wrong number of tasks and a missing layer cost are refused with a sentence."""
    with pytest.raises(SettingError, match="NaN"):
        most_likely(torch.full((2, 3, 3), torch.nan), TASKS[:3])
    with pytest.raises(SettingError, match=r"\(layers, 2 tasks, ops\), got \(2, 3, 3\)"):
        most_likely(torch.zeros(2, 3, 3), TASKS[:2])
    with pytest.raises(SettingError, match="Each of the 2 layers needs one cost"):
        most_likely_within(torch.zeros(2, 3, 3), TASKS[:3], [7], 99)
