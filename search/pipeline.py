"""The stages in order for one job: data, look-up table, baselines, and per budget search, retrain, evaluate.

The one place that knows the order. Every stage leaves its result in the store and is not run again, so that a killed
job goes on where it stopped. `study` readies the job, `search_stage` searches, `training_stage` trains and measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from search.architecture import Architecture
from search.delta import compute_delta_m
from search.method.search_stage import SEARCHED_NAME, search_architecture
from search.networks import load_network
from search.pareto import non_dominated
from search.ports import Surroundings
from search.results import (
    Baselines,
    Candidate,
    Evaluation,
    History,
    MetricValue,
    Results,
    SharedBaseline,
    SingleBaseline,
    add_latencies,
    thin_history,
)
from search.spec import JobSpec, WeightsSpec
from search.study import OpenStudy, describe_baseline, describe_study, open_study
from search.training.run_state import find_state
from search.training.training_stage import measure_network, open_ground, picture_network, train_network


def run_job(spec: JobSpec, surroundings: Surroundings) -> Results:
    """Run a job to its end and return what it found; what the store already holds of it is not done again.

    Raises:
        SearchError, ModelsError: The job cannot be run as asked; nothing was written.
        RunCancelledError: It was asked to stop; its state is in the store.
    """
    study = open_study(spec, surroundings)
    baselines = _run_baselines(study) if spec.with_retrain else None
    candidates = tuple(_run_candidate(study, name, budget, baselines) for name, budget in study.budgets.items())
    results = Results(
        study=describe_study(study),
        baselines=baselines,
        candidates=candidates,
        front=_front(candidates),
        history=_collect_history(study),
    )
    surroundings.store.write("results.json", results.to_json_bytes())
    return results


def retrain_architecture(
    architecture: Architecture,
    dataset: str,
    preset: str,
    seed: int,
    surroundings: Surroundings,
    weights: WeightsSpec | None = None,
) -> dict[str, MetricValue]:
    """Train the network of an architecture file on a dataset and return its metrics; resumes what the store holds.

    Args:
        architecture: The network, of one task or several.
        dataset: An embedded dataset with these tasks.
        preset: The recipe.
        seed: Names all the randomness.
        surroundings: Takes the network's files at its root.
        weights: The file that its encoder starts from; None for random weights.

    Raises:
        ArchitectureFileError: The dataset has not the tasks of the architecture.
        SearchError: It cannot be trained as asked; nothing was written.
        RunCancelledError: It was asked to stop; its state is in the store.
    """
    ground = open_ground(architecture, dataset, preset, seed, surroundings, weights)
    metrics = train_network(ground, architecture, "", f"retrain {dataset}").metrics
    picture_network(ground, architecture, "")
    return metrics


def evaluate_candidate(
    architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings
) -> dict[str, MetricValue]:
    """Return the metrics of a trained network on the validation samples of the dataset it was searched on.

    Args:
        architecture: The network.
        weights: Content of its weights.safetensors.
        preset: The recipe, which says how many samples.
        surroundings: Its store takes nothing.

    Raises:
        ArchitectureFileError: The weights are corrupt or of another network.
        RunCancelledError: It was asked to stop.
    """
    origin = architecture.provenance
    ground = open_ground(architecture, origin.dataset, preset, origin.seed, surroundings)
    network = load_network(architecture, weights).to(ground.device)
    return measure_network(ground, network, architecture, "evaluate")


def _run_baselines(study: OpenStudy) -> Baselines:
    """Return both baselines, trained by the candidates' recipe: a network per task, and one encoder for all."""
    costs, names = study.costs, [task.name for task in study.tasks]
    singles = []
    for name in names:
        architecture = describe_baseline(study, [name])
        singles.append(train_network(study.ground, architecture, f"baselines/single-{name}/", f"single {name}"))
    single: dict[str, MetricValue] = {task: value for each in singles for task, value in each.metrics.items()}
    shared = train_network(study.ground, describe_baseline(study, names), "baselines/shared/", "fully shared")
    return Baselines(
        single=SingleBaseline(
            madds=costs.single_madds,
            params=costs.single_params,
            metrics=single,
            latency=add_latencies([each.latency for each in singles]),
        ),
        shared=SharedBaseline(
            madds=costs.shared_madds,
            params=costs.shared_params,
            metrics=shared.metrics,
            delta_m=compute_delta_m(shared.metrics, single),
            latency=shared.latency,
        ),
    )


def _run_candidate(study: OpenStudy, name: str, budget_madds: int, baselines: Baselines | None) -> Candidate:
    """Return the candidate of one budget: searched, and where baselines are wanted retrained and evaluated."""
    folder = f"candidates/{name}/"
    architecture = search_architecture(study, folder, f"search {name}", budget_madds)
    metrics = delta_m = latency = None
    if baselines is not None:
        evaluation = train_network(study.ground, architecture, folder, f"retrain {name}")
        picture_network(study.ground, architecture, folder)
        metrics, latency = evaluation.metrics, evaluation.latency
        delta_m = compute_delta_m(metrics, baselines.single.metrics)
    return Candidate(
        name=name,
        budget_madds=budget_madds,
        madds=architecture.madds,
        params=architecture.params,
        delta_m=delta_m,
        metrics=metrics,
        architecture=f"{folder}architecture.json",
        seed=study.spec.seed,
        latency=latency,
    )


def _front(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the names of the candidates that none beats in both MAdds and delta_m; all where none was retrained."""
    measured = [(candidate, candidate.delta_m) for candidate in candidates if candidate.delta_m is not None]
    if not measured:
        return tuple(candidate.name for candidate in candidates)
    chosen = non_dominated([(candidate.madds, delta_m) for candidate, delta_m in measured])
    return tuple(measured[index][0].name for index in chosen)


def _collect_history(study: OpenStudy) -> History:
    """Return the learning curves of all stages for the report, from the files the stages left."""
    store = study.ground.around.store
    rows: dict[str, Sequence[Mapping[str, object]]] = {}
    for name in study.budgets:
        found = find_state(store, f"candidates/{name}/{SEARCHED_NAME}", torch.device("cpu"))
        if found is not None:
            rows[f"search {name}"] = found["history"]
    folders = {f"retrain {name}": f"candidates/{name}/" for name in study.budgets}
    folders |= {"fully shared": "baselines/shared/"}
    folders |= {f"single {task.name}": f"baselines/single-{task.name}/" for task in study.tasks}
    for stage, folder in folders.items():
        document = f"{folder}evaluation.json"
        if store.exists(document):
            rows[stage] = Evaluation.from_json_bytes(store.read(document), document).history
    return thin_history(rows)
