"""Networks of other packages as backbones: fresh parts, own initialisation, own weights, the same numbers."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.chain import CustomBackbone, Pyramid
from models.custom import build_custom
from models.encoder import Backbone
from models.errors import CutError, ForeignBackboneError
from models.foreign import get_foreign
from models.pretrained import split_pretrained, start_from
from models.supergraph import Supergraph

if TYPE_CHECKING:
    from tests.conftest import WildPackage

HEADS = {"seg": HeadSpec(True, 4), "label": HeadSpec(False, 3)}
NAMES = ("vgg16_bn", "MobileNetV3", "ConvNext", "ResNext", "DenseNet", "no_norm")


def load(wild: WildPackage, name: str) -> Backbone:
    """Return a backbone of the package."""
    return get_backbone(name.lower())


def draw_image(backbone: Backbone) -> Tensor:
    """Return two random images of the smallest size."""
    side = backbone.info.min_size
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def to_mix(routing_L: list[int]) -> Tensor:
    """Return the one-hot mix_LK of one task's picks of two ops."""
    return nn.functional.one_hot(torch.tensor(routing_L), 2).float()


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_those_of_the_layers(wild: WildPackage, name: str) -> None:
    """Channels and strides that the layers name are what they do, at the smallest size and at an odd one."""
    backbone = load(wild, name)
    assert (backbone.info.family, backbone.info.num_layers) == ("custom", len(backbone.layers))
    stem, *ops = (backbone.build_stem(3), *(layer.build() for layer in backbone.layers))
    features_BCHW = stem.eval()(draw_image(backbone))
    for layer, op in zip(backbone.layers, ops, strict=True):
        before = features_BCHW.shape[2]
        features_BCHW = op.eval()(features_BCHW)
        assert features_BCHW.shape[1] == layer.out_channels
        assert features_BCHW.shape[2] == before // layer.stride


@pytest.mark.parametrize("name", NAMES)
def test_hard_mix_is_the_branched_network(wild: WildPackage, name: str) -> None:
    """Norms in the midst, layer scale, no norm at all: the tree of a routing computes what the supergraph does."""
    torch.manual_seed(0)
    network = Supergraph(load(wild, name), HEADS, 3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)  # so that ops differ, and a wrong one shows
    network.eval()
    routing_LT = [[0, 0]] * 2 + [[0, 1]] * (network.num_layers - 2)
    branched = network.to_branched(Branching.from_routing(network.tasks, routing_LT), routing_LT).eval()
    image_BCHW = draw_image(network.backbone)
    with torch.no_grad():
        outputs = branched(image_BCHW)
        for position, task in enumerate(network.tasks):
            mix_LK = to_mix([row[position] for row in routing_LT])
            assert torch.equal(network(image_BCHW, task, mix_LK), outputs[task])


@pytest.mark.parametrize("name", NAMES)
def test_every_part_learns(wild: WildPackage, name: str) -> None:
    """A step in training reaches stem and all layers of both tasks, and all gradients are finite."""
    torch.manual_seed(0)
    backbone = load(wild, name)
    network = BranchedNetwork(backbone, HEADS, 3, Branching.split(tuple(HEADS), len(backbone.layers))).train()
    outputs = network(torch.cat([draw_image(backbone)] * 2))
    torch.stack([output.square().mean() for output in outputs.values()]).sum().backward()
    for part, parameter in network.named_parameters():
        assert parameter.grad is not None, part
        assert bool(parameter.grad.isfinite().all()), part


def test_parts_keep_the_initialisation_of_their_author(wild: WildPackage) -> None:
    """Zeroed norms, layer scale and truncated normals are as the network's own constructor makes them."""
    torch.manual_seed(0)
    residual = load(wild, "ResNext").layers[0].build()
    assert torch.equal(residual.get_parameter("layer1.0.bn3.weight"), torch.zeros(32))
    block = load(wild, "ConvNext").layers[4].build()
    assert torch.equal(block.get_parameter("stages.2.2.gamma"), torch.full((32,), 1e-6))
    assert float(block.get_parameter("stages.2.2.pwconv1.weight").detach().std()) == pytest.approx(0.02, rel=0.1)


def test_every_copy_is_drawn_by_itself(wild: WildPackage) -> None:
    """Copies share no parameter and start from different numbers; a seed names them, whatever was loaded before."""
    backbone = load(wild, "ResNext")
    tree = Branching.split(tuple(HEADS), len(backbone.layers))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(BranchedNetwork(backbone, HEADS, 3, tree))
    first, second = (block.get_parameter("layer1.0.conv1.weight") for block in drawn[0].blocks(0))
    assert not torch.equal(first, second)
    again = next(iter(drawn[1].blocks(0))).get_parameter("layer1.0.conv1.weight")
    assert torch.equal(first, again)


def test_loading_draws_no_random_numbers(wild: WildPackage) -> None:
    """A seed names the same weights whether the backbone was loaded before or not."""
    state = torch.get_rng_state()
    build_custom("mine", CustomBackbone(wild.networks.ConvNext))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["ResNext", "ConvNext", "DenseNet"])
def test_own_weight_file_maps_on_to_the_parts(wild: WildPackage, name: str) -> None:
    """The state of the whole network, classifier included, loads by its own names and gives its own features."""
    torch.manual_seed(0)
    backbone, own = load(wild, name), getattr(wild.networks, name)().eval()
    parts = split_pretrained(backbone, own.state_dict())
    assert parts.num_dropped == sum(own.state_dict()[key].numel() for key in backbone.dropped_prefixes)
    tree = BranchedNetwork(backbone, HEADS, 3, Branching.shared(tuple(HEADS), len(backbone.layers))).eval()
    account = start_from(tree, parts)
    assert account.loaded == sum(
        parameter.numel() for key, parameter in own.named_parameters() if key not in backbone.dropped_prefixes
    )
    states = {
        key: tensor
        for part in (tree.stem, *(next(tree.blocks(at)) for at in range(len(backbone.layers) - 1)))
        for key, tensor in part.state_dict().items()
    }
    assert all(torch.equal(tensor, own.state_dict()[key]) for key, tensor in states.items())


def test_images_of_other_channels_are_refused(wild: WildPackage) -> None:
    """The first layer takes what it was written for."""
    backbone = load(wild, "ResNext")
    with pytest.raises(CutError, match="takes images of 3 channels, got 1"):
        BranchedNetwork(backbone, HEADS, 1, Branching.shared(tuple(HEADS), len(backbone.layers)))


def test_pyramid_follows_the_size_or_the_settings(wild: WildPackage) -> None:
    """Small encoders get the reduced form with no more channels than they have; a person may say otherwise."""
    kinds = {}
    sorts: tuple[Pyramid, ...] = ("auto", "full", "reduced", "none")
    for kind in sorts:
        backbone = build_custom("mine", CustomBackbone(wild.networks.ResNext, pyramid=kind))
        kinds[kind] = (backbone.layers[-1].name, backbone.layers[-1].out_channels, backbone.decoder.separable)
    assert kinds == {
        "auto": ("aspp", 128, True),
        "full": ("aspp", 256, False),
        "reduced": ("aspp", 128, True),
        "none": ("layer4", 256, True),
    }


def test_low_level_features_are_the_last_at_a_quarter(wild: WildPackage) -> None:
    """Or the first layer's where the stem goes beyond."""
    assert load(wild, "ResNext").low_level_layer == 1
    assert load(wild, "MobileNetV3").low_level_layer == 0


def test_settings_of_a_person_win(wild: WildPackage) -> None:
    """Smallest size and summary are as said."""
    info = build_custom("mine", CustomBackbone(wild.networks.ResNext, min_size=96, summary="my network")).info
    assert (info.min_size, info.summary) == (96, "my network")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def build(): return 7", "must return an nn.Module or a list of them, got int"),
        ("def build(size): return None", "TypeError"),
        ("def build(): raise MemoryError('too large')", "MemoryError: too large"),
        ("from torch import nn\nbuild = nn.Conv2d(3, 3, 1)", "got a Conv2d. Give a function"),
        ("build = 3", "got a int. Give a function"),
        ("import wild_networks\nnet = wild_networks.ResNext()\ndef build(): return net", "must return a new network"),
        ("def build(): return ['a']", "list of them, got list"),
        ("from torch import nn\ndef build(): return nn.Sequential(nn.ReLU(), nn.ReLU())", "no parameters"),
        (
            "from torch import nn\ndef build(): return nn.Sequential(nn.LazyConv2d(4, 1), nn.LazyConv2d(4, 1))",
            "'0.weight' has no shape before a first run",
        ),
        (
            "import torch\nfrom torch import nn\nclass N(nn.Sequential):\n    def __init__(self):\n"
            "        super().__init__(*(nn.Conv2d(3, 3, 1) for _ in range(4)))\n        self.loose = torch.ones(1)\n"
            "build = N",
            "keeps the tensor 'loose' as a plain attribute",
        ),
    ],
)
def test_callables_of_no_use_are_one_sentence(wild: WildPackage, source: str, words: str) -> None:
    """Whatever an entry point gives, the person reads what is wrong with it, and for which backbone."""
    module = f"useless_{abs(hash(source))}"
    wild.write(module, source)
    wild.add("useless", f"{module}:build")
    with pytest.raises((ForeignBackboneError, CutError), match=words) as caught:
        get_backbone("useless")
    assert "'useless'" in str(caught.value)


@pytest.mark.parametrize(
    "form", ["CustomBackbone(ResNext, max_blocks=3)", "lambda: CustomBackbone(ResNext, max_blocks=3)"]
)
def test_entry_point_may_bring_settings(wild: WildPackage, form: str) -> None:
    """It is then a CustomBackbone, or gives one."""
    module = f"said_{len(form)}"
    wild.write(module, f"from models.chain import CustomBackbone\nfrom wild_networks import ResNext\nmine = {form}\n")
    wild.add(f"said{len(form)}", f"{module}:mine")
    assert get_backbone(f"said{len(form)}").info.num_layers == 4


def test_changed_code_has_another_definition(wild: WildPackage) -> None:
    """Measurements that were kept go by it."""
    one, same, other = (
        build_custom("mine", CustomBackbone(wild.networks.ResNext, max_blocks=number)).definition
        for number in (4, 4, 5)
    )
    assert one == same != other


def test_network_that_differs_from_call_to_call_is_refused(wild: WildPackage) -> None:
    """Its parts would not fit those that were measured."""
    widths = iter((8, 8, 12))

    def build() -> nn.Module:
        width = next(widths)
        return nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), *(nn.Conv2d(width, width, 3, 2, 1) for _ in range(3)))

    backbone = build_custom("mine", CustomBackbone(build))
    with pytest.raises(ForeignBackboneError, match="other parameters than the first time"):
        backbone.build_stem(3)


def test_backbones_are_loaded_once(wild: WildPackage) -> None:
    """Asking again costs nothing."""
    assert get_backbone("resnext") is get_backbone("resnext")
    assert get_foreign("resnext").target == "wild_networks:ResNext"


if importlib.util.find_spec("timm") is not None:  # a skip would fail in CI, which has no timm

    @pytest.mark.parametrize(
        ("name", "stride"), [("resnet18", 32), ("convnext_atto", 32), ("mobilenetv3_small_100", 32)]
    )
    def test_timm_networks_are_cut_as_their_authors_wrote_them(name: str) -> None:
        """Models of timm become backbones as they stand."""
        timm = importlib.import_module("timm")
        backbone = build_custom(name, CustomBackbone(lambda: timm.create_model(name, pretrained=False)))
        assert backbone.info.output_stride == 32
        assert backbone.info.num_layers > 4
