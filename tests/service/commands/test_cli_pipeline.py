"""The command line on the real method, with the smoke preset: refusals, a stop in the middle, a damaged state."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from search import pipeline
from search.architecture import Architecture
from search.ports import Surroundings
from search.results import Results
from search.spec import JobSpec
from service.commands.shell import Engine, load_pipeline

if TYPE_CHECKING:
    from tests.service.conftest import Outcome, Run

SEARCH = (
    "search",
    "--dataset",
    "digits",
    "--backbone",
    "tiny4",
    "--preset",
    "smoke",
    "--no-retrain",
    "--device",
    "cpu",
)
COSTS = ("cost", "--dataset", "digits", "--backbone", "tiny4", "--tasks", "left,right", "--json")


class ImpatientEngine:
    """The real engine for someone who asks it to stop after a number of questions whether to."""

    retrain_architecture = staticmethod(pipeline.retrain_architecture)
    evaluate_candidate = staticmethod(pipeline.evaluate_candidate)

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def run_job(self, spec: JobSpec, surroundings: Surroundings) -> Results:
        """Run the job until patience ends."""
        return pipeline.run_job(spec, replace(surroundings, cancelled=self._is_over))

    def _is_over(self) -> bool:
        """Return whether to stop."""
        self.patience -= 1
        return self.patience < 0


def search(run: Run, *arguments: str, engine: Engine | None = None) -> Outcome:
    """Search two tasks on the real method."""
    return run(*SEARCH, "--tasks", "left,right", *arguments, load_engine=lambda: engine or load_pipeline())


def load_tree(path: str) -> dict[str, Any]:
    """Return an architecture without its time of creation."""
    tree = json.loads(Path(path).read_bytes())
    del tree["provenance"]["created"]
    assert isinstance(tree, dict)
    return tree


def test_a_budget_below_the_cheapest_tree_names_the_lowest(run: Run) -> None:
    """The sentence holds the fully shared cost and a percentage, both of which are then accepted (and soon stopped)."""
    costs = json.loads(run(*COSTS).out)
    outcome = search(run, "--budget", "60%", "--budget", "20%", "--json")
    percent = f"{-(-1000 * costs['shared_madds'] // costs['single_madds']) / 10:g}%"
    outcome.assert_refused("20%", str(costs["shared_madds"]), percent)
    assert os.listdir() == []
    budgets = ("--budget", percent, "--budget", str(costs["shared_madds"]))
    assert search(run, *budgets, engine=ImpatientEngine(3)).code == 130


def test_a_budget_above_the_separate_networks_does_not_bind(run: Run) -> None:
    """The run says so on stderr and goes on."""
    outcome = search(run, "--budget", "1G", "--json", engine=ImpatientEngine(3))
    assert outcome.code == 130  # it was under way when patience ended
    assert "does not bind" in outcome.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_gpu_is_refused(run: Run) -> None:
    """`--device cuda` without one gets a sentence and leaves no folder."""
    search(run, "--budget", "60%", "--json", "--device", "cuda").assert_refused("CUDA", "--device cpu")
    assert os.listdir() == []


def test_a_stopped_search_ends_like_one_that_never_stopped(run: Run) -> None:
    """A run stopped in the middle and resumed delivers the same tree, whatever order its tasks were named in."""
    stopped = search(run, "--budget", "60%", "--out", "stopped", engine=ImpatientEngine(20))
    assert stopped.code == 130
    assert not Path("stopped/results.json").exists()
    again = ("--budget", "60%", "--out", "stopped", "--resume")
    assert run(*SEARCH, "--tasks", "right,left", *again, load_engine=load_pipeline).code == 0
    assert search(run, "--budget", "60%", "--out", "straight").code == 0
    name = "candidates/60pct/architecture.json"
    assert load_tree(f"stopped/{name}") == load_tree(f"straight/{name}")
    assert Architecture.from_json_bytes(Path("straight", name).read_bytes()).madds <= 0.6 * 311_120


def test_a_corrupt_state_is_named(run: Run) -> None:
    """A state or an architecture that was cut is refused with its name, and the folder stays."""
    request = ("--budget", "60%", "--out", "run")
    assert search(run, *request, engine=ImpatientEngine(20)).code == 130
    (state,) = Path("run").rglob("*.state")
    state.write_bytes(state.read_bytes()[:-100])
    search(run, *request, "--resume", "--json").assert_refused(state.name, "corrupt")
    (state.parent / "architecture.json").write_bytes(b"{")
    search(run, *request, "--resume", "--json").assert_refused("architecture.json", "not JSON")
    assert state.exists()
