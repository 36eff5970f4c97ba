"""Several starts: the best one is delivered, steps are counted over all of them, and stops leave no trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from search.errors import StateFileError
from search.method.bilevel import BilevelSearch, SearchOutcome, SearchProblem
from search.method.restarts import choose_start_seed, forget_starts, search_best
from search.method.routing import Routing
from search.ports import (
    Cancelled,
    MemoryReporter,
    MemoryStore,
    StageFinished,
    StageProgress,
    StageStarted,
    Surroundings,
    never_cancelled,
)
from search.spec import OptimiserSpec, SearchSpec

if TYPE_CHECKING:
    from tests.search.conftest import Lab

THREE_STARTS = SearchSpec(
    starts=3,
    epochs=3,
    warmup_epochs=1,
    batch_size=8,
    weights=OptimiserSpec(method="adam", learning_rate=4e-3),
    arch_learning_rate=0.2,
    block_price=0.5,
)


class Runs:
    """Runs a problem of several starts in one store and keeps what was built and told.

    Args:
        lab: Builds the searches.
        spec: The recipe.
    """

    def __init__(self, lab: Lab, spec: SearchSpec = THREE_STARTS) -> None:
        self.lab, self.spec = lab, spec
        self.store, self.reporter, self.seeds = MemoryStore(), MemoryReporter(), list[int]()

    def run(self, cancelled: Cancelled = never_cancelled) -> SearchOutcome | None:
        """Return the outcome of one run over the store."""
        around = Surroundings(self.store, self.reporter, cancelled, "cpu", Path("unused"), lambda: datetime.now(UTC))
        problem = SearchProblem(self.spec, "exact", self.lab.tasks, self.lab.costs, 180, 4)
        return search_best(problem, self._build, surroundings=around, folder="here/", stage="search")

    def _build(self, problem: SearchProblem) -> BilevelSearch:
        """Return the search of a start, noting its seed."""
        self.seeds.append(problem.seed)
        return self.lab.search(problem.spec, seed=problem.seed)


def outcome_of(lab: Lab, seed: int, spec: SearchSpec = THREE_STARTS) -> SearchOutcome:
    """Return what a single search of this seed finds."""
    found = lab.search(spec, seed=seed).run(
        store=MemoryStore(), state_name="s", stage="s", reporter=MemoryReporter(), cancelled=never_cancelled
    )
    assert found is not None
    return found


def stop_after(steps: int) -> Cancelled:
    """Return word to stop at the given question."""
    asked = iter(range(steps + 1))
    return lambda: next(asked, steps) >= steps


def test_the_first_start_is_the_jobs_own() -> None:
    """One start is the search of the job's seed; further ones have seeds of their own that fit a spec."""
    seeds = [choose_start_seed(7, start) for start in range(20)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_best_start_is_delivered(lab: Lab) -> None:
    """The outcome is that of the start with the least score, bit for bit."""
    found = Runs(lab).run()
    plain = [outcome_of(lab, choose_start_seed(4, start)) for start in range(3)]
    best = min(plain, key=lambda outcome: outcome.score)
    assert found is not None
    assert found.score == best.score
    assert found.branching == best.branching
    assert torch.equal(found.arch_logits_LTK, best.arch_logits_LTK)


def test_a_score_is_held_out_loss_and_price_of_blocks(lab: Lab) -> None:
    """The score of a tree is the last epochs' loss in first losses, and the price of the blocks it has."""
    search = lab.search(THREE_STARTS, seed=4)
    outcome = outcome_of(lab, 4)
    search.loop.controller = replace(search.loop.controller, first_loss=2.0)
    search.loop.history = [{"held-out loss": 9.0}, {"held-out loss": 9.0}, {"held-out loss": 1.0}]
    blocks = sum(outcome.branching.num_branches) / (5 * len(lab.tasks))
    assert search._score(outcome.branching) == pytest.approx(0.5 + 0.5 * blocks)


def test_steps_are_counted_over_all_starts(lab: Lab) -> None:
    """A person sees one stage: its steps go up by one to the total, and it finishes once."""
    runs = Runs(lab)
    runs.run()
    steps = [event for event in runs.reporter.events if isinstance(event, StageProgress) and not event.values]
    assert [event.step for event in steps] == list(range(1, steps[0].total_steps + 1))
    started = [event for event in runs.reporter.events if isinstance(event, StageStarted)]
    assert [event.first_step for event in started] == [0, steps[-1].step // 3, 2 * steps[-1].step // 3]
    assert sum(isinstance(event, StageFinished) for event in runs.reporter.events) == 1


@pytest.mark.parametrize("steps", [1, 11, 16, 23])
def test_a_stop_leaves_no_trace(lab: Lab, steps: int) -> None:
    """Stopped in any start and taken up again, the outcome is that of an undisturbed run; no start is redone."""
    whole, stopped = Runs(lab), Runs(lab)
    expected = whole.run()
    assert stopped.run(stop_after(steps)) is None
    stopped.seeds.clear()
    found = stopped.run()
    assert expected is not None
    assert found is not None
    assert torch.equal(found.arch_logits_LTK, expected.arch_logits_LTK)
    assert found.history == expected.history
    assert stopped.seeds == whole.seeds[-len(stopped.seeds) :]
    assert set(stopped.store.contents) == {"here/routing.json", *(f"here/search-{start}.pt" for start in (1, 2, 3))}
    assert stopped.store.read("here/routing.json") == whole.store.read("here/routing.json")


def test_finished_starts_are_forgotten_on_demand(lab: Lab) -> None:
    """Once the outcome is stored elsewhere nothing of the starts stays but the routing of the best one."""
    runs = Runs(lab)
    runs.run()
    forget_starts(runs.store, "here/", 3)
    assert set(runs.store.contents) == {"here/routing.json"}


def test_the_routing_is_that_of_the_best_start(lab: Lab) -> None:
    """In the end routing.json tells of the delivered start, from nothing known to the logits that were delivered."""
    runs = Runs(lab)
    found = runs.run()
    assert found is not None
    routing = Routing.from_json_bytes(runs.store.read("here/routing.json"))
    scores = [outcome_of(lab, choose_start_seed(4, start)).score for start in range(3)]
    assert (routing.start, routing.starts, routing.finished) == (scores.index(min(scores)) + 1, 3, True)
    assert (routing.layers, routing.tasks) == (lab.costs.layer_names, lab.names)
    assert [record.epoch for record in routing.records] == [0, 1, 2, 3]
    last_LTK = torch.tensor(routing.records[-1].probabilities)
    assert torch.allclose(last_LTK, torch.softmax(found.arch_logits_LTK, dim=-1), atol=6e-5)


def test_a_running_search_tells_its_routing_at_every_checkpoint(lab: Lab) -> None:
    """With each save of its state the file tells what was learnt so far, and that the search still runs."""
    runs = Runs(lab)
    for steps, told in ((7, [0, 1, 2]), (2, [0, 1, 2, 3])):  # the second stop comes before the next start knows more
        assert runs.run(stop_after(steps)) is None
        routing = Routing.from_json_bytes(runs.store.read("here/routing.json"))
        assert (routing.start, routing.finished) == (1, False)
        assert [record.epoch for record in routing.records] == told
        assert [record.step for record in routing.records] == [0, 2, 5, 8][: len(told)]


def test_a_start_of_other_tasks_is_refused(lab: Lab, dense_lab: Lab) -> None:
    """A file of another study in the same place ends in a sentence that names it."""
    runs, foreign = Runs(lab), Runs(dense_lab)
    foreign.run()
    runs.store.contents.update(foreign.store.contents)
    with pytest.raises(StateFileError, match=r"search-1\.pt.*it is of the tasks"):
        runs.run()
