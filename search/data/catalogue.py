"""The datasets by name, with their tasks, for those who must not load torch or read a disk.

`search.data.loading` loads them. A task here is a name with a kind and a number of channels; what a kind trains with
stands in `search.judging.tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from search.errors import TaskSetError, UnknownNameError
from search.spec import Fit

IGNORE_LABEL = 255
"""Value of a label that says nothing, for every kind of task; all three channels of a normal."""

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
        edge_tolerance: Largest distance between a predicted and a true edge pixel that count as one, as a share of the
            image diagonal; of edge tasks only.
    """

    name: str
    kind: TaskKind
    channels: int
    class_names: tuple[str, ...] = ()
    positive_weight: float | None = None
    edge_tolerance: float = 0.0075


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
        embedded: Whether its samples come with this program.
        definition: SHA-256 in hexadecimal of what a person's own dataset is defined as; None for built-in ones.
        fit: How its images are brought to the network's input size where they come in other sizes.
    """

    name: str
    tasks: tuple[TaskInfo, ...]
    image_channels: int
    default_size: tuple[int, int]
    sizes: tuple[int, int]
    num_train: int
    num_val: int
    summary: str
    embedded: bool = True
    definition: str | None = None
    fit: Fit = "resize"

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
VOC_OBJECTS = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)
HUMAN_PARTS = ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs")
NYUD_OBJECTS = (
    *("background", "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat"),
    *("clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box"),
    *("whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure"),
    *("other furniture", "other prop"),
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
        DatasetInfo(
            name="pascal_context",
            tasks=(
                TaskInfo("semseg", "segmentation", len(VOC_OBJECTS), VOC_OBJECTS),
                TaskInfo("parts", "parts", len(HUMAN_PARTS), HUMAN_PARTS),
                TaskInfo("sal", "saliency", 1),
                TaskInfo("normals", "normals", 3),
                TaskInfo("edge", "edge", 1, positive_weight=0.95),
            ),
            image_channels=3,
            default_size=(512, 512),
            sizes=(32, 2048),
            num_train=4998,
            num_val=5105,
            summary="PASCAL-Context photographs, five dense tasks as in the paper",
            embedded=False,
            fit="pad",
        ),
        DatasetInfo(
            name="nyud",
            tasks=(
                TaskInfo("semseg", "segmentation", len(NYUD_OBJECTS), NYUD_OBJECTS),
                TaskInfo("normals", "normals", 3),
                TaskInfo("edge", "edge", 1, positive_weight=0.8, edge_tolerance=0.011),  # as the literature does
                TaskInfo("depth", "depth", 1),
            ),
            image_channels=3,
            default_size=(425, 560),
            sizes=(32, 2048),
            num_train=795,
            num_val=654,
            summary="NYUD-v2 indoor photographs, four dense tasks as in the paper",
            embedded=False,
            fit="pad",
        ),
    )
}


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
