"""Training of one concrete network: candidate, shared baseline or single-task baseline, all by one recipe.

One step per batch on the weighted sum of all tasks' losses; with SGD the learning rate of an op shared by n tasks is
divided by n, which balances the sum of n gradients (Adam's steps do not grow with that sum). Source: Bruggemann et
al., BMVC 2020, supplement ("Implementation"). Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.blocks import set_dropout
from models.branched import BranchedNetwork
from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.data.splits import epoch_batches, make_generator
from search.losses import check_finite
from search.optimiser import build_optimiser, poly_factor, set_learning_rate
from search.ports import SECONDS_BETWEEN_SAVES, ArtifactStore, Cancelled, Reporter, StageProgress, StageStarted
from search.run_state import PeriodicSaver, State, find_state, seed_everything, taking_up
from search.spec import TrainSpec
from search.tasks import build_loss, get_loss_weight, has_labels

History = list[dict[str, Any]]


@dataclass
class _Loop:
    """The parts of a running training that change; `step` counts the batches done in this epoch."""

    network: BranchedNetwork
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    loss_sums: dict[str, list[float]] = field(default_factory=dict)
    history: History = field(default_factory=list)

    def to_state(self) -> State:
        """Return all that is needed to go on from here."""
        return {
            "position": [self.epoch, self.step],
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "loss_sums": self.loss_sums,
            "history": self.history,
        }

    def restore(self, state: State) -> None:
        """Take up a saved state."""
        self.epoch, self.step = state["position"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.loss_sums, self.history = state["loss_sums"], state["history"]


class Retraining:
    """The training of one network from where it stands.

    Args:
        network: On its device; trained in place.
        tasks: The network's tasks.
        dataset: Training samples.
        spec: The recipe.
        seed: Names the order of the batches, the augmentation and the dropout.
    """

    def __init__(
        self, network: BranchedNetwork, tasks: Sequence[TaskInfo], dataset: TaskDataset, spec: TrainSpec, seed: int
    ) -> None:
        self.tasks, self.dataset, self.spec, self.seed = tuple(tasks), dataset, spec, seed
        self.device = next(network.parameters()).device
        self.losses = {task.name: build_loss(task) for task in tasks}
        set_dropout(network, spec.dropout)
        groups: list[dict[str, object]] = [
            {"params": parameters, "share": 1.0 / num_tasks if spec.weights.method == "sgd" else 1.0}
            for num_tasks, parameters in sorted(network.parameters_by_sharing().items())
        ]
        self.loop = _Loop(network.train(), build_optimiser(groups, spec.weights))

    def run(
        self,
        *,
        store: ArtifactStore,
        state_name: str,
        stage: str,
        reporter: Reporter,
        cancelled: Cancelled,
        seconds_between_saves: float = SECONDS_BETWEEN_SAVES,
    ) -> History | None:
        """Train to the end, from the saved state if there is one, and return a row per epoch; None when cancelled."""
        saved = find_state(store, state_name, self.device)
        if saved is not None:
            with taking_up(state_name):
                self.loop.restore(saved)
        loop, epochs = self.loop, self.spec.epochs
        num_batches = len(self._batches(0))
        reporter.emit(StageStarted(stage, loop.epoch * num_batches + loop.step, epochs * num_batches))
        saver = PeriodicSaver(store, state_name, seconds_between_saves)
        while loop.epoch < epochs:
            for indices in self._batches(loop.epoch)[loop.step :]:
                if cancelled():
                    saver.save(loop.to_state())
                    return None
                self._train_batch(indices, (loop.epoch + loop.step / num_batches) / epochs)
                loop.step += 1
                reporter.emit(StageProgress(stage, loop.epoch * num_batches + loop.step, epochs * num_batches))
                saver.save_if_due(loop.to_state)
            self._finish_epoch()
            losses = {name: value for name, value in loop.history[-1].items() if isinstance(value, float)}
            reporter.emit(StageProgress(stage, loop.epoch * num_batches, epochs * num_batches, losses))
        return loop.history

    def _batches(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch."""
        return epoch_batches(torch.arange(len(self.dataset)), self.spec.batch_size, self.seed, epoch, "retrain")

    def _train_batch(self, indices: Tensor, done: float) -> None:
        """Take one step on the weighted sum of the losses of all tasks that have labels in the batch."""
        loop, spec = self.loop, self.spec
        seed_everything(self.seed, "dropout", loop.epoch, loop.step)
        generator = make_generator(self.seed, "augmentation", loop.epoch, loop.step)
        batch = {name: value.to(self.device) for name, value in self.dataset.batch(indices, generator).items()}
        set_learning_rate(loop.optimiser, spec.weights.learning_rate * poly_factor(done, spec.weights.poly_power))
        loop.optimiser.zero_grad(set_to_none=True)
        outputs = loop.network(batch["image"])
        losses = {
            task: self.losses[task.name](outputs[task.name], batch[task.name])
            for task in self.tasks
            if has_labels(task, batch[task.name])
        }
        if not losses:
            return
        torch.stack([get_loss_weight(task) * loss for task, loss in losses.items()]).sum().backward()
        loop.optimiser.step()
        for task, loss in losses.items():
            sums = loop.loss_sums.setdefault(task.name, [0.0, 0.0])
            sums[0] += check_finite(float(loss.detach()), task.name)
            sums[1] += 1

    def _finish_epoch(self) -> None:
        """Write the epoch's row of history and move on to the next epoch."""
        loop = self.loop
        means = {f"loss {task}": total / count for task, (total, count) in loop.loss_sums.items()}
        loop.history.append({"epoch": loop.epoch + 1, **means})
        loop.epoch, loop.step, loop.loss_sums = loop.epoch + 1, 0, {}
