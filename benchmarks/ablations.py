"""What each part of the search is worth: one table on digits, retrained accuracy per variant, mean of some seeds.

The budget is that of the planted tree (see planted.py). Variants of the search: without resource term, without warm-up,
the paper's objective. Trees without a search: random of the same cost, vanilla (share, then part all at once), and the
delivered tree with its tasks permuted. `python benchmarks/ablations.py [--jobs N] [--seeds N]`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from itertools import permutations

from digits_trials import SearchTrial, TrainingTrial, mean, measure_digits, run_all, run_search, run_training
from planted import THREE, is_paired, two_branches

from models.branching import Branching, enumerate_branchings

BAND = 0.85


def random_tree(budget_madds: int, seed: int) -> Branching:
    """Return a tree drawn uniformly among all whose cost lies in the band below the budget."""
    costs = measure_digits(THREE)
    inside = [
        tree
        for tree in enumerate_branchings(THREE, len(costs.layer_madds))
        if BAND * budget_madds <= costs.madds(tree) <= budget_madds
    ]
    return random.Random(seed).choice(inside)


def vanilla_tree(budget_madds: int) -> Branching:
    """Return the dearest tree within the budget that shares its first layers and then parts all tasks at once."""
    costs = measure_digits(THREE)
    num_layers = len(costs.layer_madds)
    trees = [
        Branching(THREE, ((THREE,),) * shared + (tuple((task,) for task in THREE),) * (num_layers - shared))
        for shared in range(num_layers + 1)
    ]
    return max((tree for tree in trees if costs.madds(tree) <= budget_madds), key=costs.madds)


def permuted_tree(tree: Branching, seed: int) -> Branching:
    """Return the tree with its tasks on other leaves, never by a permutation that leaves it as it was."""
    others = []
    for order in permutations(tree.tasks):
        renamed = dict(zip(tree.tasks, order, strict=True))
        moved = Branching(
            tree.tasks,
            tuple(tuple(tuple(renamed[task] for task in group) for group in layer) for layer in tree.groups),
        )
        if moved != tree:
            others.append(moved)
    return random.Random(seed).choice(others) if others else tree


def main() -> None:
    """Run all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    seeds = range(options.seeds)
    costs = measure_digits(THREE)
    budget = costs.madds(two_branches(THREE, ("left", "left_group")))
    free = costs.single_madds
    variants: dict[str, Callable[[int], SearchTrial]] = {
        "search (exact objective)": lambda seed: SearchTrial(THREE, budget, seed),
        "paper's objective": lambda seed: SearchTrial(THREE, budget, seed, objective="paper"),
        "no warm-up": lambda seed: SearchTrial(THREE, budget, seed, changes={"warmup_epochs": 0}),
        "no resource term, no budget": lambda seed: SearchTrial(
            THREE, free, seed, changes={"resource_weight": 0.0, "block_price": 0.0}
        ),
    }
    searches = [build(seed) for build in variants.values() for seed in seeds]
    found = run_all(run_search, searches, jobs=options.jobs, report=lambda *_: print(".", end="", flush=True))
    trees = {name: found[i * len(seeds) : (i + 1) * len(seeds)] for i, name in enumerate(variants)}
    fixed: dict[str, Callable[[int], Branching]] = {
        "permuted tasks": lambda seed: permuted_tree(trees["search (exact objective)"][seed], seed),
        "random tree, same cost": lambda seed: random_tree(budget, seed),
        "vanilla": lambda _: vanilla_tree(budget),
        "fully shared": lambda _: Branching.shared(THREE, len(costs.layer_madds)),
        "fully split": lambda _: Branching.split(THREE, len(costs.layer_madds)),
    }
    trees |= {name: [build(seed) for seed in seeds] for name, build in fixed.items()}
    trials = [TrainingTrial(tree, seed) for row in trees.values() for seed, tree in zip(seeds, row, strict=True)]
    accuracies = run_all(run_training, trials, jobs=options.jobs, report=lambda *_: print(".", end="", flush=True))
    print(f"\n\nbudget {budget} MAdds; single-task total {free}\n")
    print(f"{'variant':30s}{'MAdds':>10s}{'paired':>9s}" + "".join(f"{task:>12s}" for task in THREE) + f"{'mean':>8s}")
    for place, (name, row) in enumerate(trees.items()):
        scores = accuracies[place * len(seeds) : (place + 1) * len(seeds)]
        per_task = [mean([score[task] for score in scores]) for task in THREE]
        print(
            f"{name:30s}{mean([costs.madds(tree) for tree in row]):>10.0f}{sum(map(is_paired, row)):>6d}/{len(row)}"
            + "".join(f"{value:>12.1f}" for value in per_task)
            + f"{mean(per_task):>8.1f}"
        )


if __name__ == "__main__":
    main()
