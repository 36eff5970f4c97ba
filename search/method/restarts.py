"""Several searches from different starts, of which the best tree is delivered.

A differentiable search decides early and does not come back: from an unlucky start it pairs tasks that do not belong
together and then trains its weights for that. Starts differ in weights and noise; they are compared by the loss on the
samples that trained the logits, which the weights never saw, plus the price of the tree's blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from models.branching import Branching
from search.data.splits import derive_seed
from search.method.bilevel import BilevelSearch, SearchOutcome, SearchProblem
from search.method.routing import ROUTING_NAME, Routing, read_records
from search.ports import ArtifactStore, Event, Reporter, StageFinished, StageProgress, StageStarted, Surroundings
from search.training.run_state import find_state, save_state, taking_up


class _PartReporter:
    """Reports one start as a part of the whole stage.

    Args:
        reporter: Takes the events.
        part: Which start, from 0.
        num_parts: Starts in all.
    """

    def __init__(self, reporter: Reporter, part: int, num_parts: int) -> None:
        self.reporter, self.part, self.num_parts = reporter, part, num_parts

    def emit(self, event: Event) -> None:
        """Pass an event on with its steps counted over all starts; only the last start finishes the stage."""
        if isinstance(event, StageStarted):
            steps = event.total_steps
            event = replace(event, first_step=self.part * steps + event.first_step, total_steps=self.num_parts * steps)
        elif isinstance(event, StageProgress):
            steps = event.total_steps
            event = replace(event, step=self.part * steps + event.step, total_steps=self.num_parts * steps)
        elif isinstance(event, StageFinished) and self.part + 1 < self.num_parts:
            return
        self.reporter.emit(event)


def choose_start_seed(seed: int, start: int) -> int:
    """Return the seed of a start; the first one is the job's own."""
    return seed if start == 0 else derive_seed(seed, "start", start) % 2**31


def search_best(
    problem: SearchProblem,
    build_search: Callable[[SearchProblem], BilevelSearch],
    *,
    surroundings: Surroundings,
    folder: str,
    stage: str,
) -> SearchOutcome | None:
    """Return the outcome of the best start, or None when asked to stop; resumes what the store holds.

    Leaves routing.json: while it runs that of the start which runs, in the end that of the best one.

    Args:
        problem: What is searched; its recipe says how many starts.
        build_search: Builds the search of a problem that differs in its seed only.
        surroundings: Store, events and word whether to stop.
        folder: Prefix of the files; `forget_starts` removes the states once the best outcome is stored elsewhere.
        stage: What events call this.
    """
    found: list[SearchOutcome] = []
    for start in range(problem.spec.starts):
        name = _outcome_name(folder, start)
        outcome = _find_outcome(surroundings.store, name, problem)
        if outcome is None:
            routing = _RoutingWriter(problem, surroundings.store, folder, start)
            search = build_search(replace(problem, seed=choose_start_seed(problem.seed, start)))
            outcome = search.run(
                store=surroundings.store,
                state_name=_state_name(folder, start),
                stage=stage,
                reporter=_PartReporter(surroundings.reporter, start, problem.spec.starts),
                cancelled=surroundings.cancelled,
                seconds_between_saves=surroundings.seconds_between_saves,
                on_save=routing.write,
            )
            if outcome is None:
                return None
            save_state(surroundings.store, name, _to_state(outcome))
            surroundings.store.delete(_state_name(folder, start))
            routing.write(outcome.history)
        found.append(outcome)
    best = min(range(len(found)), key=lambda start: found[start].score)
    _RoutingWriter(problem, surroundings.store, folder, best).write(found[best].history, finished=True)
    return found[best]


class _RoutingWriter:
    """Leaves routing.json of one start.

    Args:
        problem: What is searched.
        store: Takes the file.
        folder: Prefix of its name.
        start: Which start, from 0.
    """

    def __init__(self, problem: SearchProblem, store: ArtifactStore, folder: str, start: int) -> None:
        self._problem, self._store, self._name, self._start = problem, store, f"{folder}{ROUTING_NAME}", start
        self._num_rows = 0

    def write(self, history: Sequence[Mapping[str, Any]], *, finished: bool = False) -> None:
        """Write what a history tells, unless a search that runs has told it before."""
        if not finished and len(history) == self._num_rows:
            return
        self._num_rows = len(history)
        problem, layers = self._problem, self._problem.costs.layer_names
        num_tasks = len(problem.tasks)  # and as many ops: the supergraph has one for each
        routing = Routing(
            layers=layers,
            tasks=tuple(task.name for task in problem.tasks),
            start=self._start + 1,
            starts=problem.spec.starts,
            finished=finished,
            records=read_records(history, (len(layers), num_tasks, num_tasks), problem.spec.temperature_start),
        )
        self._store.write(self._name, routing.to_json_bytes())


def forget_starts(store: ArtifactStore, folder: str, num_starts: int) -> None:
    """Remove the files of all starts; those that are not there are no error."""
    for start in range(num_starts):
        store.delete(_state_name(folder, start))
        store.delete(_outcome_name(folder, start))


def _state_name(folder: str, start: int) -> str:
    """Return the name of the state file of a start that is running."""
    return f"{folder}search-{start + 1}.state"


def _outcome_name(folder: str, start: int) -> str:
    """Return the name of the file of a start that is done."""
    return f"{folder}search-{start + 1}.pt"


def _to_state(outcome: SearchOutcome) -> dict[str, Any]:
    """Return an outcome as tensors and plain values."""
    return {
        "branching": outcome.branching.to_json(),
        "arch_logits_LTK": outcome.arch_logits_LTK,
        "history": list(outcome.history),
        "score": outcome.score,
    }


def _find_outcome(store: ArtifactStore, name: str, problem: SearchProblem) -> SearchOutcome | None:
    """Return the stored outcome of a start that is done, or None."""
    state = find_state(store, name, torch.device("cpu"))
    if state is None:
        return None
    with taking_up(name):
        branching = Branching.from_json(state["branching"])
        if branching.tasks != tuple(task.name for task in problem.tasks):
            raise ValueError(f"it is of the tasks {', '.join(branching.tasks)}")
        return SearchOutcome(branching, state["arch_logits_LTK"], tuple(state["history"]), state["score"])
