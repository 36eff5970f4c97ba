"""PASCAL-Context with five tasks as the paper trains it, from the folder PASCAL_MT of Maninis et al., CVPR 2019.

The distilled normals are kept on the axes they are stored in, red across the image: which way the others point is
documented nowhere, and neither loss nor metric depends on it. They count only where the distilling network, trained on
NYUD-v2, knew the class: on the 169 of the 459 names that NYUD-v2 has too, and on tv monitors, as in published work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import thin

from search.data.catalogue import HUMAN_PARTS, IGNORE_LABEL, VOC_OBJECTS, DatasetInfo, TaskInfo
from search.data.files.paper_layouts import PASCAL_CONTEXT, describe_paper_dataset, read_paper_lists
from search.data.files.sources import Label, Sample, Split
from search.data.reading.image_files import read_image
from search.data.reading.label_files import read_binary_map, read_class_map, read_normals, to_numbers
from search.data.reading.mat_files import read_mat
from search.data.reading.places import naming_sample, quote, refusing, resolve_inside
from search.errors import SampleError

PERSON = 15
"""Category of people in the annotation of parts."""

NUM_CONTEXT_CLASSES = 459
NORMALS_CLASSES = (
    *(3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53, 55, 56),
    *(59, 61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115, 122, 124),
    *(135, 141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191, 193, 195, 197, 199, 202),
    *(213, 215, 216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260, 261),
    *(263, 269, 272, 273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310, 314),
    *(315, 319, 323, 329, 330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380, 383),
    *(384, 397, 401, 403, 405, 407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441, 442),
    *(443, 444, 446, 454, 457),
)
"""Numbers in the map of 459 classes that the network of the distilled normals knew."""

NORMAL_LENGTHS = (0.02, np.inf)
"""A network's output need not be of unit length; only what eight bits cannot tell from zero says nothing."""

PARTS = {
    name: HUMAN_PARTS.index(part)
    for part, names in {
        "head": ("hair", "head", "lear", "rear", "lebrow", "rebrow", "leye", "reye", "mouth", "nose"),
        "torso": ("torso", "neck"),
        "upper arms": ("luarm", "ruarm"),
        "lower arms": ("llarm", "rlarm", "lhand", "rhand"),
        "upper legs": ("luleg", "ruleg"),
        "lower legs": ("llleg", "rlleg", "lfoot", "rfoot"),
    }.items()
    for name in names
}
"""Label of each annotated part; l and r in front of a name are left and right, and counted alike."""


_LABELS = {
    "parts": "human_parts/{id}.mat",
    "sal": "sal_distill/{id}.png",
    "normals": "normals_distill/{id}.png",
    "edge": "pascal-context/trainval/{id}.mat",
}


class PascalContextSource:
    """The samples of a folder PASCAL_MT.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def info(self) -> DatasetInfo:
        """Return its facts, with the lengths of the lists in the folder."""
        return describe_paper_dataset(PASCAL_CONTEXT, self.root)

    @cached_property
    def _lists(self) -> dict[str, tuple[str, ...]]:
        """Return the samples of both splits."""
        return read_paper_lists(PASCAL_CONTEXT, self.root)

    def ids(self, split: Split) -> Sequence[str]:
        """Return the samples of a split in the order of its list."""
        return self._lists[split]

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files that a sample is read from, those only that exist."""
        with naming_sample(sample_id):
            wanted = [self._image(sample_id)]
            for task in tasks:
                wanted += [self._label(task.name, sample_id)]
                wanted += [self._label_map(sample_id)] if task.name in ("normals", "edge") else []
            return [path for path in dict.fromkeys(wanted) if path.is_file()]

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample with its labels of these tasks.

        An image without human parts has no label of `parts`. Any other file that is missing is an error: the dataset
        is published whole.

        Raises:
            SampleError: A file of it is missing, broken, hostile or does not fit.
        """
        with naming_sample(sample_id):
            image_HWC = read_image(self._image(sample_id), turned=False)
            size = (image_HWC.shape[0], image_HWC.shape[1])
            return Sample(image_HWC, {task.name: self._read_label(task.name, sample_id, size) for task in tasks})

    def _read_label(self, task: str, sample_id: str, size: tuple[int, int]) -> Label:
        """Return the label of one task."""
        path = self._label(task, sample_id)
        match task:
            case "semseg":
                return read_class_map(path, size=size, num_classes=len(VOC_OBJECTS))
            case "parts":
                return read_parts(path, size)
            case "sal":
                return read_binary_map(path, size=size, of_255=True)
            case "normals":
                known_HW = np.isin(read_label_map(self._label_map(sample_id), size), NORMALS_CLASSES)
                normals_HW3 = read_normals(path, size=size, lengths=NORMAL_LENGTHS)
                return np.where(known_HW[:, :, None], normals_HW3, np.float32(IGNORE_LABEL))
            case _:
                return find_edges(read_label_map(path, size))

    def _image(self, sample_id: str) -> Path:
        """Return where the image of a sample lies."""
        return resolve_inside(self.root, f"JPEGImages/{sample_id}.jpg")

    def _label_map(self, sample_id: str) -> Path:
        """Return where the map of 459 classes of a sample lies."""
        return self._label("edge", sample_id)

    def _label(self, task: str, sample_id: str) -> Path:
        """Return where the label of a task lies."""
        if task == "semseg":  # drawn by hand where VOC 2012 has it
            drawn = resolve_inside(self.root, f"semseg/VOC12/{sample_id}.png")
            return drawn if drawn.is_file() else resolve_inside(self.root, f"semseg/pascal-context/{sample_id}.png")
        return resolve_inside(self.root, _LABELS[task].format(id=sample_id))


def read_label_map(path: Path, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the class of each pixel among the 459 of PASCAL-Context, (H, W).

    Raises:
        SampleError: The file is not usable, or holds other numbers.
    """
    numbers_HW = to_numbers(path, read_mat(path, "LabelMap"), size)
    with refusing(path, "map of classes"):
        classes_HW = numbers_HW.astype(np.int64)
    if not np.array_equal(classes_HW, numbers_HW) or classes_HW.min() < 0 or classes_HW.max() > NUM_CONTEXT_CLASSES:
        raise SampleError(
            f"Classes in {quote(path)} must be whole numbers from 0 to {NUM_CONTEXT_CLASSES}, got others. "
            f"Unpack the file anew."
        )
    return classes_HW


def find_edges(classes_HW: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the boundaries between classes, one pixel wide, uint8 (H, W): where the Laplacian is not zero, thinned."""
    changes_HW = ndimage.laplace(classes_HW, mode="mirror") != 0
    thinned_HW: NDArray[np.bool_] = thin(changes_HW)  # type: ignore[no-untyped-call]
    return thinned_HW.astype(np.uint8)


def read_parts(path: Path, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Return the part of a person that each pixel shows, uint8 (H, W), 0 for none; None where no part is annotated.

    The annotation is a struct whose second field lists objects: name, category, mask and parts, each with name, mask.

    Raises:
        SampleError: The file is not usable, or names a part that nobody has.
    """
    annotation = read_mat(path, "anno")
    with refusing(path, "annotation of parts"):
        things = [tuple(thing.values()) for thing in tuple(annotation[0].values())[1]]  # type: ignore[union-attr]
        people = [thing for thing in things if int(np.ravel(thing[1])[0]) == PERSON]
        pieces = [
            (str(name), to_numbers(path, mask_HW, size))
            for person in people
            for name, mask_HW in (tuple(piece.values())[:2] for piece in person[3] if isinstance(piece, dict))
        ]
    unknown = sorted({name for name, _ in pieces} - set(PARTS))
    if unknown:
        raise SampleError(f"{quote(path)} names a part of a person that is not known: {quote(unknown[0])}. Mend it.")
    label_HW = np.zeros(size, dtype=np.uint8)
    for name, mask_HW in pieces:
        label_HW[mask_HW.astype(bool)] = PARTS[name]
    return label_HW if label_HW.any() else None
