"""The samples of a person's own dataset: read from where their dataset.yaml says, each label by its kind of task.

Nothing outside the root is opened. A task whose file is not there, or whose cell is empty, has no label. Shapes: H W
pixels of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.data.catalogue import DatasetInfo, TaskInfo
from search.data.files.class_tables import read_class_table
from search.data.files.manifest import (
    ClassificationTask,
    DepthTask,
    EdgeTask,
    Manifest,
    NormalsTask,
    OwnTask,
    SaliencyTask,
    SegmentationTask,
    load_manifest,
)
from search.data.files.sources import Label, Sample, Split
from search.data.reading.image_files import read_image
from search.data.reading.label_files import Size, read_binary_map, read_class_map, read_depth, read_normals
from search.data.reading.places import naming_sample, quote, resolve_inside
from search.errors import SampleError


@dataclass(frozen=True)
class ManifestSource:
    """A SampleSource over a dataset.yaml; `open_manifest` opens one.

    Attributes:
        manifest: What the file says.
        classes: Per classification task what its table holds for each sample.
    """

    manifest: Manifest
    classes: Mapping[str, Mapping[str, str]]

    @property
    def info(self) -> DatasetInfo:
        """Return the facts of the dataset."""
        return self.manifest.info

    def ids(self, split: Split) -> Sequence[str]:
        """Return the samples of a split in the order of its list."""
        return self.manifest.train if split == "train" else self.manifest.val

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files that a sample is read from, those only that exist.

        Raises:
            SampleError: One of them lies outside the root.
        """
        document = self.manifest.document
        with self._naming(sample_id):
            found = [self._resolve(document.image, sample_id)]
            for task in tasks:
                own = document.tasks[task.name]
                pattern = own.table if isinstance(own, ClassificationTask) else own.path
                found.append(self._resolve(pattern, sample_id))
        return tuple(dict.fromkeys(path for path in found if path.exists()))

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample with its labels of these tasks.

        Raises:
            SampleError: A file of it is missing, broken, hostile or does not fit; the sentence names sample and file.
        """
        document = self.manifest.document
        with self._naming(sample_id):
            image_HWC = read_image(self._resolve(document.image, sample_id))
            height, width = image_HWC.shape[:2]
            labels = {
                task.name: self._read_label(sample_id, task.name, document.tasks[task.name], (height, width))
                for task in tasks
            }
        return Sample(image_HWC, labels)

    def _read_label(self, sample_id: str, name: str, task: OwnTask, size: Size) -> Label:
        """Return the label of one task, None where there is none."""
        if isinstance(task, ClassificationTask):
            return self._find_class(sample_id, name, task)
        path = self._resolve(task.path, sample_id)
        if not path.exists():
            return None
        match task:
            case SegmentationTask():
                return read_class_map(path, size=size, num_classes=len(task.classes), ignore=task.ignore)
            case DepthTask():
                return read_depth(path, size=size, scale=task.scale, invalid=task.invalid)
            case NormalsTask():
                return read_normals(path, size=size)
            case EdgeTask() | SaliencyTask():
                return read_binary_map(path, size=size, ignore=task.ignore)

    def _find_class(self, sample_id: str, name: str, task: ClassificationTask) -> int | None:
        """Return the class of a sample, None where its cell is empty or it has no row."""
        found = self.classes[name].get(sample_id, "")
        if not found:
            return None
        if found not in task.classes:
            raise SampleError(
                f"Classes of '{name}' must be among {', '.join(task.classes)[:200]}, but {quote(task.table)} says "
                f"{quote(found)}. Mend the cell, or add the class."
            )
        return task.classes.index(found)

    def _resolve(self, pattern: str, sample_id: str) -> Path:
        """Return the file of a sample below the root; a link that leads nowhere is a fault, not a missing label."""
        relative = pattern.replace("{id}", sample_id)
        path = resolve_inside(self.manifest.root, relative)
        if not path.exists() and (self.manifest.root / relative).is_symlink():
            raise SampleError(f"{quote(relative)} is a link that leads nowhere. Mend it, or take it out.")
        return path

    @contextmanager
    def _naming(self, sample_id: str) -> Iterator[None]:
        """Put the sample in front of every fault, and name files as they are seen from the root."""
        try:
            with naming_sample(sample_id):
                yield
        except SampleError as error:
            raise SampleError(str(error).replace(f"{self.manifest.root.resolve()}/", "")) from error


def open_manifest(file: Path) -> ManifestSource:
    """Return the samples of a dataset.yaml, with its tables read.

    Raises:
        DatasetError: The file, a list or a table is missing or not usable.
    """
    manifest = load_manifest(file)
    tables = {
        name: read_class_table(manifest.root, task.table, task.column)
        for name, task in manifest.document.tasks.items()
        if isinstance(task, ClassificationTask)
    }
    return ManifestSource(manifest, tables)
