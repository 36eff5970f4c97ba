"""What can be said of a backbone of another package without running its code again: facts and costs as one document.

`search.costs.describing` fills it in a process of its own; the web process reads it. Pure: no torch, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.catalogue import BackboneInfo
from search.costs.cost_table import CostTable
from search.data.catalogue import TaskInfo, TaskKind

_Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    """Base of all parts: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DescribedTask(_Frozen):
    """What the cost of a head depends on."""

    name: str
    kind: TaskKind
    channels: Annotated[int, Field(ge=1)]


class DescriptionRequest(_Frozen):
    """Which backbone to describe, for which tasks and images.

    Attributes:
        name: Of an entry point.
        tasks: The tasks that get a head; none for the encoder alone.
        input_size: (H, W) in pixels; None for the smallest that the backbone takes.
        image_channels: C of the images; None for those that the backbone takes.
    """

    name: str
    tasks: tuple[DescribedTask, ...] = ()
    input_size: tuple[int, int] | None = None
    image_channels: int | None = None


class BackboneDescription(_Frozen):
    """A backbone in facts and numbers.

    Attributes:
        name: Of the entry point.
        num_layers: L, the searched layers.
        output_stride: Input pixels per pixel of the last feature map.
        min_size: Smallest side of an image, in pixels.
        image_channels: Channels that an image must have.
        summary: One line for people.
        definition: Hash of the code that gives it.
        input_size: (H, W) that the costs are for.
        layer_names: L names.
        stem_madds: As in `search.costs.cost_table.CostTable`, like all that follow.
    """

    name: str
    num_layers: _Count
    output_stride: _Count
    min_size: _Count
    image_channels: _Count
    summary: str
    definition: str
    input_size: tuple[int, int]
    layer_names: tuple[str, ...]
    stem_madds: _Count
    layer_madds: tuple[_Count, ...]
    decoder_madds: dict[str, _Count]
    stem_params: _Count
    layer_params: tuple[_Count, ...]
    decoder_params: dict[str, _Count]

    @property
    def info(self) -> BackboneInfo:
        """Return the facts as those of a built-in backbone are given."""
        return BackboneInfo(self.name, "custom", self.num_layers, self.output_stride, self.min_size, self.summary)

    @property
    def costs(self) -> CostTable:
        """Return the costs as those of a built-in backbone are given."""
        return CostTable(
            self.name,
            self.input_size,
            self.layer_names,
            self.stem_madds,
            self.layer_madds,
            self.decoder_madds,
            self.stem_params,
            self.layer_params,
            self.decoder_params,
        )


def build_request(
    name: str, tasks: Sequence[TaskInfo], input_size: tuple[int, int] | None, image_channels: int | None
) -> DescriptionRequest:
    """Return the request for a backbone, some tasks and images of a size."""
    described = tuple(DescribedTask(name=task.name, kind=task.kind, channels=task.channels) for task in tasks)
    return DescriptionRequest(name=name, tasks=described, input_size=input_size, image_channels=image_channels)
