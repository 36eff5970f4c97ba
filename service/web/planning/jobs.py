"""A person's request -> a job with its trials, checked against the tables and the costs before anything is stored.

Neighbours: `search.presets` knows the recipes, `search.trial_plan` the trials, `search.costs.cost_table` the MAdds.
Refusals name the field by a pointer and never quote what was sent.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.records.access import WorkerRecord
from db.records.jobs import JobRecord, NewJob, NewTrial, Resources
from db.records.results import ArchitectureRecord
from db.records.states import JobKind
from models.catalogue import BackboneInfo
from models.errors import ModelsError
from search.architecture import Architecture
from search.costs.cost_table import CostTable
from search.data.catalogue import DatasetInfo, resolve_tasks
from search.errors import SearchError
from search.presets import build_spec
from search.spec import JobSpec, WeightsSpec, resolve_budget
from search.trial_plan import ExportFormat, PlannedSearch, plan_export, plan_retrain, plan_search
from search.weights_shelf import NO_WEIGHTS
from service.schemas.requests import MAX_CANDIDATES, ExportBody, JobOptions, ResourcesBody, RetrainBody, SearchBody
from service.web.planning.offers import Offers
from service.web.problems import FieldError, ProblemError, refuse_field

_MADDS_PER_SECOND = 3e9
"""What one CPU core does in training, to the order of magnitude."""


@dataclass(frozen=True)
class PlannedJob:
    """A search that has passed all checks.

    Attributes:
        job: What to submit.
        specs: One per seed.
        costs: Of its study.
        budgets_madds: MAdds of each budget.
        num_train: Training samples.
    """

    job: NewJob
    specs: tuple[JobSpec, ...]
    costs: CostTable
    budgets_madds: tuple[int, ...]
    num_train: int


def plan_search_job(body: SearchBody, offers: Offers, *, owner: str, code_version: str) -> PlannedJob:
    """Return the job that a request for a search asks for.

    Raises:
        ProblemError: invalid_request or infeasible_budget, with a pointer to the field.
    """
    info = offers.get_dataset(body.dataset)
    specs = _build_specs(body, info, offers)
    first = specs[0]
    tasks = resolve_tasks(info, first.tasks)
    costs = offers.backbones.compute_costs(first.backbone, tasks, first.data.input_size, info.image_channels)
    budgets = tuple(resolve_budget(budget, costs.single_madds) for budget in body.budgets)
    _check_feasible(budgets, costs)
    planned = plan_search(specs, code_version)
    by_budget = dict(zip(body.budgets, budgets, strict=True))
    trials = tuple(
        NewTrial(
            kind=trial.kind,
            name=trial.name,
            spec=trial.spec.to_document(),
            reuse_key=trial.reuse_key,
            seed=trial.seed,
            budget_madds=None if trial.budget is None else by_budget[trial.budget],
        )
        for trial in planned.trials
    )
    request = {
        "dataset": first.dataset,
        "tasks": list(first.tasks),
        "backbone": first.backbone,
        "budgets": list(body.budgets),
        "seeds": list(body.seeds),
        "preset": body.preset,
        "objective": body.objective,
        "input_size": list(first.data.input_size),
        "retrain": body.retrain,
        **_describe_start(body.weights, first.weights),
    }
    named = body.name or f"{first.dataset} {first.backbone} {body.preset}"
    job = _build_job(JobKind.SEARCH, body, owner, named, request, planned.study_key, trials)
    return PlannedJob(job, specs, costs, budgets, first.data.num_train or info.num_train)


def plan_retrain_job(body: RetrainBody, source: ArchitectureRecord, offers: Offers, *, owner: str) -> NewJob:
    """Return the job that trains a network which is already found.

    Raises:
        ProblemError: The dataset is unknown or does not fit the network.
    """
    architecture = Architecture.model_validate_json(json.dumps(dict(source.document)))
    dataset = body.dataset or source.dataset
    offers.get_dataset(dataset)
    weights = offers.choose_weights(body.weights, architecture.backbone)
    try:
        planned = plan_retrain(
            architecture,
            dataset=dataset,
            preset=body.preset,
            seed=body.seed,
            weights=weights,
            datasets=offers.datasets,
        )
    except (SearchError, ModelsError) as error:
        raise refuse_field("/dataset", "The dataset does not fit this network's tasks and heads.") from error
    request = {
        "dataset": dataset,
        "tasks": list(source.tasks),
        "backbone": source.backbone,
        "preset": body.preset,
        "seed": body.seed,
        "architecture_id": source.id,
        **_describe_start(body.weights, weights),
    }
    return _build_derived(JobKind.RETRAIN, body, owner, source, request, planned)


def plan_export_job(body: ExportBody, source: ArchitectureRecord, *, owner: str) -> NewJob:
    """Return the job that writes a trained network as a file.

    Raises:
        ProblemError: The tasks are not distinct tasks of the network.
    """
    architecture = Architecture.model_validate_json(json.dumps(dict(source.document)))
    fmt: ExportFormat = body.format
    try:
        planned = plan_export(architecture, fmt, study_key=source.study_key, tasks=body.tasks)
    except SearchError as error:
        raise refuse_field("/tasks", f"Choose distinct tasks of the network: {', '.join(source.tasks)}.") from error
    request = {
        "dataset": source.dataset,
        "tasks": list(body.tasks or source.tasks),
        "backbone": source.backbone,
        "format": body.format,
        "architecture_id": source.id,
    }
    return _build_derived(JobKind.EXPORT, body, owner, source, request, planned)


def rebuild_search_body(spec: Mapping[str, Any], options: JobOptions) -> SearchBody:
    """Return the request that a stored search came from, with the options of its repetition."""
    asked = {name: value for name, value in spec.items() if name in SearchBody.model_fields}
    return SearchBody(**asked, **{name: getattr(options, name) for name in JobOptions.model_fields})


def check_schedulable(resources: Resources, workers: Sequence[WorkerRecord]) -> None:
    """Refuse what no worker could ever run; with no worker known, one may still come.

    Raises:
        ProblemError: invalid_request.
    """
    if workers and not any(worker.cpus >= resources.cpus and worker.gpus >= resources.gpus for worker in workers):
        cpus, gpus = max(worker.cpus for worker in workers), max(worker.gpus for worker in workers)
        raise refuse_field(
            "/resources",
            f"No worker can run such a trial: the largest has {cpus:g} CPU cores, and the most GPUs are {gpus:g}. Ask "
            "for less, or start a larger worker first.",
            code="unschedulable",
        )


def estimate_seconds(planned: PlannedJob) -> float:
    """Return roughly how long one CPU core would take.

    A training step costs three forward passes; a search step of T tasks runs up to T ops per layer and task.
    """
    costs = planned.costs
    spec = planned.specs[0]
    per_epoch = 3 * planned.num_train / _MADDS_PER_SECOND
    num_candidates = len(planned.specs) * len(planned.budgets_madds)
    search = spec.search.epochs * per_epoch * costs.single_madds * len(spec.tasks) * spec.search.resolution_scale**2
    trained = spec.retrain.epochs * per_epoch if spec.with_retrain else 0.0
    baselines = trained * (costs.single_madds + costs.shared_madds)
    return num_candidates * (search + trained * costs.split_madds) + baselines


def estimate_disk_bytes(planned: PlannedJob) -> int:
    """Return roughly how much the files of all trials take: weights, and a checkpoint with momentum and supergraph."""
    costs, spec = planned.costs, planned.specs[0]
    candidates = len(planned.specs) * len(planned.budgets_madds)
    supergraph = len(spec.tasks) * costs.single_params
    num_params = candidates * (3 * supergraph + 4 * costs.single_params) + 4 * (
        costs.single_params + costs.shared_params
    )
    return 4 * num_params


def _build_specs(body: SearchBody, info: DatasetInfo, offers: Offers) -> tuple[JobSpec, ...]:
    """Return one checked spec per seed."""
    _check_tasks(body.tasks, info)
    backbone = offers.backbones.get(body.backbone)
    for pointer, values in (("/budgets", body.budgets), ("/seeds", body.seeds)):
        if len(set(values)) != len(values):
            raise refuse_field(pointer, "Each may be named once.")
    if len(body.budgets) * len(body.seeds) > MAX_CANDIDATES:
        raise refuse_field("/seeds", f"Budgets times seeds may be at most {MAX_CANDIDATES}. Submit several searches.")
    size = None if body.input_size is None else (body.input_size[0], body.input_size[1])
    _check_size(size, info, backbone)
    weights = offers.choose_weights(body.weights, body.backbone)
    try:
        return tuple(
            build_spec(
                dataset=body.dataset,
                tasks=body.tasks,
                backbone=body.backbone,
                budgets=body.budgets,
                seed=seed,
                preset=body.preset,
                objective=body.objective,
                with_retrain=body.retrain,
                input_size=size,
                weights=weights,
                datasets=offers.datasets,
            )
            for seed in body.seeds
        )
    except (SearchError, ModelsError) as error:
        raise refuse_field("", str(type(error).__doc__)) from error


def _check_tasks(tasks: Sequence[str] | None, info: DatasetInfo) -> None:
    """Refuse tasks that the dataset does not have, or that stand twice."""
    known = [task.name for task in info.tasks]
    errors = []
    for index, task in enumerate(tasks or ()):
        if task not in known:
            message = f"The dataset has no such task. Choose from: {', '.join(known)}."
        elif task in list(tasks or ())[:index]:
            message = "Each task may be named once."
        else:
            continue
        errors.append(FieldError(pointer=f"/tasks/{index}", code="invalid_request", message=message))
    if errors:
        raise ProblemError("invalid_request", errors[0].message, errors=errors)


def _check_size(size: tuple[int, int] | None, info: DatasetInfo, backbone: BackboneInfo) -> None:
    """Refuse a size that the dataset does not offer or that is too small for the backbone."""
    smallest, largest = info.sizes
    if size is not None and not all(smallest <= side <= largest for side in size):
        offered = f"{smallest} pixels a side only" if smallest == largest else f"{smallest} to {largest} pixels a side"
        raise refuse_field("/input_size", f"The dataset offers {offered}.")
    if min(size or info.default_size) < backbone.min_size:
        pointer = "/backbone" if size is None else "/input_size"
        raise refuse_field(pointer, f"This backbone needs images of at least {backbone.min_size} pixels a side.")


def _check_feasible(budgets_madds: Sequence[int], costs: CostTable) -> None:
    """Refuse budgets below the network in which everything is shared."""
    # Rounded up, so that the percentage named is itself feasible.
    percent = math.ceil(costs.shared_madds * 1000 / costs.single_madds) / 10
    message = (
        f"Sharing everything already costs {costs.shared_madds} MAdds. Ask for {costs.shared_madds} MAdds "
        f"({percent:g}% of the single-task total) or more; the dearest tree costs {costs.split_madds} MAdds, and above "
        "that a budget no longer binds."
    )
    errors = [
        FieldError(pointer=f"/budgets/{index}", code="infeasible_budget", message=message)
        for index, madds in enumerate(budgets_madds)
        if madds < costs.shared_madds
    ]
    if errors:
        raise ProblemError("infeasible_budget", message, errors=errors)


def _describe_start(words: str, weights: WeightsSpec | None) -> dict[str, Any]:
    """Return what a request says of the weights that networks start from; nothing where they are random."""
    return {} if words == NO_WEIGHTS or weights is None else {"weights": words, "weights_sha256": weights.sha256}


def _build_job(
    kind: JobKind,
    options: JobOptions,
    owner: str,
    name: str,
    request: Mapping[str, Any],
    study_key: str,
    trials: tuple[NewTrial, ...],
) -> NewJob:
    """Return a job to be stored."""
    return NewJob(
        kind=kind,
        owner=owner,
        name=name,
        spec=request,
        spec_hash=hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest(),
        study_key=study_key,
        trials=trials,
        labels=dict(options.labels),
        priority=options.priority,
        deadline_seconds=options.deadline_seconds,
        max_attempts=options.max_attempts,
        resources=Resources(options.resources.cpus, options.resources.gpus),
        architecture_id=request.get("architecture_id"),
    )


def _build_derived(
    kind: JobKind,
    options: JobOptions,
    owner: str,
    source: ArchitectureRecord,
    request: Mapping[str, Any],
    planned: PlannedSearch,
) -> NewJob:
    """Return a job that works on a network which is already found."""
    trials = tuple(
        NewTrial(kind=trial.kind, name=trial.name, spec=trial.spec.to_document(), seed=trial.seed)
        for trial in planned.trials
    )
    name = options.name or f"{kind.value} of {source.name}"
    return _build_job(kind, options, owner, name, request, planned.study_key, trials)


def options_of(job: JobRecord, *, deadline_seconds: float | None) -> JobOptions:
    """Return the options under which a stored job was submitted."""
    return JobOptions(
        name=job.name,
        labels=dict(job.labels),
        priority=job.priority,
        deadline_seconds=deadline_seconds,
        max_attempts=job.max_attempts,
        resources=ResourcesBody(cpus=job.resources.cpus, gpus=job.resources.gpus),
    )
