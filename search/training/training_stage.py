"""The stage that every concrete network goes through: trained, measured, pictured, its files left in one folder.

Baselines, candidates and architectures that were brought along all come here, which makes them comparable. A folder
holds architecture.json, weights.safetensors, evaluation.json, and of what is no baseline pictures of predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.branched import BranchedNetwork
from search.architecture import Architecture, check_fits_dataset
from search.compute import Compute
from search.data.catalogue import DatasetInfo, TaskInfo
from search.data.loading import LoadedData, load_data
from search.errors import DatasetError, ResumeError, RunCancelledError, StateFileError
from search.judging.evaluate import choose_batch_size, evaluate
from search.judging.latency import measure_latency
from search.networks import build_network, choose_compute, find_backbone, load_network
from search.pictures.sheets import draw_predictions
from search.ports import SAMPLES_NAME, ArtifactStore, StageFinished, StageProgress, StageStarted, Surroundings
from search.presets import get_recipe
from search.results import Evaluation, MetricValue
from search.spec import DataSpec, TrainSpec, WeightsSpec
from search.training.labels import check_labels
from search.training.lesson import Lesson, pack_weights, teach
from search.training.run_state import seed_everything
from search.weights import StartWeights, begin_from, open_weights

EVALUATION_BATCH = 50  # images
NUM_PICTURED = 4


@dataclass(frozen=True)
class TrainingGround:
    """What networks are trained and measured on, and by which recipe.

    Attributes:
        info: The dataset.
        data: Its samples at full resolution.
        recipe: How to train.
        preset: Name of that recipe, noted beside the metrics.
        seed: Names initial weights, order of the batches, augmentation and dropout.
        compute: Where and how to compute.
        around: Where files and events go.
        weights: What encoders start from; None for random weights.
    """

    info: DatasetInfo
    data: LoadedData
    recipe: TrainSpec
    preset: str
    seed: int
    compute: Compute
    around: Surroundings
    weights: StartWeights | None = None

    @property
    def device(self) -> torch.device:
        """Return where to compute."""
        return self.compute.device

    def tasks_of(self, architecture: Architecture) -> tuple[TaskInfo, ...]:
        """Return what the dataset says of the tasks of an architecture."""
        return tuple(self.info.task(name) for name in architecture.tasks)


def find_dataset(name: str, definition: str | None, around: Surroundings) -> DatasetInfo:
    """Return the facts of the dataset of a job.

    Args:
        name: What the job calls it.
        definition: What it was defined as when the job was made; None for built-in ones.
        around: Knows the datasets here.

    Raises:
        SearchError: It is unknown, its files are missing, or it is defined otherwise here.
    """
    info = around.datasets.get_trainable(name)
    if info.definition != definition:
        raise DatasetError(
            f"Dataset '{name}' is not the one that the job was made for: {around.datasets.place(name)} has changed "
            "since, or another one of this name lies here. Put the former dataset.yaml and its lists back, or start "
            "anew."
        )
    return info


def load_samples(
    info: DatasetInfo, tasks: Sequence[TaskInfo], spec: DataSpec, around: Surroundings, *, resolution_scale: float = 1.0
) -> LoadedData:
    """Return the samples at a share of the full resolution, reporting on those that are not on disk yet.

    Raises:
        DatasetError: They cannot be read, or none of the training samples has a label of some task.
        ResumeError: The store holds a run on other samples.
        RunCancelledError: It was asked to stop; what is on disk by then is kept.
    """
    stage = f"load {info.name}" if resolution_scale == 1 else f"load {info.name} for the search"

    def progress(done: int, total: int) -> None:
        """Report, and stop where asked to."""
        _stop_if_asked(around)
        around.reporter.emit(StageProgress(stage, done, total))

    place = around.datasets.place(info.name)
    data = load_data(
        info,
        tasks,
        spec,
        resolution_scale=resolution_scale,
        place=place,
        cache_dir=around.cache_dir,
        cache_bytes=around.cache_bytes,
        progress=progress,
    )
    check_labels(data.train, tasks, what=f"training samples of dataset '{info.name}'", on_batch=progress)
    if place is not None:  # what comes with this program does not change under a run
        _check_unchanged(around.store, data.fingerprint, info.name)
    around.reporter.emit(StageFinished(stage))
    return data


def open_ground(
    architecture: Architecture,
    dataset: str,
    preset: str,
    seed: int,
    surroundings: Surroundings,
    weights: WeightsSpec | None = None,
) -> TrainingGround:
    """Return what a single network is trained or measured on; needs no job and so no budget and no second task.

    Raises:
        SearchError: The architecture does not fit the dataset, or the recipe or the device is unknown.
        ModelsError: Its backbone cannot be used.
        RunCancelledError: It was asked to stop while samples were prepared.
    """
    info = surroundings.datasets.get_trainable(dataset)
    check_fits_dataset(architecture, info)
    find_backbone(architecture)
    compute = choose_compute(surroundings)
    recipe = get_recipe(preset, architecture.backbone, info)
    tasks = tuple(info.task(name) for name in architecture.tasks)
    start = open_weights(weights, architecture.backbone, surroundings.weights)
    data = load_samples(info, tasks, recipe.data_spec(info, architecture.input_size), surroundings)
    return TrainingGround(info, data, recipe.retrain, preset, seed, compute, surroundings, start)


def train_network(ground: TrainingGround, architecture: Architecture, folder: str, stage: str) -> Evaluation:
    """Return the evaluation of a network after its training, from its folder where it is found there.

    Args:
        ground: What it is trained on.
        architecture: The network.
        folder: Prefix of its files in the store, with the slash at its end; empty for the store's root.
        stage: What events call this.

    Raises:
        RunCancelledError: It was asked to stop; its state is saved.
        StateFileError: The folder holds a part of what a finished training leaves, or it is corrupt.
    """
    around = ground.around
    if not around.store.exists(f"{folder}evaluation.json"):
        return _train_anew(ground, architecture, folder, stage)
    found = _find_trained(ground, folder)
    around.store.delete(f"{folder}training.state")  # a kill may have come between the document and this
    around.reporter.emit(StageFinished(stage, reused=True))
    return found


def measure_network(
    ground: TrainingGround, network: BranchedNetwork, architecture: Architecture, stage: str
) -> dict[str, MetricValue]:
    """Return the metrics of a network, which is on the ground's device, on the validation samples.

    Raises:
        RunCancelledError: It was asked to stop.
    """
    around, samples = ground.around, ground.data.val

    def progress(done: int, total: int) -> None:
        """Report a batch, and stop where asked to."""
        _stop_if_asked(around)
        around.reporter.emit(StageProgress(stage, done, total))

    batch_size = choose_batch_size(samples, EVALUATION_BATCH)
    around.reporter.emit(StageStarted(stage, 0, -(-len(samples) // batch_size)))
    metrics = evaluate(
        network,
        samples,
        ground.tasks_of(architecture),
        batch_size=batch_size,
        device=ground.device,
        on_batch=progress,
    )
    around.reporter.emit(StageFinished(stage))
    return metrics


def picture_network(ground: TrainingGround, architecture: Architecture, folder: str) -> None:
    """Leave pictures of what the trained network of a folder predicts on the first validation samples.

    predictions.png shows all tasks, predictions-TASK.png one of them with its legend.
    """
    store, tasks, samples = ground.around.store, ground.tasks_of(architecture), ground.data.val
    names = {task.name: f"{folder}predictions-{task.name}.png" for task in tasks}
    sheet = f"{folder}predictions.png"
    if all(store.exists(name) for name in (sheet, *names.values())):
        return
    network = load_network(architecture, store.read(f"{folder}weights.safetensors")).to(ground.device)
    indices = range(min(NUM_PICTURED, len(samples)))
    pictures = draw_predictions(network, samples, tasks, indices, device=ground.device)
    for task, name in names.items():
        store.write(name, pictures.by_task[task])
    store.write(sheet, pictures.sheet)


def _train_anew(ground: TrainingGround, architecture: Architecture, folder: str, stage: str) -> Evaluation:
    """Return the evaluation of a network after training it, or what a stop left of that, to its end."""
    around, state_name = ground.around, f"{folder}training.state"
    around.store.write(f"{folder}architecture.json", architecture.to_json_bytes())
    seed_everything(ground.seed, "initial weights")
    network = build_network(architecture)
    note = begin_from(network, ground.weights, around.reporter)
    tasks = ground.tasks_of(architecture)
    check_labels(ground.data.val, tasks, what=f"validation samples of dataset '{ground.info.name}'")
    lesson = Lesson(architecture, tasks, ground.data.train, ground.recipe, ground.seed, stage, state_name)
    history = teach(network, lesson, ground.compute, around)
    if history is None:
        raise RunCancelledError
    metrics = measure_network(ground, network, architecture, f"evaluate {stage}")
    latency = measure_latency(network, ground.data.val.batch([0])["image"].to(ground.device))
    around.store.write(f"{folder}weights.safetensors", pack_weights(network))
    evaluation = Evaluation(
        preset=ground.preset,
        madds=architecture.madds,
        params=architecture.params,
        metrics=metrics,
        history=tuple(history),
        latency=latency,
        weights=note,
        computed=ground.compute.describe(),
    )
    around.store.write(f"{folder}evaluation.json", evaluation.to_json_bytes())  # last: all others are whole
    around.store.delete(state_name)
    around.reporter.emit(StageFinished(stage, {name: metric.value for name, metric in metrics.items()}))
    return evaluation


def _find_trained(ground: TrainingGround, folder: str) -> Evaluation:
    """Return the evaluation that a finished training left; refuse it where the weights are gone."""
    store, document, weights = ground.around.store, f"{folder}evaluation.json", f"{folder}weights.safetensors"
    evaluation = Evaluation.from_json_bytes(store.read(document), document)
    if not store.exists(weights):
        raise StateFileError(
            f"A network that was trained has its weights beside its metrics, but '{weights}' is missing and "
            f"'{document}' is there. Put the weights back, or delete '{document}' to train the network anew."
        )
    return evaluation


def _check_unchanged(store: ArtifactStore, fingerprint: str, dataset: str) -> None:
    """Note what the samples of a run are, and refuse to go on with others."""
    if not store.exists(SAMPLES_NAME):
        store.write(SAMPLES_NAME, fingerprint.encode())
    elif store.read(SAMPLES_NAME) != fingerprint.encode():
        raise ResumeError(
            f"Images or labels of dataset '{dataset}' have changed since this run began, so its results would mix two "
            "sets of samples. Put the files back, or start anew in an empty output folder."
        )


def _stop_if_asked(around: Surroundings) -> None:
    """Raise when the run was asked to stop."""
    if around.cancelled():
        raise RunCancelledError
