"""What a dataset made of files gives: decoded samples in their own size, before any resizing, and what they are.

`manifest` (a person's dataset.yaml), `pascal_context` and `nyud` implement it; `samples` resizes, caches and batches
what comes out. Shapes: H W pixels of the image, which all dense labels of a sample share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from search.data.catalogue import DatasetInfo, TaskInfo
from search.errors import SampleError

Split = Literal["train", "val"]
Label = NDArray[np.generic] | int | None
"""Label of one task: None where the sample has none; otherwise, by kind of task, at the image's (H, W):

segmentation and parts uint8 (H, W), 255 ignored; saliency and edge uint8 (H, W) in {0, 1, 255}; normals float32
(H, W, 3), unit vectors with x right, y up, z towards the camera, or 255 in all three; depth float32 (H, W) in metres,
255 ignored; classification an int."""


@dataclass(frozen=True)
class Sample:
    """One sample as its files hold it.

    Attributes:
        image_HWC: uint8, three channels.
        labels: By task name; None for a task without a label for this sample.
    """

    image_HWC: NDArray[np.uint8]
    labels: Mapping[str, Label]


class SampleSource(Protocol):
    """A dataset whose samples are files."""

    @property
    def info(self) -> DatasetInfo:
        """Return its facts; `num_train` and `num_val` are the lengths of its splits."""
        ...

    def ids(self, split: Split) -> Sequence[str]:
        """Return the samples of a split in the order of its list.

        Raises:
            DatasetError: The list is missing or not usable.
        """
        ...

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files that a sample is read from, those only that exist; their content determines the sample."""
        ...

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample with its labels of these tasks.

        Raises:
            SampleError: A file of it is missing, broken, hostile or does not fit; the sentence names sample and file.
        """
        ...


@dataclass(frozen=True)
class MemorySource:
    """In-memory twin of a source: samples made by hand.

    Attributes:
        info: Its facts.
        samples: Per split, samples by their id.
        paths: Files by id of the sample that they determine; none where an id is not named.
    """

    info: DatasetInfo
    samples: Mapping[Split, Mapping[str, Sample]]
    paths: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def ids(self, split: Split) -> Sequence[str]:
        """Return the samples of a split."""
        return tuple(self.samples.get(split, {}))

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files of a sample, whatever the tasks."""
        del tasks
        return self.paths.get(sample_id, ())

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample with its labels of these tasks, or raise SampleError."""
        for samples in self.samples.values():
            if sample_id in samples:
                sample = samples[sample_id]
                return Sample(sample.image_HWC, {task.name: sample.labels.get(task.name) for task in tasks})
        raise SampleError(f"There is no sample '{sample_id}' here. Name one of those in a split.")
