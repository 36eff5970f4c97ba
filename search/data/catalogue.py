"""The datasets by name, with their tasks, for those who must not load torch or read a disk.

`search.data.loading` loads them. A task here is a name with a kind and a number of channels; what a kind trains with
stands in `search.tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search.errors import TaskSetError, UnknownNameError

TaskKind = Literal["segmentation", "parts", "saliency", "normals", "depth", "edge", "classification"]


@dataclass(frozen=True)
class TaskInfo:
    """One task of a dataset.

    Attributes:
        name: Unique within the dataset.
        kind: Which loss, metric and head it gets.
        channels: Output channels of its head (number of classes, 3 for normals, 1 for depth, edges and saliency).
        class_names: Names of the classes where the kind has classes, else empty.
        positive_weight: Weight of the positive pixels of an edge task, in (0, 1); None where it does not apply.
    """

    name: str
    kind: TaskKind
    channels: int
    class_names: tuple[str, ...] = ()
    positive_weight: float | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """What can be said of a dataset without loading it.

    Attributes:
        name: Key in the table.
        tasks: Its tasks in canonical order; every list of tasks in a job is brought into this order.
        image_channels: Channels of an image, 3 for colour and 1 for grey.
        default_size: (H, W) in pixels when the job names none.
        sizes: Allowed (smallest, largest) side in pixels; equal when the dataset has one size only.
        num_train: Training samples.
        num_val: Validation samples.
        summary: One line for people.
    """

    name: str
    tasks: tuple[TaskInfo, ...]
    image_channels: int
    default_size: tuple[int, int]
    sizes: tuple[int, int]
    num_train: int
    num_val: int
    summary: str

    def task(self, name: str) -> TaskInfo:
        """Return the task of that name, or raise UnknownNameError."""
        for task in self.tasks:
            if task.name == name:
                return task
        known = ", ".join(task.name for task in self.tasks)
        raise UnknownNameError(f"Dataset '{self.name}' has no task '{name}'. Choose from: {known}.")


_DIGITS = tuple(str(digit) for digit in range(10))
SCENES_OBJECTS = ("background", "ground", "sphere", "box", "cylinder")
SCENES_PARTS = (
    "none",
    "sphere upper half",
    "sphere lower half",
    "box top",
    "box side",
    "cylinder cap",
    "cylinder side",
)

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="digits",
            tasks=(
                TaskInfo("left", "classification", 10, _DIGITS),
                TaskInfo("right", "classification", 10, _DIGITS),
                TaskInfo("left_group", "classification", 2, ("group 0", "group 1")),
                TaskInfo("right_group", "classification", 2, ("group 0", "group 1")),
            ),
            image_channels=1,
            default_size=(24, 24),
            sizes=(24, 24),
            num_train=3000,
            num_val=2000,
            summary="two overlapping handwritten digits; which tasks belong together is known",
        ),
        DatasetInfo(
            name="scenes",
            tasks=(
                TaskInfo("semseg", "segmentation", len(SCENES_OBJECTS), SCENES_OBJECTS),
                TaskInfo("parts", "parts", len(SCENES_PARTS), SCENES_PARTS),
                TaskInfo("sal", "saliency", 1),
                TaskInfo("normals", "normals", 3),
                TaskInfo("depth", "depth", 1),
                TaskInfo("edge", "edge", 1, positive_weight=0.95),
            ),
            image_channels=3,
            default_size=(128, 128),
            sizes=(64, 512),
            num_train=600,
            num_val=100,
            summary="rendered spheres, boxes and cylinders with exact labels for six dense tasks",
        ),
    )
}


def get_dataset_info(name: str) -> DatasetInfo:
    """Return the facts of a dataset.

    Raises:
        UnknownNameError: No such dataset.
    """
    if name not in DATASETS:
        raise UnknownNameError(f"Unknown dataset '{name}'. Choose one of: {', '.join(DATASETS)}.")
    return DATASETS[name]


def resolve_tasks(info: DatasetInfo, names: Sequence[str] | None) -> tuple[TaskInfo, ...]:
    """Return the tasks of a job in the dataset's own order, all of them when `names` is None.

    Raises:
        TaskSetError: A name stands twice, or fewer than two tasks are left.
        UnknownNameError: The dataset has no such task.
    """
    if names is None:
        return info.tasks
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise TaskSetError(f"Each task may be named once, got {', '.join(repeated)} more than once.")
    chosen = {info.task(name).name for name in names}
    if len(chosen) < 2:
        known = ", ".join(task.name for task in info.tasks)
        raise TaskSetError(
            f"A branching needs at least two tasks, got {', '.join(chosen) or 'none'}. "
            f"Add a task; '{info.name}' has: {known}."
        )
    return tuple(task for task in info.tasks if task.name in chosen)
