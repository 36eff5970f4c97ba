"""The stages in order for one job: data, look-up table, baselines, and per budget search, retrain, evaluate.

The one place that knows the order. Every stage leaves its result in the store and is not run again, so that a killed
job goes on where it stopped. `study` readies the job, `bilevel` searches, `training_stage` trains and measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from models.backbones import get_backbone
from models.branching import Branching
from models.supergraph import Supergraph
from search.architecture import Architecture, check_fits_dataset
from search.bilevel import BilevelSearch, SearchProblem
from search.data.catalogue import get_embedded_dataset_info
from search.data.loading import load_data
from search.delta import compute_delta_m
from search.errors import RunCancelledError
from search.networks import choose_device, load_network
from search.pareto import non_dominated
from search.ports import StageFinished, Surroundings
from search.presets import get_recipe
from search.results import (
    Baselines,
    Candidate,
    Evaluation,
    History,
    MetricValue,
    Results,
    SharedBaseline,
    SingleBaseline,
    thin_history,
)
from search.run_state import find_state, save_state
from search.spec import JobSpec
from search.study import OpenStudy, check_same_study, describe_study, describe_tree, open_study
from search.training_stage import TrainingGround, load_samples, measure_network, picture_network, train_network


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
    architecture: Architecture, dataset: str, preset: str, seed: int, surroundings: Surroundings
) -> dict[str, MetricValue]:
    """Train the network of an architecture file on a dataset and return its metrics; resumes what the store holds.

    Args:
        architecture: The network, of one task or several.
        dataset: An embedded dataset with these tasks.
        preset: The recipe.
        seed: Names all the randomness.
        surroundings: Takes the network's files at its root.

    Raises:
        ArchitectureFileError: The dataset has not the tasks of the architecture.
        SearchError: It cannot be trained as asked; nothing was written.
        RunCancelledError: It was asked to stop; its state is in the store.
    """
    ground = _open_ground(architecture, dataset, preset, seed, surroundings)
    return train_network(ground, architecture, "", f"retrain {dataset}").metrics


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
    ground = _open_ground(architecture, origin.dataset, preset, origin.seed, surroundings)
    network = load_network(architecture, weights).to(ground.device)
    return measure_network(ground, network, architecture, "evaluate")


def _open_ground(
    architecture: Architecture, dataset: str, preset: str, seed: int, surroundings: Surroundings
) -> TrainingGround:
    """Return what a single network is trained or measured on; needs no job and so no budget and no second task."""
    info = get_embedded_dataset_info(dataset)
    check_fits_dataset(architecture, info)
    device = choose_device(surroundings.device)
    recipe = get_recipe(preset, architecture.backbone)
    tasks = tuple(info.task(name) for name in architecture.tasks)
    data = load_samples(info, tasks, recipe.data_spec(info, architecture.input_size), surroundings)
    return TrainingGround(info, data, recipe.retrain, preset, seed, device, surroundings)


def _run_baselines(study: OpenStudy) -> Baselines:
    """Return both baselines, trained by the candidates' recipe: a network per task, and one encoder for all."""
    costs, names = study.costs, [task.name for task in study.tasks]
    single: dict[str, MetricValue] = {}
    for name in names:
        architecture = describe_tree(study, Branching.shared([name], len(costs.layer_madds)), None)
        single |= train_network(study.ground, architecture, f"baselines/single-{name}/", f"single {name}").metrics
    architecture = describe_tree(study, Branching.shared(names, len(costs.layer_madds)), None)
    shared = train_network(study.ground, architecture, "baselines/shared/", "fully shared").metrics
    return Baselines(
        single=SingleBaseline(madds=costs.single_madds, params=costs.single_params, metrics=single),
        shared=SharedBaseline(
            madds=costs.shared_madds,
            params=costs.shared_params,
            metrics=shared,
            delta_m=compute_delta_m(shared, single),
        ),
    )


def _run_candidate(study: OpenStudy, name: str, budget_madds: int, baselines: Baselines | None) -> Candidate:
    """Return the candidate of one budget: searched, and where baselines are wanted retrained and evaluated."""
    folder = f"candidates/{name}/"
    architecture = _search(study, folder, name, budget_madds)
    metrics = delta_m = None
    if baselines is not None:
        metrics = train_network(study.ground, architecture, folder, f"retrain {name}").metrics
        picture_network(study.ground, architecture, folder)
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
    )


def _search(study: OpenStudy, folder: str, name: str, budget_madds: int) -> Architecture:
    """Return the architecture that a search under one budget delivers, from the store where it is found there."""
    around, stage = study.ground.around, f"search {name}"
    document, state_name = f"{folder}architecture.json", f"{folder}search.state"
    if around.store.exists(document):
        architecture = Architecture.from_json_bytes(around.store.read(document), document)
        check_same_study(study, architecture, document)
        around.store.delete(state_name)  # a kill may have come between the document and this
        around.reporter.emit(StageFinished(stage, {"madds": float(architecture.madds)}, reused=True))
        return architecture
    outcome = _build_search(study, budget_madds).run(
        store=around.store,
        state_name=state_name,
        stage=stage,
        reporter=around.reporter,
        cancelled=around.cancelled,
    )
    if outcome is None:
        raise RunCancelledError
    kept = {"arch_logits_LTK": outcome.arch_logits_LTK, "history": list(outcome.history)}
    save_state(around.store, f"{folder}search.pt", kept)
    architecture = describe_tree(study, outcome.branching, budget_madds)
    around.store.write(document, architecture.to_json_bytes())
    around.store.delete(state_name)
    return architecture


def _build_search(study: OpenStudy, budget_madds: int) -> BilevelSearch:
    """Return the search under one budget, on the samples at the resolution that the job searches at."""
    spec, ground = study.spec, study.ground
    scale, data = spec.search.resolution_scale, ground.data
    if scale != 1.0:
        data = load_data(ground.info, study.tasks, spec.data, resolution_scale=scale, cache_dir=ground.around.cache_dir)
    return BilevelSearch(
        SearchProblem(spec.search, spec.objective, study.tasks, study.costs, budget_madds, spec.seed),
        lambda: Supergraph(get_backbone(spec.backbone), study.heads, ground.info.image_channels),
        data.train,
        ground.device,
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
        found = find_state(store, f"candidates/{name}/search.pt", torch.device("cpu"))
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
