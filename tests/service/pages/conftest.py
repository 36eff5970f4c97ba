"""Made-up studies for the drawings and the report: random trees, plausible figures."""

import random
from collections.abc import Callable, Sequence

import pytest

from models.branching import Branching
from models.catalogue import BACKBONES
from search.architecture import Architecture, HeadShape, Provenance, layers_of
from search.results import (
    Baselines,
    Candidate,
    MetricValue,
    Results,
    SharedBaseline,
    SingleBaseline,
    Study,
    StudyCosts,
    StudyTask,
    thin_history,
)

CREATED = "2026-01-31T12:00:00+00:00"
LAYER_MADDS, STEM_MADDS, HEAD_MADDS = 30_000, 20_000, 5_000
BuildArchitecture = Callable[..., Architecture]
BuildResults = Callable[..., Results]


def random_branching(tasks: Sequence[str], num_layers: int, seed: int) -> Branching:
    """Return a random tree."""
    rng = random.Random(seed)
    return Branching.from_routing(tasks, [[int(rng.random() < 0.2) for _ in tasks] for _ in range(num_layers)])


def compute_madds(branching: Branching) -> int:
    """Return the cost of a tree of the made-up layers."""
    return STEM_MADDS + LAYER_MADDS * sum(branching.num_branches) + HEAD_MADDS * len(branching.tasks)


def _build_architecture(branching: Branching, backbone: str = "tiny4") -> Architecture:
    """Return an architecture of a tree."""
    madds = compute_madds(branching)
    return Architecture(
        tasks=branching.tasks,
        backbone=backbone,
        input_size=(24, 24),
        image_channels=1,
        layers=layers_of(branching, [f"block{index + 1}" for index in range(branching.num_layers)]),
        heads={task: HeadShape(kind="classification", channels=10) for task in branching.tasks},
        madds=madds,
        params=10_000,
        budget_madds=madds + 10_000,
        provenance=Provenance(
            dataset="mine",
            dataset_fingerprint="f00d",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created=CREATED,
        ),
    )


def _build_costs(tasks: Sequence[str], num_layers: int) -> StudyCosts:
    """Return what networks of the made-up layers cost."""
    return StudyCosts(
        stem_madds=STEM_MADDS,
        layer_names=tuple(f"block{index + 1}" for index in range(num_layers)),
        layer_madds=(LAYER_MADDS,) * num_layers,
        decoder_madds=dict.fromkeys(tasks, HEAD_MADDS),
        shared_madds=compute_madds(Branching.shared(tasks, num_layers)),
        split_madds=compute_madds(Branching.split(tasks, num_layers)),
        single_madds=compute_madds(Branching.split(tasks, num_layers)) + STEM_MADDS * (len(tasks) - 1),
        layer_params=(1_000,) * num_layers,
    )


def _build_results(
    deltas: Sequence[float | None] = (-0.4, 0.2),
    tasks: Sequence[str] = ("left", "right", "left_group"),
    backbone: str = "tiny4",
) -> Results:
    """Return a study with one candidate per delta_m; None for one that was not retrained."""
    num_layers = BACKBONES[backbone].num_layers
    costs = _build_costs(tasks, num_layers)
    retrained = any(delta is not None for delta in deltas)

    def metrics(value: float) -> dict[str, MetricValue]:
        return {task: MetricValue(metric="accuracy", value=value, higher_is_better=True) for task in tasks}

    candidates = tuple(
        Candidate(
            name=f"c{index}",
            budget_madds=costs.single_madds * (50 + 5 * index) // 100,
            madds=costs.single_madds * (49 + 5 * index) // 100,
            params=5_000,
            delta_m=delta,
            metrics=None if delta is None else metrics(0.9 * (1 + delta / 100)),
            architecture=f"candidates/c{index}/architecture.json",
            seed=0,
        )
        for index, delta in enumerate(deltas)
    )
    baselines = Baselines(
        single=SingleBaseline(madds=costs.single_madds, params=9_000, metrics=metrics(0.9)),
        shared=SharedBaseline(madds=costs.shared_madds, params=3_000, metrics=metrics(0.8), delta_m=-11.1),
    )
    study_task = StudyTask(kind="classification", channels=10, metric="accuracy", higher_is_better=True)
    return Results(
        study=Study(
            dataset="mine",
            dataset_fingerprint="f00d",
            tasks=dict.fromkeys(tasks, study_task),
            backbone=backbone,
            input_size=(24, 24),
            image_channels=1,
            preset="quick",
            seed=0,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created=CREATED,
            costs=costs,
        ),
        baselines=baselines if retrained else None,
        candidates=candidates,
        front=tuple(candidate.name for candidate in candidates[:1]),
        history=thin_history(
            {
                "search c0": [
                    {"epoch": epoch, "temperature": 5.0 / epoch, "expected_madds": 4e5 / epoch} for epoch in range(1, 6)
                ],
                "baseline left": [{"epoch": epoch, "loss left": 2.0 / epoch} for epoch in range(1, 4)],
                "baseline right": [{"epoch": epoch, "loss right": 2.0 / epoch} for epoch in range(1, 4)],
                "retrain 50%": [{"epoch": 1, "loss left": 1.0, "loss right": 1.5}],
            }
        ),
    )


@pytest.fixture
def build_architecture() -> BuildArchitecture:
    """Return a function that makes an architecture of a tree."""
    return _build_architecture


@pytest.fixture
def build_results() -> BuildResults:
    """Return a function that makes a study with one candidate per delta_m."""
    return _build_results


@pytest.fixture
def draw_branching() -> Callable[[Sequence[str], int, int], Branching]:
    """Return a function that draws a random tree."""
    return random_branching
