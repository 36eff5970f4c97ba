"""From jobs to trials: baselines once per study, a candidate per budget and seed, and specs that survive JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.branching import Branching
from search.architecture import Architecture, Provenance, heads_of, layers_of
from search.data.catalogue import DATASETS
from search.errors import ArchitectureFileError, SettingError
from search.presets import build_spec
from search.spec import JobSpec
from search.trial_plan import (
    CandidateTrial,
    SingleTrial,
    compute_study_key,
    parse_trial_spec,
    plan_export,
    plan_retrain,
    plan_search,
)


def example(**words: Any) -> JobSpec:
    """Return the job of a few words."""
    chosen: dict[str, Any] = {
        "dataset": "digits",
        "tasks": ["left", "right"],
        "backbone": "tiny4",
        "budgets": ["60%", "1.2M"],
        "preset": "smoke",
    }
    return build_spec(**(chosen | words))


def small_tree(**changes: Any) -> Architecture:
    """Return an architecture of two tasks that share everything."""
    tasks = ("left", "right")
    info = DATASETS["digits"]
    fields: dict[str, Any] = {
        "tasks": tasks,
        "backbone": "tiny4",
        "input_size": (24, 24),
        "image_channels": 1,
        "layers": layers_of(Branching.shared(tasks, 5), "abcde"),
        "heads": heads_of([info.task(task) for task in tasks]),
        "madds": 1,
        "params": 1,
        "budget_madds": None,
        "provenance": Provenance(
            dataset="digits",
            dataset_fingerprint="f00d",
            seed=3,
            objective="exact",
            spec_hash="beef",
            code_version="0.1.0",
            created="2026-01-31T12:00:00+00:00",
        ),
    }
    return Architecture(**(fields | changes))


def test_a_search_has_baselines_once_and_a_candidate_per_budget_and_seed() -> None:
    """Two budgets and two seeds make four candidates, and the baselines stand before them once."""
    plan = plan_search([example(seed=0), example(seed=7)], "1")
    assert [trial.name for trial in plan.trials] == [
        *("single-left", "single-right", "shared"),
        *("60pct-s0", "1.2M-s0", "60pct-s7", "1.2M-s7"),
    ]
    assert [trial.kind for trial in plan.trials] == [*("single", "single", "shared"), *["candidate"] * 4]
    assert [trial.seed for trial in plan.trials] == [0, 0, 0, 0, 0, 7, 7]
    assert [trial.budget for trial in plan.trials[3:5]] == ["60%", "1200000"]


def test_a_search_without_retraining_has_candidates_only() -> None:
    """Nothing is compared, so no baseline is trained."""
    plan = plan_search([example(with_retrain=False)], "1")
    assert {trial.kind for trial in plan.trials} == {"candidate"}


@pytest.mark.parametrize("words", [{"budgets": ["70%"]}, {"seed": 5}, {"objective": "paper"}])
def test_jobs_of_one_study_share_their_baselines(words: dict[str, Any]) -> None:
    """Budgets, seeds and the objective change neither the study nor its baselines."""
    plans = [plan_search([spec], "1") for spec in (example(), example(**words))]
    keys = [{trial.name: (trial.reuse_key, trial.spec) for trial in plan.trials[:3]} for plan in plans]
    assert plans[0].study_key == plans[1].study_key
    assert keys[0] == keys[1]


@pytest.mark.parametrize("words", [{"preset": "quick"}, {"tasks": None}, {"dataset": "scenes"}, {"backbone": "tiny6"}])
def test_another_study_shares_nothing(words: dict[str, Any]) -> None:
    """Recipe, tasks, data and backbone make another study."""
    if words.get("backbone") == "tiny6":
        other = example().model_copy(update={"backbone": "tiny6"})
    else:
        other = example(**({"tasks": None} if "dataset" in words else {}) | words)
    assert compute_study_key(example()) != compute_study_key(other)


def test_candidates_are_never_shared_and_baselines_not_between_versions() -> None:
    """Only baselines carry a key, and it names the version of the code."""
    old, new = (plan_search([example()], version).trials for version in ("1", "2"))
    assert [trial.reuse_key for trial in old if trial.kind == "candidate"] == [None, None]
    assert {trial.reuse_key for trial in old[:3]}.isdisjoint({trial.reuse_key for trial in new[:3]})
    assert len({trial.reuse_key for trial in old[:3]}) == 3


def test_every_trial_survives_json() -> None:
    """What is stored as JSON comes back as the same trial."""
    tree = small_tree()
    plans = [
        plan_search([example()], "1"),
        plan_retrain(tree, dataset="digits", preset="smoke", seed=1),
        plan_export(tree, "onnx", study_key="k", tasks=["right"]),
    ]
    for trial in (trial for plan in plans for trial in plan.trials):
        assert parse_trial_spec(json.loads(json.dumps(trial.spec.to_document()))) == trial.spec


def test_a_candidate_carries_the_whole_job() -> None:
    """The tree names the job as the command line does: by the hash over all its budgets."""
    spec = plan_search([example()], "1").trials[3].spec
    assert isinstance(spec, CandidateTrial)
    assert spec.job.spec_hash == example().spec_hash


def test_a_baseline_does_not_carry_a_budget_that_may_be_infeasible() -> None:
    """A job that asks for too little must not fail the baselines that others share."""
    spec = plan_search([example(budgets=["1"])], "1").trials[0].spec
    assert isinstance(spec, SingleTrial)
    assert spec.job.budgets == ("100%",)


def test_a_retrained_network_belongs_to_the_study_of_its_recipe() -> None:
    """By the same recipe it can be compared with the candidates of a search."""
    plan = plan_retrain(small_tree(), dataset="digits", preset="smoke", seed=4)
    assert plan.study_key == compute_study_key(example())
    assert [(trial.name, trial.seed) for trial in plan.trials] == [("retrain-s4", 4)]


def test_one_tree_has_one_fingerprint() -> None:
    """Where a tree comes from is no part of it; its layers are."""
    tree, split = small_tree(), Branching.split(("left", "right"), 5)
    assert tree.fingerprint == small_tree(madds=7, budget_madds=9).fingerprint
    assert tree.fingerprint != small_tree(layers=layers_of(split, "abcde")).fingerprint


def test_what_cannot_be_planned_is_refused_in_a_sentence() -> None:
    """Repeated seeds, mixed studies, tasks that are not there, and foreign documents."""
    with pytest.raises(SettingError, match="distinct seeds"):
        plan_search([example(), example()], "1")
    with pytest.raises(SettingError, match="2 studies"):
        plan_search([example(), example(preset="quick", seed=1)], "1")
    with pytest.raises(SettingError, match="distinct tasks"):
        plan_export(small_tree(), "json", study_key="k", tasks=["left", "left"])
    with pytest.raises(ArchitectureFileError, match="no task"):
        plan_retrain(small_tree(), dataset="scenes", preset="smoke", seed=0)
    with pytest.raises(SettingError, match="described as this program"):
        parse_trial_spec({"kind": "single", "task": "left"})
