"""The budget controller: finds the resource weight (the paper's lambda) that brings the expected cost to the budget.

A person asks for "at most 9.1 G MAdds", not for a lambda. The controller steers the slope of the cost, not its error:
it compares how fast the expected cost falls with how fast it must fall to be at the budget when `budget_by` of the
search is done. Costs are shares of the single-task total, and lambda is counted in units of the loss at the first
step, so that the same gains serve every set of tasks and loss weights. Pure arithmetic, no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

GAIN = 15.0
"""Change of log lambda in an epoch, per share of cost that the slope per epoch is off."""
WIDEST_ERROR = 0.06
"""Largest slope error that counts; it changes lambda by a factor of 2.5 in an epoch."""
LEAD = 1.0
"""Epochs for which the present slope goes on by itself, because Adam's momentum carries the logits along."""
SHORTEST_HORIZON = 1.5
"""Epochs in which a remaining difference is to be made up once `budget_by` is over."""
LOWEST, START, HIGHEST = 0.002, 0.1, 1.0
"""Bounds and first value of lambda, in first losses per share of the single-task cost."""


@dataclass(frozen=True)
class BudgetController:
    """State of the controller after some architecture steps; `updated` gives the next.

    Attributes:
        budget_share: The budget as a share of the single-task cost.
        epochs_to_budget: Epochs after the warm-up in which the expected cost is to come down to the budget.
        steps_per_epoch: Architecture steps in one epoch; makes the gain independent of the batch size.
        log_weight: log lambda, lambda in units of `first_loss`.
        first_loss: Weighted loss of all tasks at the first step that had one; None before.
        steps: Architecture steps seen.
        last_share: Expected cost at the last step; None before the first.
        slope: Running mean of the change of the expected cost, in share per epoch.
    """

    budget_share: float
    epochs_to_budget: float
    steps_per_epoch: int
    log_weight: float = math.log(START)
    first_loss: float | None = None
    steps: int = 0
    last_share: float | None = None
    slope: float = 0.0

    @property
    def weight(self) -> float:
        """Return lambda, in loss per share of the single-task cost; 0 before the first step."""
        return math.exp(self.log_weight) * (self.first_loss or 0.0)

    def price_blocks(self, full_price: float) -> float:
        """Return the loss that all blocks of T separate encoders cost besides their MAdds.

        It grows with the search to `full_price` first losses when `epochs_to_budget` are over, so that tasks part or
        join by what they have learned.
        """
        grown = min(1.0, self.steps / max(1.0, self.steps_per_epoch * self.epochs_to_budget))
        return full_price * (self.first_loss or 0.0) * grown

    def updated(self, expected_share: float, loss: float) -> BudgetController:
        """Return the controller after one step that saw this expected cost and this weighted loss of all tasks."""
        change = 0.0 if self.last_share is None else (expected_share - self.last_share) * self.steps_per_epoch
        memory = math.exp(-1.0 / self.steps_per_epoch)
        slope = memory * self.slope + (1.0 - memory) * change
        horizon = max(SHORTEST_HORIZON, self.epochs_to_budget - self.steps / self.steps_per_epoch - LEAD)
        wanted_slope = (self.budget_share - (expected_share + LEAD * slope)) / horizon
        error = min(max(slope - wanted_slope, -WIDEST_ERROR), WIDEST_ERROR)
        moved = self.log_weight + GAIN * error / self.steps_per_epoch
        bounded = min(max(moved, math.log(LOWEST)), math.log(HIGHEST))
        return replace(
            self,
            log_weight=bounded,
            first_loss=self.first_loss or loss,
            steps=self.steps + 1,
            last_share=expected_share,
            slope=slope,
        )
