"""The backbones: layers, strides, names, and how torchvision's weights map on to them."""

import pytest
import torch
from torch import Tensor, nn

from models.backbones import Backbone, get_backbone, split_pretrained
from models.catalogue import BACKBONES, check_input_size
from models.errors import InputSizeError, PretrainedWeightsError, UnknownBackboneError

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


def fake_weights(backbone: Backbone) -> dict[str, Tensor]:
    """Return random weights under torchvision's names, with a classifier."""
    stem, *layers = build_parts(backbone)
    to_torchvision = {ours: theirs for theirs, ours in backbone.stem_prefixes.items()}
    weights: dict[str, Tensor] = {}
    for key, tensor in stem.state_dict().items():
        ours = next(prefix for prefix in to_torchvision if key.startswith(prefix))
        weights[to_torchvision[ours] + key.removeprefix(ours)] = tensor
    for layer, op in zip(backbone.layers, layers, strict=True):
        if layer.name != "aspp":
            weights.update({f"{layer.name}.{key}": tensor for key, tensor in op.state_dict().items()})
    return {**weights, f"{backbone.dropped_prefixes[-1]}weight": torch.zeros(1)}


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


@pytest.mark.parametrize(
    ("name", "key", "shape"),
    [
        ("mobilenet_v2", "features.0.0.weight", (32, 3, 3, 3)),
        ("mobilenet_v2", "features.1.conv.0.0.weight", (32, 1, 3, 3)),
        ("mobilenet_v2", "features.1.conv.2.running_mean", (16,)),
        ("mobilenet_v2", "features.17.conv.2.weight", (320, 960, 1, 1)),
        ("resnet18", "layer4.0.downsample.0.weight", (512, 256, 1, 1)),
        ("resnet50", "conv1.weight", (64, 3, 7, 7)),
        ("resnet50", "layer1.0.downsample.1.bias", (256,)),
        ("resnet50", "layer3.5.conv2.weight", (256, 256, 3, 3)),
    ],
)
def test_parameter_names_are_torchvisions(name: str, key: str, shape: tuple[int, ...]) -> None:
    """Well-known keys of torchvision's weight files exist here with their shapes."""
    assert tuple(fake_weights(get_backbone(name))[key].shape) == shape


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50"])
def test_pretrained_weights_load_into_their_parts(name: str) -> None:
    """Each part takes its share of the file strictly; ASPP gets none."""
    backbone = get_backbone(name)
    weights = fake_weights(backbone)
    parts = split_pretrained(backbone, weights)
    stem, *ops = build_parts(backbone)
    stem.load_state_dict(parts.stem)
    assert parts.layers[-1] is None
    for layer, op, part in zip(backbone.layers[:-1], ops[:-1], parts.layers[:-1], strict=True):
        assert part is not None
        op.load_state_dict(part)
        assert all(torch.equal(tensor, weights[f"{layer.name}.{key}"]) for key, tensor in op.state_dict().items())


def test_weight_files_without_batch_counters_load_too() -> None:
    """Old files lack num_batches_tracked; the parts still load strictly."""
    backbone = get_backbone("resnet18")
    weights = {key: tensor for key, tensor in fake_weights(backbone).items() if "num_batches" not in key}
    part = split_pretrained(backbone, weights).layers[0]
    assert part is not None
    backbone.layers[0].build().load_state_dict(part)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("layer9.0.conv1.weight", (1,), r"no parameter 'layer9\.0\.conv1\.weight'"),
        ("layer1.0.conv7.weight", (1,), r"no parameter 'conv7\.weight' in layer1\.0"),
        ("layer1.0.conv1.weight", None, r"needs 'conv1\.weight' in layer1\.0, which the file lacks"),
        ("conv1.weight", (64, 1, 7, 7), r"'conv1\.weight' in stem of shape \(64, 3, 7, 7\), got \(64, 1, 7, 7\)"),
    ],
)
def test_foreign_weight_files_are_refused(key: str, shape: tuple[int, ...] | None, message: str) -> None:
    """An unknown, missing or misshapen parameter is named, with its shapes where they differ."""
    weights = fake_weights(get_backbone("resnet18"))
    if shape is None:
        del weights[key]
    else:
        weights[key] = torch.zeros(shape)
    with pytest.raises(PretrainedWeightsError, match=message):
        split_pretrained(get_backbone("resnet18"), weights)


def test_tiny_networks_have_no_pretrained_weights() -> None:
    """The error says to leave the file out."""
    with pytest.raises(PretrainedWeightsError, match=r"tiny4.*Leave the weight file out"):
        split_pretrained(get_backbone("tiny4"), {})


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
