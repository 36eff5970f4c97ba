"""Searches and trainings on the planted digits, one process per trial: what the digits benchmarks have in common.

A trial is what `bmtas search --dataset digits --preset quick` does for one budget and seed, without the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import Supergraph
from search.compute import Compute
from search.costs.cost_table import CostTable
from search.costs.lut import measure_costs
from search.data.catalogue import DATASETS, resolve_tasks
from search.data.loading import LoadedData, load_data
from search.judging.evaluate import evaluate
from search.method.bilevel import BilevelSearch, SearchProblem
from search.method.restarts import search_best
from search.ports import MemoryReporter, MemoryStore, Surroundings, never_cancelled
from search.presets import build_spec
from search.spec import JobSpec, Objective
from search.training.retrain import Retraining
from search.training.run_state import seed_everything

CACHE = Path(os.environ.get("BMTAS_CACHE", Path.home() / ".cache" / "bmtas"))
BACKBONE = "tiny4"
_Trial = TypeVar("_Trial")
_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True)
class SearchTrial:
    """One search: tasks, MAdds, seed, preset, and what differs from it."""

    tasks: tuple[str, ...]
    budget_madds: int
    seed: int
    preset: str = "quick"
    objective: Objective = "exact"
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingTrial:
    """One training of a tree from random weights."""

    branching: Branching
    seed: int


def get_spec(tasks: Sequence[str], preset: str = "quick") -> JobSpec:
    """Return a preset's job over these tasks."""
    return build_spec(dataset="digits", tasks=list(tasks), backbone=BACKBONE, budgets=["100%"], preset=preset)


@lru_cache(maxsize=4)
def load_digits(tasks: tuple[str, ...], preset: str = "quick") -> LoadedData:
    """Return a preset's samples with the labels of these tasks."""
    info = DATASETS["digits"]
    return load_data(info, resolve_tasks(info, tasks), get_spec(tasks, preset).data, cache_dir=CACHE)


@lru_cache(maxsize=8)
def measure_digits(tasks: tuple[str, ...]) -> CostTable:
    """Return the look-up table of these tasks on the benchmark's backbone."""
    info = DATASETS["digits"]
    return measure_costs(BACKBONE, resolve_tasks(info, tasks), info.default_size, info.image_channels, CACHE)


def run_search(trial: SearchTrial) -> Branching:
    """Return the tree that one search delivers."""
    torch.set_num_threads(1)
    info = DATASETS["digits"]
    tasks = resolve_tasks(info, trial.tasks)
    names = tuple(task.name for task in tasks)
    spec = get_spec(names, trial.preset).search.model_copy(update=dict(trial.changes))
    problem = SearchProblem(spec, trial.objective, tasks, measure_digits(names), trial.budget_madds, trial.seed)
    heads = {task.name: HeadSpec(False, task.channels) for task in tasks}
    outcome = search_best(
        problem,
        lambda started: BilevelSearch(
            started,
            lambda: Supergraph(get_backbone(BACKBONE), heads, info.image_channels),
            load_digits(names, trial.preset).train,
            Compute(torch.device("cpu")),
        ),
        surroundings=Surroundings(
            MemoryStore(), MemoryReporter(), never_cancelled, "cpu", CACHE, lambda: datetime.now(UTC)
        ),
        folder="",
        stage="search",
    )
    assert outcome is not None
    return outcome.branching


def run_training(trial: TrainingTrial) -> dict[str, float]:
    """Return the validation accuracy per task, percent, of a tree trained by the quick preset."""
    torch.set_num_threads(1)
    info = DATASETS["digits"]
    tasks = (
        resolve_tasks(info, trial.branching.tasks)
        if len(trial.branching.tasks) > 1
        else (info.task(trial.branching.tasks[0]),)
    )
    data = load_digits(tuple(task.name for task in info.tasks))
    spec = get_spec(tuple(task.name for task in info.tasks))
    seed_everything(trial.seed, "initial weights")
    heads = {task.name: HeadSpec(False, task.channels) for task in tasks}
    network = BranchedNetwork(get_backbone(BACKBONE), heads, info.image_channels, trial.branching)
    Retraining(network, tasks, data.train, spec.retrain, trial.seed).run(
        store=MemoryStore(), state_name="s", stage="train", reporter=MemoryReporter(), cancelled=never_cancelled
    )
    metrics = evaluate(network, data.val, tasks, batch_size=500, device="cpu")
    return {name: metric.value for name, metric in metrics.items()}


def run_all(
    work: Callable[[_Trial], _Outcome],
    trials: Sequence[_Trial],
    *,
    jobs: int,
    report: Callable[[_Trial, _Outcome], None],
) -> list[_Outcome]:
    """Return the outcomes of trials in their order, `jobs` processes at a time, reporting each as it comes."""
    outcomes: dict[int, _Outcome] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, trial): index for index, trial in enumerate(trials)}
        for future in as_completed(waiting):
            index = waiting[future]
            outcomes[index] = future.result()
            report(trials[index], outcomes[index])
    return [outcomes[index] for index in range(len(trials))]


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def layers_together(branching: Branching, first: str, second: str) -> int:
    """Return how many layers two tasks share."""
    return sum(any(first in group and second in group for group in layer) for layer in branching.groups)


def describe(branching: Branching) -> str:
    """Return a tree on one line, layers from the stem on."""
    short = {"left": "L", "right": "R", "left_group": "l", "right_group": "r"}
    return "  ".join("|".join("".join(short[task] for task in group) for group in layer) for layer in branching.groups)
