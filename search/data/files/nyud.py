"""NYUD-v2 with four tasks as the paper trains it, from a folder NYUD_MT in either of its two public layouts.

Layout A (Maninis et al., CVPR 2019) counts the background as a class, 41 in all; layout B (Vandenhende et al., 2020)
ignores it, 40 in all. Normals are kept on the axes they are stored in, the first across the image: which way the others
point is documented nowhere, and neither loss nor metric depends on it. Depth is in metres, and 0 stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.catalogue import IGNORE_LABEL, NYUD_OBJECTS, DatasetInfo, TaskInfo
from search.data.files.paper_layouts import (
    NYUD,
    NYUD_FILES,
    NyudLayout,
    describe_paper_dataset,
    find_nyud_layout,
    read_paper_lists,
)
from search.data.files.sources import Label, Sample, Split
from search.data.reading.image_files import read_image
from search.data.reading.label_files import (
    read_binary_map,
    read_class_map,
    read_depth,
    read_normals,
    to_class_map,
    to_numbers,
)
from search.data.reading.mat_files import read_mat
from search.data.reading.places import naming_sample, resolve_inside


class NyudSource:
    """The samples of a folder NYUD_MT.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def info(self) -> DatasetInfo:
        """Return its facts, with the lengths of the lists and the classes of the layout in the folder."""
        return describe_paper_dataset(NYUD, self.root)

    @cached_property
    def layout(self) -> NyudLayout:
        """Return which of the public layouts lies in the folder."""
        return find_nyud_layout(self.root, self._lists["train"][0])

    @cached_property
    def _lists(self) -> dict[str, tuple[str, ...]]:
        """Return the samples of both splits."""
        return read_paper_lists(NYUD, self.root)

    def ids(self, split: Split) -> Sequence[str]:
        """Return the samples of a split in the order of its list."""
        return self._lists[split]

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files that a sample is read from, those only that exist."""
        with naming_sample(sample_id):
            wanted = [self._image(sample_id), *(self._label(task.name, sample_id) for task in tasks)]
            return [path for path in wanted if path.is_file()]

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample with its labels of these tasks.

        A file that is missing is an error: the dataset is published whole.

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
                return self._read_classes(path, size)
            case "normals":
                return read_normals(path, size=size)
            case "depth":
                return read_depth(path, size=size)
            case _:
                return read_binary_map(path, size=size, of_255=self.layout == "A")

    def _read_classes(self, path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the class of each pixel, numbered from the background on, or from the wall on in layout B."""
        if self.layout == "A":
            numbers_HW = to_numbers(path, read_mat(path, "segmentation"), size)
            return to_class_map(path, numbers_HW, num_classes=len(NYUD_OBJECTS))
        numbered_HW = read_class_map(path, size=size, num_classes=len(NYUD_OBJECTS), ignore=0)
        return np.where(numbered_HW == IGNORE_LABEL, numbered_HW, numbered_HW - 1).astype(np.uint8)

    def _image(self, sample_id: str) -> Path:
        """Return where the image of a sample lies."""
        return resolve_inside(self.root, f"images/{sample_id}.jpg")

    def _label(self, task: str, sample_id: str) -> Path:
        """Return where the label of a task lies."""
        return resolve_inside(self.root, NYUD_FILES[self.layout][task].format(id=sample_id))
