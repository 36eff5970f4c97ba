"""Weight files cut into the parts of a backbone, and networks that start from the parts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.encoder import Backbone
from models.errors import PretrainedWeightsError
from models.pretrained import split_pretrained, start_from
from models.supergraph import Supergraph

HEADS = {"left": HeadSpec(dense=True, channels=3), "right": HeadSpec(dense=False, channels=2)}


def fake_weights(backbone: Backbone) -> dict[str, Tensor]:
    """Return random weights under the names of a file of the whole network, with a classifier."""
    torch.manual_seed(11)
    stem, ops = backbone.build_stem(3), [layer.build() for layer in backbone.layers]
    to_torchvision = {ours: theirs for theirs, ours in backbone.stem_prefixes.items()}
    weights: dict[str, Tensor] = {}
    for key, tensor in stem.state_dict().items():
        ours = next(prefix for prefix in to_torchvision if key.startswith(prefix))
        weights[to_torchvision[ours] + key.removeprefix(ours)] = tensor
    for layer, op in zip(backbone.layers, ops, strict=True):
        if layer.name != "aspp":
            weights.update({f"{layer.name}.{key}": tensor for key, tensor in op.state_dict().items()})
    dropped = {f"{prefix}weight": torch.zeros(7) for prefix in backbone.dropped_prefixes[-1:]}
    return {key: torch.rand_like(tensor.float()).to(tensor.dtype) for key, tensor in weights.items()} | dropped


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


@pytest.mark.parametrize("name", ["tiny4", "mobilenet_v2", "resnet18", "resnet50"])
def test_weights_load_into_their_parts(name: str) -> None:
    """Each part takes its share of the file strictly; ASPP gets none, and the classifier is counted as left out."""
    backbone = get_backbone(name)
    weights = fake_weights(backbone)
    parts = split_pretrained(backbone, weights)
    backbone.build_stem(3).load_state_dict(parts.stem)
    assert parts.num_dropped == (0 if name == "tiny4" else 7)
    for layer, part in zip(backbone.layers, parts.layers, strict=True):
        assert (part is None) == (layer.name == "aspp")
        if part is not None:
            op = layer.build()
            op.load_state_dict(part)
            assert all(torch.equal(tensor, weights[f"{layer.name}.{key}"]) for key, tensor in op.state_dict().items())


def test_files_without_batch_counters_load_too() -> None:
    """Old files lack num_batches_tracked; the parts are accepted all the same."""
    backbone = get_backbone("resnet18")
    weights = {key: tensor for key, tensor in fake_weights(backbone).items() if "num_batches" not in key}
    part = split_pretrained(backbone, weights).layers[0]
    assert part is not None
    backbone.layers[0].build().load_state_dict(part)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layer9.0.conv1.weight", torch.zeros(1), r"no parameter 'layer9\.0\.conv1\.weight'"),
        ("layer1.0.conv7.weight", torch.zeros(1), r"no parameter 'conv7\.weight' in layer1\.0"),
        ("layer1.0.conv1.weight", None, r"needs 'conv1\.weight' in layer1\.0, which the file lacks"),
        ("conv1.weight", torch.zeros(64, 1, 7, 7), r"in stem of shape \(64, 3, 7, 7\), got \(64, 1, 7, 7\)"),
        ("bn1.weight", torch.full((64,), torch.nan), r"finite numbers in 'bn1\.weight' in stem"),
        ("bn1.weight", torch.zeros(64, dtype=torch.complex64), r"plain floating-point numbers, got torch\.complex64"),
        ("bn1.weight", torch.zeros(64).to_sparse(), r"plain floating-point numbers"),
        ("bn1.weight", torch.zeros(64, device="meta"), r"plain floating-point numbers"),
    ],
)
def test_files_that_do_not_fit_are_refused(key: str, value: Tensor | None, message: str) -> None:
    """An unknown, missing, misshapen or unusable parameter is named."""
    weights = fake_weights(get_backbone("resnet18"))
    if value is None:
        del weights[key]
    else:
        weights[key] = value
    with pytest.raises(PretrainedWeightsError, match=message):
        split_pretrained(get_backbone("resnet18"), weights)


@pytest.mark.parametrize("name", ["tiny4", "resnet18"])
def test_all_ops_of_a_supergraph_start_alike(name: str) -> None:
    """Every op of a layer holds the file's weights but for its last affine; loaded and new add up to the network."""
    backbone = get_backbone(name)
    network = Supergraph(backbone, HEADS, 3)
    parts = split_pretrained(backbone, fake_weights(backbone))
    account = start_from(network, parts)
    for ops, part in zip(network.layers, parts.layers, strict=True):
        assert isinstance(ops, nn.ModuleList)
        for op in ops if part is not None else []:
            assert part is not None
            assert all(torch.equal(tensor, part[key]) for key, tensor in op.state_dict().items())
    assert account.loaded + account.new == sum(parameter.numel() for parameter in network.parameters())
    fresh = [ops for ops, part in zip(network.layers, parts.layers, strict=True) if part is None]
    assert account.new == sum(p.numel() for part in (*fresh, network.heads) for p in part.parameters())


def test_heads_keep_the_weights_of_the_seed() -> None:
    """A network that starts from a file has the heads that the seed would have drawn anyway."""
    backbone = get_backbone("tiny4")
    networks = []
    for _ in range(2):
        torch.manual_seed(2)
        networks.append(BranchedNetwork(backbone, HEADS, 3, Branching.shared(list(HEADS), 5)))
    start_from(networks[0], split_pretrained(backbone, fake_weights(backbone)))
    heads = [network.heads.state_dict() for network in networks]
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])
    assert not torch.equal(*(next(network.layers.parameters()) for network in networks))


def test_grey_images_get_a_first_convolution_of_their_own() -> None:
    """Only the convolution that sees the image is new in the stem; its norm starts from the file."""
    backbone = get_backbone("tiny4")
    network = BranchedNetwork(backbone, HEADS, 1, Branching.shared(list(HEADS), 5))
    parts = split_pretrained(backbone, fake_weights(backbone))
    account = start_from(network, parts)
    assert torch.equal(network.stem.state_dict()["1.weight"], parts.stem["1.weight"])
    head_params = sum(parameter.numel() for parameter in network.heads.parameters())
    assert account.new == head_params + 4 * 1 * 3 * 3


def test_prefixes_of_another_naming_are_followed() -> None:
    """A backbone may say under which prefixes of a file its parts lie, several for one layer, the longest first."""
    backbone = get_backbone("tiny4")
    renamed = {"net.first.": "0.", "net.": "1."}
    layers = (replace(backbone.layers[0], weight_prefixes=renamed), *backbone.layers[1:])
    weights = fake_weights(backbone)
    own = {key.removeprefix("blocks.0."): weights.pop(key) for key in list(weights) if key.startswith("blocks.0.")}
    places = {"0": "net.first.", "1": "net."}
    weights |= {places[key[0]] + key[2:]: tensor for key, tensor in own.items()}
    part = split_pretrained(replace(backbone, layers=layers), weights).layers[0]
    assert part is not None
    assert part.keys() == own.keys()
