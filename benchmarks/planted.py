"""The planted benchmark: does the search find which tasks belong together?

Tasks read the left or the right digit of one image, so the right pairing is known: left with left_group (and right with
right_group). The budget is exactly the tree that shares the first layer and has two branches after it. Floors: right
pairing in 9 of 10 seeds (three tasks) and 8 of 10 (four tasks); the delivered tree, retrained, beats both wrong
pairings by 5 points of mean accuracy. `python benchmarks/planted.py [--jobs N] [--seeds N] [--first-seed N]`.
"""

from __future__ import annotations

import argparse
import sys

from digits_trials import (
    SearchTrial,
    TrainingTrial,
    describe,
    layers_together,
    mean,
    measure_digits,
    run_all,
    run_search,
    run_training,
)

from models.branching import Branching

THREE = ("left", "right", "left_group")
FOUR = ("left", "right", "left_group", "right_group")
FLOORS = {THREE: 0.9, FOUR: 0.8}
MARGIN_POINTS = 5.0


def two_branches(tasks: tuple[str, ...], first: tuple[str, ...]) -> Branching:
    """Return the tree that shares the first of five layers and then parts `first` from the other tasks."""
    rest = tuple(task for task in tasks if task not in first)
    return Branching(tasks, ((tasks,), *((first, rest),) * 4))


def is_paired(branching: Branching) -> bool:
    """Return whether tasks of one digit stay together longer than tasks of different digits."""
    tasks = branching.tasks
    pairs = [(a, b) for i, a in enumerate(tasks) for b in tasks[i + 1 :]]
    same = [layers_together(branching, a, b) for a, b in pairs if a.split("_")[0] == b.split("_")[0]]
    other = [layers_together(branching, a, b) for a, b in pairs if a.split("_")[0] != b.split("_")[0]]
    return min(same) > max(other)


def is_paired_to_the_end(branching: Branching) -> bool:
    """Return whether the last layer still holds left with left_group, and neither with a task of the right digit."""
    groups = [set(group) for group in branching.groups[-1]]
    return is_paired(branching) and any({"left", "left_group"} <= group for group in groups)


def search_pairings(tasks: tuple[str, ...], seeds: range, jobs: int) -> list[Branching]:
    """Return the delivered tree of every seed, printing each."""
    costs = measure_digits(tasks)
    planted = two_branches(tasks, tuple(task for task in tasks if task.startswith("left")))
    budget = costs.madds(planted)
    print(f"\n{len(tasks)} tasks, budget {budget} MAdds ({100 * budget / costs.single_madds:.1f} % of single-task)")

    def report(trial: SearchTrial, tree: Branching) -> None:
        """Print one seed's tree."""
        used, paired = costs.madds(tree) / budget, is_paired(tree)
        print(
            f"  seed {trial.seed:3d}  {'paired' if paired else 'NOT   '}  uses {used:5.1%}  {describe(tree)}",
            flush=True,
        )

    trees = run_all(run_search, [SearchTrial(tasks, budget, seed) for seed in seeds], jobs=jobs, report=report)
    assert all(costs.madds(tree) <= budget for tree in trees), "a delivered tree exceeds its budget"
    return trees


def train_pairings(trees: list[Branching], seeds: range, jobs: int) -> tuple[list[float], dict[str, list[float]]]:
    """Return per seed the mean accuracy of the delivered tree and of both wrong pairings, retrained alike."""
    wrong = {
        "left+right | left_group": two_branches(THREE, ("left", "right")),
        "right+left_group | left": two_branches(THREE, ("right", "left_group")),
    }
    trials = [TrainingTrial(tree, seed) for tree, seed in zip(trees, seeds, strict=True)]
    trials += [TrainingTrial(tree, seed) for tree in wrong.values() for seed in seeds]
    accuracies = [
        mean(list(found.values())) for found in run_all(run_training, trials, jobs=jobs, report=lambda *_: None)
    ]
    count = len(trees)
    return accuracies[:count], {
        name: accuracies[count * (place + 1) : count * (place + 2)] for place, name in enumerate(wrong)
    }


def main() -> int:
    """Run the benchmark and return 1 when a floor is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--search-only", action="store_true")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    missed = []
    trees = {tasks: search_pairings(tasks, seeds, options.jobs) for tasks in (THREE, FOUR)}
    print(f"\n{'tasks':8s}{'paired':>10s}{'to the end':>14s}{'floor':>10s}")
    for tasks, found in trees.items():
        paired, to_the_end = sum(map(is_paired, found)), sum(map(is_paired_to_the_end, found))
        floor = FLOORS[tasks] * len(found)
        print(f"{len(tasks):<8d}{paired:>7d}/{len(found)}{to_the_end:>11d}/{len(found)}{floor:>10.0f}")
        if paired < floor:
            missed.append(f"{len(tasks)} tasks: {paired} of {len(found)} paired")
    if not options.search_only:
        delivered, wrong = train_pairings(trees[THREE], seeds, options.jobs)
        print(f"\n{'retrained, three tasks':28s}{'mean accuracy':>14s}{'least':>8s}{'most':>8s}")
        print(f"{'delivered':28s}{mean(delivered):>14.1f}{min(delivered):>8.1f}{max(delivered):>8.1f}")
        for name, values in wrong.items():
            print(f"{name:28s}{mean(values):>14.1f}{min(values):>8.1f}{max(values):>8.1f}")
            if mean(delivered) < mean(values) + MARGIN_POINTS:
                missed.append(f"delivered beats {name} by {mean(delivered) - mean(values):.1f} points only")
    print("\n" + ("MISSED: " + "; ".join(missed) if missed else "all floors kept"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
