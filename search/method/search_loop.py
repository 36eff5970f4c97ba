"""What changes while a search runs, as one value that can be saved and taken up again.

Everything else follows from the problem and its seed. Shapes: L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.supergraph import Supergraph
from search.method.budget import BudgetController
from search.training.run_state import State


@dataclass
class SearchLoop:
    """The parts of a running search that change, network and optimisers among them.

    `step` counts the batches done in this epoch: first those of the logits, then those of the weights. Of held-out
    losses, weighted and by task, it keeps those of this epoch's batches, each task's latest mean and its first.
    """

    network: Supergraph
    arch_logits_LTK: Tensor
    arch_optimiser: torch.optim.Optimizer
    weight_optimiser: torch.optim.Optimizer
    controller: BudgetController
    epoch: int = 0
    step: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    held_out_losses: list[dict[str, float]] = field(default_factory=list)
    held_out_means: dict[str, float] = field(default_factory=dict)
    first_losses: dict[str, float] = field(default_factory=dict)
    loss_sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_state(self) -> State:
        """Return all that is needed to go on from here."""
        return {
            "position": [self.epoch, self.step],
            "network": self.network.state_dict(),
            "arch_logits": self.arch_logits_LTK.detach(),
            "arch_optimiser": self.arch_optimiser.state_dict(),
            "weight_optimiser": self.weight_optimiser.state_dict(),
            "controller": asdict(self.controller),
            "row": self.row,
            "held_out": [self.held_out_losses, self.held_out_means, self.first_losses],
            "loss_sums": self.loss_sums,
            "history": self.history,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.epoch, self.step = state["position"]
        self.network.load_state_dict(state["network"])
        with torch.no_grad():
            self.arch_logits_LTK.copy_(state["arch_logits"])
        self.arch_optimiser.load_state_dict(state["arch_optimiser"])
        self.weight_optimiser.load_state_dict(state["weight_optimiser"])
        self.controller = BudgetController(**state["controller"])
        self.row = state["row"]
        self.held_out_losses, self.held_out_means, self.first_losses = state["held_out"]
        self.loss_sums, self.history = state["loss_sums"], state["history"]
