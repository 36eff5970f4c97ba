"""The budget controller: finds the resource weight (the paper's lambda) that brings the expected cost to the budget.

A person asks for "at most 9.1 G MAdds", not for a lambda. Dual ascent on log lambda, damped and bounded: the target
falls from the start to the budget by `budget_by` of the search, early enough for the logits to follow before the
temperature freezes them. All costs here are shares of the single-task total. Pure arithmetic, no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GAIN = 6.0
"""How strongly a share of cost too high or too low moves log lambda in one epoch's worth of steps."""
DAMPING = 12.0
"""How strongly the trend of the cost (share per epoch) holds log lambda back: it already moves the right way."""
LOWEST, START, HIGHEST = 1e-3, 0.5, 30.0
"""Bounds and first value of lambda, in loss per share of the single-task cost."""


@dataclass(frozen=True)
class BudgetController:
    """State of the controller after some architecture steps; `updated` gives the next.

    Attributes:
        budget_share: The budget as a share of the single-task cost.
        budget_by: Share of the search by which the target has come down to the budget.
        steps_per_epoch: Architecture steps in one epoch; makes the gains independent of the batch size.
        log_weight: log lambda.
        start_share: Expected cost before the first step; None until it is seen.
        last_share: Expected cost at the last step.
    """

    budget_share: float
    budget_by: float
    steps_per_epoch: int
    log_weight: float = math.log(START)
    start_share: float | None = None
    last_share: float | None = None

    @property
    def weight(self) -> float:
        """Return lambda."""
        return math.exp(self.log_weight)

    def target_share(self, progress: float) -> float:
        """Return the cost aimed at when `progress` (0..1) of the search after the warm-up is done."""
        if self.start_share is None or self.start_share <= self.budget_share:
            return self.budget_share
        left = max(0.0, 1.0 - progress / self.budget_by)
        return self.budget_share + left * (self.start_share - self.budget_share)

    def updated(self, expected_share: float, progress: float) -> BudgetController:
        """Return the controller after one architecture step that saw this expected cost."""
        start = expected_share if self.start_share is None else self.start_share
        seen = BudgetController(
            self.budget_share, self.budget_by, self.steps_per_epoch, self.log_weight, start, expected_share
        )
        error = expected_share - seen.target_share(progress)
        trend = 0.0 if self.last_share is None else expected_share - self.last_share
        moved = self.log_weight + GAIN * error / self.steps_per_epoch + DAMPING * trend
        bounded = min(max(moved, math.log(LOWEST)), math.log(HIGHEST))
        return BudgetController(self.budget_share, self.budget_by, self.steps_per_epoch, bounded, start, expected_share)
