"""From jobs to trials: which networks a search, a retraining or an export consists of, and what each needs to run.

`search.trials` runs what is planned here. Baselines belong to the study, not to the job, so that they are trained once.
Pure: no torch, no I/O; the web process plans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from search.architecture import Architecture, check_fits_dataset
from search.data.shelf import BUILT_IN, DatasetShelf
from search.errors import SettingError
from search.presets import get_recipe
from search.spec import DataSpec, JobSpec, OptionalDefinition, OptionalWeights, TrainSpec, WeightsSpec, budget_name
from search.strict_json import describe_validation

ExportFormat = Literal["json", "onnx", "pt2"]
BASELINE_SEED = 0
"""Baselines of a study are trained with this seed whatever the job's seeds are, so that jobs can share them."""
_NO_LIMIT = "100%"


class _Trial(BaseModel):
    """Base of all trial specs: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_document(self) -> dict[str, Any]:
        """Return this spec as plain JSON values; `parse_trial_spec` reads it back."""
        return self.model_dump(mode="json")


class SingleTrial(_Trial):
    """A network for one task of a study, what delta_m is measured against."""

    kind: Literal["single"] = "single"
    job: JobSpec
    task: str


class SharedTrial(_Trial):
    """One encoder for all tasks of a study, the cheapest tree."""

    kind: Literal["shared"] = "shared"
    job: JobSpec


class CandidateTrial(_Trial):
    """A network searched under one budget of a job with one seed, and trained where the job says so."""

    kind: Literal["candidate"] = "candidate"
    job: JobSpec
    budget: str


class RetrainTrial(_Trial):
    """The training of a network that is already found."""

    kind: Literal["retrain"] = "retrain"
    architecture: Architecture
    dataset: str
    preset: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    weights: OptionalWeights = None
    definition: OptionalDefinition = None


class ExportTrial(_Trial):
    """A trained network written as a file for others; its weights are an input of the trial. None keeps all tasks."""

    kind: Literal["export"] = "export"
    architecture: Architecture
    format: ExportFormat
    tasks: tuple[str, ...] | None = None


TrialSpec = SingleTrial | SharedTrial | CandidateTrial | RetrainTrial | ExportTrial
_ADAPTER: TypeAdapter[TrialSpec] = TypeAdapter(Annotated[TrialSpec, Field(discriminator="kind")])


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a job.

    Attributes:
        name: Unique within the job, e.g. "single-left", "shared", "60pct-s0".
        spec: All that it needs to run but for its input files.
        seed: Names its randomness.
        reuse_key: Trials with the same key have the same result; None for no sharing.
        budget: Canonical budget of a candidate ("60%", "1200000"; see `search.spec.resolve_budget`), else None.
    """

    name: str
    spec: TrialSpec
    seed: int
    reuse_key: str | None = None
    budget: str | None = None

    @property
    def kind(self) -> str:
        """Return "single", "shared", "candidate", "retrain" or "export"."""
        return self.spec.kind


@dataclass(frozen=True)
class PlannedSearch:
    """What a job is made of: its trials, baselines first, and the key of the study its results belong to."""

    study_key: str
    trials: tuple[PlannedTrial, ...]


def parse_trial_spec(document: Mapping[str, Any]) -> TrialSpec:
    """Return the trial that `to_document` described.

    Raises:
        SettingError: It is no such document, or one of another program version.
    """
    try:
        return _ADAPTER.validate_json(json.dumps(document))
    except ValidationError as error:
        reason = describe_validation(error).rstrip(".")
    raise SettingError(f"A trial must be described as this program version does it, but {reason}. Submit it again.")


def compute_study_key(spec: JobSpec) -> str:
    """Return what makes results comparable, hashed: dataset, tasks, backbone, its weights, samples, size and recipe."""
    return _study_key(spec.dataset, spec.tasks, spec.backbone, spec.data, spec.retrain, spec.weights)


def plan_search(specs: Sequence[JobSpec], code_version: str) -> PlannedSearch:
    """Return the trials of a search: a baseline per task and a shared one, and a candidate per budget and seed.

    Args:
        specs: One job per seed, all of one study. Without retraining there are no baselines.
        code_version: Results of another version are not reused.

    Raises:
        SettingError: No job, two with the same seed, or jobs of several studies.
    """
    keys = {compute_study_key(spec) for spec in specs}
    seeds = [spec.seed for spec in specs]
    if len(keys) != 1 or len(set(seeds)) != len(seeds):
        raise SettingError(
            f"A search needs one or more distinct seeds of one study, got the seeds {seeds} of {len(keys)} studies. "
            "Name each seed once."
        )
    (study_key,) = keys
    baselines = _plan_baselines(specs[0], study_key, code_version) if specs[0].with_retrain else ()
    candidates = (
        PlannedTrial(
            name=f"{budget_name(budget)}-s{spec.seed}",
            spec=CandidateTrial(job=spec, budget=budget),
            seed=spec.seed,
            budget=budget,
        )
        for spec in specs
        for budget in spec.budgets
    )
    return PlannedSearch(study_key, (*baselines, *candidates))


def plan_retrain(
    architecture: Architecture,
    *,
    dataset: str,
    preset: str,
    seed: int,
    weights: WeightsSpec | None = None,
    datasets: DatasetShelf = BUILT_IN,
) -> PlannedSearch:
    """Return the one trial that trains a network which is already found.

    Raises:
        SearchError, ModelsError: The dataset or the preset is unknown or does not fit the architecture.
    """
    info = datasets.get_trainable(dataset)
    check_fits_dataset(architecture, info)
    recipe = get_recipe(preset, architecture.backbone, info)
    data = recipe.data_spec(info, architecture.input_size)
    study_key = _study_key(dataset, architecture.tasks, architecture.backbone, data, recipe.retrain, weights)
    spec = RetrainTrial(
        architecture=architecture,
        dataset=dataset,
        preset=preset,
        seed=seed,
        weights=weights,
        definition=info.definition,
    )
    return PlannedSearch(study_key, (PlannedTrial(f"retrain-s{seed}", spec, seed),))


def plan_export(
    architecture: Architecture, fmt: ExportFormat, *, study_key: str, tasks: Sequence[str] | None = None
) -> PlannedSearch:
    """Return the one trial that writes a trained network as a file.

    Args:
        architecture: The network.
        fmt: "json", "onnx" or "pt2".
        study_key: The study it was found in.
        tasks: Keep only the branches that these need; None for all.

    Raises:
        SettingError: The tasks are not distinct tasks of the network.
    """
    chosen = None if tasks is None else tuple(tasks)
    if chosen is not None and (
        not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(architecture.tasks)
    ):
        raise SettingError(
            f"Tasks to export must be distinct tasks of the network ({', '.join(architecture.tasks)}), got "
            f"{len(chosen)} that are not. Choose among them, or leave them out for all."
        )
    spec = ExportTrial(architecture=architecture, format=fmt, tasks=chosen)
    return PlannedSearch(study_key, (PlannedTrial(f"export-{fmt}", spec, architecture.provenance.seed),))


def _plan_baselines(spec: JobSpec, study_key: str, code_version: str) -> tuple[PlannedTrial, ...]:
    """Return the baselines of a study, whose description leaves out all that the jobs of a study differ in."""
    job = spec.model_copy(update={"budgets": (_NO_LIMIT,), "seed": BASELINE_SEED, "objective": "exact"})
    described: Mapping[str, TrialSpec] = {f"single-{task}": SingleTrial(job=job, task=task) for task in spec.tasks} | {
        "shared": SharedTrial(job=job)
    }
    return tuple(
        PlannedTrial(name, trial, BASELINE_SEED, _hash([study_key, name, code_version]))
        for name, trial in described.items()
    )


def _study_key(
    dataset: str,
    tasks: Sequence[str],
    backbone: str,
    data: DataSpec,
    recipe: TrainSpec,
    weights: WeightsSpec | None,
) -> str:
    """Return the hash of what makes results comparable."""
    parts = [dataset, list(tasks), backbone, data.model_dump(mode="json"), recipe.model_dump(mode="json")]
    # Another name of the same file is no other study.
    return _hash(parts if weights is None else [*parts, weights.sha256])


def _hash(value: object) -> str:
    """Return the SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
