"""The command line under test: run in this process, with an engine that the test chooses, on small documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.data.catalogue import DATASETS, resolve_tasks
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
)
from service.cli import main
from service.commands.shell import Engine, Shell
from service.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and both streams."""

    code: int
    out: str
    err: str

    def assert_refused(self, *words: str) -> None:
        """Check for one sentence on stderr that holds the words, nothing on stdout, exit code 2."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("bmtas: ")
        assert self.err.count("\n") == 1
        missing = [word for word in words if word not in self.err]
        assert not missing, self.err


class Run(Protocol):
    """Runs one command in this process."""

    def __call__(self, *arguments: str, load_engine: Callable[[], Engine] = ...) -> Outcome:
        """Return what the command left behind."""
        ...


class BuildArchitecture(Protocol):
    """Builds an architecture of digits and tiny4."""

    def __call__(self, tasks: tuple[str, ...] = ..., backbone: str = ...) -> Architecture:
        """Return the architecture in which the last task leaves the others at the second layer."""
        ...


def refuse_to_load() -> Engine:
    """Fail: the command under test must answer without the method."""
    raise AssertionError("this command must not load the engine")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs one command in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*arguments: str, load_engine: Callable[[], Engine] = refuse_to_load) -> Outcome:
        """Run one command and take what it wrote."""
        code = main(arguments, Shell(Settings(tmp_path / "cache"), load_engine))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def build_architecture() -> BuildArchitecture:
    """Return a function that builds small architectures."""

    def build(tasks: tuple[str, ...] = ("left", "right", "left_group"), backbone: str = "tiny4") -> Architecture:
        """Return the tree in which the last task leaves the others at the second layer."""
        branching = Branching(tasks, ((tasks,), *(((tasks[:-1]), (tasks[-1],)),) * 4))
        return Architecture(
            tasks=tasks,
            backbone=backbone,
            input_size=(24, 24),
            image_channels=1,
            layers=layers_of(branching, [f"blocks.{index}" for index in range(5)]),
            heads=heads_of(resolve_tasks(DATASETS["digits"], tasks)),
            madds=1,
            params=1,
            budget_madds=None,
            provenance=Provenance(
                dataset="digits",
                dataset_fingerprint="f00d",
                seed=0,
                objective="exact",
                spec_hash="beef",
                code_version="0.1.0",
                created="2026-01-31T12:00:00+00:00",
            ),
        )

    return build


def _candidate(name: str, madds: int, delta_m: float, metrics: dict[str, MetricValue]) -> Candidate:
    """Return a trained candidate."""
    return Candidate(
        name=name,
        budget_madds=madds + 8,
        madds=madds,
        params=1208,
        delta_m=delta_m,
        metrics=metrics,
        architecture=f"candidates/{name}/architecture.json",
        seed=0,
    )


def _study(tasks: tuple[str, ...]) -> Study:
    """Return a study of digits and tiny4 with small costs."""
    return Study(
        dataset="digits",
        dataset_fingerprint="f00d",
        tasks={
            task: StudyTask(kind="classification", channels=10, metric="accuracy", higher_is_better=True)
            for task in tasks
        },
        backbone="tiny4",
        input_size=(24, 24),
        image_channels=1,
        preset="smoke",
        seed=0,
        objective="exact",
        spec_hash="beef",
        code_version="0.1.0",
        created="2026-01-31T12:00:00+00:00",
        costs=StudyCosts(
            stem_madds=10,
            layer_names=tuple(f"blocks.{index}" for index in range(5)),
            layer_madds=(40, 50, 60, 70, 80),
            decoder_madds=dict.fromkeys(tasks, 5),
            shared_madds=320,
            split_madds=620,
            single_madds=630,
        ),
    )


@pytest.fixture
def study_results() -> Results:
    """Return the results of a study of two tasks and two candidates, the second one better."""
    tasks = ("left", "right")
    metrics = {task: MetricValue(metric="accuracy", value=91.25, higher_is_better=True) for task in tasks}
    return Results(
        study=_study(tasks),
        baselines=Baselines(
            single=SingleBaseline(madds=630, params=2400, metrics=metrics),
            shared=SharedBaseline(madds=320, params=1200, metrics=metrics, delta_m=-12.0),
        ),
        candidates=(_candidate("60pct", 370, -0.4, metrics), _candidate("75pct", 450, 0.2, metrics)),
        front=("60pct", "75pct"),
    )
