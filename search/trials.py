"""One trial of a job, run to its end: a baseline, a candidate, a retraining or an export; `trial_plan` planned it.

The same stages as in `pipeline`, each leaving its result in the trial's own store, so that a killed trial goes on where
it stopped and ends as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from search.architecture import Architecture
from search.errors import ExportError, SettingError
from search.method.search_stage import SEARCHED_NAME, search_architecture
from search.networks import build_network, load_network
from search.ports import StageFinished, StageStarted, Surroundings
from search.results import Evaluation, thin_history
from search.study import describe_baseline, open_study
from search.training.run_state import find_state
from search.training.training_stage import find_dataset, open_ground, picture_network, train_network
from search.trial_plan import (
    CandidateTrial,
    ExportTrial,
    RetrainTrial,
    SharedTrial,
    SingleTrial,
    TrialSpec,
)

ARCHITECTURE_NAME = "architecture.json"
WEIGHTS_NAME = "weights.safetensors"
SEARCH_STAGE = "search"
TRAIN_STAGE = "train"
_ROOT = ""  # a trial has a store of its own, so its files lie at the root


def run_trial(spec: TrialSpec, inputs: Mapping[str, bytes], surroundings: Surroundings) -> dict[str, Any]:
    """Run a trial to its end and return what it found, as JSON values; what its store already holds is not done again.

    Args:
        spec: The trial.
        inputs: Files that other trials left, by name; an export reads the weights there.
        surroundings: Its own store, and where events go.

    Returns:
        Of a network: "architecture", "metrics" (None where it was not trained), "madds", "params", "history" (rows with
        their "stage"), of a trained one its "latency" and, of a candidate, the last "probabilities_LTK". Of an export:
        "format", "file" (its name in the store), "sha256", "bytes", "opset", "largest_difference" and "outputs".

    Raises:
        SearchError, ModelsError: The trial cannot be run as asked.
        RunCancelledError: It was asked to stop; its state is in the store.
    """
    match spec:
        case SingleTrial():
            return _run_baseline(spec, [spec.task], surroundings)
        case SharedTrial():
            return _run_baseline(spec, spec.job.tasks, surroundings)
        case CandidateTrial():
            return _run_candidate(spec, surroundings)
        case RetrainTrial():
            return _run_retrain(spec, surroundings)
        case ExportTrial():
            return _run_export(spec, inputs, surroundings)


def _run_baseline(spec: SingleTrial | SharedTrial, tasks: Iterable[str], surroundings: Surroundings) -> dict[str, Any]:
    """Return what the network reaches in which some tasks of a study share everything."""
    study = open_study(spec.job, surroundings)
    evaluation = train_network(study.ground, describe_baseline(study, list(tasks)), _ROOT, TRAIN_STAGE)
    return _describe(_load_architecture(surroundings), evaluation, surroundings)


def _run_candidate(spec: CandidateTrial, surroundings: Surroundings) -> dict[str, Any]:
    """Return the network that a search under one budget delivers, and where the job says so what it reaches."""
    study = open_study(spec.job, surroundings)
    if spec.budget not in spec.job.budgets:
        raise SettingError(f"A candidate has a budget of its job, got {spec.budget} beside {list(spec.job.budgets)}.")
    budget_madds = tuple(study.budgets.values())[spec.job.budgets.index(spec.budget)]
    architecture = search_architecture(study, _ROOT, SEARCH_STAGE, budget_madds)
    evaluation = None
    if spec.job.with_retrain:
        evaluation = train_network(study.ground, architecture, _ROOT, TRAIN_STAGE)
        picture_network(study.ground, architecture, _ROOT)
    return _describe(architecture, evaluation, surroundings)


def _run_retrain(spec: RetrainTrial, surroundings: Surroundings) -> dict[str, Any]:
    """Return what a network that was already found reaches after a training of its own."""
    find_dataset(spec.dataset, spec.definition, surroundings)
    ground = open_ground(spec.architecture, spec.dataset, spec.preset, spec.seed, surroundings, spec.weights)
    evaluation = train_network(ground, spec.architecture, _ROOT, TRAIN_STAGE)
    picture_network(ground, spec.architecture, _ROOT)
    return _describe(_load_architecture(surroundings), evaluation, surroundings)


def _run_export(spec: ExportTrial, inputs: Mapping[str, bytes], surroundings: Surroundings) -> dict[str, Any]:
    """Return what was written: the network as one file, checked against torch."""
    # Imports the ONNX libraries, which cost every other trial half a second of its start.
    from search.export import export_network  # noqa: PLC0415

    stage, name = f"export {spec.format}", f"network.{spec.format}"
    surroundings.reporter.emit(StageStarted(stage, 0, 1))
    weights = inputs.get(WEIGHTS_NAME)
    if weights is None and spec.format != "json":
        raise ExportError(
            f"Only a trained network can be written as {spec.format}, but this one left no {WEIGHTS_NAME}. Retrain it "
            "first, or export json."
        )
    network = (
        build_network(spec.architecture).eval()  # the tree alone is written, so any weights will do
        if weights is None
        else load_network(spec.architecture, weights)
    )
    exported = export_network(network, spec.architecture, fmt=spec.format, tasks=spec.tasks)
    surroundings.store.write(name, exported.content)
    surroundings.reporter.emit(StageFinished(stage))
    return {
        "format": exported.format,
        "file": name,
        "sha256": exported.sha256,
        "bytes": len(exported.content),
        "opset": exported.opset,
        "largest_difference": exported.max_abs_difference,
        "outputs": list(exported.tasks),
    }


def _load_architecture(surroundings: Surroundings) -> Architecture:
    """Return the document that stands in the trial's store: after a resume, that of the first attempt."""
    return Architecture.from_json_bytes(surroundings.store.read(ARCHITECTURE_NAME), ARCHITECTURE_NAME)


def _describe(architecture: Architecture, evaluation: Evaluation | None, surroundings: Surroundings) -> dict[str, Any]:
    """Return the result of a trial that made a network."""
    rows: dict[str, Any] = {}
    result: dict[str, Any] = {
        "architecture": architecture.model_dump(mode="json"),
        "metrics": None,
        "madds": architecture.madds,
        "params": architecture.params,
    }
    searched = find_state(surroundings.store, SEARCHED_NAME, torch.device("cpu"))
    if searched is not None:
        rows[SEARCH_STAGE] = searched["history"]
        result["probabilities_LTK"] = searched["history"][-1].get("probabilities_LTK")
    if evaluation is not None:
        rows[TRAIN_STAGE] = evaluation.history
        result["metrics"] = {task: measured.model_dump(mode="json") for task, measured in evaluation.metrics.items()}
        result["latency"] = None if evaluation.latency is None else evaluation.latency.model_dump(mode="json")
    result["history"] = [{"stage": stage, **row} for stage, kept in thin_history(rows).items() for row in kept]
    return result
