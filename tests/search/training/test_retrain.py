"""Training of one network: stops leave no trace, shared ops move slower, labels may be missing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor, nn

from models.branching import Branching
from search.data.splits import make_generator
from search.errors import StateFileError
from search.judging.tasks import build_loss, get_loss_weight
from search.ports import MemoryReporter, MemoryStore, Message, StageProgress, StageStarted, never_cancelled
from search.spec import OptimiserSpec, TrainSpec
from search.training.optimiser import set_learning_rate
from search.training.retrain import Retraining

if TYPE_CHECKING:
    from tests.search.conftest import Lab

PLAIN_SGD = OptimiserSpec(method="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0, poly_power=0.0)
SGD = OptimiserSpec(method="sgd", learning_rate=0.05, momentum=0.9, weight_decay=1e-3)
PLAIN = TrainSpec(epochs=1, batch_size=4, weights=PLAIN_SGD)
ONE_STEP = TrainSpec(epochs=1, batch_size=24, weights=PLAIN_SGD)


def weights_of(training: Retraining) -> dict[str, Tensor]:
    """Return a copy of a network's whole state."""
    return {name: value.clone() for name, value in training.loop.network.state_dict().items()}


def assert_equal_weights(one: Retraining, other: Retraining) -> None:
    """Check that two networks are equal bit for bit."""
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> tuple[Retraining, object]:
    """Return a training that ran without a stop, and its history."""
    return lab.run_interrupted(lab.training, [])


@given(stops=st.lists(st.integers(0, 18), min_size=1, max_size=3))
@examples(max_examples=6)
def test_stop_and_resume_equals_never_stopped(
    lab: Lab, undisturbed: tuple[Retraining, object], stops: list[int]
) -> None:
    """A training stopped before any steps and resumed by fresh objects ends with equal weights and history."""
    straight, history = undisturbed
    resumed, twin = lab.run_interrupted(lab.training, stops)
    assert history == twin
    assert_equal_weights(straight, resumed)


def test_a_dense_training_survives_a_stop(dense_lab: Lab) -> None:
    """With dense tasks, momentum and dropout the same holds."""
    spec = TrainSpec(epochs=2, batch_size=8, weights=SGD, dropout=0.5)
    straight, history = dense_lab.run_interrupted(lambda: dense_lab.training(spec), [])
    resumed, twin = dense_lab.run_interrupted(lambda: dense_lab.training(spec), [1, 3])
    assert history == twin
    assert_equal_weights(straight, resumed)


def test_shared_ops_move_at_their_share_of_the_rate(lab: Lab) -> None:
    """One plain SGD step moves an op of n tasks by rate / n times the gradient of the weighted sum of losses."""
    tree = Branching(lab.names, ((lab.names,), *((lab.names[:2], lab.names[2:]),) * 3, tuple((n,) for n in lab.names)))
    dataset = lab.dataset()
    training, twin = (lab.training(ONE_STEP, branching=tree, dataset=dataset) for _ in range(2))
    lab.run(training)
    batch = dataset.batch(dataset.requests[0], make_generator(0, "augmentation", 0, 0))
    outputs = twin.loop.network(batch["image"])
    losses = [get_loss_weight(task) * build_loss(task)(outputs[task.name], batch[task.name]) for task in lab.tasks]
    torch.stack(losses).sum().backward()
    moved = dict(training.loop.network.named_parameters())
    for num_tasks, parameters in twin.loop.network.parameters_by_sharing().items():
        for parameter in parameters:
            name = next(key for key, value in twin.loop.network.named_parameters() if value is parameter)
            assert parameter.grad is not None
            expected = parameter.detach() - 0.1 / num_tasks * parameter.grad
            torch.testing.assert_close(moved[name].detach(), expected)


def test_adam_moves_shared_ops_at_the_full_rate(lab: Lab) -> None:
    """Adam's steps do not grow with the sum of the gradients, so there a shared op keeps the whole rate."""
    training = lab.training()
    assert {group["share"] for group in training.loop.optimiser.param_groups} == {1.0}


def test_the_rate_falls_by_the_poly_schedule(lab: Lab) -> None:
    """The last of n steps has the rate (1 - (n-1)/n)^0.9 of the first."""
    training = lab.training(TrainSpec(epochs=2, batch_size=12, weights=SGD))
    lab.run(training)
    rates = {group["lr"] * 1 / group["share"] for group in training.loop.optimiser.param_groups}
    assert [*rates] == [pytest.approx(0.05 * 0.25**0.9)] * len(rates)


def test_a_task_without_labels_keeps_its_own_branch(lab: Lab) -> None:
    """A task whose labels are all ignored has no loss, and the ops that only it uses do not move."""
    split = Branching.split(lab.names, 5)
    training = lab.training(branching=split, dataset=lab.dataset(blank={"b": 255}))
    before = {name: parameter.detach().clone() for name, parameter in training.loop.network.named_parameters()}
    history = lab.run(training)
    assert history is not None
    assert [sorted(row) for row in history] == [["epoch", "loss a", "loss c", "no labels b"]] * 3
    after = dict(training.loop.network.named_parameters())
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert {name.split(".")[2] for name in still if name.startswith("layers.")} == {"1"}
    assert {"heads.b.linear.weight", "heads.b.linear.bias"} <= still


@given(seed=st.integers(0, 2**20), silent=st.sampled_from([0.3, 0.7]))
@examples(max_examples=6)
def test_labels_of_some_samples_train_as_a_plain_loop_would(lab: Lab, seed: int, silent: float) -> None:
    """Each batch gives the weighted sum of the losses of those tasks that have labels in it, each its own mean."""
    dataset = lab.dataset(silent=(silent, seed))
    training, twin = (lab.training(PLAIN.model_copy(update={"batch_size": 4}), dataset=dataset) for _ in range(2))
    history = lab.run(training)
    network, seen = twin.loop.network, {name: list[float]() for name in lab.names}
    optimiser = twin.loop.optimiser
    set_learning_rate(optimiser, 0.1)
    for step, indices in enumerate(dataset.requests[:6]):
        batch = dataset.batch(indices, make_generator(0, "augmentation", 0, step))
        labelled = [task for task in lab.tasks if (batch[task.name] != 255).any()]
        if not labelled:
            continue
        optimiser.zero_grad()
        outputs = network(batch["image"])
        losses = [get_loss_weight(task) * build_loss(task)(outputs[task.name], batch[task.name]) for task in labelled]
        for task, loss in zip(labelled, losses, strict=True):
            seen[task.name].append(float(loss.detach()) / get_loss_weight(task))
        torch.stack(losses).sum().backward()
        optimiser.step()
    row = {f"loss {name}": sum(values) / len(values) for name, values in seen.items() if values}
    row |= {f"no labels {name}": 1.0 for name, values in seen.items() if not values}
    assert history is not None
    assert len(history) == 1
    assert history[0] == pytest.approx({"epoch": 1, **row})
    assert_equal_weights(training, twin)


def test_a_task_absent_from_an_epoch_is_reported(lab: Lab) -> None:
    """Every epoch without labels of a task gives a sentence that names both, and a mark in the history."""
    reporter = MemoryReporter()
    training = lab.training(dataset=lab.dataset(blank={"b": 255}))
    history = training.run(
        store=MemoryStore(), state_name="s", stage="single b", reporter=reporter, cancelled=never_cancelled
    )
    said = [event.text for event in reporter.events if isinstance(event, Message)]
    assert said == [f"single b: task 'b' had no labels in epoch {n}, so it learned nothing there." for n in (1, 2, 3)]
    assert history is not None
    assert [row["no labels b"] for row in history] == [1.0] * 3


def test_micro_batches_give_the_gradient_of_the_batch(lab: Lab) -> None:
    """With batch norms that stand still, N micro batches move the weights as the whole batch does."""
    trainings = []
    for accumulate in (1, 5):
        spec = ONE_STEP.model_copy(update={"batch_size": 12, "accumulate": accumulate})
        training = lab.training(spec, dataset=lab.dataset(silent=(0.5, 1)))
        for part in training.loop.network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        trainings.append((training, lab.run(training)))
    (whole, history), (parts, same) = trainings
    torch.testing.assert_close(weights_of(whole), weights_of(parts), rtol=1e-4, atol=1e-6)
    assert history is not None
    assert same is not None
    assert history[0] == pytest.approx(same[0], rel=1e-5)


def test_batches_prepared_ahead_change_nothing(lab: Lab, undisturbed: tuple[Retraining, object]) -> None:
    """A data set that is not in memory is read ahead by threads, and stops in between leave no trace either."""
    straight, history = undisturbed
    ahead, same = lab.run_interrupted(lambda: lab.training(dataset=lab.dataset(in_memory=False)), [5, 4])
    assert isinstance(same, list)
    assert [row.pop("waiting") >= 0 for row in same] == [True] * 3  # which differs from run to run
    assert same == history
    assert_equal_weights(straight, ahead)


def test_no_labels_at_all_change_no_weight(lab: Lab) -> None:
    """Without any label there is nothing to learn: parameters stay, the history has rows without losses."""
    training = lab.training(dataset=lab.dataset(blank=dict.fromkeys("abc", 255)))
    before = [parameter.detach().clone() for parameter in training.loop.network.parameters()]
    silent = {f"no labels {name}": 1.0 for name in lab.names}
    assert lab.run(training) == [{"epoch": epoch, **silent} for epoch in (1, 2, 3)]
    assert all(map(torch.equal, before, training.loop.network.parameters()))


@pytest.mark.parametrize(("sal", "depth"), [(0, 255), (1, 0), (255, 255)])
def test_one_sided_labels_give_finite_losses(dense_lab: Lab, sal: float, depth: float) -> None:
    """Nothing salient, all salient, no depth at all: losses and weights stay finite."""
    blank = {"sal": sal, "edge": 1, "depth": depth, "normals": 255, "semseg": 0}
    training = dense_lab.training(TrainSpec(epochs=1, batch_size=8, weights=SGD), dataset=dense_lab.dataset(blank))
    history = dense_lab.run(training)
    assert history is not None
    assert all(math.isfinite(value) for row in history for value in row.values())
    assert all(value.isfinite().all() for value in weights_of(training).values())


def test_the_loss_falls(lab: Lab) -> None:
    """On two dozen samples seen often enough, every task's loss goes down."""
    spec = TrainSpec(epochs=12, batch_size=12, weights=OptimiserSpec(method="adam", learning_rate=0.02, weight_decay=0))
    history = lab.run(lab.training(spec))
    assert history is not None
    assert all(history[-1][f"loss {name}"] < history[0][f"loss {name}"] for name in lab.names)


def test_progress_counts_every_step_once(lab: Lab) -> None:
    """Across a stop, the steps reported run from where it was to the total that was announced."""
    store, reporter = MemoryStore(), MemoryReporter()
    assert lab.run(lab.training(), store, stop_at=7) is None
    lab.training().run(store=store, state_name="s.state", stage="s", reporter=reporter, cancelled=never_cancelled)
    started = reporter.events[0]
    assert isinstance(started, StageStarted)
    assert (started.first_step, started.total_steps) == (7, 18)
    steps = [event.step for event in reporter.events if isinstance(event, StageProgress) and not event.values]
    assert steps == list(range(8, 19))


def test_a_state_of_another_network_is_refused(lab: Lab) -> None:
    """A whole state file of another tree is refused with a sentence that names the file."""
    store = MemoryStore()
    lab.run(lab.training(), store, stop_at=2)
    with pytest.raises(StateFileError, match=r"'s\.state' must be of this very stage"):
        lab.run(lab.training(branching=Branching.split(lab.names, 5)), store)
