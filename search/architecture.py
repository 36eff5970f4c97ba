"""`architecture.json`: one found network, said so fully that it can be rebuilt without the dataset.

`search.pipeline` writes it, retraining, export and the report read it back. Pure: no torch, no I/O.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.branching import Branching
from models.catalogue import BACKBONES
from models.errors import ModelsError
from models.foreign import get_foreign, is_code_name
from search.data.catalogue import DATASETS, DatasetInfo, TaskInfo, TaskKind
from search.errors import ArchitectureFileError
from search.spec import OptionalWeights
from search.strict_json import read_strict_json

FORMAT: Literal["bmtas-architecture"] = "bmtas-architecture"
VERSION: Literal[1] = 1
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1)]
Package = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9._-]+ [A-Za-z0-9._+!-]+$")]
OptionalPackage = Annotated[Package | None, Field(exclude_if=lambda package: package is None)]
"""None for what is built in; left out of the document then, so that older ones keep their bytes."""
_SPREAD = {"layers", "heads", "provenance"}  # keys whose entries get a line each


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys, no silent conversion, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LayerGroups(_Frozen):
    """One encoder layer: its name in the backbone and the groups of tasks that share a copy of it."""

    name: Name
    groups: Annotated[tuple[tuple[Name, ...], ...], Field(min_length=1)]


class HeadShape(_Frozen):
    """What a task's head is built from: the kind of task and its output channels."""

    kind: TaskKind
    channels: Side


class Provenance(_Frozen):
    """Where an architecture comes from.

    Attributes:
        dataset: Name of the dataset.
        dataset_fingerprint: Hash of its samples.
        seed: Seed of the trial.
        objective: How the expected cost was computed.
        spec_hash: Hash of the whole job.
        code_version: Version of the code that searched.
        created: When, ISO 8601 with time zone.
        weights: The file that encoders started from; None for random weights.
    """

    dataset: Name
    dataset_fingerprint: str
    seed: Count
    objective: Name
    spec_hash: str
    code_version: str
    created: str
    weights: OptionalWeights = None

    @field_validator("created")
    @classmethod
    def _check_created(cls, created: str) -> str:
        """Refuse what is no point in time."""
        try:
            datetime.fromisoformat(created)
        except ValueError:
            raise ValueError(f"must be an ISO 8601 time such as 2026-01-31T12:00:00+00:00, got {created!r}") from None
        return created


class Architecture(_Frozen):
    """One branched network as a document.

    Tasks stand in the dataset's own order where the dataset is known, and groups in the order of their first task, so
    that two documents of the same tree are equal whatever order they were written in.

    Attributes:
        tasks: T task names.
        backbone: Key in the table of backbones, the name of one that another package brings, or module:callable.
        input_size: (H, W) in pixels at which MAdds were counted.
        image_channels: Channels of an input image.
        layers: The L encoder layers, stem side first.
        heads: Kind and channels of every task's head.
        madds: Multiply-adds of one image through the whole network, stem and heads included.
        params: Parameters of the whole network.
        budget_madds: The budget it was searched under; None for one that had none.
        provenance: Where it comes from.
        backbone_package: Name and version of the package that brings the backbone; None for one that is built in or
            module:callable.
    """

    format: Literal["bmtas-architecture"] = FORMAT
    version: Literal[1] = VERSION
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    backbone: Name
    input_size: tuple[Side, Side]
    image_channels: Side
    layers: Annotated[tuple[LayerGroups, ...], Field(min_length=1)]
    heads: dict[str, HeadShape]
    madds: Count
    params: Count
    budget_madds: Count | None
    provenance: Provenance
    backbone_package: OptionalPackage = None

    @model_validator(mode="after")
    def _canonicalise(self) -> Architecture:
        """Check that the parts fit together, and bring tasks, groups and heads into canonical order."""
        tasks = _canonical_order(self.tasks, self.provenance.dataset)
        branching = Branching(tasks, tuple(layer.groups for layer in self.layers))
        _check_layers(self.layers, self.backbone, self.backbone_package)
        if sorted(self.heads) != sorted(tasks):
            raise ValueError(f"'heads' must name each of the tasks {list(tasks)}, got {sorted(self.heads)}")
        # A frozen value may still put itself in order on birth, as Branching does.
        object.__setattr__(self, "tasks", branching.tasks)
        object.__setattr__(self, "layers", layers_of(branching, [layer.name for layer in self.layers]))
        object.__setattr__(self, "heads", {task: self.heads[task] for task in tasks})
        return self

    @property
    def branching(self) -> Branching:
        """Return which tasks share which layer."""
        return Branching(self.tasks, tuple(layer.groups for layer in self.layers))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Return the L layer names, stem side first."""
        return tuple(layer.name for layer in self.layers)

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the tree alone: equal for two documents that describe the same network."""
        tree = self.model_dump(mode="json", include={"backbone", "input_size", "image_channels", "layers", "heads"})
        return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json_bytes(self) -> bytes:
        """Return the document as UTF-8 JSON: keys in a fixed order, one line per layer, newline at the end."""
        document = self.model_dump(mode="json")
        lines = ",\n".join(f"  {_dumps(key)}: {_value_text(key, value)}" for key, value in document.items())
        return f"{{\n{lines}\n}}\n".encode()

    @classmethod
    def from_json_bytes(cls, content: bytes, source_name: str = "architecture.json") -> Architecture:
        """Return the architecture that `to_json_bytes` wrote.

        Args:
            content: UTF-8 JSON.
            source_name: What to call the file in an error.

        Raises:
            ArchitectureFileError: Not such a document, of a newer version, or one whose parts do not fit.
        """
        try:
            return read_strict_json(cls, content, _check_version)
        except ValueError as error:
            raise ArchitectureFileError(
                f"{source_name} is not a usable architecture file: {error}. Use an architecture.json that a search "
                "wrote."
            ) from None


def layers_of(branching: Branching, layer_names: Sequence[str]) -> tuple[LayerGroups, ...]:
    """Return the `layers` of an architecture, given its tree and the L names of the backbone's layers."""
    return tuple(
        LayerGroups(name=name, groups=groups) for name, groups in zip(layer_names, branching.groups, strict=True)
    )


def heads_of(tasks: Sequence[TaskInfo]) -> dict[str, HeadShape]:
    """Return the `heads` of an architecture, given the facts of its tasks."""
    return {task.name: HeadShape(kind=task.kind, channels=task.channels) for task in tasks}


def check_fits_dataset(architecture: Architecture, info: DatasetInfo) -> None:
    """Refuse an architecture whose tasks, heads or image channels are not those of a dataset.

    Raises:
        ArchitectureFileError: The dataset lacks a task, or has it with another kind or number of channels, or other
            image channels.
    """
    known = {task.name: task for task in info.tasks}
    for name, head in architecture.heads.items():
        if name not in known:
            raise ArchitectureFileError(
                f"The architecture is for the tasks {', '.join(architecture.tasks)}, and dataset '{info.name}' has no "
                f"task '{name}' (it has {', '.join(known)}). Use the dataset it was searched on: "
                f"'{architecture.provenance.dataset}'."
            )
        task = known[name]
        if (task.kind, task.channels) != (head.kind, head.channels):
            raise ArchitectureFileError(
                f"Task '{name}' is {task.kind} with {task.channels} channels in dataset '{info.name}', but the "
                f"architecture holds a {head.kind} head with {head.channels}. Use the dataset it was searched on: "
                f"'{architecture.provenance.dataset}'."
            )
    if architecture.image_channels != info.image_channels:
        raise ArchitectureFileError(
            f"Images of dataset '{info.name}' have {info.image_channels} channels, but the architecture takes "
            f"{architecture.image_channels}. Use the dataset it was searched on: '{architecture.provenance.dataset}'."
        )


def _canonical_order(tasks: tuple[str, ...], dataset: str) -> tuple[str, ...]:
    """Return tasks in the dataset's own order; as they stand where the dataset or one of them is unknown."""
    own = [task.name for task in DATASETS[dataset].tasks] if dataset in DATASETS else []
    return tuple(sorted(tasks, key=own.index)) if set(tasks) <= set(own) else tasks


def _check_layers(layers: tuple[LayerGroups, ...], backbone: str, package: str | None) -> None:
    """Refuse layers that are not those of the backbone: another number of them, or a name that stands twice.

    A tree on a backbone of another package can be read, and drawn, where that is not installed; how many layers it has
    shows when the network is built.
    """
    if backbone not in BACKBONES and package is None and not is_code_name(backbone):
        try:
            get_foreign(backbone)
        except ModelsError as error:
            raise ValueError(str(error)) from None
    expected = BACKBONES[backbone].num_layers if backbone in BACKBONES else len(layers)
    if len(layers) != expected:
        raise ValueError(f"backbone '{backbone}' has {expected} layers, and the file lists {len(layers)}")
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"layer names must be distinct, and '{twice}' stands twice")


def _check_version(document: dict[str, Any]) -> None:
    """Refuse another kind of file, and a version this code does not know."""
    if document.get("format") != FORMAT:
        raise ValueError(f"its 'format' must be '{FORMAT}', got {str(document.get('format'))[:40]!r}")
    version = document.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise ValueError(f"it has version {version}, and this bmtas reads up to {VERSION}; upgrade bmtas")


def _dumps(value: object) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _value_text(key: str, value: Any) -> str:
    """Return the value of a top-level key, its entries on lines of their own where that reads better."""
    if key not in _SPREAD:
        return _dumps(value)
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"    {_dumps(item)}" for item in value) + "\n  ]"
    return "{\n" + ",\n".join(f"    {_dumps(name)}: {_dumps(item)}" for name, item in value.items()) + "\n  }"
