"""Is the budget kept, and is it used? Searches on digits at 55, 65 and 75 % of the single-task total.

Floors: every delivered tree costs at most its budget; at least 85 % of the budget is used wherever a tree in that band
exists, in 9 of 10 runs. `python benchmarks/budgets.py [--jobs N] [--seeds N] [--preset quick|smoke]`.
"""

from __future__ import annotations

import argparse
import sys

from digits_trials import SearchTrial, describe, mean, measure_digits, run_all, run_search

from models.branching import Branching, enumerate_branchings

TASK_SETS = (("left", "right", "left_group"), ("left", "right", "left_group", "right_group"))
PERCENTAGES = (55, 65, 75)
LEAST_USED = 0.85
FLOOR = 0.9


def main() -> int:
    """Run the benchmark and return 1 when a floor is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--preset", default="quick")
    options = parser.parse_args()
    trials = [
        SearchTrial(tasks, measure_digits(tasks).single_madds * percent // 100, seed, options.preset)
        for tasks in TASK_SETS
        for percent in PERCENTAGES
        for seed in range(options.seeds)
    ]

    def used(trial: SearchTrial, tree: Branching) -> float:
        """Return the share of the budget that a tree uses."""
        return measure_digits(trial.tasks).madds(tree) / trial.budget_madds

    def report(trial: SearchTrial, tree: Branching) -> None:
        """Print one run."""
        print(
            f"  {len(trial.tasks)} tasks, seed {trial.seed}: uses {used(trial, tree):.1%}  {describe(tree)}", flush=True
        )

    trees = run_all(run_search, trials, jobs=options.jobs, report=report)
    print(f"\n{'tasks':8s}{'budget':>8s}{'mean used':>12s}{'least':>8s}{'most':>8s}{'>= 85 %':>10s}")
    missed = []
    for tasks in TASK_SETS:
        costs = measure_digits(tasks)
        possible = [costs.madds(tree) for tree in enumerate_branchings(tasks, len(costs.layer_madds))]
        for percent in PERCENTAGES:
            budget = costs.single_madds * percent // 100
            shares = [
                used(t, tree)
                for t, tree in zip(trials, trees, strict=True)
                if (t.tasks, t.budget_madds) == (tasks, budget)
            ]
            enough = sum(share >= LEAST_USED for share in shares)
            band = any(LEAST_USED * budget <= madds <= budget for madds in possible)
            print(
                f"{len(tasks):<8d}{percent:>7d}%{mean(shares):>12.1%}{min(shares):>8.1%}{max(shares):>8.1%}"
                f"{enough:>7d}/{len(shares)}{'' if band else '  (no tree in the band)'}"
            )
            if max(shares) > 1:
                missed.append(f"{len(tasks)} tasks at {percent} %: over budget")
            if band and enough < FLOOR * len(shares):
                missed.append(f"{len(tasks)} tasks at {percent} %: only {enough} of {len(shares)} use their budget")
    print("\n" + ("MISSED: " + "; ".join(missed) if missed else "all floors kept"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
