"""The backbones by name and plain facts, for those who must not load torch (command line, web process, job validation).

`models.plans` has their layers in numbers, `models.backbones` builds them; a test holds the tables together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import InputSizeError, UnknownBackboneError

Family = Literal["tiny", "mobilenet", "resnet", "custom"]


@dataclass(frozen=True)
class BackboneInfo:
    """What can be said of a backbone without building it.

    Attributes:
        name: Key in the table.
        family: Decides the recipe: "tiny" trains from scratch in minutes, "mobilenet" and "resnet" follow the paper,
            "custom" are those that other packages bring.
        num_layers: L, the searched layers (blocks plus the ASPP module where there is one).
        output_stride: Input pixels per pixel of the last feature map.
        min_size: Smallest input height and width, in pixels.
        summary: One line for people.
    """

    name: str
    family: Family
    num_layers: int
    output_stride: int
    min_size: int
    summary: str


BACKBONES: dict[str, BackboneInfo] = {
    info.name: info
    for info in (
        BackboneInfo("tiny4", "tiny", 5, 4, 8, "five 3x3 blocks of 4 channels, the planted benchmark's network"),
        BackboneInfo("tiny8", "tiny", 5, 4, 8, "five 3x3 blocks of 8 channels"),
        BackboneInfo("tiny16", "tiny", 5, 4, 8, "five 3x3 blocks of 16 channels"),
        BackboneInfo("mobilenet_v2", "mobilenet", 18, 16, 32, "17 inverted residual blocks and R-ASPP"),
        BackboneInfo("resnet18", "resnet", 9, 16, 32, "8 basic blocks and ASPP"),
        BackboneInfo("resnet34", "resnet", 17, 16, 32, "16 basic blocks and ASPP"),
        BackboneInfo("resnet50", "resnet", 17, 16, 32, "16 bottlenecks (v1.5) and ASPP"),
        BackboneInfo("resnet101", "resnet", 34, 16, 32, "33 bottlenecks (v1.5) and ASPP"),
    )
}


def get_backbone_info(name: str) -> BackboneInfo:
    """Return the facts of a backbone.

    Raises:
        UnknownBackboneError: No such backbone.
    """
    if name not in BACKBONES:
        raise UnknownBackboneError(f"Unknown backbone '{name}'. Choose one of: {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def check_input_size(info: BackboneInfo, size: tuple[int, int]) -> None:
    """Refuse an image size that is too small for the strides of a backbone.

    Args:
        info: The facts of the backbone.
        size: (H, W) in pixels.

    Raises:
        InputSizeError: Height or width lies below the smallest side.
    """
    if min(size) < info.min_size:
        raise InputSizeError(
            f"Backbone '{info.name}' needs images of at least {info.min_size}x{info.min_size} pixels, "
            f"got {size[0]}x{size[1]}. Choose a larger size or a smaller backbone."
        )


@dataclass(frozen=True)
class HeadSpec:
    """What a task asks of its head.

    Attributes:
        dense: One prediction per pixel (DeepLabv3+ decoder) or one per image (pooled linear).
        channels: Output channels.
    """

    dense: bool
    channels: int
