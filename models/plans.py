"""Every backbone as plain numbers: which blocks stand in which order, how wide, and how its decoders look. No torch.

`models.backbones` builds networks from these plans and `models.arithmetic` counts their costs, so the two cannot drift
apart. Sources: method of Bruggemann et al., BMVC 2020; Sandler et al., CVPR 2018; He et al., CVPR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.catalogue import get_backbone_info

BlockKind = Literal["conv", "inverted", "basic", "bottleneck", "aspp"]


@dataclass(frozen=True)
class BlockPlan:
    """One searchable layer in numbers.

    Attributes:
        name: torchvision's parameter prefix, such as "features.4" or "layer1.0"; "aspp" has no counterpart there.
        kind: "conv" is one 3x3 convolution; the others are the blocks of that name in `models.blocks`.
        in_channels: C of the input.
        out_channels: C of the output.
        stride: Input pixels per output pixel.
        dilation: Distance of the taps of the 3x3 convolutions, in pixels.
        expand: Channels inside an inverted residual per input channel.
        rates: Dilations of the 3x3 branches of an ASPP, in pixels of the feature map.
    """

    name: str
    kind: BlockKind
    in_channels: int
    out_channels: int
    stride: int = 1
    dilation: int = 1
    expand: int = 1
    rates: tuple[int, ...] = ()


@dataclass(frozen=True)
class DecoderPlan:
    """How the dense heads on a backbone look, in numbers.

    Attributes:
        low_level_channels: C that the low-level features are reduced to.
        channels: C of the two refining convolutions.
        separable: Whether these are depthwise separable or full 3x3 convolutions.
    """

    low_level_channels: int
    channels: int
    separable: bool


@dataclass(frozen=True)
class BackbonePlan:
    """An encoder in numbers.

    Attributes:
        stem_kernel: Side of the stem's convolution, in pixels.
        stem_stride: Its stride, in pixels.
        stem_pools: Whether a 3x3 max pooling of stride 2 follows it.
        layers: L searchable layers in order; the first one's input is what the stem puts out.
        low_level_layer: Index of the layer whose output is the decoders' second input.
        decoder: How the dense heads on it look.
    """

    stem_kernel: int
    stem_stride: int
    stem_pools: bool
    layers: tuple[BlockPlan, ...]
    low_level_layer: int
    decoder: DecoderPlan


def get_plan(backbone_name: str) -> BackbonePlan:
    """Return the plan of a backbone.

    Raises:
        UnknownBackboneError: No such backbone.
    """
    return _PLANS[get_backbone_info(backbone_name).name]


def _tiny(width: int) -> BackbonePlan:
    """Return the planted benchmark's network."""
    layers = tuple(
        BlockPlan(f"blocks.{index}", "conv", width, width, stride) for index, stride in enumerate((1, 2, 1, 2, 1))
    )
    return BackbonePlan(3, 1, False, layers, 0, DecoderPlan(width, 2 * width, True))


# (out channels, blocks, stride, expansion, dilation of the first block, dilation of the others). The sixth group has
# stride 2 in ImageNet training; here it keeps the output stride at 16, and the blocks after it are dilated instead.
_MOBILENET_GROUPS = (
    (16, 1, 1, 1, 1, 1),
    (24, 2, 2, 6, 1, 1),
    (32, 3, 2, 6, 1, 1),
    (64, 4, 2, 6, 1, 1),
    (96, 3, 1, 6, 1, 1),
    (160, 3, 1, 6, 1, 2),
    (320, 1, 1, 6, 2, 2),
)


def _mobilenet_v2() -> BackbonePlan:
    """Return MobileNetV2 at output stride 16 with R-ASPP."""
    layers: list[BlockPlan] = []
    channels = 32
    for out_channels, num_blocks, group_stride, expand, first_dilation, dilation in _MOBILENET_GROUPS:
        for index in range(num_blocks):
            layers.append(
                BlockPlan(
                    f"features.{len(layers) + 1}",
                    "inverted",
                    channels,
                    out_channels,
                    stride=group_stride if index == 0 else 1,
                    dilation=first_dilation if index == 0 else dilation,
                    expand=expand,
                )
            )
            channels = out_channels
    layers.append(BlockPlan("aspp", "aspp", channels, 128))
    return BackbonePlan(3, 2, False, tuple(layers), 2, DecoderPlan(48, 128, True))


def _resnet(kind: Literal["basic", "bottleneck"], num_blocks: tuple[int, ...]) -> BackbonePlan:
    """Return a ResNet at output stride 16 with ASPP: the last stage is dilated instead of strided."""
    layers: list[BlockPlan] = []
    channels = 64
    for stage, count in enumerate(num_blocks):
        for index in range(count):
            out_channels = (64 << stage) * (1 if kind == "basic" else 4)
            stride = 2 if index == 0 and stage in (1, 2) else 1
            # As in torchvision's replace_stride_with_dilation, the block that lost its stride is not yet dilated.
            dilation = 2 if index > 0 and stage == 3 else 1
            layers.append(BlockPlan(f"layer{stage + 1}.{index}", kind, channels, out_channels, stride, dilation))
            channels = out_channels
    layers.append(BlockPlan("aspp", "aspp", channels, 256, rates=(6, 12, 18)))
    return BackbonePlan(7, 2, True, tuple(layers), num_blocks[0] - 1, DecoderPlan(48, 256, False))


_PLANS: dict[str, BackbonePlan] = {
    "tiny4": _tiny(4),
    "tiny8": _tiny(8),
    "tiny16": _tiny(16),
    "mobilenet_v2": _mobilenet_v2(),
    "resnet18": _resnet("basic", (2, 2, 2, 2)),
    "resnet34": _resnet("basic", (3, 4, 6, 3)),
    "resnet50": _resnet("bottleneck", (3, 4, 6, 3)),
    "resnet101": _resnet("bottleneck", (3, 4, 23, 3)),
}
