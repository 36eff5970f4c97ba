"""The stages in order for one job: data, look-up table, baselines, and per budget search, retrain, evaluate.

The one place that knows the order. Every stage leaves its result in the store and is not run again, so that a killed
job goes on where it stopped. Folder of one network: architecture.json, weights.safetensors, evaluation.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import Supergraph
from search.architecture import Architecture, Provenance, check_fits_dataset, heads_of, layers_of
from search.bilevel import BilevelSearch, SearchProblem
from search.data.catalogue import DatasetInfo, TaskInfo, get_dataset_info, resolve_tasks
from search.data.loading import LoadedData, load_data
from search.errors import ArchitectureFileError, BudgetError, DeviceError, ResumeError, RunCancelledError
from search.evaluate import compute_delta_m, evaluate
from search.lut import CostTable, measure_costs
from search.pareto import non_dominated
from search.pictures import draw_predictions
from search.ports import ArtifactStore, Cancelled, Message, Reporter, StageFinished, StageProgress, StageStarted
from search.presets import build_spec
from search.results import (
    Baselines,
    Candidate,
    Evaluation,
    History,
    MetricValue,
    Results,
    SharedBaseline,
    SingleBaseline,
    Study,
    StudyCosts,
    StudyTask,
    thin_history,
)
from search.retrain import Retraining
from search.run_state import find_state, save_state, seed_everything
from search.spec import JobSpec, resolve_budget
from search.tasks import KINDS

EVALUATION_BATCH = 50
NUM_PICTURED = 4


@dataclass(frozen=True)
class Surroundings:
    """What a run is handed from outside.

    Attributes:
        store: Takes its files, and holds those of an earlier, interrupted run of the same job.
        reporter: Takes its events.
        cancelled: Says whether to stop.
        device: "auto", "cpu" or "cuda".
        cache_dir: Folder for look-up tables and rendered datasets, shared by all runs.
        now: Tells the time.
    """

    store: ArtifactStore
    reporter: Reporter
    cancelled: Cancelled
    device: str
    cache_dir: Path
    now: Callable[[], datetime]


@dataclass(frozen=True)
class _Study:
    """A job with everything it needs at hand; `train` is what networks are trained on, at full resolution."""

    spec: JobSpec
    info: DatasetInfo
    tasks: tuple[TaskInfo, ...]
    costs: CostTable
    data: LoadedData
    device: torch.device
    around: Surroundings

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """Return what each task asks of its head."""
        return {task.name: HeadSpec(KINDS[task.kind].dense, task.channels) for task in self.tasks}


def run_job(spec: JobSpec, surroundings: Surroundings) -> Results:
    """Run a job to its end and return what it found; what the store already holds of it is not done again.

    Raises:
        SearchError, ModelsError: The job cannot be run as asked; nothing was written.
        RunCancelledError: It was asked to stop; its state is in the store.
    """
    device = choose_device(surroundings.device)
    info = get_dataset_info(spec.dataset)
    tasks = resolve_tasks(info, spec.tasks)
    costs = measure_job_costs(spec.dataset, spec.tasks, spec.backbone, spec.data.input_size, surroundings.cache_dir)
    budgets = {budget_name(budget): _check_budget(budget, costs, surroundings.reporter) for budget in spec.budgets}
    data = _load(info, tasks, spec, surroundings)
    study = _Study(spec, info, tasks, costs, data, device, surroundings)
    baselines = _run_baselines(study) if spec.with_retrain else None
    candidates = tuple(_run_candidate(study, name, budget, baselines) for name, budget in budgets.items())
    results = Results(
        study=_describe(study),
        baselines=baselines,
        candidates=candidates,
        front=_front(candidates),
        history=_collect_history(study, list(budgets)),
    )
    surroundings.store.write("results.json", results.to_json_bytes())
    return results


def retrain_architecture(
    architecture: Architecture, dataset: str, preset: str, seed: int, surroundings: Surroundings
) -> dict[str, MetricValue]:
    """Train the network of an architecture file on a dataset and return its metrics; resumes what the store holds.

    Raises:
        ArchitectureFileError: The dataset has not the tasks of the architecture.
        RunCancelledError: It was asked to stop.
    """
    info = get_dataset_info(dataset)
    check_fits_dataset(architecture, info)
    device = choose_device(surroundings.device)
    spec = build_spec(
        dataset=dataset,
        tasks=architecture.tasks,
        backbone=architecture.backbone,
        budgets=["100%"],
        seed=seed,
        preset=preset,
        input_size=architecture.input_size,
    )
    tasks = resolve_tasks(info, spec.tasks)
    costs = measure_costs(spec.backbone, tasks, spec.data.input_size, info.image_channels, surroundings.cache_dir)
    study = _Study(spec, info, tasks, costs, _load(info, tasks, spec, surroundings), device, surroundings)
    surroundings.store.write("architecture.json", architecture.to_json_bytes())
    return _train(study, architecture, "", f"retrain {dataset}").metrics


def evaluate_candidate(
    architecture: Architecture, weights: bytes, preset: str, surroundings: Surroundings
) -> dict[str, MetricValue]:
    """Return the metrics of a trained network on the validation samples of the dataset it was searched on."""
    info = get_dataset_info(architecture.provenance.dataset)
    check_fits_dataset(architecture, info)
    device = choose_device(surroundings.device)
    tasks = tuple(info.task(name) for name in architecture.tasks)
    recipe = build_spec(
        dataset=info.name,
        tasks=None,
        backbone=architecture.backbone,
        budgets=["100%"],
        preset=preset,
        input_size=architecture.input_size,
    )
    data = _load(info, tasks, recipe, surroundings)
    network = load_network(architecture, weights).to(device)
    return _evaluate(network, data, tasks, device, surroundings, "evaluate")


def load_network(architecture: Architecture, weights: bytes) -> BranchedNetwork:
    """Return the trained network of an architecture, on the CPU and in evaluation mode.

    Args:
        architecture: What to build.
        weights: Content of its weights.safetensors.

    Raises:
        ArchitectureFileError: The weights are corrupt or of another network.
    """
    network = build_network(architecture)
    try:
        network.load_state_dict(load_safetensors(weights))
    except (SafetensorError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise ArchitectureFileError(
            f"The weights do not fit the architecture ({first_line.rstrip(':. ')}). "
            "Use the weights.safetensors that stands beside its architecture.json."
        ) from None
    return network.eval()


def build_network(architecture: Architecture) -> BranchedNetwork:
    """Return the network of an architecture with fresh random weights."""
    heads = {task: HeadSpec(KINDS[shape.kind].dense, shape.channels) for task, shape in architecture.heads.items()}
    return BranchedNetwork(
        get_backbone(architecture.backbone), heads, architecture.image_channels, architecture.branching
    )


def measure_job_costs(
    dataset: str, tasks: Sequence[str] | None, backbone: str, input_size: tuple[int, int], cache_dir: Path
) -> CostTable:
    """Return the look-up table of a job; reads no images."""
    info = get_dataset_info(dataset)
    return measure_costs(backbone, resolve_tasks(info, tasks), input_size, info.image_channels, cache_dir)


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" takes a GPU where there is one.

    Raises:
        DeviceError: "cuda" where torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("No CUDA device was found on this machine. Use --device cpu, or auto to take what there is.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True  # the same seed must give the same tree
    return torch.device("cuda")


def budget_name(budget: str) -> str:
    """Return the name of the candidate of a canonical budget: "60%" -> "60pct", "9100000000" -> "9.1G"."""
    if budget.endswith("%"):
        return f"{budget[:-1]}pct"
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        text = f"{int(budget) / size:g}"
        if int(budget) >= size and round(float(text) * size) == int(budget):
            return f"{text}{unit}"
    return budget


def _check_budget(budget: str, costs: CostTable, reporter: Reporter) -> int:
    """Return the MAdds of a budget; refuse one below the fully shared network, remark on one that is too wide."""
    madds = resolve_budget(budget, costs.single_madds)
    if madds < costs.shared_madds:
        # One digit more and rounded up, so that the percentage named is itself feasible.
        percent = -(-costs.shared_madds * 1000 // costs.single_madds) / 10
        raise BudgetError(
            f"The budget {budget} allows {madds} MAdds, but sharing everything already costs {costs.shared_madds}. "
            f"Ask for at least {costs.shared_madds} MAdds ({percent:g}% of the single-task total)."
        )
    if madds > costs.single_madds:
        reporter.emit(
            Message(
                f"The budget {budget} ({madds} MAdds) does not bind: separate networks cost {costs.single_madds} "
                f"and the dearest tree {costs.split_madds} MAdds."
            )
        )
    return madds


def _load(info: DatasetInfo, tasks: Sequence[TaskInfo], spec: JobSpec, around: Surroundings) -> LoadedData:
    """Return the samples at full resolution, reporting the rendering of those that are not on disk yet."""
    stage = f"load {info.name}"

    def progress(done: int, total: int) -> None:
        """Report, and stop where asked to: what is on disk by then is kept."""
        _stop_if(around.cancelled())
        around.reporter.emit(StageProgress(stage, done, total))

    data = load_data(info, tasks, spec.data, cache_dir=around.cache_dir, progress=progress)
    around.reporter.emit(StageFinished(stage))
    return data


def _run_baselines(study: _Study) -> Baselines:
    """Return both baselines, trained by the candidates' recipe: a network per task, and one encoder for all."""
    costs, names = study.costs, [task.name for task in study.tasks]
    single: dict[str, MetricValue] = {}
    for name in names:
        architecture = _architecture(study, Branching.shared([name], len(costs.layer_madds)), None)
        single |= _train(study, architecture, f"baselines/single-{name}/", f"single {name}").metrics
    architecture = _architecture(study, Branching.shared(names, len(costs.layer_madds)), None)
    shared = _train(study, architecture, "baselines/shared/", "fully shared").metrics
    return Baselines(
        single=SingleBaseline(madds=costs.single_madds, params=costs.single_params, metrics=single),
        shared=SharedBaseline(
            madds=costs.shared_madds,
            params=costs.shared_params,
            metrics=shared,
            delta_m=compute_delta_m(shared, single),
        ),
    )


def _run_candidate(study: _Study, name: str, budget_madds: int, baselines: Baselines | None) -> Candidate:
    """Return the candidate of one budget: searched, and where baselines are wanted retrained and evaluated."""
    folder = f"candidates/{name}/"
    architecture = _search(study, folder, name, budget_madds)
    metrics = delta_m = None
    if baselines is not None:
        metrics = _train(study, architecture, folder, f"retrain {name}").metrics
        _picture(study, architecture, folder)
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


def _search(study: _Study, folder: str, name: str, budget_madds: int) -> Architecture:
    """Return the architecture that a search under one budget delivers, from the store where it is found there."""
    around, stage = study.around, f"search {name}"
    document = f"{folder}architecture.json"
    if around.store.exists(document):
        architecture = Architecture.from_json_bytes(around.store.read(document), document)
        _check_same_study(study, architecture, document)
        around.store.delete(f"{folder}search.state")  # a kill may have come between the document and this
        around.reporter.emit(StageFinished(stage, {"madds": float(architecture.madds)}, reused=True))
        return architecture
    spec = study.spec
    problem = SearchProblem(spec.search, spec.objective, study.tasks, study.costs, budget_madds, spec.seed)
    scale = spec.search.resolution_scale
    data = (
        study.data
        if scale == 1.0
        else load_data(study.info, study.tasks, spec.data, resolution_scale=scale, cache_dir=around.cache_dir)
    )
    search = BilevelSearch(
        problem,
        lambda: Supergraph(get_backbone(spec.backbone), study.heads, study.info.image_channels),
        data.train,
        study.device,
    )
    state_name = f"{folder}search.state"
    outcome = search.run(
        store=around.store,
        state_name=state_name,
        stage=stage,
        reporter=around.reporter,
        cancelled=around.cancelled,
    )
    _stop_if(outcome is None)
    assert outcome is not None
    save_state(
        around.store,
        f"{folder}search.pt",
        {"arch_logits_LTK": outcome.arch_logits_LTK, "history": list(outcome.history)},
    )
    architecture = _architecture(study, outcome.branching, budget_madds)
    around.store.write(document, architecture.to_json_bytes())
    around.store.delete(state_name)
    return architecture


def _train(study: _Study, architecture: Architecture, folder: str, stage: str) -> Evaluation:
    """Return the evaluation of a network after its training, from the store where it is found there."""
    around = study.around
    document = f"{folder}evaluation.json"
    if around.store.exists(document):
        found = Evaluation.from_json_bytes(around.store.read(document), document)
        around.store.delete(f"{folder}training.state")
        around.reporter.emit(StageFinished(stage, reused=True))
        return found
    around.store.write(f"{folder}architecture.json", architecture.to_json_bytes())
    tasks = tuple(study.info.task(name) for name in architecture.tasks)
    seed_everything(study.spec.seed, "initial weights")
    network = build_network(architecture).to(study.device)
    state_name = f"{folder}training.state"
    history = Retraining(network, tasks, study.data.train, study.spec.retrain, study.spec.seed).run(
        store=around.store,
        state_name=state_name,
        stage=stage,
        reporter=around.reporter,
        cancelled=around.cancelled,
    )
    _stop_if(history is None)
    assert history is not None
    metrics = _evaluate(network, study.data, tasks, study.device, around, f"evaluate {stage}")
    weights = {name: tensor.detach().to("cpu").contiguous() for name, tensor in network.state_dict().items()}
    around.store.write(f"{folder}weights.safetensors", save_safetensors(weights))
    evaluation = Evaluation(
        preset=study.spec.preset,
        madds=architecture.madds,
        params=architecture.params,
        metrics=metrics,
        history=tuple(history),
    )
    around.store.write(document, evaluation.to_json_bytes())
    around.store.delete(state_name)
    around.reporter.emit(StageFinished(stage, {name: metric.value for name, metric in metrics.items()}))
    return evaluation


def _picture(study: _Study, architecture: Architecture, folder: str) -> None:
    """Leave a picture of what the trained network of a folder predicts on the first validation samples."""
    store, picture = study.around.store, f"{folder}predictions.png"
    if store.exists(picture):
        return
    network = load_network(architecture, store.read(f"{folder}weights.safetensors")).to(study.device)
    tasks = tuple(study.info.task(name) for name in architecture.tasks)
    indices = range(min(NUM_PICTURED, len(study.data.val)))
    store.write(picture, draw_predictions(network, study.data.val, tasks, indices, device=study.device))


def _evaluate(
    network: BranchedNetwork,
    data: LoadedData,
    tasks: Sequence[TaskInfo],
    device: torch.device,
    around: Surroundings,
    stage: str,
) -> dict[str, MetricValue]:
    """Return a network's metrics on the validation samples, reporting on the way."""

    def progress(done: int, total: int) -> None:
        """Report a batch, and stop where asked to."""
        _stop_if(around.cancelled())
        around.reporter.emit(StageProgress(stage, done, total))

    around.reporter.emit(StageStarted(stage, 0, -(-len(data.val) // EVALUATION_BATCH)))
    metrics = evaluate(network, data.val, tasks, batch_size=EVALUATION_BATCH, device=device, on_batch=progress)
    around.reporter.emit(StageFinished(stage))
    return metrics


def _architecture(study: _Study, branching: Branching, budget_madds: int | None) -> Architecture:
    """Return the document of a tree."""
    tasks = tuple(task for task in study.tasks if task.name in branching.tasks)
    return Architecture(
        tasks=tuple(task.name for task in tasks),
        backbone=study.spec.backbone,
        input_size=study.spec.data.input_size,
        image_channels=study.info.image_channels,
        layers=layers_of(branching, study.costs.layer_names),
        heads=heads_of(tasks),
        madds=study.costs.madds(branching),
        params=study.costs.params(branching),
        budget_madds=budget_madds,
        provenance=Provenance(
            dataset=study.info.name,
            dataset_fingerprint=study.data.fingerprint,
            seed=study.spec.seed,
            objective=study.spec.objective,
            spec_hash=study.spec.spec_hash,
            code_version=version("bmtas"),
            created=study.around.now().isoformat(timespec="seconds"),
        ),
    )


def _check_same_study(study: _Study, architecture: Architecture, document: str) -> None:
    """Refuse to go on with a file that another job or other data left."""
    found = architecture.provenance
    if (found.spec_hash, found.dataset_fingerprint) != (study.spec.spec_hash, study.data.fingerprint):
        raise ResumeError(
            f"{document} was written by another job or on other data than '{study.info.name}' holds now. "
            "Choose an empty output folder."
        )


def _describe(study: _Study) -> Study:
    """Return what results.json says of the study."""
    spec, costs = study.spec, study.costs
    return Study(
        dataset=spec.dataset,
        dataset_fingerprint=study.data.fingerprint,
        tasks={
            task.name: StudyTask(
                kind=task.kind,
                channels=task.channels,
                metric=KINDS[task.kind].metric,
                higher_is_better=KINDS[task.kind].higher_is_better,
            )
            for task in study.tasks
        },
        backbone=spec.backbone,
        input_size=spec.data.input_size,
        image_channels=study.info.image_channels,
        preset=spec.preset,
        seed=spec.seed,
        objective=spec.objective,
        spec_hash=spec.spec_hash,
        code_version=version("bmtas"),
        created=study.around.now().isoformat(timespec="seconds"),
        costs=StudyCosts(
            stem_madds=costs.stem_madds,
            layer_names=costs.layer_names,
            layer_madds=costs.layer_madds,
            layer_params=costs.layer_params,
            decoder_madds=dict(costs.decoder_madds),
            shared_madds=costs.shared_madds,
            split_madds=costs.split_madds,
            single_madds=costs.single_madds,
            shared_params=costs.shared_params,
            single_params=costs.single_params,
        ),
    )


def _front(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the names of the candidates that none beats in both MAdds and delta_m; all where none was retrained."""
    measured = [(candidate, candidate.delta_m) for candidate in candidates if candidate.delta_m is not None]
    if not measured:
        return tuple(candidate.name for candidate in candidates)
    chosen = non_dominated([(candidate.madds, delta_m) for candidate, delta_m in measured])
    return tuple(measured[index][0].name for index in chosen)


def _collect_history(study: _Study, names: Sequence[str]) -> History:
    """Return the learning curves of all stages for the report, from the files the stages left."""
    store = study.around.store
    rows: dict[str, Sequence[Mapping[str, object]]] = {}
    for name in names:
        found = find_state(store, f"candidates/{name}/search.pt", torch.device("cpu"))
        if found is not None:
            rows[f"search {name}"] = found["history"]
    folders = {f"retrain {name}": f"candidates/{name}/" for name in names}
    folders |= {"fully shared": "baselines/shared/"}
    folders |= {f"single {task.name}": f"baselines/single-{task.name}/" for task in study.tasks}
    for stage, folder in folders.items():
        document = f"{folder}evaluation.json"
        if store.exists(document):
            rows[stage] = Evaluation.from_json_bytes(store.read(document), document).history
    return thin_history(rows)


def _stop_if(stopped: bool) -> None:
    """Raise when the run was asked to stop."""
    if stopped:
        raise RunCancelledError("The run was stopped; its state is saved.")
