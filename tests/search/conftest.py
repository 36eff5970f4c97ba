"""A search small enough for a test: a few made-up images, a network of four channels, epochs of a few steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pytest
import torch
from torch import Tensor

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.supergraph import Supergraph
from search.compute import Compute
from search.costs.cost_table import CostTable
from search.data.catalogue import TaskInfo
from search.judging.tasks import KINDS
from search.method.bilevel import BilevelSearch, SearchProblem
from search.ports import ArtifactStore, Cancelled, MemoryReporter, MemoryStore, Reporter, never_cancelled
from search.spec import OptimiserSpec, SearchSpec, TrainSpec
from search.training.retrain import Retraining

CPU = torch.device("cpu")
ADAM = OptimiserSpec(method="adam", learning_rate=4e-3, weight_decay=0.0)
SEARCH = SearchSpec(
    epochs=5,
    warmup_epochs=1,
    batch_size=4,
    weights=ADAM,
    arch_learning_rate=0.2,
    temperature_schedule="exponential",
    drop_below=0.05,
)
TRAIN = TrainSpec(epochs=3, batch_size=4, weights=ADAM, dropout=0.1)
Result_co = TypeVar("Result_co", covariant=True)


class Stage(Protocol[Result_co]):
    """What the search and the training have in common."""

    def run(
        self, *, store: ArtifactStore, state_name: str, stage: str, reporter: Reporter, cancelled: Cancelled
    ) -> Result_co | None:
        """Run to the end, or until cancelled."""
        ...


Result = TypeVar("Result")
AnyStage = TypeVar("AnyStage", bound="Stage[object]")


class MadeUpDataset:
    """Random images and labels in memory; a generator adds noise, and every request is written down.

    Args:
        tasks: The tasks that get labels.
        num_samples: Images.
        blank: Task -> value that all its labels have.
        in_memory: Whether it says so of itself; others' batches are prepared ahead.
    """

    def __init__(
        self,
        tasks: Sequence[TaskInfo],
        num_samples: int = 24,
        blank: Mapping[str, float] | None = None,
        *,
        in_memory: bool = True,
    ) -> None:
        self.in_memory = in_memory
        generator = torch.Generator().manual_seed(7)
        self.requests: list[list[int]] = []
        self._image_N1HW = torch.randn(num_samples, 1, 12, 12, generator=generator)
        self._labels = {task.name: _draw_labels(task, num_samples, generator) for task in tasks}
        for name, value in (blank or {}).items():
            self._labels[name].fill_(value)

    def __len__(self) -> int:
        return len(self._image_N1HW)

    def batch(self, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return images, noisy when a generator is given, and labels."""
        chosen = torch.as_tensor(indices)
        self.requests.append(chosen.tolist())
        image_B1HW = self._image_N1HW[chosen]
        if generator is not None:
            image_B1HW = image_B1HW + 0.1 * torch.randn(image_B1HW.shape, generator=generator)
        return {"image": image_B1HW} | {name: label[chosen] for name, label in self._labels.items()}

    def hide(self, share: float, seed: int) -> None:
        """Take the labels of each task from a share of the samples, drawn by the seed, each task its own."""
        generator = torch.Generator().manual_seed(seed)
        for label in self._labels.values():
            label[torch.rand(len(label), generator=generator) < share] = 255


def _draw_labels(task: TaskInfo, num_samples: int, generator: torch.Generator) -> Tensor:
    """Return random labels of a task for images of 12x12 pixels."""
    shape = (num_samples, task.channels, 12, 12)
    match task.kind:
        case "classification":
            return torch.randint(task.channels, (num_samples,), generator=generator)
        case "segmentation" | "parts":
            return torch.randint(task.channels, (num_samples, 12, 12), generator=generator)
        case "normals":
            return torch.nn.functional.normalize(torch.randn(shape, generator=generator), dim=1)
        case "depth":
            return torch.rand(shape, generator=generator) * 5
    return torch.randint(2, shape, generator=generator).float()


@dataclass(frozen=True)
class Lab:
    """Builds searches and trainings of one small study, and runs them with interruptions."""

    tasks: tuple[TaskInfo, ...]
    backbone: str = "tiny4"

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """Return the heads of all tasks."""
        return {task.name: HeadSpec(KINDS[task.kind].dense, task.channels) for task in self.tasks}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the tasks."""
        return tuple(task.name for task in self.tasks)

    @property
    def costs(self) -> CostTable:
        """Return made-up costs, of which no two layers are alike."""
        ones = dict.fromkeys(self.names, 1)
        return CostTable("tiny4", (12, 12), tuple("abcde"), 5, (10, 17, 9, 30, 21), ones, 1, (1,) * 5, ones)

    def dataset(
        self,
        blank: Mapping[str, float] | None = None,
        *,
        silent: tuple[float, int] = (0.0, 0),
        in_memory: bool = True,
    ) -> MadeUpDataset:
        """Return fresh training samples, the same in every call; `silent` is (share of labels to hide, seed)."""
        dataset = MadeUpDataset(self.tasks, blank=blank, in_memory=in_memory)
        dataset.hide(*silent)
        return dataset

    def search(
        self,
        spec: SearchSpec = SEARCH,
        *,
        dataset: MadeUpDataset | None = None,
        budget_madds: int = 180,
        seed: int = 0,
        compute: Compute | None = None,
    ) -> BilevelSearch:
        """Return a search that has not begun."""
        problem = SearchProblem(spec, "exact", self.tasks, self.costs, budget_madds, seed)
        return BilevelSearch(
            problem,
            lambda: Supergraph(get_backbone(self.backbone), self.heads, 1),
            dataset or self.dataset(),
            Compute(CPU) if compute is None else compute,
        )

    def training(
        self,
        spec: TrainSpec = TRAIN,
        *,
        branching: Branching | None = None,
        dataset: MadeUpDataset | None = None,
        seed: int = 0,
        compute: Compute | None = None,
    ) -> Retraining:
        """Return a training that has not begun, of a network that is the same in every call."""
        torch.manual_seed(3)
        tree = branching or Branching.from_routing(self.names, [[0] * len(self.names), *[range(len(self.names))] * 4])
        network = BranchedNetwork(get_backbone("tiny4"), self.heads, 1, tree)
        if compute is not None:
            compute.place(network)
        return Retraining(network, self.tasks, dataset or self.dataset(), spec, seed, compute=compute)

    def run(
        self, stage: Stage[Result], store: MemoryStore | None = None, *, stop_at: int | None = None
    ) -> Result | None:
        """Run a stage over a store, asking it to stop before its step number `stop_at` of this attempt."""
        calls = itertools.count()
        cancelled = never_cancelled if stop_at is None else lambda: next(calls) >= stop_at
        return stage.run(
            store=MemoryStore() if store is None else store,
            state_name="s.state",
            stage="s",
            reporter=MemoryReporter(),
            cancelled=cancelled,
        )

    def run_interrupted(self, build: Callable[[], AnyStage], stops: Sequence[int]) -> tuple[AnyStage, object]:
        """Return the last stage object and its result after stops, each attempt a fresh object on the same store."""
        store = MemoryStore()
        for stop_at in stops:
            stage = build()
            result = self.run(stage, store, stop_at=stop_at)
            if result is not None:
                return stage, result
        stage = build()
        return stage, self.run(stage, store)


@pytest.fixture(scope="session")
def lab() -> Lab:
    """Return the study of three tasks that label whole images."""
    return Lab(tuple(TaskInfo(name, "classification", channels) for name, channels in (("a", 4), ("b", 3), ("c", 2))))


@pytest.fixture(scope="session")
def dense_lab() -> Lab:
    """Return a study with a task of every dense kind but parts, which is a segmentation."""
    return Lab(
        (
            TaskInfo("semseg", "segmentation", 3),
            TaskInfo("sal", "saliency", 1),
            TaskInfo("normals", "normals", 3),
            TaskInfo("depth", "depth", 1),
            TaskInfo("edge", "edge", 1, positive_weight=0.95),
        )
    )
