"""A person's own dataset as their dataset.yaml says it: the facts, for those who must not load numpy or read images.

`manifest_source` reads the samples, `search.data.shelf` finds the files by name. A manifest is read as data only: no
tags, no aliases, no key twice, and no more of it than a person writes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from search.data.catalogue import DatasetInfo, TaskInfo
from search.data.files.sample_lists import check_inside, read_sample_list
from search.data.reading.plain_yaml import read_plain_yaml
from search.errors import DatasetError
from search.strict_json import describe_validation

MANIFEST_NAME = "dataset.yaml"
SIZES = (32, 2048)
"""Smallest and largest side of the images of a person's own dataset, in pixels."""
_MAX_CLASSES = 255
_MAX_TASKS = 20


def _check_relative(path: str) -> str:
    """Return a path that stays below the root as it is written; links are resolved when files are opened."""
    check_inside(path)
    return path


def _check_pattern(path: str) -> str:
    """Return a path in which {id} stands for the sample, and nothing else is to be filled in."""
    check_inside(path)
    rest = path.replace("{id}", "")
    if rest == path or "{" in rest or "}" in rest:
        raise ValueError(f"a path of samples holds {{id}}, and no other braces, got {path[:60]!r}")
    return path


_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Path = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_check_relative)]
_Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_check_pattern)]
_Class = Annotated[str, Field(min_length=1, max_length=100)]
_Ignored = Annotated[int, Field(ge=0, le=65_535)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys, no silent conversion, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Classes(_Frozen):
    """A task whose label is one of several classes."""

    classes: Annotated[tuple[_Class, ...], Field(min_length=2, max_length=_MAX_CLASSES)]

    @model_validator(mode="after")
    def _check_distinct(self) -> _Classes:
        """Refuse a class that stands twice."""
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ValueError(f"each class may be named once, and {twice[0]!r} stands twice")
        return self


class SegmentationTask(_Classes):
    """A class per pixel: grey or palette PNG or .npy whose values index `classes`; `ignore` says nothing."""

    kind: Literal["segmentation", "parts"]
    path: _Pattern
    ignore: _Ignored = 255


class DepthTask(_Frozen):
    """A distance per pixel: metres are the file's values times `scale`; where a file holds `invalid` is nothing."""

    kind: Literal["depth"]
    path: _Pattern
    scale: Annotated[float, Field(gt=0)] = 1.0
    invalid: float = 0.0


class NormalsTask(_Frozen):
    """A unit vector per pixel: .npy as it is, pictures as value/255*2-1; x to the right, y up, z to the camera."""

    kind: Literal["normals"]
    path: _Pattern


class EdgeTask(_Frozen):
    """Edges: 0 and 1, or grey from black to white split at half; `ignore` says nothing."""

    kind: Literal["edge"]
    path: _Pattern
    ignore: _Ignored | None = None
    positive_weight: _Share = 0.95
    edge_tolerance: _Share = 0.0075


class SaliencyTask(_Frozen):
    """What stands out: values read as those of edges."""

    kind: Literal["saliency"]
    path: _Pattern
    ignore: _Ignored | None = None


class ClassificationTask(_Classes):
    """A class per image: a CSV file with a header, its column `id` naming the sample and `column` the class."""

    kind: Literal["classification"]
    table: _Path
    column: Annotated[str, Field(min_length=1, max_length=200)]


OwnTask = SegmentationTask | DepthTask | NormalsTask | EdgeTask | SaliencyTask | ClassificationTask


class Splits(_Frozen):
    """The lists of samples, one id a line."""

    train: _Path
    val: _Path


class ManifestDocument(_Frozen):
    """What stands in a dataset.yaml.

    Attributes:
        name: What jobs call the dataset.
        root: Folder that all other paths start from, relative to the file.
        splits: Lists of the training and of the validation samples.
        image: Pattern of the images.
        tasks: Its tasks by name, in the order in which jobs hold them.
        input_size: (H, W) in pixels at which networks are trained when a job says nothing.
        summary: One line for people.
    """

    name: _Name
    root: Annotated[str, Field(min_length=1, max_length=1000)] = "."
    splits: Splits
    image: _Pattern
    tasks: Annotated[
        dict[_Name, Annotated[OwnTask, Field(discriminator="kind")]], Field(min_length=2, max_length=_MAX_TASKS)
    ]
    input_size: tuple[Annotated[int, Field(ge=SIZES[0], le=SIZES[1])], Annotated[int, Field(ge=SIZES[0], le=SIZES[1])]]
    summary: Annotated[str, Field(max_length=200)] = "a person's own dataset"


@dataclass(frozen=True)
class Manifest:
    """A dataset.yaml that was read, with its lists of samples.

    Attributes:
        file: The dataset.yaml.
        document: What stands in it.
        train: Training samples in the order of their list.
        val: Validation samples in the order of theirs.
    """

    file: Path
    document: ManifestDocument
    train: tuple[str, ...]
    val: tuple[str, ...]

    @property
    def root(self) -> Path:
        """Return the folder that all paths start from."""
        return self.file.parent / self.document.root

    @cached_property
    def definition(self) -> str:
        """Return the SHA-256 of what the dataset is, in hexadecimal; where it lies does not count."""
        said = self.document.model_dump(mode="json", exclude={"root", "summary"})
        # Tasks stand in an order that counts, which sorted keys would lose.
        canonical = [said, list(self.document.tasks), self.train, self.val]
        return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def info(self) -> DatasetInfo:
        """Return the facts of the dataset as the rest of the program knows them."""
        return DatasetInfo(
            name=self.document.name,
            tasks=tuple(_describe_task(name, task) for name, task in self.document.tasks.items()),
            image_channels=3,
            default_size=self.document.input_size,
            sizes=SIZES,
            num_train=len(self.train),
            num_val=len(self.val),
            summary=self.document.summary,
            embedded=False,
            definition=self.definition,
        )


def load_manifest(file: Path) -> Manifest:
    """Return the dataset that a dataset.yaml describes, with its lists of samples; images and labels are not read.

    Raises:
        DatasetError: The file or a list is missing or not usable; the sentence names the file and the place in it.
    """
    document = read_document(file)
    root = file.parent / document.root
    train, val = (read_sample_list(root, name) for name in (document.splits.train, document.splits.val))
    if both := sorted(set(train) & set(val)):
        more = "" if len(both) == 1 else f" and {len(both) - 1} more"
        raise DatasetError(
            f"A sample belongs to one split, but {both[0]!r}{more} of dataset '{document.name}' stand in both "
            f"{document.splits.train} and {document.splits.val}. Take them out of one list."
        )
    return Manifest(file, document, train, val)


def read_document(file: Path) -> ManifestDocument:
    """Return what stands in a dataset.yaml; no other file is looked at.

    Raises:
        DatasetError: It is missing or not usable; the sentence names the place in it.
    """
    values = read_plain_yaml(file)
    try:
        # By way of JSON: strict values take lists for tuples from there only.
        return ManifestDocument.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        reason = _describe(error)
    raise DatasetError(f"{file} is no usable dataset.yaml: {reason.rstrip('.')}. Mend the file, then try again.")


def _describe(error: ValidationError) -> str:
    """Return the first fault of a manifest as half a sentence, with what to write where that is not plain."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    tagged = ".".join(str(part) for part in first["loc"][:3])
    if first["type"] in ("too_short", "missing") and place == "tasks":
        return "a branching needs at least two tasks, and 'tasks' names fewer"
    if first["type"] == "string_type" and isinstance(first["input"], bool | int | float):
        return f"'{place}' must be a word, and YAML reads {json.dumps(first['input'])} otherwise; put it in quotes"
    if first["type"].startswith("union_tag"):
        return f"'{place}': {first['msg']}"
    if place == "name" and first["type"] == "string_pattern_mismatch":
        return "'name' may hold letters, digits, - and _, at most 64 of them, beginning with a letter or digit"
    # Pydantic puts the kind of task into the place, where no person wrote it.
    return describe_validation(error).replace(f"'{tagged}.", f"'{tagged.rpartition('.')[0]}.")


def _describe_task(name: str, task: OwnTask) -> TaskInfo:
    """Return the facts of one task."""
    match task:
        case SegmentationTask() | ClassificationTask():
            return TaskInfo(name, task.kind, len(task.classes), task.classes)
        case NormalsTask():
            return TaskInfo(name, task.kind, 3)
        case EdgeTask():
            return TaskInfo(
                name, task.kind, 1, positive_weight=task.positive_weight, edge_tolerance=task.edge_tolerance
            )
        case DepthTask() | SaliencyTask():
            return TaskInfo(name, task.kind, 1)
