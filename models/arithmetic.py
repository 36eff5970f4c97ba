"""Multiply-adds and parameters of every part of a network by arithmetic on shapes, for those who must not load torch.

A MAdd is one multiplication with its addition in a convolution or a linear layer. Batch norm folds away at inference;
activations, pooling and resizing are not counted. `search.costs.lut` measures the same on the networks themselves, and
a test holds the two together for every backbone. Shapes: C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.catalogue import HeadSpec
from models.plans import BackbonePlan, BlockPlan, DecoderPlan, get_plan


@dataclass(frozen=True)
class PartCost:
    """What one part of a network costs.

    Attributes:
        madds: Multiply-adds on one image.
        params: Parameters, with the affine ones of every batch norm.
    """

    madds: int
    params: int

    def __add__(self, other: PartCost) -> PartCost:
        """Return the cost of both."""
        return PartCost(self.madds + other.madds, self.params + other.params)


@dataclass(frozen=True)
class PartCosts:
    """The cost of each part: the stem, one copy of each of L layers, and the heads in the order they were asked for."""

    stem: PartCost
    layers: tuple[PartCost, ...]
    heads: tuple[PartCost, ...]


@dataclass(frozen=True)
class _Maps:
    """The shape of feature maps: channels, height and width in pixels."""

    channels: int
    height: int
    width: int

    def after(self, channels: int, stride: int) -> _Maps:
        """Return the shape behind a convolution: here the padding always rounds a strided size up."""
        return _Maps(channels, -(-self.height // stride), -(-self.width // stride))


_NOTHING = PartCost(0, 0)


def compute_part_costs(
    backbone_name: str, image_channels: int, size: tuple[int, int], heads: Sequence[HeadSpec]
) -> PartCosts:
    """Return the cost of every part of a network.

    Args:
        backbone_name: Key of `models.catalogue.BACKBONES`.
        image_channels: C of the images.
        size: (H, W) of the images, in pixels; `models.catalogue.check_input_size` says which are too small.
        heads: What each head gives.

    Raises:
        UnknownBackboneError: No such backbone.
    """
    plan = get_plan(backbone_name)
    stem, maps = _count_stem(plan, _Maps(image_channels, *size))
    layers: list[PartCost] = []
    low_level = maps
    for index, block in enumerate(plan.layers):
        layers.append(_count_block(block, maps))
        maps = maps.after(block.out_channels, block.stride)
        if index == plan.low_level_layer:
            low_level = maps
    counted = tuple(
        _count_dense_head(plan.decoder, maps, low_level, head.channels) if head.dense else _count_label_head(maps, head)
        for head in heads
    )
    return PartCosts(stem, tuple(layers), counted)


def _count_stem(plan: BackbonePlan, image: _Maps) -> tuple[PartCost, _Maps]:
    """Return the cost of the stem and the shape of what it puts out."""
    channels = plan.layers[0].in_channels
    maps = image.after(channels, plan.stem_stride)
    cost = _count_conv(image, channels, kernel=plan.stem_kernel, stride=plan.stem_stride)
    return cost, maps.after(channels, 2) if plan.stem_pools else maps


def _count_block(block: BlockPlan, maps: _Maps) -> PartCost:
    """Return the cost of one searchable layer on feature maps of this shape."""
    match block.kind:
        case "conv":
            return _count_conv(maps, block.out_channels, stride=block.stride)
        case "inverted":
            return _count_inverted(block, maps)
        case "basic" | "bottleneck":
            return _count_residual(block, maps)
        case "aspp":
            return _count_aspp(block, maps)


def _count_inverted(block: BlockPlan, maps: _Maps) -> PartCost:
    """Return the cost of an inverted residual: expand, depthwise 3x3, project."""
    hidden = maps.after(maps.channels * block.expand, 1)
    expand = _NOTHING if block.expand == 1 else _count_conv(maps, hidden.channels, kernel=1)
    depthwise = _count_depthwise(hidden, stride=block.stride)
    return expand + depthwise + _count_conv(hidden.after(hidden.channels, block.stride), block.out_channels, kernel=1)


def _count_residual(block: BlockPlan, maps: _Maps) -> PartCost:
    """Return the cost of a block of ResNet with its shortcut."""
    out = block.out_channels
    same_shape = block.stride == 1 and maps.channels == out
    shortcut = _NOTHING if same_shape else _count_conv(maps, out, kernel=1, stride=block.stride)
    if block.kind == "basic":
        return _count_conv(maps, out, stride=block.stride) + _count_conv(maps.after(out, block.stride), out) + shortcut
    width = out // 4
    reduced = maps.after(width, 1)
    middle = _count_conv(maps, width, kernel=1) + _count_conv(reduced, width, stride=block.stride)
    return middle + _count_conv(reduced.after(width, block.stride), out, kernel=1) + shortcut


def _count_aspp(block: BlockPlan, maps: _Maps) -> PartCost:
    """Return the cost of the pyramid: a 1x1 branch, dilated 3x3 branches, image pooling and the projection."""
    out = block.out_channels
    branches = _sum(_count_conv(maps, out, kernel=kernel) for kernel in (1, *(3 for _ in block.rates)))
    pooling = _count_conv(_Maps(maps.channels, 1, 1), out, kernel=1)
    joined = maps.after((len(block.rates) + 2) * out, 1)
    return branches + pooling + _count_conv(joined, out, kernel=1)


def _count_dense_head(decoder: DecoderPlan, maps: _Maps, low_level: _Maps, channels: int) -> PartCost:
    """Return the cost of a DeepLabv3+ decoder."""
    reduced = low_level.after(decoder.low_level_channels, 1)
    joined = low_level.after(maps.channels + reduced.channels, 1)
    refined = low_level.after(decoder.channels, 1)
    convolutions = _sum(_count_refining(decoder, taken) for taken in (joined, refined))
    logits = _count_conv(refined, channels, kernel=1, has_bias=True)
    return _count_conv(low_level, reduced.channels, kernel=1) + convolutions + logits


def _count_refining(decoder: DecoderPlan, maps: _Maps) -> PartCost:
    """Return the cost of one refining convolution of a decoder."""
    if not decoder.separable:
        return _count_conv(maps, decoder.channels)
    return _count_depthwise(maps) + _count_conv(maps, decoder.channels, kernel=1)


def _count_label_head(maps: _Maps, head: HeadSpec) -> PartCost:
    """Return the cost of pooling and one linear layer."""
    return PartCost(maps.channels * head.channels, (maps.channels + 1) * head.channels)


def _count_conv(
    maps: _Maps, out_channels: int, *, kernel: int = 3, stride: int = 1, has_bias: bool = False
) -> PartCost:
    """Return the cost of a convolution that has a bias or, where it has none, is followed by batch norm."""
    out = maps.after(out_channels, stride)
    weights = kernel * kernel * maps.channels * out_channels
    return PartCost(weights * out.height * out.width, weights + out_channels * (1 if has_bias else 2))


def _count_depthwise(maps: _Maps, *, stride: int = 1) -> PartCost:
    """Return the cost of a 3x3 convolution of every channel by itself, and its batch norm."""
    out = maps.after(maps.channels, stride)
    return PartCost(9 * out.channels * out.height * out.width, (9 + 2) * out.channels)


def _sum(costs: Iterable[PartCost]) -> PartCost:
    """Return the cost of all."""
    return sum(costs, _NOTHING)
