"""Training of one concrete network: candidate, shared baseline or single-task baseline, all by one recipe.

One step per batch on the weighted sum of all tasks' losses; with SGD the learning rate of an op shared by n tasks is
divided by n, which balances the sum of n gradients (Adam's steps do not grow with that sum). Source: Bruggemann et
al., BMVC 2020, supplement ("Implementation"). Shapes: B batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.blocks import set_dropout
from models.branched import BranchedNetwork
from search.compute import Compute
from search.data.catalogue import TaskInfo
from search.data.feeding import PlannedBatch
from search.data.loading import TaskDataset
from search.data.splits import derive_seed, epoch_batches
from search.judging.losses import Loss, check_finite
from search.judging.tasks import get_loss_weight
from search.ports import SECONDS_BETWEEN_SAVES, ArtifactStore, Cancelled, Message, Reporter, StageProgress, StageStarted
from search.spec import TrainSpec
from search.training.crew import Alone, Crew
from search.training.feeding import feeding
from search.training.labels import ABSENT, describe_absence, find_labelled, parameters_of_only
from search.training.optimiser import build_optimiser, poly_factor, set_learning_rate
from search.training.parts import Batch, build_losses, split_batch
from search.training.run_state import PeriodicSaver, State, find_state, seed_everything, taking_up

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
        compute: In which formats it runs, on the network's device; None for float32 throughout.
        crew: The processes that train this network together, each with a copy of its own on a device of its own. Their
            dropout differs from that of one process, as that of another seed would.
    """

    def __init__(
        self,
        network: BranchedNetwork,
        tasks: Sequence[TaskInfo],
        dataset: TaskDataset,
        spec: TrainSpec,
        seed: int,
        *,
        compute: Compute | None = None,
        crew: Crew | None = None,
    ) -> None:
        self.tasks, self.dataset, self.spec, self.seed = tuple(tasks), dataset, spec, seed
        self.compute = compute or Compute(next(network.parameters()).device)
        self.crew: Crew = crew or Alone()
        set_dropout(network, spec.dropout)
        groups: list[dict[str, object]] = [
            {"params": parameters, "share": 1.0 / num_tasks if spec.weights.method == "sgd" else 1.0}
            for num_tasks, parameters in sorted(network.parameters_by_sharing().items())
        ]
        self.loop = _Loop(network.train(), build_optimiser(groups, spec.weights))
        self._joined = self.crew.join(network)
        self._run = self.compute.compiled(self._joined)

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
        saved = find_state(store, state_name, self.compute.device)
        if saved is not None:
            with taking_up(state_name):
                self.loop.restore(saved)
        loop, epochs = self.loop, self.spec.epochs
        num_batches = len(self._batches(0))
        reporter.emit(StageStarted(stage, loop.epoch * num_batches + loop.step, epochs * num_batches))
        saver = PeriodicSaver(store, state_name, seconds_between_saves)
        with feeding(self.dataset, self._upcoming(loop.epoch, loop.step), self.compute) as batches:
            while loop.epoch < epochs:
                for _ in range(loop.step, num_batches):
                    if self.crew.agree(cancelled()):
                        saver.save(loop.to_state())
                        return None
                    self._train_batch(next(batches), (loop.epoch + loop.step / num_batches) / epochs)
                    loop.step += 1
                    reporter.emit(StageProgress(stage, loop.epoch * num_batches + loop.step, epochs * num_batches))
                    saver.save_if_due(loop.to_state)
                for message in self._finish_epoch(stage):
                    reporter.emit(message)
                loop.history[-1] |= batches.describe_waiting()
                values = {name: value for name, value in loop.history[-1].items() if isinstance(value, float)}
                reporter.emit(StageProgress(stage, loop.epoch * num_batches, epochs * num_batches, values))
        return loop.history

    def _batches(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch."""
        return epoch_batches(torch.arange(len(self.dataset)), self.spec.batch_size, self.seed, epoch, "retrain")

    def _upcoming(self, epoch: int, step: int) -> Iterator[PlannedBatch]:
        """Yield the batches from a step of an epoch on, to the end of the training."""
        for later in range(epoch, self.spec.epochs):
            for index, indices in enumerate(self._batches(later)):
                if later > epoch or index >= step:
                    yield PlannedBatch(indices, derive_seed(self.seed, "augmentation", later, index))

    def _train_batch(self, batch: Batch, done: float) -> None:
        """Take one step on the weighted sum of the losses of all tasks that have labels in the batch."""
        loop, spec = self.loop, self.spec
        batch = {name: batch[name] for name in ("image", *(task.name for task in self.tasks))}
        labelled = find_labelled(self.tasks, batch)
        set_learning_rate(loop.optimiser, spec.weights.learning_rate * poly_factor(done, spec.weights.poly_power))
        loop.optimiser.zero_grad(set_to_none=True)
        if not labelled:
            return
        losses = self._collect_gradients(batch, labelled)
        loop.optimiser.step()
        for task in labelled:
            sums = loop.loss_sums.setdefault(task.name, [0.0, 0.0])
            sums[0] += check_finite(losses[task.name], task.name)
            sums[1] += 1

    def _collect_gradients(self, batch: Batch, labelled: Sequence[TaskInfo]) -> dict[str, float]:
        """Leave in the parameters the gradients of the weighted sum of losses, and return the losses, unweighted."""
        crew, num_micro = self.crew, min(self.spec.accumulate, len(batch["image"]))
        # In step with each other, processes need the same graph, also where one has no labels of a task in its share.
        counted = labelled if crew.size == 1 else self.tasks
        loss_of = build_losses(counted, batch, num_micro * crew.size)
        seed_everything(self.seed, "dropout", self.loop.epoch, self.loop.step, *([crew.rank] if crew.rank else []))
        losses_MT = []
        for index, micro in enumerate(split_batch(batch, num_micro)):
            share = next(itertools.islice(split_batch(micro, crew.size), crew.rank, None))
            more = index + 1 < num_micro
            with crew.apart(self._joined) if more else nullcontext():
                losses_MT.append(self._add_gradients(share, loss_of))
        absent = {task.name for task in self.tasks} - {task.name for task in labelled}
        if counted is not labelled:  # as in one process, what serves no labelled task has no gradient, not a zero one
            for parameter in parameters_of_only(self.loop.network, absent):
                parameter.grad = None
        losses_T = crew.sum(torch.stack(losses_MT).sum(0)) if num_micro * crew.size > 1 else losses_MT[0]
        return dict(zip(loss_of, losses_T.tolist(), strict=True))

    def _add_gradients(self, share: Batch, loss_of: Mapping[str, Loss]) -> Tensor:
        """Add the gradients of a share of a batch to those there are, and return its part of every loss."""
        sent = self.compute.send(share)
        with self.compute.casting():
            outputs = self._run(sent["image"])
        losses = {name: loss(outputs[name], sent[name]) for name, loss in loss_of.items()}
        weights = {task.name: get_loss_weight(task) for task in self.tasks}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        (total if self.crew.size == 1 else total * self.crew.size).backward()  # a crew takes the mean of its gradients
        return torch.stack([loss.detach() for loss in losses.values()])

    def _finish_epoch(self, stage: str) -> list[Message]:
        """Write the epoch's row of history, move on, and return a sentence per task that had no labels in it."""
        loop = self.loop
        means = {f"loss {task}": total / count for task, (total, count) in loop.loss_sums.items()}
        absent = [task.name for task in self.tasks if task.name not in loop.loss_sums]
        loop.history.append({"epoch": loop.epoch + 1, **means, **{f"{ABSENT}{task}": 1.0 for task in absent}})
        loop.epoch, loop.step, loop.loss_sums = loop.epoch + 1, 0, {}
        return describe_absence(absent, epoch=loop.epoch, stage=stage)
