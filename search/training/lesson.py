"""From a fresh network to a trained one: by this process, or by several that each have a GPU of their own.

Neighbours: `search.training.retrain` trains, `search.training.processes` looks after several,
`search.training.training_stage` asks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from models.branched import BranchedNetwork
from models.foreign import admit_code, list_admitted
from search.architecture import Architecture
from search.compute import Compute
from search.data.catalogue import TaskInfo
from search.data.loading import TaskDataset
from search.errors import SettingError
from search.networks import load_network
from search.ports import Surroundings
from search.spec import TrainSpec
from search.training.processes import Seat, run_together
from search.training.retrain import History, Retraining


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn, and how its progress is called.

    Attributes:
        architecture: The network.
        tasks: Its tasks.
        dataset: Training samples.
        recipe: How to train.
        seed: Names the order of the batches, the augmentation and the dropout.
        stage: What events call it.
        state_name: Name of the file that keeps its state.
    """

    architecture: Architecture
    tasks: tuple[TaskInfo, ...]
    dataset: TaskDataset
    recipe: TrainSpec
    seed: int
    stage: str
    state_name: str


@dataclass(frozen=True)
class _SharedLesson:
    """A lesson for several processes.

    Attributes:
        lesson: What they learn.
        weights: What the network begins from.
        seconds_between_saves: How often the first process saves.
        admitted: Names of backbones that are code which the person who asked named.
    """

    lesson: Lesson
    weights: bytes
    seconds_between_saves: float
    admitted: tuple[str, ...]


def pack_weights(network: BranchedNetwork) -> bytes:
    """Return the weights of a network as a safetensors file."""
    return save_safetensors(
        {name: tensor.detach().to("cpu").contiguous() for name, tensor in network.state_dict().items()}
    )


def teach(network: BranchedNetwork, lesson: Lesson, compute: Compute, around: Surroundings) -> History | None:
    """Train a network in place, from its saved state if there is one, and return a row per epoch; None when cancelled.

    Args:
        network: Fresh; on the device of `compute` afterwards.
        lesson: What it learns.
        compute: How, and by how many processes.
        around: Takes the state and the events, and says whether to stop.

    Raises:
        SettingError: There are more processes than samples in a batch.
        CrewLostError: One of several processes fell.
    """
    if compute.num_processes > 1:
        return _teach_together(network, lesson, compute, around)
    training = Retraining(
        compute.place(network), lesson.tasks, lesson.dataset, lesson.recipe, lesson.seed, compute=compute
    )
    return training.run(
        store=around.store,
        state_name=lesson.state_name,
        stage=lesson.stage,
        reporter=around.reporter,
        cancelled=around.cancelled,
        seconds_between_saves=around.seconds_between_saves,
    )


def _teach_together(network: BranchedNetwork, lesson: Lesson, compute: Compute, around: Surroundings) -> History | None:
    """Train a network by several processes; this one looks after them and takes over what they have learned."""
    smallest = min(lesson.recipe.batch_size, len(lesson.dataset)) // lesson.recipe.accumulate
    if smallest < compute.num_processes:
        raise SettingError(
            f"Every GPU needs a share of every batch, but {smallest} images at a time are too few for "
            f"{compute.num_processes} GPUs. Ask for {max(1, smallest)} or fewer with --gpus."
        )
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()  # what a search before this held, the first process can use
    shared = _SharedLesson(lesson, pack_weights(network), around.seconds_between_saves, list_admitted())
    history, weights = run_together(_learn_share, shared, compute=compute, outside=around)
    network.load_state_dict(load_safetensors(weights))
    compute.place(network)
    return history


def _learn_share(shared: _SharedLesson, seat: Seat) -> tuple[History | None, bytes]:
    """Return the history and the weights that one of several processes ends with; only the first one's are wanted."""
    lesson, speaks = shared.lesson, seat.crew.rank == 0
    for name in shared.admitted:
        admit_code(name)
    network = seat.compute.place(load_network(lesson.architecture, shared.weights))
    training = Retraining(
        network, lesson.tasks, lesson.dataset, lesson.recipe, lesson.seed, compute=seat.compute, crew=seat.crew
    )
    history = training.run(
        store=seat.store,
        state_name=lesson.state_name,
        stage=lesson.stage,
        reporter=seat.reporter,
        cancelled=seat.cancelled,
        seconds_between_saves=shared.seconds_between_saves if speaks else math.inf,
    )
    return history, pack_weights(network) if speaks else b""
