"""The search loop: stops leave no trace, the warm-up keeps to itself, labels may be missing, budgets hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from models.branching import Branching
from search.data.splits import make_generator
from search.errors import StateFileError
from search.judging.tasks import build_loss, get_loss_weight
from search.method.bilevel import BilevelSearch, SearchOutcome
from search.method.resource import expected_branches
from search.ports import (
    MemoryReporter,
    MemoryStore,
    Message,
    StageFinished,
    StageProgress,
    StageStarted,
    never_cancelled,
)
from search.spec import OptimiserSpec, SearchSpec

if TYPE_CHECKING:
    from tests.search.conftest import Lab

SGD = OptimiserSpec(method="sgd", learning_rate=0.05, momentum=0.9, weight_decay=0.1)
ADAM = OptimiserSpec(method="adam", learning_rate=0.01, weight_decay=0.1)
PLAIN_SGD = OptimiserSpec(method="sgd", learning_rate=0.1, momentum=0.0, weight_decay=0.0, poly_power=0.0)
WARMUP_ONLY = SearchSpec(epochs=1, warmup_epochs=1, batch_size=4, weights=SGD)
SHORT = SearchSpec(epochs=3, warmup_epochs=1, batch_size=4, weights=ADAM, arch_learning_rate=0.2)


def assert_same_end(left: tuple[BilevelSearch, object], right: tuple[BilevelSearch, object]) -> None:
    """Check that two searches ended with the same tree, logits, history and weights, bit for bit."""
    (one, found), (other, twin) = left, right
    assert isinstance(found, SearchOutcome)
    assert isinstance(twin, SearchOutcome)
    assert found.branching == twin.branching
    assert torch.equal(found.arch_logits_LTK, twin.arch_logits_LTK)
    # How long it waited for samples differs from run to run.
    rows = [[{**row, "waiting": None} for row in outcome.history] for outcome in (found, twin)]
    assert rows[0] == rows[1]
    states = (one.loop.network.state_dict(), other.loop.network.state_dict())
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> tuple[BilevelSearch, object]:
    """Return a search that ran without a stop, and what it found."""
    return lab.run_interrupted(lab.search, [])


@given(stops=st.lists(st.integers(0, 22), min_size=1, max_size=3))
@examples(max_examples=5)
def test_stop_and_resume_equals_never_stopped(
    lab: Lab, undisturbed: tuple[BilevelSearch, object], stops: list[int]
) -> None:
    """A search stopped before any steps and resumed by fresh objects ends bit for bit where an undisturbed one does."""
    assert_same_end(lab.run_interrupted(lab.search, stops), undisturbed)


@pytest.mark.parametrize("weights", [SGD, ADAM], ids=["sgd", "adam"])
def test_every_optimiser_survives_a_stop(lab: Lab, weights: OptimiserSpec) -> None:
    """Momentum and weight decay go on after a resume as if there had been none, in the midst of each kind of pass."""
    spec = SHORT.model_copy(update={"weights": weights})
    undisturbed = lab.run_interrupted(lambda: lab.search(spec), [])
    assert_same_end(lab.run_interrupted(lambda: lab.search(spec), [2, 2, 3]), undisturbed)


def test_a_dense_search_survives_a_stop(dense_lab: Lab) -> None:
    """With dense tasks, whose networks contain more kinds of layers, a resume leaves no trace either."""
    spec = SHORT.model_copy(update={"epochs": 2, "batch_size": 8})
    undisturbed = dense_lab.run_interrupted(lambda: dense_lab.search(spec), [])
    assert_same_end(dense_lab.run_interrupted(lambda: dense_lab.search(spec), [3]), undisturbed)


def test_the_search_drops_nothing_out(lab: Lab) -> None:
    """Dropout draws from torch's own generator, which no resume brings back; the search goes without."""
    search = replace(lab, backbone="resnet18").search(WARMUP_ONLY)
    assert {part.p for part in search.loop.network.modules() if isinstance(part, nn.Dropout)} == {0.0}


def test_the_same_seed_gives_the_same_search_and_another_seed_another(lab: Lab) -> None:
    """A seed names a search, whatever torch's own generator has seen before."""
    first = lab.run_interrupted(lambda: lab.search(SHORT), [])
    torch.rand(100)
    assert_same_end(lab.run_interrupted(lambda: lab.search(SHORT), []), first)
    _, other = lab.run_interrupted(lambda: lab.search(SHORT, seed=1), [])
    assert isinstance(other, SearchOutcome)
    assert isinstance(first[1], SearchOutcome)
    assert not torch.equal(other.arch_logits_LTK, first[1].arch_logits_LTK)


def test_logits_and_weights_never_see_each_others_samples(lab: Lab) -> None:
    """The split of the samples is the same before and after a stop, and no sample is on both sides of it."""
    dataset, undisturbed = lab.dataset(), lab.dataset()
    search, _ = lab.run_interrupted(lambda: lab.search(dataset=dataset), [11, 5])
    lab.run(lab.search(dataset=undisturbed))
    assert dataset.requests == undisturbed.requests
    seen = {index for request in dataset.requests for index in request}
    both = set(search.plan.arch_indices.tolist()), set(search.plan.weight_indices.tolist())
    assert both[0] | both[1] == set(range(24)) >= seen
    assert both[0] & both[1] == set()
    assert all(set(request) <= both[0] or set(request) <= both[1] for request in dataset.requests)


@pytest.mark.parametrize("weights", [SGD, ADAM], ids=["sgd", "adam"])
def test_idle_ops_are_left_alone(lab: Lab, weights: OptimiserSpec) -> None:
    """In the warm-up, neither momentum nor weight decay nor batch statistics touch the ops of a task without labels."""
    search = lab.search(WARMUP_ONLY.model_copy(update={"weights": weights}), dataset=lab.dataset(blank={"b": 255}))
    before = {name: value.clone() for name, value in search.loop.network.state_dict().items()}
    lab.run(search)
    after = search.loop.network.state_dict()
    untouched = {name for name in before if torch.equal(before[name], after[name])}
    idle = {name for name in before if name.startswith(tuple(f"layers.{layer}.1." for layer in range(5)))}
    assert idle
    assert idle | {"heads.b.linear.weight", "heads.b.linear.bias"} == untouched


def _equal_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules hold the same numbers."""
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_the_warm_up_moves_no_logits(lab: Lab) -> None:
    """After the warm-up the logits are still zero: no op of a task is more likely than another."""
    search = lab.search(WARMUP_ONLY)
    lab.run(search)
    assert search.loop.arch_logits_LTK.count_nonzero() == 0


def test_a_task_without_labels_harms_nobody(lab: Lab) -> None:
    """A task whose labels are all ignored has no loss; all others and all logits stay finite."""
    search = lab.search(SHORT, dataset=lab.dataset(blank={"b": 255}))
    outcome = lab.run(search)
    assert outcome is not None
    assert outcome.arch_logits_LTK.isfinite().all()
    assert all(value.isfinite().all() for value in search.loop.network.state_dict().values())
    losses = [{name for name in row if name.startswith("loss ")} for row in outcome.history]
    assert losses == [{"loss a", "loss c"}] * 3


@given(seed=st.integers(0, 2**20), silent=st.sampled_from([0.3, 0.7]))
@examples(max_examples=6)
def test_labels_of_some_samples_alternate_as_a_plain_loop_would(lab: Lab, seed: int, silent: float) -> None:
    """In the warm-up every task with labels in a batch takes a step of its own through its own ops, others none."""
    dataset = lab.dataset(silent=(silent, seed))
    spec = WARMUP_ONLY.model_copy(update={"weights": PLAIN_SGD})
    search, twin = lab.search(spec, dataset=dataset), lab.search(spec, dataset=dataset)
    outcome = lab.run(search)
    network, seen = twin.loop.network, {name: list[float]() for name in lab.names}
    for step, indices in enumerate(dataset.requests[: search.plan.weight_steps]):
        batch = dataset.batch(indices, make_generator(0, "samples", 0, step))
        for position, task in enumerate(lab.tasks):
            if (batch[task.name] == 255).all():
                continue
            network.zero_grad()
            mix_LK = torch.zeros(5, 3).index_fill(1, torch.tensor(position), 1.0)
            loss = build_loss(task)(network(batch["image"], task.name, mix_LK), batch[task.name])
            (get_loss_weight(task) * loss).backward()
            torch.optim.SGD(network.parameters(), lr=0.1).step()
            seen[task.name].append(float(loss.detach()))
    assert outcome is not None
    found = {name: outcome.history[0].get(f"loss {name}") for name in lab.names}
    assert found == {name: sum(values) / len(values) if values else None for name, values in seen.items()}
    states = (search.loop.network.state_dict(), network.state_dict())
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []


def test_a_task_absent_from_an_epoch_is_reported(lab: Lab) -> None:
    """Every epoch in which the weights pass met no label of a task gives a sentence and a mark in the history."""
    reporter = MemoryReporter()
    search = lab.search(SHORT, dataset=lab.dataset(blank={"b": 255}))
    outcome = search.run(
        store=MemoryStore(), state_name="s", stage="search 60%", reporter=reporter, cancelled=never_cancelled
    )
    said = [event.text for event in reporter.events if isinstance(event, Message)]
    weights, routing = ", so it", " among the samples that train the routing, so it"
    assert said == [
        f"search 60%: task 'b' had no labels in epoch {epoch}{where} learned nothing there."
        for epoch, where in ((1, weights), (2, weights), (2, routing), (3, weights), (3, routing))
    ]
    assert outcome is not None
    assert [row["no labels b"] for row in outcome.history] == [1.0] * 3
    assert [row.get("no labels held out b") for row in outcome.history] == [None, 1.0, 1.0]


def test_the_score_does_not_fall_where_labels_are_missing(lab: Lab) -> None:
    """A task counts in the held-out loss by the batches that had its labels, so hiding some does not make it cheap."""
    spec = SHORT.model_copy(update={"epochs": 8, "arch_fraction": 0.5})
    scores = []
    for silent in (0.0, 0.6):
        outcome = lab.run(lab.search(spec, dataset=lab.dataset(silent=(silent, 3))))
        assert outcome is not None
        scores.append(outcome.score)
    assert scores[1] == pytest.approx(scores[0], rel=0.25)


def test_micro_batches_move_logits_as_the_batch_does(lab: Lab) -> None:
    """With batch norms that stand still, the slopes of all micro batches add up to those of the batch."""
    found = []
    for accumulate in (1, 3):
        spec = SHORT.model_copy(update={"accumulate": accumulate, "epochs": 1, "warmup_epochs": 0})
        search = lab.search(spec, dataset=lab.dataset(silent=(0.4, 2)))
        for part in search.loop.network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        lab.run(search)
        found.append((search.loop.arch_logits_LTK.grad, search.loop.history[0]["held-out loss"]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-7)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_batches_prepared_ahead_change_nothing(lab: Lab, undisturbed: tuple[BilevelSearch, object]) -> None:
    """A data set that is not in memory is read ahead by threads, and stops in between leave no trace either."""
    ahead = lab.run_interrupted(lambda: lab.search(dataset=lab.dataset(in_memory=False)), [7, 8])
    assert_same_end(ahead, undisturbed)


def test_no_labels_at_all_leave_the_weights_as_they_were(lab: Lab) -> None:
    """Without any label only the resource term moves the logits, and a tree within the budget still comes out."""
    search = lab.search(SHORT, dataset=lab.dataset(blank=dict.fromkeys("abc", 255)))
    before = [parameter.clone() for parameter in search.loop.network.parameters()]
    outcome = lab.run(search)
    assert outcome is not None
    assert all(map(torch.equal, before, search.loop.network.parameters()))
    assert lab.costs.madds(outcome.branching) <= 180


@pytest.mark.parametrize(("sal", "edge", "depth"), [(0, 0, 255), (1, 1, 0), (255, 1, 255)])
def test_one_sided_labels_give_finite_losses(dense_lab: Lab, sal: float, edge: float, depth: float) -> None:
    """Nothing salient, all salient, no edges, no depth: losses, logits and weights stay finite."""
    blank = {"sal": sal, "edge": edge, "depth": depth, "normals": 255}
    search = dense_lab.search(
        SHORT.model_copy(update={"epochs": 2, "batch_size": 8}), dataset=dense_lab.dataset(blank=blank)
    )
    outcome = dense_lab.run(search)
    assert outcome is not None
    assert outcome.arch_logits_LTK.isfinite().all()
    assert all(value.isfinite().all() for value in search.loop.network.state_dict().values())
    assert all(math.isfinite(value) for row in outcome.history for value in row.values() if isinstance(value, float))


@given(seed=st.integers(0, 2**20), scale=st.floats(0, 50), budget_madds=st.integers(95, 300))
@examples(max_examples=25)
def test_the_delivered_tree_never_exceeds_the_budget(lab: Lab, seed: int, scale: float, budget_madds: int) -> None:
    """Whatever the logits say, the tree costs at most the budget, heads and stem included."""
    search = lab.search(WARMUP_ONLY, budget_madds=budget_madds)
    with torch.no_grad():
        logits_LTK = search.loop.arch_logits_LTK
        logits_LTK.copy_(scale * torch.randn(logits_LTK.shape, generator=torch.Generator().manual_seed(seed)))
    branching = search.outcome().branching
    assert lab.costs.madds(branching) <= budget_madds


def test_a_budget_for_sharing_gives_sharing(lab: Lab) -> None:
    """At exactly the cost of the fully shared network there is only one tree to deliver."""
    search = lab.search(WARMUP_ONLY, budget_madds=lab.costs.shared_madds)
    assert search.outcome().branching == Branching.shared(lab.names, 5)


def test_a_fixed_resource_weight_of_zero_switches_the_term_off(lab: Lab) -> None:
    """Without labels and without the resource term nothing moves the logits."""
    spec = SHORT.model_copy(update={"resource_weight": 0.0, "arch_weight_decay": 0.0})
    outcome = lab.run(lab.search(spec, dataset=lab.dataset(blank=dict.fromkeys("abc", 255))))
    assert outcome is not None
    assert outcome.arch_logits_LTK.count_nonzero() == 0
    assert [row.get("resource_weight") for row in outcome.history] == [None, 0.0, 0.0]


def test_progress_counts_every_step_once(lab: Lab) -> None:
    """Across a stop, the steps reported run from 1 to the total that was announced, and the end is reported."""
    store, reporter = MemoryStore(), MemoryReporter()
    lab.run(lab.search(SHORT), store, stop_at=6)
    lab.search(SHORT).run(store=store, state_name="s.state", stage="s", reporter=reporter, cancelled=never_cancelled)
    started, finished = reporter.events[0], reporter.events[-1]
    assert isinstance(started, StageStarted)
    assert (started.first_step, started.total_steps) == (6, 14)
    steps = [event.step for event in reporter.events if isinstance(event, StageProgress) and not event.values]
    assert steps == list(range(7, 15))
    assert isinstance(finished, StageFinished)


def test_a_state_of_another_network_is_refused(lab: Lab, dense_lab: Lab) -> None:
    """A whole state file of another study is refused with a sentence that names the file."""
    store = MemoryStore()
    lab.run(lab.search(), store, stop_at=2)
    with pytest.raises(StateFileError, match=r"'s\.state' must be of this very stage"):
        dense_lab.run(dense_lab.search(), store)


def test_the_price_of_blocks_is_felt_beside_the_madds(lab: Lab) -> None:
    """The gradient is that of both expectations, added up; the price stands at its full height after `budget_by`."""
    spec = SHORT.model_copy(update={"resource_weight": 2.0, "block_price": 0.5})
    search = lab.search(spec)
    search.loop.controller = replace(search.loop.controller, first_loss=3.0, steps=10_000)
    logits_LTK = search.loop.arch_logits_LTK
    torch.nn.init.normal_(logits_LTK, generator=torch.Generator().manual_seed(3))
    search._add_resource_gradient(1.0, torch.Generator())
    plain_LTK = logits_LTK.detach().clone().requires_grad_()
    branches_L = expected_branches(plain_LTK)
    madds = (branches_L * torch.tensor(lab.costs.layer_madds)).sum() / lab.costs.single_madds
    blocks = branches_L.sum() / (len(lab.costs.layer_madds) * len(lab.tasks))
    (2.0 * madds + 0.5 * 3.0 / SHORT.temperature_start * blocks).backward()
    assert logits_LTK.grad is not None
    assert plain_LTK.grad is not None
    assert torch.allclose(logits_LTK.grad, plain_LTK.grad, rtol=1e-5, atol=1e-8)
