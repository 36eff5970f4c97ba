"""One visible table: each backbone as a stem and an ordered list of searchable layers, and where its weights come from.

`models.catalogue` holds the facts that need no torch; `models.heads` puts decoders on top. Parameter names are
torchvision's. Sources: method of Bruggemann et al., BMVC 2020; Sandler et al., CVPR 2018; He et al., CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

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
from models.catalogue import BACKBONES, BackboneInfo, get_backbone_info
from models.errors import InputSizeError, PretrainedWeightsError

_COUNTER = "num_batches_tracked"  # the files of old torchvision versions lack it


@dataclass(frozen=True)
class Layer:
    """One searchable encoder layer.

    Attributes:
        name: torchvision's parameter prefix, such as "features.4" or "layer1.0"; "aspp" has no counterpart there.
        build: Returns a fresh, randomly initialised op.
        out_channels: C of its output.
        stride: Input pixels per output pixel.
    """

    name: str
    build: Callable[[], nn.Module]
    out_channels: int
    stride: int


@dataclass(frozen=True)
class DecoderSpec:
    """How the heads on a backbone look.

    Attributes:
        low_level_channels: C that the low-level features are reduced to.
        channels: C of the two refining convolutions.
        separable: Whether these are depthwise separable or full 3x3 convolutions.
        activation: Class of every activation.
        label_pool: How a label head pools over the image.
        torchvision_init: Whether bias-free convolutions are drawn as torchvision does, or left to torch.
    """

    low_level_channels: int
    channels: int
    separable: bool
    activation: Activation
    label_pool: Literal["average", "max"]
    torchvision_init: bool = True


@dataclass(frozen=True)
class Backbone:
    """An encoder: a shared stem, then layers of which every task may get its own copy.

    Attributes:
        info: The facts that need no torch.
        build_stem: Takes the channels of an image, returns a fresh stem.
        layers: L searchable layers in order.
        low_level_layer: Index of the layer whose output is the decoders' second input.
        decoder: How the heads on it look.
        stem_prefixes: torchvision's parameter prefix -> prefix inside the stem; empty where no weights are published.
        dropped_prefixes: torchvision's parameters that this encoder knowingly leaves out.
    """

    info: BackboneInfo
    build_stem: Callable[[int], nn.Module]
    layers: tuple[Layer, ...]
    low_level_layer: int
    decoder: DecoderSpec
    stem_prefixes: Mapping[str, str] = field(default_factory=dict)
    dropped_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PretrainedParts:
    """A torchvision weight file cut into the parts of a backbone.

    Attributes:
        stem: State dict of the stem (for images of 3 channels).
        layers: State dict of each layer; None for a layer that torchvision has no weights for (ASPP).
    """

    stem: dict[str, Tensor]
    layers: tuple[dict[str, Tensor] | None, ...]


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


def _tiny(name: str, width: int) -> Backbone:
    """Return the planted benchmark's network, with torch's own initialisation."""
    layers = tuple(
        Layer(f"blocks.{index}", partial(ConvNormAct, width, width, stride=stride), width, stride)
        for index, stride in enumerate((1, 2, 1, 2, 1))
    )
    return Backbone(
        info=BACKBONES[name],
        build_stem=partial(_build_tiny_stem, width=width),
        layers=layers,
        low_level_layer=0,
        decoder=DecoderSpec(width, 2 * width, True, nn.ReLU, "max", torchvision_init=False),
    )


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


def _mobilenet_v2() -> Backbone:
    """Return MobileNetV2 at output stride 16 with R-ASPP."""
    layers: list[Layer] = []
    channels = 32
    for out_channels, num_blocks, group_stride, expand, first_dilation, dilation in _MOBILENET_GROUPS:
        for index in range(num_blocks):
            stride = group_stride if index == 0 else 1
            make = partial(
                InvertedResidual,
                channels,
                out_channels,
                stride=stride,
                expand=expand,
                dilation=first_dilation if index == 0 else dilation,
            )
            layers.append(Layer(f"features.{len(layers) + 1}", partial(_initialised, make), out_channels, stride))
            channels = out_channels
    layers.append(_aspp(channels, 128, (), nn.ReLU6))
    return Backbone(
        info=BACKBONES["mobilenet_v2"],
        build_stem=_build_mobilenet_stem,
        layers=tuple(layers),
        low_level_layer=2,
        decoder=DecoderSpec(48, 128, True, nn.ReLU6, "average"),
        stem_prefixes={"features.0.": ""},
        dropped_prefixes=("features.18.", "classifier."),
    )


def _resnet(name: str, block: type[BasicBlock] | type[Bottleneck], num_blocks: tuple[int, ...]) -> Backbone:
    """Return a ResNet at output stride 16 with ASPP: the last stage is dilated instead of strided."""
    layers: list[Layer] = []
    channels = 64
    for stage, count in enumerate(num_blocks):
        for index in range(count):
            stride = 2 if index == 0 and stage in (1, 2) else 1
            # As in torchvision's replace_stride_with_dilation, the block that lost its stride is not yet dilated.
            dilation = 2 if index > 0 and stage == 3 else 1
            width = 64 << stage
            make = partial(block, channels, width, stride=stride, dilation=dilation)
            channels = width * block.expansion
            layers.append(Layer(f"layer{stage + 1}.{index}", partial(_initialised, make), channels, stride))
    layers.append(_aspp(channels, 256, (6, 12, 18), nn.ReLU))
    return Backbone(
        info=BACKBONES[name],
        build_stem=_build_resnet_stem,
        layers=tuple(layers),
        low_level_layer=num_blocks[0] - 1,
        decoder=DecoderSpec(48, 256, False, nn.ReLU, "average"),
        stem_prefixes={"conv1.": "conv1.", "bn1.": "bn1."},
        dropped_prefixes=("fc.",),
    )


def _aspp(in_channels: int, out_channels: int, rates: tuple[int, ...], activation: Activation) -> Layer:
    """Return the last searchable layer of the ImageNet families."""
    make = partial(ASPP, in_channels, out_channels, rates=rates, activation=activation)
    return Layer("aspp", partial(_initialised, make), out_channels, 1)


_TABLE: dict[str, Backbone] = {
    "tiny4": _tiny("tiny4", 4),
    "tiny8": _tiny("tiny8", 8),
    "tiny16": _tiny("tiny16", 16),
    "mobilenet_v2": _mobilenet_v2(),
    "resnet18": _resnet("resnet18", BasicBlock, (2, 2, 2, 2)),
    "resnet34": _resnet("resnet34", BasicBlock, (3, 4, 6, 3)),
    "resnet50": _resnet("resnet50", Bottleneck, (3, 4, 6, 3)),
    "resnet101": _resnet("resnet101", Bottleneck, (3, 4, 23, 3)),
}


def get_backbone(name: str) -> Backbone:
    """Return the backbone of that name.

    Raises:
        UnknownBackboneError: No such backbone.
    """
    return _TABLE[get_backbone_info(name).name]


def check_input_size(backbone: BackboneInfo | Backbone, size: tuple[int, int]) -> None:
    """Refuse an image size that is too small for the strides of a backbone.

    Args:
        backbone: The backbone or its facts.
        size: (H, W) in pixels.

    Raises:
        InputSizeError: Height or width lies below the smallest side.
    """
    info = backbone.info if isinstance(backbone, Backbone) else backbone
    if min(size) < info.min_size:
        raise InputSizeError(
            f"Backbone '{info.name}' needs images of at least {info.min_size}x{info.min_size} pixels, "
            f"got {size[0]}x{size[1]}. Choose a larger size or a smaller backbone."
        )


def split_pretrained(backbone: Backbone, state_dict: Mapping[str, Tensor]) -> PretrainedParts:
    """Return torchvision's ImageNet weights cut into the parts of a backbone, each ready for `load_state_dict`.

    Args:
        backbone: The encoder they are meant for.
        state_dict: What torchvision's weight file of the same network holds.

    Raises:
        PretrainedWeightsError: No weights exist for this backbone, or a parameter is unknown, missing or misshapen.
    """
    if not backbone.stem_prefixes:
        raise PretrainedWeightsError(
            f"Backbone '{backbone.info.name}' has no ImageNet weights. Leave the weight file out to train from scratch."
        )
    stem: dict[str, Tensor] = {}
    layers: dict[str, dict[str, Tensor]] = {layer.name: {} for layer in backbone.layers if layer.name != "aspp"}
    for key, tensor in state_dict.items():
        if key.startswith(backbone.dropped_prefixes):
            continue
        layer_name = ".".join(key.split(".")[:2])
        prefix = next((prefix for prefix in backbone.stem_prefixes if key.startswith(prefix)), None)
        if prefix is not None:
            stem[backbone.stem_prefixes[prefix] + key.removeprefix(prefix)] = tensor
        elif layer_name in layers:
            layers[layer_name][key.removeprefix(f"{layer_name}.")] = tensor
        else:
            raise _misfit(backbone, f"has no parameter '{key}'")
    with torch.device("meta"):
        _check_part(backbone, "stem", stem, backbone.build_stem(3))
        for layer in backbone.layers:
            if layer.name in layers:
                _check_part(backbone, layer.name, layers[layer.name], layer.build())
    return PretrainedParts(stem, tuple(layers.get(layer.name) for layer in backbone.layers))


def _check_part(backbone: Backbone, part: str, weights: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse weights of one part that lack a parameter, have one too many or one of another shape."""
    expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
    for key in weights:
        if key not in expected:
            raise _misfit(backbone, f"has no parameter '{key}' in {part}")
    for key, shape in expected.items():
        if key not in weights:
            if not key.endswith(_COUNTER):
                raise _misfit(backbone, f"needs '{key}' in {part}, which the file lacks")
        elif weights[key].shape != shape:
            seen = tuple(weights[key].shape)
            raise _misfit(backbone, f"needs '{key}' in {part} of shape {tuple(shape)}, got {seen}")


def _misfit(backbone: Backbone, finding: str) -> PretrainedWeightsError:
    """Return the error that says why a weight file does not fit."""
    name = backbone.info.name
    return PretrainedWeightsError(f"Backbone '{name}' {finding}. Give torchvision's ImageNet weights of '{name}'.")
