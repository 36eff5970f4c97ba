"""Each backbone as a stem and an ordered list of searchable layers that can be built; others than these by name too.

`models.catalogue` and `models.plans` hold the facts and numbers that need no torch; `models.heads` puts decoders on
top, `models.pretrained` weights in. Parameter names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from models.blocks import (
    ASPP,
    Activation,
    BasicBlock,
    Bottleneck,
    ConvNormAct,
    InvertedResidual,
    ResNetStem,
    init_like_torchvision,
)
from models.catalogue import BACKBONES
from models.custom import load_custom
from models.encoder import Backbone, DecoderSpec, Layer
from models.foreign import get_foreign
from models.plans import BackbonePlan, BlockPlan, DecoderPlan, get_plan


def _initialised(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a fresh module, drawn as torchvision draws it."""
    return init_like_torchvision(make())


def _build_tiny_stem(image_channels: int, width: int) -> nn.Module:
    """Return the stem of the tiny family: one block of stride 1."""
    return ConvNormAct(image_channels, width)


def _build_mobilenet_stem(image_channels: int) -> nn.Module:
    """Return torchvision's `features.0`."""
    return init_like_torchvision(ConvNormAct(image_channels, 32, stride=2, activation=nn.ReLU6))


def _build_resnet_stem(image_channels: int) -> nn.Module:
    """Return torchvision's `conv1`, `bn1`, `relu` and `maxpool`."""
    return init_like_torchvision(ResNetStem(image_channels))


def _build_block(plan: BlockPlan, activation: Activation) -> nn.Module:
    """Return the op of a plan, with torch's own initialisation."""
    channels = (plan.in_channels, plan.out_channels)
    match plan.kind:
        case "conv":
            return ConvNormAct(*channels, stride=plan.stride)
        case "inverted":
            return InvertedResidual(*channels, stride=plan.stride, expand=plan.expand, dilation=plan.dilation)
        case "basic":
            return BasicBlock(*channels, stride=plan.stride, dilation=plan.dilation)
        case "bottleneck":
            width = plan.out_channels // Bottleneck.expansion
            return Bottleneck(plan.in_channels, width, stride=plan.stride, dilation=plan.dilation)
        case "aspp":
            return ASPP(*channels, rates=plan.rates, activation=activation)


def _tiny(name: str, width: int) -> Backbone:
    """Return the planted benchmark's network, with torch's own initialisation."""
    plan = get_plan(name)
    return Backbone(
        info=BACKBONES[name],
        build_stem=partial(_build_tiny_stem, width=width),
        layers=tuple(
            Layer(block.name, partial(_build_block, block, nn.ReLU), block.out_channels, block.stride)
            for block in plan.layers
        ),
        low_level_layer=plan.low_level_layer,
        decoder=_decoder(plan.decoder, nn.ReLU, "max", torchvision_init=False),
        stem_prefixes={"stem.": ""},
    )


def _mobilenet_v2() -> Backbone:
    """Return MobileNetV2 at output stride 16 with R-ASPP."""
    plan = get_plan("mobilenet_v2")
    return Backbone(
        info=BACKBONES["mobilenet_v2"],
        build_stem=_build_mobilenet_stem,
        layers=_initialised_layers(plan, nn.ReLU6),
        low_level_layer=plan.low_level_layer,
        decoder=_decoder(plan.decoder, nn.ReLU6, "average"),
        stem_prefixes={"features.0.": ""},
        dropped_prefixes=("features.18.", "classifier."),
    )


def _resnet(name: str) -> Backbone:
    """Return a ResNet at output stride 16 with ASPP."""
    plan = get_plan(name)
    return Backbone(
        info=BACKBONES[name],
        build_stem=_build_resnet_stem,
        layers=_initialised_layers(plan, nn.ReLU),
        low_level_layer=plan.low_level_layer,
        decoder=_decoder(plan.decoder, nn.ReLU, "average"),
        stem_prefixes={"conv1.": "conv1.", "bn1.": "bn1."},
        dropped_prefixes=("fc.",),
    )


def _initialised_layers(plan: BackbonePlan, activation: Activation) -> tuple[Layer, ...]:
    """Return the layers of a plan, drawn as torchvision draws them."""
    return tuple(
        Layer(
            block.name,
            partial(_initialised, partial(_build_block, block, activation)),
            block.out_channels,
            block.stride,
            {} if block.kind == "aspp" else None,
        )
        for block in plan.layers
    )


def _decoder(
    plan: DecoderPlan,
    activation: Activation,
    label_pool: Literal["average", "max"],
    *,
    torchvision_init: bool = True,
) -> DecoderSpec:
    """Return how the heads on a backbone look."""
    return DecoderSpec(plan.low_level_channels, plan.channels, plan.separable, activation, label_pool, torchvision_init)


_TABLE: dict[str, Backbone] = {
    "tiny4": _tiny("tiny4", 4),
    "tiny8": _tiny("tiny8", 8),
    "tiny16": _tiny("tiny16", 16),
    "mobilenet_v2": _mobilenet_v2(),
    **{name: _resnet(name) for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
}


def get_backbone(name: str) -> Backbone:
    """Return the backbone of that name, one of the table or one that another package brings.

    Raises:
        UnknownBackboneError: No such backbone.
        ForeignBackboneError, CutError: Another package brings it, and it cannot be used or cut.
    """
    return _TABLE[name] if name in _TABLE else load_custom(get_foreign(name))
