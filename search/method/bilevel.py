"""The search loop: warm-up, then every epoch one pass that moves the logits and one that moves the weights.

Source: Bruggemann et al., BMVC 2020, Sec. 3.2-4.1. The logits see the arch split, the weights the other samples; both
passes use batch statistics. DECISIONS.md says what differs from the paper.
Shapes: B batch, L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.blocks import set_dropout
from models.branching import Branching
from models.supergraph import Supergraph, find_active_ops
from search.compute import Compute
from search.costs.cost_table import CostTable
from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.data.splits import make_generator
from search.judging.losses import Loss, check_finite
from search.judging.tasks import get_loss_weight
from search.method.budget import BudgetController
from search.method.discretise import most_likely_within
from search.method.relaxation import (
    DROPPED_LOGIT,
    compute_temperature,
    drop_unlikely,
    identity_mix,
    sample_mix,
    thin_mix,
)
from search.method.resource import expected_branches
from search.method.search_loop import SearchLoop
from search.ports import (
    SECONDS_BETWEEN_SAVES,
    ArtifactStore,
    Cancelled,
    Message,
    Reporter,
    StageFinished,
    StageProgress,
    StageStarted,
)
from search.spec import Objective, SearchSpec
from search.training.feeding import feeding
from search.training.held_out import HELD_OUT, mean_by_task, mean_held_out, note_first_losses, sum_held_out
from search.training.labels import ABSENT, ABSENT_HELD_OUT, describe_absence, find_labelled
from search.training.optimiser import build_optimiser, poly_factor, set_learning_rate
from search.training.parts import Batch, build_losses, split_batch
from search.training.run_state import PeriodicSaver, find_state, seed_everything, taking_up
from search.training.search_plan import SearchPlan

BUDGET_FLOOR = 0.85
"""The delivered tree uses at least this share of its budget, wherever such a tree exists."""
DROP_FROM = 0.5
"""Share of the search after which unlikely ops are dropped: by then the cost has come down to the budget."""
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
        compute: Where the supergraph lives, and in which formats it runs. It is never compiled: which ops are
            evaluated changes with every draw.
    """

    def __init__(
        self,
        problem: SearchProblem,
        build_network: Callable[[], Supergraph],
        dataset: TaskDataset,
        compute: Compute,
    ) -> None:
        spec = problem.spec
        self.problem, self.dataset, self.compute, self.device = problem, dataset, compute, compute.device
        self.plan = SearchPlan(spec, len(dataset), problem.seed)
        self.loss_weights = {task.name: get_loss_weight(task) for task in problem.tasks}
        seed_everything(problem.seed, "supergraph")
        network = compute.place(build_network()).train()
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
                self.plan.arch_steps,
            ),
        )

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
        total = self.plan.count_steps(0, epochs)
        done = self.plan.count_steps(0, loop.epoch) + loop.step
        reporter.emit(StageStarted(stage, done, total))
        saver = PeriodicSaver(store, state_name, seconds_between_saves, lambda: on_save(loop.history))
        with feeding(self.dataset, self.plan.upcoming(loop.epoch, loop.step), self.compute) as batches:
            while loop.epoch < epochs:
                for _ in range(loop.step, self.plan.count_steps(loop.epoch, loop.epoch + 1)):
                    if cancelled():
                        saver.save(loop.to_state())
                        return None
                    self._run_step(next(batches))
                    loop.step, done = loop.step + 1, done + 1
                    reporter.emit(StageProgress(stage, done, total))
                    saver.save_if_due(loop.to_state)
                for message in self._finish_epoch(stage):
                    reporter.emit(message)
                loop.history[-1] |= batches.describe_waiting()
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
        mean_loss, first_loss = mean_held_out(self.loop.history, SCORED_SHARE), self.loop.controller.first_loss or 1.0
        blocks = sum(branching.num_branches) / (branching.num_layers * len(branching.tasks))
        return mean_loss / first_loss + self.problem.spec.block_price * blocks

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

    def _run_step(self, batch: Batch) -> None:
        """Run the batch that `loop.epoch` and `loop.step` name; what it draws depends on nothing else."""
        loop = self.loop
        # Blocks of other packages may draw from torch's own generators, such as for stochastic depth.
        seed_everything(self.problem.seed, "layers", loop.epoch, loop.step)
        generator = make_generator(self.problem.seed, "noise", loop.epoch, loop.step)
        position = loop.step - self.plan.count_logits_steps(loop.epoch)
        if position < 0:
            self._logits_step(batch, generator)
            return
        if position == 0:
            self._begin_weights_pass()
        self._weights_batch(batch, position / self.plan.weight_steps, generator)

    def _logits_step(self, batch: Batch, generator: torch.Generator) -> None:
        """Move the logits by one batch: the gradients of all tasks and of the resource term in one step."""
        loop = self.loop
        labelled = find_labelled(self.problem.tasks, batch)
        mix_LTK = self._draw_mix(generator)
        slopes_LTK, losses = torch.zeros_like(mix_LTK), dict.fromkeys((task.name for task in labelled), 0.0)
        loss_of = build_losses(labelled, batch, self.problem.spec.accumulate)
        for part in split_batch(batch, self.problem.spec.accumulate):
            sent = self.compute.send(part)
            with torch.no_grad(), self.compute.casting():  # the weights stand still, so the stem serves all tasks
                stem_BCHW = loop.network.stem(sent["image"])
            for task in labelled:
                position = self.problem.tasks.index(task)
                slope_LK, loss = self._slope(sent, stem_BCHW, task, (mix_LTK[:, position], loss_of[task.name]))
                slopes_LTK[:, position] += slope_LK
                losses[task.name] += check_finite(loss, task.name)
        loop.held_out_losses.append(losses)
        loop.first_losses = note_first_losses(loop.first_losses, losses)
        loop.arch_optimiser.zero_grad()
        mix_LTK.backward(slopes_LTK)
        self._add_resource_gradient(float(sum(losses.values())), generator)
        loop.controller = replace(loop.controller, first_loss=sum(loop.first_losses.values()) or None)
        loop.arch_optimiser.step()
        with torch.no_grad():
            loop.arch_logits_LTK.masked_fill_(loop.arch_logits_LTK < DROPPED_LOGIT / 2, DROPPED_LOGIT)

    def _slope(
        self, part: Batch, stem_BCHW: Tensor, task: TaskInfo, mixed: tuple[Tensor, Loss]
    ) -> tuple[Tensor, float]:
        """Return by how much one task's weighted loss on a part of a batch grows with its mix, and that loss.

        No weight gradients are computed.
        """
        drawn_LK, loss_of = mixed
        mix_LK, size = drawn_LK.detach().to(self.device).requires_grad_(), part["image"].shape[-2:]
        with self.compute.casting():
            output = self.loop.network.forward_from_stem(stem_BCHW, task.name, mix_LK, find_active_ops(drawn_LK), size)
        loss = self.loss_weights[task.name] * loss_of(output, part[task.name])
        (slope_LK,) = torch.autograd.grad(loss, mix_LK)
        return slope_LK.to("cpu"), float(loss.detach())

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
        loop.row = {"epoch": loop.epoch + 1, "warming_up": self.plan.warming_up(loop.epoch)}
        if not self.plan.warming_up(loop.epoch):
            if spec.drop_below > 0 and self._progress(loop.epoch) >= DROP_FROM:
                with torch.no_grad():
                    loop.arch_logits_LTK.copy_(drop_unlikely(loop.arch_logits_LTK, spec.drop_below))
            loop.row |= self._describe_logits()
            names = [task.name for task in self.problem.tasks]
            loop.held_out_means = mean_by_task(loop.held_out_losses, loop.held_out_means)
            loop.row[HELD_OUT] = sum_held_out(loop.held_out_losses, loop.held_out_means, names)
            met = {name for losses in loop.held_out_losses for name in losses}
            loop.row |= {f"{ABSENT_HELD_OUT}{name}": 1.0 for name in names if name not in met}
            loop.held_out_losses = []
        loop.loss_sums = {task.name: [0.0, 0.0] for task in self.problem.tasks}
        if spec.weights.method == "sgd":
            # Momentum gathered under other logits would push the wrong way (Sec. 4.1). Adam's second moments are
            # scales, not directions: without them every epoch would begin with steps of full length.
            loop.weight_optimiser = build_optimiser(loop.network.parameters(), spec.weights)

    def _weights_batch(self, batch: Batch, position: float, generator: torch.Generator) -> None:
        """Move the weights by one batch, one step per task (Sec. 4.1); tasks without labels in it are passed over."""
        loop, spec = self.loop, self.problem.spec
        done = (loop.epoch + position) / spec.epochs
        set_learning_rate(
            loop.weight_optimiser, spec.weights.learning_rate * poly_factor(done, spec.weights.poly_power)
        )
        labelled = find_labelled(self.problem.tasks, batch)
        with torch.no_grad():
            mix_LTK = self._draw_mix(generator)
        loss_of = build_losses(labelled, batch, spec.accumulate)
        parts, losses = [self.compute.send(part) for part in split_batch(batch, spec.accumulate)], []
        for task in labelled:
            position_T = self.problem.tasks.index(task)
            mix_LK = mix_LTK[:, position_T]
            if self.plan.warming_up(loop.epoch):
                mix_LK = identity_mix(loop.network.num_layers, loop.network.num_ops, position_T)
            losses.append(self._weights_step(parts, task, mix_LK, loss_of[task.name]))
        # Read together: every reading waits until a GPU has done all its work.
        for task, loss in zip(labelled, torch.stack(losses).tolist() if losses else (), strict=True):
            loop.loss_sums[task.name][0] += check_finite(loss, task.name)
            loop.loss_sums[task.name][1] += 1

    def _weights_step(self, parts: Sequence[Batch], task: TaskInfo, mix_LK: Tensor, loss_of: Loss) -> Tensor:
        """Move the weights by one task's loss on one batch and return that loss; idle ops get no gradient at all."""
        loop, active = self.loop, find_active_ops(mix_LK)
        loop.weight_optimiser.zero_grad(set_to_none=True)
        losses = []
        for part in parts:
            with self.compute.casting():
                output = loop.network(part["image"], task.name, mix_LK.to(self.device), active)
            loss = loss_of(output, part[task.name])
            (self.loss_weights[task.name] * loss).backward()
            losses.append(loss.detach())
        loop.weight_optimiser.step()
        return sum(losses[1:], losses[0])

    def _finish_epoch(self, stage: str) -> list[Message]:
        """Write the epoch's row of history, move on, and return a sentence per task that had no labels in it."""
        loop = self.loop
        means = {f"loss {task}": total / count for task, (total, count) in loop.loss_sums.items() if count}
        absent = [task for task, (_, count) in loop.loss_sums.items() if not count]
        done = loop.epoch + 1
        position = {"position": [self.plan.count_steps(0, done), done]}
        loop.history.append({**loop.row, **means, **{f"{ABSENT}{task}": 1.0 for task in absent}, **position})
        loop.epoch, loop.step = done, 0
        unheld = [task.name for task in self.problem.tasks if f"{ABSENT_HELD_OUT}{task.name}" in loop.row]
        return [
            *describe_absence(absent, epoch=done, stage=stage),
            *describe_absence(unheld, epoch=done, stage=stage, where=" among the samples that train the routing"),
        ]

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
