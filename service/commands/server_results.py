"""What a server tells of an ended search -> the same `Results` that a run in this process leaves, for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.architecture import Architecture, Provenance
from search.costs.cost_table import CostTable, compute_costs
from search.data.catalogue import DatasetInfo, resolve_tasks
from search.data.shelf import BUILT_IN, DatasetShelf
from search.delta import compute_delta_m
from search.results import (
    Baselines,
    Candidate,
    History,
    Latency,
    MetricValue,
    Results,
    SharedBaseline,
    SingleBaseline,
    Study,
    StudyCosts,
    StudyTask,
    add_latencies,
)
from search.spec import JobSpec
from service.client import Client
from service.client_parts.records import Front, Trial
from service.errors import WaitedJobError

_STAGES = {"search": "search", "train": "retrain"}
_SINGLE = "single-"
_SHARED = "shared"
_FETCHED = (".png", ".json")  # not the weights: the service keeps them


@dataclass(frozen=True)
class ServerResults:
    """What a search on a server found: its results, and the network of every candidate by its name."""

    results: Results
    architectures: Mapping[str, Architecture]


def collect_results(
    spec: JobSpec, trials: Sequence[Trial], front: Front, datasets: DatasetShelf = BUILT_IN
) -> ServerResults:
    """Return the results of a search whose trials have all succeeded and were trained.

    Args:
        spec: The job, as `search.presets.build_spec` makes it of the same words.
        trials: All of the job.
        front: Of the job.
        datasets: Knows the dataset of the job.

    Raises:
        WaitedJobError: A result is missing.
    """
    missing = [trial.name for trial in trials if trial.result is None]
    if missing or not trials:
        raise WaitedJobError(f"Results are missing of {', '.join(missing) or 'all trials'}. Resume the job.")
    info = datasets.get(spec.dataset)
    costs = compute_costs(spec.backbone, resolve_tasks(info, spec.tasks), spec.data.input_size, info.image_channels)
    found = {trial.name: _read_architecture(trial) for trial in trials if _is_candidate(trial)}
    baselines = _read_baselines(spec, trials, costs)
    candidates = [_read_candidate(trial, found[trial.name], baselines) for trial in trials if _is_candidate(trial)]
    on_front = {point.name for point in front.points if point.id in front.front}
    results = Results(
        study=_describe_study(spec, info, costs, next(iter(found.values())).provenance, baselines),
        baselines=baselines,
        candidates=tuple(candidates),
        front=tuple(candidate.name for candidate in candidates if candidate.name in on_front),
        history={stage: rows for trial in trials for stage, rows in _read_history(trial).items()},
    )
    return ServerResults(results, found)


def fetch_files(client: Client, front: Front, folder: Path) -> None:
    """Leave below a folder what the server keeps of every candidate beside its tree, where a run leaves it itself.

    Raises:
        ServiceError: The server refused or is away.
        OSError: The disk refused.
    """
    for point in front.points:
        place = folder / "candidates" / point.name
        place.mkdir(parents=True, exist_ok=True)
        for row in client.list_files(point.id):
            if row["name"].endswith(_FETCHED):
                client.fetch_file(point.id, row["name"], place / row["name"])


def _is_candidate(trial: Trial) -> bool:
    """Return whether a trial searched a network."""
    return trial.kind == "candidate"


def _read_architecture(trial: Trial) -> Architecture:
    """Return the network that a trial found."""
    assert trial.result is not None
    # By way of text: the document takes lists for tuples from JSON only.
    return Architecture.model_validate_json(json.dumps(trial.result["architecture"]))


def _read_metrics(trial: Trial) -> dict[str, MetricValue]:
    """Return the metrics that a trial reached."""
    assert trial.result is not None
    return {task: MetricValue.model_validate(measured) for task, measured in (trial.result["metrics"] or {}).items()}


def _read_latency(trial: Trial) -> Latency | None:
    """Return how long the network of a trial takes, None where a server of an older version did not say."""
    assert trial.result is not None
    measured = trial.result.get("latency")
    return None if measured is None else Latency.model_validate(measured)


def _read_baselines(spec: JobSpec, trials: Sequence[Trial], costs: CostTable) -> Baselines:
    """Return both baselines."""
    by_name = {trial.name: trial for trial in trials}
    singles = [by_name[f"{_SINGLE}{task}"] for task in spec.tasks]
    single = {task: measured for trial in singles for task, measured in _read_metrics(trial).items()}
    shared = _read_metrics(by_name[_SHARED])
    separate = add_latencies([_read_latency(trial) for trial in singles])
    return Baselines(
        single=SingleBaseline(madds=costs.single_madds, params=costs.single_params, metrics=single, latency=separate),
        shared=SharedBaseline(
            madds=costs.shared_madds,
            params=costs.shared_params,
            metrics=shared,
            delta_m=compute_delta_m(shared, single),
            latency=_read_latency(by_name[_SHARED]),
        ),
    )


def _read_candidate(trial: Trial, architecture: Architecture, baselines: Baselines) -> Candidate:
    """Return the candidate that a trial found."""
    metrics = _read_metrics(trial)
    return Candidate(
        name=trial.name,
        budget_madds=architecture.budget_madds,
        madds=architecture.madds,
        params=architecture.params,
        delta_m=compute_delta_m(metrics, baselines.single.metrics),
        metrics=metrics,
        architecture=f"candidates/{trial.name}/architecture.json",
        seed=architecture.provenance.seed,
        latency=_read_latency(trial),
    )


def _read_history(trial: Trial) -> History:
    """Return the learning curves of a trial by the names that the report knows."""
    assert trial.result is not None
    history: dict[str, tuple[dict[str, float], ...]] = {}
    for row in trial.result.get("history") or ():
        stage = _name_stage(trial, str(row["stage"]))
        figures = {name: float(value) for name, value in row.items() if name != "stage"}
        history[stage] = (*history.get(stage, ()), figures)
    return history


def _name_stage(trial: Trial, stage: str) -> str:
    """Return what the report calls a stage of a trial."""
    if _is_candidate(trial):
        return f"{_STAGES.get(stage, stage)} {trial.name}"
    return "fully shared" if trial.name == _SHARED else f"single {trial.name.removeprefix(_SINGLE)}"


def _describe_study(
    spec: JobSpec, info: DatasetInfo, costs: CostTable, origin: Provenance, baselines: Baselines
) -> Study:
    """Return the head of the results."""
    tasks = {}
    for name in spec.tasks:
        task, measured = info.task(name), baselines.single.metrics[name]
        tasks[name] = StudyTask(
            kind=task.kind,
            channels=task.channels,
            metric=measured.metric,
            higher_is_better=measured.higher_is_better,
        )
    return Study(
        dataset=spec.dataset,
        dataset_fingerprint=origin.dataset_fingerprint,
        tasks=tasks,
        backbone=spec.backbone,
        input_size=spec.data.input_size,
        image_channels=info.image_channels,
        preset=spec.preset,
        seed=spec.seed,
        objective=spec.objective,
        spec_hash=spec.spec_hash,
        code_version=origin.code_version,
        created=origin.created,
        costs=StudyCosts.of(costs),
    )
