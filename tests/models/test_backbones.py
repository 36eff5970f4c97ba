"""The backbones: layers, strides, names and sizes."""

import pytest
import torch
from torch import nn

from models.backbones import get_backbone
from models.catalogue import BACKBONES, check_input_size
from models.encoder import Backbone
from models.errors import InputSizeError, UnknownBackboneError

IMAGENET = [name for name in BACKBONES if not name.startswith("tiny")]

# Parameters of torchvision's networks without what the encoder drops (classifier, MobileNetV2's last convolution).
TORCHVISION_PARAMS = {
    "mobilenet_v2": 3_504_872 - 1_281_000 - 412_160,
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
}


def build_parts(backbone: Backbone, image_channels: int = 3) -> list[nn.Module]:
    """Return a fresh stem and layers."""
    return [backbone.build_stem(image_channels), *(layer.build() for layer in backbone.layers)]


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_have_the_channels_and_strides_they_name(name: str) -> None:
    """Every layer divides height and width by its stride, rounding up, and gives the channels of the table."""
    backbone = get_backbone(name)
    with torch.device("meta"):
        stem, *ops = build_parts(backbone)
        features_BCHW = stem(torch.empty(2, 3, 75, 90))
        for layer, op in zip(backbone.layers, ops, strict=True):
            height, width = (-(-side // layer.stride) for side in features_BCHW.shape[2:])
            features_BCHW = op(features_BCHW)
            assert features_BCHW.shape == (2, layer.out_channels, height, width)


@pytest.mark.parametrize("name", IMAGENET)
def test_low_level_features_have_a_quarter_of_the_size(name: str) -> None:
    """The decoders' second input lies at stride 4, with 24 channels in MobileNetV2."""
    backbone = get_backbone(name)
    strides = [layer.stride for layer in backbone.layers[: backbone.low_level_layer + 1]]
    stem_stride = 2 if name == "mobilenet_v2" else 4
    assert stem_stride * torch.tensor(strides).prod() == 4
    assert name != "mobilenet_v2" or backbone.layers[backbone.low_level_layer].out_channels == 24


def test_tiny_networks_have_the_strides_of_the_planted_benchmark() -> None:
    """Five blocks of one width with strides 1, 2, 1, 2, 1 behind an unstrided stem."""
    backbone = get_backbone("tiny8")
    assert [(layer.name, layer.stride, layer.out_channels) for layer in backbone.layers] == [
        (f"blocks.{index}", stride, 8) for index, stride in enumerate((1, 2, 1, 2, 1))
    ]
    assert backbone.build_stem(1)(torch.zeros(2, 1, 24, 24)).shape == (2, 8, 24, 24)


def test_mobilenet_is_dilated_behind_the_stride_it_left_out() -> None:
    """The first 160-channel block is neither strided nor dilated, the three after it have dilation 2."""
    depthwise = {}
    for layer in get_backbone("mobilenet_v2").layers[:-1]:
        convolutions = [part for part in layer.build().modules() if isinstance(part, nn.Conv2d) and part.groups > 1]
        depthwise[layer.name] = (convolutions[0].stride[0], convolutions[0].dilation[0])
    strided = {"features.2", "features.4", "features.7"}
    dilated = {"features.15", "features.16", "features.17"}
    assert {name for name, (stride, _) in depthwise.items() if stride == 2} == strided
    assert {name for name, (_, dilation) in depthwise.items() if dilation == 2} == dilated


@pytest.mark.parametrize("name", IMAGENET)
def test_encoders_have_as_many_parameters_as_torchvisions(name: str) -> None:
    """Stem and blocks together hold exactly what torchvision's network holds before its classifier."""
    with torch.device("meta"):
        parts = build_parts(get_backbone(name))[:-1]
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) == TORCHVISION_PARAMS[name]


@pytest.mark.parametrize("name", ["tiny4", "mobilenet_v2", "resnet18"])
def test_one_image_of_the_smallest_size_trains(name: str) -> None:
    """The whole encoder runs forward and backward on one grey image; gradients are finite."""
    backbone = get_backbone(name)
    encoder = nn.Sequential(*build_parts(backbone, image_channels=1))
    encoder(torch.randn(1, 1, backbone.info.min_size, backbone.info.min_size)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_every_build_draws_anew() -> None:
    """Two ops of one layer start from different weights, and the same seed gives the same op."""
    layer = get_backbone("mobilenet_v2").layers[3]
    torch.manual_seed(5)
    first, second = (next(layer.build().parameters()) for _ in range(2))
    torch.manual_seed(5)
    assert not torch.equal(first, second)
    assert torch.equal(first, next(layer.build().parameters()))


def test_too_small_images_are_refused_with_the_smallest_size() -> None:
    """The sentence names the smallest size and what was asked for."""
    check_input_size(BACKBONES["mobilenet_v2"], (32, 32))
    with pytest.raises(InputSizeError, match="at least 32x32 pixels, got 512x31"):
        check_input_size(BACKBONES["mobilenet_v2"], (512, 31))


def test_unknown_backbones_are_refused() -> None:
    """A name outside the table raises the room's own error."""
    with pytest.raises(UnknownBackboneError, match="resnet152"):
        get_backbone("resnet152")
