"""The search loop: warm-up, then every epoch one pass that moves the logits and one that moves the weights.

Source: Bruggemann et al., BMVC 2020, Sec. 3.2-4.1. The logits see the arch split, the weights the other samples; both
passes use batch statistics. DECISIONS.md says what differs from the paper.
Shapes: B batch, L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.blocks import set_dropout
from models.branching import Branching
from models.supergraph import Supergraph, find_active_ops
from search.budget import BudgetController
from search.cost_table import CostTable
from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.data.splits import epoch_batches, make_generator, split_search
from search.discretise import most_likely_within
from search.losses import check_finite
from search.optimiser import build_optimiser, poly_factor, set_learning_rate
from search.ports import (
    SECONDS_BETWEEN_SAVES,
    ArtifactStore,
    Cancelled,
    Reporter,
    StageFinished,
    StageProgress,
    StageStarted,
)
from search.relaxation import (
    DROPPED_LOGIT,
    compute_temperature,
    drop_unlikely,
    identity_mix,
    sample_mix,
    thin_mix,
)
from search.resource import expected_branches
from search.run_state import PeriodicSaver, find_state, seed_everything, taking_up
from search.search_loop import SearchLoop
from search.spec import Objective, SearchSpec
from search.tasks import build_loss, get_loss_weight, has_labels

BUDGET_FLOOR = 0.85
"""The delivered tree uses at least this share of its budget, wherever such a tree exists."""
DROP_FROM = 0.5
"""Share of the search after which unlikely ops are dropped: by then the cost has come down to the budget."""
HELD_OUT = "held-out loss"
"""Name in the history of the weighted loss of all tasks on the samples that train the logits, not the weights."""
SCORED_SHARE = 0.2
"""Share of the epochs, the last ones, whose held-out loss a search is judged by."""
THIN_BELOW = 0.2
"""Ops that weigh less in a draw are thinned out at random, without bias (see `thin_mix`)."""


@dataclass(frozen=True)
class SearchProblem:
    """What one search is about.

    Attributes:
        spec: The recipe.
        objective: How the expected cost is computed.
        tasks: T tasks.
        costs: MAdds of the network at its full input size.
        budget_madds: What the whole delivered network may cost.
        seed: Names all the randomness of this search.
    """

    spec: SearchSpec
    objective: Objective
    tasks: tuple[TaskInfo, ...]
    costs: CostTable
    budget_madds: int
    seed: int


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found.

    Attributes:
        branching: The delivered tree; costs at most the budget.
        arch_logits_LTK: The final logits.
        history: One row per epoch: losses, expected cost, resource weight, temperature, probabilities, and as
            "position" the steps and epochs done by its end.
        score: Loss of all tasks on the logits' samples at the end plus the price of the tree's blocks, both in losses
            of the first step; the less the better. Compares searches of one problem.
    """

    branching: Branching
    arch_logits_LTK: Tensor
    history: tuple[Mapping[str, Any], ...]
    score: float


class BilevelSearch:
    """One search from zero logits to a tree within its budget.

    Args:
        problem: What is searched.
        build_network: Builds the supergraph; called after seeding, so that the initial weights are those of the seed.
        dataset: The training samples; this class splits them between logits and weights.
        device: Where the supergraph lives.
    """

    def __init__(
        self,
        problem: SearchProblem,
        build_network: Callable[[], Supergraph],
        dataset: TaskDataset,
        device: torch.device,
    ) -> None:
        spec = problem.spec
        self.problem, self.dataset, self.device = problem, dataset, device
        self.weight_indices, self.arch_indices = split_search(len(dataset), spec.arch_fraction, problem.seed)
        self.losses = {task.name: build_loss(task) for task in problem.tasks}
        self.loss_weights = {task.name: get_loss_weight(task) for task in problem.tasks}
        seed_everything(problem.seed, "supergraph")
        network = build_network().to(device).train()
        set_dropout(network, 0.0)  # the mixes are noise enough; and torch's own generator would not survive a resume
        arch_logits_LTK = torch.zeros(network.num_layers, len(problem.tasks), network.num_ops, requires_grad=True)
        self.loop = SearchLoop(
            network,
            arch_logits_LTK,
            torch.optim.Adam([arch_logits_LTK], lr=spec.arch_learning_rate, weight_decay=spec.arch_weight_decay),
            build_optimiser(network.parameters(), spec.weights),
            BudgetController(
                problem.budget_madds / problem.costs.single_madds,
                spec.budget_by * max(1, spec.epochs - spec.warmup_epochs),
                _count_batches(len(self.arch_indices), spec.batch_size),
            ),
        )
        self._planned_epoch = -1
        self._plan: tuple[list[Tensor], list[Tensor]] = ([], [])

    def run(
        self,
        *,
        store: ArtifactStore,
        state_name: str,
        stage: str,
        reporter: Reporter,
        cancelled: Cancelled,
        seconds_between_saves: float = SECONDS_BETWEEN_SAVES,
        on_save: Callable[[Sequence[Mapping[str, Any]]], None] = lambda history: None,
    ) -> SearchOutcome | None:
        """Run to the end, from the saved state where there is one, and return what was found; None when cancelled.

        `on_save` is told the history so far whenever the state has been saved.
        """
        saved = find_state(store, state_name, self.device)
        if saved is not None:
            with taking_up(state_name):
                self.loop.restore(saved)
        loop, epochs = self.loop, self.problem.spec.epochs
        total = self._count_steps(0, epochs)
        done = self._count_steps(0, loop.epoch) + loop.step
        reporter.emit(StageStarted(stage, done, total))
        saver = PeriodicSaver(store, state_name, seconds_between_saves, lambda: on_save(loop.history))
        while loop.epoch < epochs:
            for _ in range(loop.step, self._count_steps(loop.epoch, loop.epoch + 1)):
                if cancelled():
                    saver.save(loop.to_state())
                    return None
                self._run_step()
                loop.step, done = loop.step + 1, done + 1
                reporter.emit(StageProgress(stage, done, total))
                saver.save_if_due(loop.to_state)
            self._finish_epoch()
            values = {name: value for name, value in loop.history[-1].items() if isinstance(value, float)}
            reporter.emit(StageProgress(stage, done, total, values))
        outcome = self.outcome()
        reporter.emit(StageFinished(stage, {"madds": float(self.problem.costs.madds(outcome.branching))}))
        return outcome

    def outcome(self) -> SearchOutcome:
        """Return the tree that the logits stand for now."""
        problem = self.problem
        arch_logits_LTK = self.loop.arch_logits_LTK.detach().clone()
        base_madds = problem.costs.base_madds
        branching = most_likely_within(
            arch_logits_LTK,
            [task.name for task in problem.tasks],
            problem.costs.layer_madds,
            problem.budget_madds - base_madds,
            floor_madds=math.ceil(BUDGET_FLOOR * problem.budget_madds) - base_madds,
        )
        return SearchOutcome(branching, arch_logits_LTK, tuple(self.loop.history), self._score(branching))

    def _score(self, branching: Branching) -> float:
        """Return what `SearchOutcome.score` says of a tree; of the last epochs, when the mixes are nearly hard."""
        rows, first_loss = self.loop.history, self.loop.controller.first_loss or 1.0
        losses = [row[HELD_OUT] for row in rows[-math.ceil(SCORED_SHARE * len(rows)) :] if HELD_OUT in row]
        mean_loss = sum(losses) / len(losses) if losses else 0.0
        blocks = sum(branching.num_branches) / (branching.num_layers * len(branching.tasks))
        return mean_loss / first_loss + self.problem.spec.block_price * blocks

    def _warming_up(self, epoch: int) -> bool:
        """Return whether an epoch belongs to the warm-up, in which the logits stand still."""
        return epoch < self.problem.spec.warmup_epochs

    def _progress(self, epoch: int) -> float:
        """Return how far an epoch is into the search proper, 0 for the first after the warm-up, 1 for the last."""
        spec = self.problem.spec
        return max(0.0, (epoch - spec.warmup_epochs) / max(1, spec.epochs - spec.warmup_epochs - 1))

    def _temperature(self, epoch: int) -> float:
        """Return the Gumbel-Softmax temperature of an epoch."""
        spec = self.problem.spec
        return compute_temperature(
            self._progress(epoch), spec.temperature_start, spec.temperature_end, spec.temperature_schedule
        )

    def _batches(self, epoch: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return the batches of the logits pass and of the weights pass; the warm-up moves no logits."""
        if self._planned_epoch != epoch:
            size, seed = self.problem.spec.batch_size, self.problem.seed
            self._planned_epoch, self._plan = (
                epoch,
                (
                    [] if self._warming_up(epoch) else epoch_batches(self.arch_indices, size, seed, epoch, "logits"),
                    epoch_batches(self.weight_indices, size, seed, epoch, "weights"),
                ),
            )
        return self._plan

    def _count_steps(self, first_epoch: int, last_epoch: int) -> int:
        """Return how many batches the epochs from `first_epoch` up to, not including, `last_epoch` have."""
        size, spec = self.problem.spec.batch_size, self.problem.spec
        num_logits, num_weights = (_count_batches(len(part), size) for part in (self.arch_indices, self.weight_indices))
        searching = max(0, last_epoch - max(first_epoch, spec.warmup_epochs))
        return (last_epoch - first_epoch) * num_weights + searching * num_logits

    def _run_step(self) -> None:
        """Run the batch that `loop.epoch` and `loop.step` name; what it draws depends on nothing else."""
        loop = self.loop
        logits_batches, weights_batches = self._batches(loop.epoch)
        generator = make_generator(self.problem.seed, "noise", loop.epoch, loop.step)
        if loop.step < len(logits_batches):
            self._logits_step(logits_batches[loop.step], generator)
            return
        position = loop.step - len(logits_batches)
        if position == 0:
            self._begin_weights_pass()
        self._weights_batch(weights_batches[position], position / len(weights_batches), generator)

    def _logits_step(self, indices: Tensor, generator: torch.Generator) -> None:
        """Move the logits by one batch: the gradients of all tasks and of the resource term in one step."""
        loop = self.loop
        batch = _to_device(self.dataset.batch(indices, generator), self.device)
        mix_LTK = self._draw_mix(generator)
        with torch.no_grad():  # the weights stand still here, so the stem serves all tasks without a graph
            stem_BCHW = loop.network.stem(batch["image"])
        slopes_LTK, total_loss = torch.zeros_like(mix_LTK), 0.0
        for position, task in enumerate(self.problem.tasks):
            if not has_labels(task, batch[task.name]):
                continue
            mix_LK = mix_LTK[:, position].detach().to(self.device).requires_grad_()
            active = find_active_ops(mix_LTK[:, position])
            output = loop.network.forward_from_stem(stem_BCHW, task.name, mix_LK, active, batch["image"].shape[-2:])
            loss = self.loss_weights[task.name] * self.losses[task.name](output, batch[task.name])
            (slope_LK,) = torch.autograd.grad(loss, mix_LK)  # no weight gradients are computed
            slopes_LTK[:, position] = slope_LK.to("cpu")
            total_loss += check_finite(float(loss.detach()), task.name)
        loop.held_out_losses.append(total_loss)
        loop.arch_optimiser.zero_grad()
        mix_LTK.backward(slopes_LTK)
        self._add_resource_gradient(total_loss, generator)
        loop.arch_optimiser.step()
        with torch.no_grad():
            loop.arch_logits_LTK.masked_fill_(loop.arch_logits_LTK < DROPPED_LOGIT / 2, DROPPED_LOGIT)

    def _expected_shares(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the expected cost of the relaxed tree and its number of blocks, as shares of single-task networks."""
        costs = self.problem.costs
        branches_L = expected_branches(self.loop.arch_logits_LTK, self.problem.objective, generator=generator)
        layers = (branches_L * branches_L.new_tensor(costs.layer_madds)).sum()
        blocks = len(costs.layer_madds) * costs.num_tasks
        return (layers + costs.base_madds) / costs.single_madds, branches_L.sum() / blocks

    def _add_resource_gradient(self, total_loss: float, generator: torch.Generator) -> None:
        """Add the gradients of the priced cost and the priced blocks, and let the controller see the cost."""
        loop, spec = self.loop, self.problem.spec
        share, blocks_share = self._expected_shares(generator)
        loop.controller = loop.controller.updated(float(share.detach()), total_loss)
        # The task losses reach the logits through a softmax at this temperature, which multiplies their gradient by
        # 1 / temperature; the same factor keeps the balance that both weights stand for over the whole search.
        temperature = self._temperature(loop.epoch)
        weight = loop.controller.weight / temperature if spec.resource_weight is None else spec.resource_weight
        price = loop.controller.price_blocks(spec.block_price) / temperature
        (weight * share + price * blocks_share).backward()

    def _begin_weights_pass(self) -> None:
        """Drop unlikely ops, note where the logits stand, and start the weights pass on a clean slate."""
        loop, spec = self.loop, self.problem.spec
        loop.row = {"epoch": loop.epoch + 1, "warming_up": self._warming_up(loop.epoch)}
        if not self._warming_up(loop.epoch):
            if spec.drop_below > 0 and self._progress(loop.epoch) >= DROP_FROM:
                with torch.no_grad():
                    loop.arch_logits_LTK.copy_(drop_unlikely(loop.arch_logits_LTK, spec.drop_below))
            loop.row |= self._describe_logits()
            loop.row[HELD_OUT], loop.held_out_losses = sum(loop.held_out_losses) / len(loop.held_out_losses), []
        loop.loss_sums = {task.name: [0.0, 0.0] for task in self.problem.tasks}
        if spec.weights.method == "sgd":
            # Momentum gathered under other logits would push the wrong way (Sec. 4.1). Adam's second moments are
            # scales, not directions: without them every epoch would begin with steps of full length.
            loop.weight_optimiser = build_optimiser(loop.network.parameters(), spec.weights)

    def _weights_batch(self, indices: Tensor, position: float, generator: torch.Generator) -> None:
        """Move the weights by one batch, one step per task (Sec. 4.1); tasks without labels in it are passed over."""
        loop, spec = self.loop, self.problem.spec
        done = (loop.epoch + position) / spec.epochs
        set_learning_rate(
            loop.weight_optimiser, spec.weights.learning_rate * poly_factor(done, spec.weights.poly_power)
        )
        batch = _to_device(self.dataset.batch(indices, generator), self.device)
        with torch.no_grad():
            mix_LTK = self._draw_mix(generator)
        for position_T, task in enumerate(self.problem.tasks):
            if not has_labels(task, batch[task.name]):
                continue
            mix_LK = mix_LTK[:, position_T]
            if self._warming_up(loop.epoch):
                mix_LK = identity_mix(loop.network.num_layers, loop.network.num_ops, position_T)
            loss = self._weights_step(batch, task, mix_LK)
            loop.loss_sums[task.name][0] += loss
            loop.loss_sums[task.name][1] += 1

    def _weights_step(self, batch: Mapping[str, Tensor], task: TaskInfo, mix_LK: Tensor) -> float:
        """Move the weights by one task's loss on one batch and return that loss; idle ops get no gradient at all."""
        loop = self.loop
        loop.weight_optimiser.zero_grad(set_to_none=True)
        output = loop.network(batch["image"], task.name, mix_LK.to(self.device), find_active_ops(mix_LK))
        loss = self.losses[task.name](output, batch[task.name])
        (self.loss_weights[task.name] * loss).backward()
        loop.weight_optimiser.step()
        return check_finite(float(loss.detach()), task.name)

    def _finish_epoch(self) -> None:
        """Write the epoch's row of history and move on to the next epoch."""
        loop = self.loop
        means = {f"loss {task}": total / count for task, (total, count) in loop.loss_sums.items() if count}
        done = loop.epoch + 1
        loop.history.append({**loop.row, **means, "position": [self._count_steps(0, done), done]})
        loop.epoch, loop.step = done, 0

    def _draw_mix(self, generator: torch.Generator) -> Tensor:
        """Return one relaxed routing for all tasks, thinned when the recipe lets ops go."""
        mix_LTK = sample_mix(self.loop.arch_logits_LTK, self._temperature(self.loop.epoch), generator)
        return thin_mix(mix_LTK, THIN_BELOW, generator) if self.problem.spec.drop_below > 0 else mix_LTK

    def _describe_logits(self) -> dict[str, Any]:
        """Return what history keeps of the logits of this epoch."""
        loop, single = self.loop, self.problem.costs.single_madds
        fixed = self.problem.spec.resource_weight
        probabilities_LTK = torch.softmax(loop.arch_logits_LTK.detach().double(), dim=-1)
        with torch.no_grad():
            share, _ = self._expected_shares(make_generator(self.problem.seed, "history", loop.epoch))
        return {
            "temperature": self._temperature(loop.epoch),
            "expected_madds": float(share) * single,
            "resource_weight": loop.controller.weight if fixed is None else fixed,
            "probabilities_LTK": [
                [[round(p, 4) for p in row] for row in layer] for layer in probabilities_LTK.tolist()
            ],
        }


def _count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `epoch_batches` makes of this many samples."""
    return max(1, num_samples // batch_size)


def _to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return the batch on the device."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
