"""Speed of the resource objective: forward and backward on one core, 18 layers, against the paper's recursion.

The rival is Eq. 5-6 of Bruggemann et al. (BMVC 2020) written plainly: for every layer and grouping, the probability of
all picks that induce the grouping, times that of its coarser ancestors; the picks are enumerated once, and not timed.
Run `python benchmarks/objective.py`; it exits with 1 if a floor is missed. Shapes: L layers, T tasks, K ops.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

from search.method.resource import expected_branches

NUM_LAYERS = 18
Labels = tuple[int, ...]


@dataclass(frozen=True)
class PlainRecursion:
    """The recursion of Eq. 5-6, set up for T tasks.

    Attributes:
        picks: For every grouping but the fully split one, all ops of the T tasks that induce it, shape (n, T).
        ancestors: For each of these groupings, the coarser or equal ones among them, by index.
        num_groups: Groups in each of these groupings.
        num_tasks: T.
    """

    picks: list[Tensor]
    ancestors: list[list[int]]
    num_groups: list[int]
    num_tasks: int

    @classmethod
    def build(cls, num_tasks: int) -> PlainRecursion:
        """Return the recursion with all T^T picks sorted by the grouping that they induce."""
        by_grouping: dict[Labels, list[Labels]] = {}
        for pick in itertools.product(range(num_tasks), repeat=num_tasks):
            by_grouping.setdefault(tuple(pick.index(op) for op in pick), []).append(pick)
        del by_grouping[tuple(range(num_tasks))]  # takes what is left to 1
        groupings = list(by_grouping)
        ancestors = [[i for i, wide in enumerate(groupings) if _refines(fine, wide)] for fine in groupings]
        picks = [torch.tensor(by_grouping[grouping]) for grouping in groupings]
        return cls(picks, ancestors, [len(set(grouping)) for grouping in groupings], num_tasks)

    def expected_branches(self, arch_logits_LTK: Tensor) -> Tensor:
        """Return the paper's estimate of the branches per layer, shape (L,)."""
        probs_LTK = torch.softmax(arch_logits_LTK, dim=-1)
        tasks = torch.arange(self.num_tasks)
        reached: list[Tensor] = []
        branches = []
        for probs_TK in probs_LTK:
            picked = [probs_TK[tasks, pick].prod(dim=1).sum() for pick in self.picks]
            if reached:
                picked = [
                    p * torch.stack([reached[a] for a in above]).sum()
                    for p, above in zip(picked, self.ancestors, strict=True)
                ]
            reached = picked
            known = torch.stack(reached)
            counts = torch.tensor(self.num_groups, dtype=known.dtype)
            branches.append((known * counts).sum() + self.num_tasks * (1 - known.sum()))
        return torch.stack(branches)


def _refines(fine: Labels, wide: Labels) -> bool:
    """Return whether tasks that share in `fine` share in `wide` too; labels are positions of first tasks."""
    return all(wide[task] == wide[first] for task, first in enumerate(fine))


def measure_seconds(compute: Callable[[Tensor], Tensor], num_tasks: int, num_runs: int) -> float:
    """Return the median seconds of a forward and a backward pass at random logits, after one run to warm up."""
    generator = torch.Generator().manual_seed(num_tasks)
    logits_LTK = torch.randn(NUM_LAYERS, num_tasks, num_tasks, generator=generator).requires_grad_()
    seconds = []
    for _ in range(num_runs + 1):
        logits_LTK.grad = None
        start = time.perf_counter()
        compute(logits_LTK).sum().backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> int:
    """Return 0 if every floor is kept, else 1, after printing the table."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    plain = PlainRecursion.build(5)
    setup = time.perf_counter() - start
    logits = torch.randn(NUM_LAYERS, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gap = (plain.expected_branches(logits) - expected_branches(logits, "paper")).abs().max().item()

    def sampled(logits_LTK: Tensor) -> Tensor:
        """Return the sampled objective with a fixed seed."""
        return expected_branches(logits_LTK, "sampled", generator=torch.Generator().manual_seed(0))

    plain_5 = measure_seconds(plain.expected_branches, 5, 11)
    rows: list[tuple[str, int, float, float | None]] = [
        ("paper, plain recursion", 5, plain_5, None),
        ("paper, batched", 5, measure_seconds(lambda x: expected_branches(x, "paper"), 5, 51), None),
        ("paper, batched", 8, measure_seconds(lambda x: expected_branches(x, "paper"), 8, 5), None),
        ("exact", 5, measure_seconds(expected_branches, 5, 501), plain_5 / 100),
        ("exact", 8, measure_seconds(expected_branches, 8, 301), None),
        ("exact", 12, measure_seconds(expected_branches, 12, 101), plain_5),
        ("exact", 16, measure_seconds(expected_branches, 16, 21), 0.5),
        ("sampled, 32 draws", 16, measure_seconds(sampled, 16, 21), None),
        ("sampled, 32 draws", 40, measure_seconds(sampled, 40, 21), 1.0),
    ]
    print(f"Forward and backward, {NUM_LAYERS} layers, one thread, medians; 'at most' is the floor to keep.")
    print(f"{'objective':<24}{'tasks':>6}{'ms':>10}{'plain T=5 / this':>18}{'at most ms':>12}")
    missed = gap > 1e-9
    for name, num_tasks, seconds, limit in rows:
        floor = "" if limit is None else f"{limit * 1e3:.3f}" + ("" if seconds <= limit else "  MISSED")
        missed |= limit is not None and seconds > limit
        print(f"{name:<24}{num_tasks:>6}{seconds * 1e3:>10.3f}{plain_5 / seconds:>18.1f}{floor:>12}")
    print(
        f"Plain and batched recursion differ by {gap:.1e}; the plain one took {setup:.2f} s to set up, not timed above."
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
