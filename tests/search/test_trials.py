"""Trials: a network or a file each, the same as the whole pipeline gives, and the same after any interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from search.architecture import Architecture
from search.delta import score_documents
from search.errors import DivergedError, ExportError, RunCancelledError, SettingError
from search.pipeline import run_job
from search.ports import MemoryReporter, MemoryStore, Surroundings, never_cancelled
from search.presets import build_spec
from search.spec import JobSpec
from search.trial_plan import CandidateTrial, PlannedTrial, plan_export, plan_retrain, plan_search
from search.trials import run_trial


def small_job(**words: Any) -> JobSpec:
    """Return the job of a second: forty images, a handful of steps."""
    chosen: dict[str, Any] = {"tasks": ("left", "right"), "budgets": ["70%"], "preset": "smoke"}
    spec = build_spec(**({"dataset": "digits", "backbone": "tiny4"} | chosen | words))
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"num_train": 40, "num_val": 20}),
            "search": spec.search.model_copy(update={"epochs": 2, "warmup_epochs": 1, "batch_size": 8}),
            "retrain": spec.retrain.model_copy(update={"epochs": 2, "batch_size": 20}),
        }
    )


def around(
    cache_dir: Path, store: MemoryStore | None = None, cancelled: Callable[[], bool] = never_cancelled
) -> Surroundings:
    """Return surroundings in memory that checkpoint after every step."""
    return Surroundings(
        store=MemoryStore() if store is None else store,
        reporter=MemoryReporter(),
        cancelled=cancelled,
        device="cpu",
        cache_dir=cache_dir,
        now=lambda: datetime(2026, 1, 31, tzinfo=UTC),
        seconds_between_saves=0.0,
    )


def stopping_after(num_questions: int) -> Callable[[], bool]:
    """Return what says "go on" so many times and "stop" from then on."""
    answers = iter([False] * num_questions)
    return lambda: next(answers, True)


def planned(name: str, **words: Any) -> PlannedTrial:
    """Return the trial of that name of the small job."""
    return next(trial for trial in plan_search([small_job(**words)], "1").trials if trial.name == name)


def without_latency(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what differs from run to run."""
    assert document["latency"]["latency_ms"] > 0
    return {key: value for key, value in document.items() if key != "latency"}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that the tests share."""
    return tmp_path_factory.mktemp("cache")


def test_the_trials_of_a_search_are_what_the_pipeline_finds(cache_dir: Path) -> None:
    """Baselines and candidate, each run by itself, have the trees, costs and metrics of the whole job."""
    surroundings = around(cache_dir)
    results = run_job(small_job(), surroundings)
    assert results.baselines is not None
    found = {
        trial.name: run_trial(trial.spec, {}, around(cache_dir)) for trial in plan_search([small_job()], "1").trials
    }
    single = found["single-left"]["metrics"] | found["single-right"]["metrics"]
    candidate, document = found["70pct-s0"], surroundings.store.read("candidates/70pct/architecture.json")
    assert candidate["architecture"] == json.loads(document)
    assert single == {name: value.model_dump(mode="json") for name, value in results.baselines.single.metrics.items()}
    assert found["shared"]["madds"] == results.baselines.shared.madds
    assert score_documents(candidate["metrics"], single) == results.candidates[0].delta_m
    assert {row["stage"] for row in candidate["history"]} == {"search", "train"}
    json.dumps(found, allow_nan=False)


def test_a_trial_stopped_at_every_step_ends_as_if_undisturbed(cache_dir: Path) -> None:
    """A candidate that is cancelled again and again leaves the very files of one that was not."""
    spec = planned("70pct-s0").spec
    calm = around(cache_dir)
    wanted = run_trial(spec, {}, calm)
    store, stops, result = MemoryStore(), 0, None
    while result is None:
        try:
            result = run_trial(spec, {}, around(cache_dir, store, stopping_after(2)))
        except RunCancelledError:
            stops += 1
    assert stops >= 5
    assert without_latency(result) == without_latency(wanted)
    assert isinstance(calm.store, MemoryStore)
    assert store.contents.keys() == calm.store.contents.keys()
    same = {name for name, content in store.contents.items() if content == calm.store.contents[name]}
    assert store.contents.keys() - same <= {"search.pt", "evaluation.json"}
    evaluations = [json.loads(each.read("evaluation.json")) for each in (store, calm.store)]
    assert without_latency(evaluations[0]) == without_latency(evaluations[1])


def test_a_search_without_retraining_finds_a_tree_only(cache_dir: Path) -> None:
    """Nothing is trained, so there are no metrics."""
    result = run_trial(planned("70pct-s0", with_retrain=False).spec, {}, around(cache_dir))
    assert result["metrics"] is None
    assert Architecture.model_validate_json(json.dumps(result["architecture"])).madds == result["madds"]


def test_a_found_network_is_retrained_and_exported(cache_dir: Path) -> None:
    """A baseline's tree and weights travel on to a retraining and to a file."""
    surroundings = around(cache_dir)
    run_trial(planned("shared").spec, {}, surroundings)
    store = surroundings.store
    architecture = Architecture.from_json_bytes(store.read("architecture.json"))
    (retrain,) = plan_retrain(architecture, dataset="digits", preset="smoke", seed=1).trials
    assert retrain.spec.kind == "retrain"
    (export,) = plan_export(architecture, "onnx", study_key="k", tasks=["right"]).trials
    target = around(cache_dir)
    written = run_trial(export.spec, {"weights.safetensors": store.read("weights.safetensors")}, target)
    assert (written["format"], written["outputs"]) == ("onnx", ["right"])
    assert written["opset"] >= 17
    assert len(target.store.read(written["file"])) == written["bytes"]


def test_an_untrained_network_is_exported_as_json_only(cache_dir: Path) -> None:
    """Without weights there is a tree to write, but no network."""
    result = run_trial(planned("70pct-s0", with_retrain=False).spec, {}, around(cache_dir))
    architecture = Architecture.model_validate_json(json.dumps(result["architecture"]))
    exports = {fmt: plan_export(architecture, fmt, study_key="k").trials[0].spec for fmt in ("json", "onnx")}
    assert run_trial(exports["json"], {}, around(cache_dir))["bytes"] > 0
    with pytest.raises(ExportError, match="Retrain it"):
        run_trial(exports["onnx"], {}, around(cache_dir))


def test_a_training_that_leaves_all_bounds_is_named(cache_dir: Path) -> None:
    """A loss that is no number ends the trial at once, in a sentence."""
    job = small_job()
    wild = job.retrain.weights.model_copy(update={"learning_rate": 1e30, "method": "sgd"})
    job = job.model_copy(update={"retrain": job.retrain.model_copy(update={"weights": wild, "epochs": 20})})
    trial = next(trial for trial in plan_search([job], "1").trials if trial.name == "shared")
    with pytest.raises(DivergedError, match="finite"):
        run_trial(trial.spec, {}, around(cache_dir))


def test_a_candidate_of_a_budget_that_its_job_does_not_have_is_refused(cache_dir: Path) -> None:
    """A trial that was put together by hand is answered in a sentence."""
    with pytest.raises(SettingError, match="budget of its job"):
        run_trial(CandidateTrial(job=small_job(), budget="80%"), {}, around(cache_dir))
