"""Networks of other people cut into stem and layers, or refused with where and why."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.chain import Chain, CustomBackbone, cut_network
from models.errors import CutError

if TYPE_CHECKING:
    from tests.conftest import WildPackage


def describe(chain: Chain) -> tuple[str, list[str], list[int]]:
    """Return the stem's end, the names of the layers and the strides behind them."""
    layout = chain.layout
    return layout.stem_end.name, list(layout.layer_names), [cut.stride for cut in layout.layer_ends]


@pytest.mark.parametrize(
    ("name", "stem", "layers", "strides", "dropped"),
    [
        (
            "vgg16_bn",
            "features.16",
            [f"features.{at}" for at in (17, 20, 24, 27, 30, 34, 37, 40)],
            [4, 4, 8, 8, 8, 16, 16, 16],
            ("features.43", "avgpool", "flatten", "classifier"),
        ),
        (
            "MobileNetV3",
            "features.1",
            [f"features.{at}" for at in range(2, 10)],
            [8, 8, 16, 16, 16, 16, 32, 32],
            ("avgpool", "flatten", "classifier"),
        ),
        (
            "ConvNext",
            "downsample_layers.0",
            ["stages.0", "stages.1", "stages.2.0", "stages.2.1", "stages.2.2", "stages.3"],
            [4, 8, 16, 16, 16, 32],
            ("mean", "norm", "head"),
        ),
        (
            "ResNext",
            "maxpool",
            ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4"],
            [4, 4, 8, 8, 16, 16, 32],
            ("avgpool", "flatten", "fc"),
        ),
        (
            "DenseNet",
            "features.3",
            ["features.denseblock1", "features.denseblock2", "features.denseblock3"],
            [4, 8, 16],
            ("adaptive_avg_pool2d", "flatten", "classifier"),
        ),
        ("no_norm", "1", ["2", "4", "6", "8"], [2, 2, 4, 4], ()),
        ("shufflenet", "3", ["4", "5", "6", "7"], [8, 8, 16, 16], ("8", "9", "10")),
        (
            "AuxiliaryNet",
            "maxpool",
            ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4"],
            [4, 4, 8, 8, 16, 16, 32],
            ("avgpool", "flatten", "fc"),
        ),
    ],
)
def test_wild_networks_are_cut_as_their_authors_wrote_them(
    wild: WildPackage, name: str, stem: str, layers: list[str], strides: list[int], dropped: tuple[str, ...]
) -> None:
    """Residual and dense blocks are layers, a plain chain has one per convolution, and classifiers are left out."""
    chain = cut_network(getattr(wild.networks, name)())
    assert describe(chain) == (stem, layers, strides)
    assert chain.dropped == dropped


@pytest.mark.parametrize(
    ("name", "last_norms"),
    [
        ("ResNext", ["layer1.0.bn3", "layer1.1.bn3"]),
        ("vgg16_bn", ["features.18", "features.21"]),
        ("MobileNetV3", ["features.2.block.2.1", "features.3.block.2.1"]),
        ("ConvNext", [None, None]),
        ("no_norm", [None, None]),
    ],
)
def test_norm_that_sets_the_scale_is_found(wild: WildPackage, name: str, last_norms: list[str | None]) -> None:
    """It is the last one on the main path, not that of a shortcut; layer scale and plain convolutions have none."""
    assert list(cut_network(getattr(wild.networks, name)()).last_norms[:2]) == last_norms


def test_u_shape_is_refused_with_where_and_why(wild: WildPackage) -> None:
    """The sentence names the value that reaches around, the place that takes it, and what to do."""
    with pytest.raises(CutError) as caught:
        cut_network(wild.networks.UNet())
    said = str(caught.value)
    assert "'inc'" in said
    assert "line" in said
    assert "torch.cat([first, wide], 1)" in said
    assert "without its decoder" in said


def test_network_is_left_as_it_was(wild: WildPackage) -> None:
    """Weights, running statistics, modes, attributes and the generators are untouched."""
    network = wild.networks.MobileNetV3()
    network.features[3].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    state, drawn = torch.get_rng_state(), random.getstate()
    cut_network(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [part.training for part in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == drawn


def test_person_names_stem_and_layers(wild: WildPackage) -> None:
    """Stages become layers, and what follows the last one named is left out."""
    said = CustomBackbone(wild.networks.ResNext, stem="maxpool", blocks=("layer1", "layer2", "layer3"))
    chain = cut_network(wild.networks.ResNext(), said)
    assert describe(chain) == ("maxpool", ["layer1", "layer2", "layer3"], [4, 8, 16])
    assert chain.dropped == ("layer4", "avgpool", "flatten", "fc")


def test_person_names_the_layers_alone(wild: WildPackage) -> None:
    """The stem is then chosen before the first of them."""
    chain = cut_network(wild.networks.ResNext(), CustomBackbone(wild.networks.ResNext, blocks=("layer1", "layer3")))
    assert describe(chain) == ("maxpool", ["layer1", "layer3"], [4, 16])


def test_person_names_the_stem_alone(wild: WildPackage) -> None:
    """The layers behind it are chosen as always."""
    chain = cut_network(wild.networks.ResNext(), CustomBackbone(wild.networks.ResNext, stem="layer1"))
    assert describe(chain)[1] == ["layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4"]


def test_neighbours_are_joined_to_a_number_of_layers(wild: WildPackage) -> None:
    """Joined layers are named after what they span."""
    chain = cut_network(wild.networks.ResNext(), CustomBackbone(wild.networks.ResNext, max_blocks=4))
    assert len(chain.layout.layer_names) == 4
    assert chain.layout.layer_names[0] == "layer1"
    assert chain.layout.layer_ends[-1].stride == 32


@pytest.mark.parametrize("kind", [list, tuple, nn.ModuleList])
def test_list_of_modules_runs_in_order(kind: Callable[[list[nn.Module]], Sequence[nn.Module]]) -> None:
    """Its elements are stem and layers as they stand, also those that could be cut further; the head is left out."""
    elements: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1)]
    elements += [nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)) for _ in range(3)]
    elements.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)))
    chain = cut_network(kind(elements))
    assert describe(chain) == ("0", ["1", "2", "3"], [4, 8, 16])
    assert chain.dropped == ("4",)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"blocks": ("layer1", "layer9")}, "no module 'layer9' that its forward calls. It can be cut behind: conv1"),
        ({"blocks": ("layer2", "layer1")}, "in the order in which they run"),
        ({"stem": "layer2", "blocks": ("layer1", "layer3")}, "in the order in which they run"),
        ({"blocks": ("layer1.0.conv2", "layer2")}, "is needed beside all others until"),
        ({"stem": "bn1"}, "cannot be cut behind 'bn1': its value is changed in place"),
        ({"blocks": ("layer1", "avgpool")}, "no stack of feature maps"),
        ({"blocks": ("layer2",)}, "at least 2 layers"),
        ({"max_blocks": 1}, "at least 2 layers"),
        ({"image_channels": 5}, "did not on any of 5 channels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wild: WildPackage, said: dict[str, Any], words: str) -> None:
    """A sentence says what does not fit and what there is."""
    with pytest.raises(CutError, match=words):
        cut_network(wild.networks.ResNext(), CustomBackbone(wild.networks.ResNext, **said))


@pytest.mark.parametrize("said", [{"max_blocks": 0}, {"image_channels": "3"}, {"blocks": ("a",), "max_blocks": 2}])
def test_settings_check_themselves(said: dict[str, Any]) -> None:
    """Contradictions show before any network is built."""
    with pytest.raises(CutError):
        CustomBackbone(nn.Module, **said)


class Body(nn.Module):
    """A network that can be cut; others change what it does on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if at == 0 else 4, 4, 3, 1 + at % 2, 1) for at in range(6))
        self.counter = 0
        self.register_buffer("seen", torch.zeros(()))
        self.loose = torch.ones(1)

    def first(self, image: Tensor) -> Tensor:
        """Return the maps of the first half."""
        for conv in self.convs[:3]:
            image = functional.relu(conv(image))
        return image

    def second(self, maps: Tensor) -> Tensor:
        """Return the maps of the second half."""
        for conv in self.convs[3:]:
            maps = functional.relu(conv(maps))
        return maps

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps."""
        return self.second(self.first(image))


class Branching(Body):
    """Its course depends on the numbers in the image."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps of one half or both."""
        maps = self.first(image)
        return self.second(maps) if maps.mean() > 0 else maps


class Doubtful(nn.Module):
    """A block whose course depends on the numbers in the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of the one or the other convolution."""
        result: Tensor = self.one(maps) if maps.mean() > 0 else self.other(maps)
        return result


class Counting(Body):
    """It keeps a count."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps."""
        self.counter += 1
        return self.second(self.first(image))


class Remembering(Body):
    """It writes into a buffer."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps."""
        self.get_buffer("seen").add_(1)
        return self.second(self.first(image))


class TwoInputs(Body):
    """It wants a mask."""

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Return the masked maps."""
        return super().forward(image) * mask


class TwoOutputs(Body):
    """It gives two maps."""

    def forward(self, image: Tensor) -> Any:
        """Return both halves' maps."""
        maps = self.first(image)
        return maps, self.second(maps)


class Training(Body):
    """It does more in training, in its own forward."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps."""
        return self.second(functional.dropout(self.first(image), training=self.training))


class Loose(Body):
    """It uses a tensor that is no buffer."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the maps."""
        return self.second(self.first(image) * self.loose)


class Tokens(Body):
    """It turns the image into tokens at once."""

    def forward(self, image: Tensor) -> Tensor:
        """Return tokens (B, N, C)."""
        return image.flatten(2).transpose(1, 2) * 2.0


class Nothing(Body):
    """It takes nothing."""

    def forward(self) -> Tensor:  # type: ignore[override]
        """Return nothing of use."""
        return torch.zeros(1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            Branching,
            r"Branching cannot be followed: TraceError.*test_chain.py, line \d+: `return self.second\(maps\) if",
        ),
        (Counting, r"writes to self.counter"),
        (Remembering, r"writes to the buffer 'seen'"),
        (TwoInputs, r"takes image, mask. Give all but the image a default"),
        (TwoOutputs, r"gives a tuple of 2 in its own forward.*one tensor that the others are computed from"),
        (Training, r"takes other steps in training.*test_chain.py, line \d+.*nn.Dropout"),
        (Loose, r"a tensor that is neither parameter nor buffer.*line \d+"),
        (Tokens, r"no stack of feature maps"),
        (Nothing, r"takes nothing"),
    ],
)
def test_what_cannot_be_cut_says_where_and_why(kind: type[nn.Module], words: str) -> None:
    """Every sentence names the place: module, file and line where torch.fx knows it."""
    with pytest.raises(CutError, match=words):
        cut_network(kind())


def test_unwatchable_submodule_stays_in_one_piece() -> None:
    """What depends on data, counts or draws inside of a submodule is kept whole instead of being refused."""
    chain = cut_network(nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), Doubtful(), nn.Conv2d(4, 4, 3, 2, 1), Doubtful()))
    assert describe(chain) == ("0", ["1", "3"], [4, 8])


def test_tail_may_do_other_things_in_training(wild: WildPackage) -> None:
    """What is left out may drop out as it likes."""

    class Tailed(Body):
        def forward(self, image: Tensor) -> Tensor:
            """Return scores."""
            pooled = super().forward(image).mean((2, 3))
            return functional.dropout(pooled, training=self.training)

    assert cut_network(Tailed()).dropped == ("mean", "dropout")


def test_arguments_with_defaults_keep_them() -> None:
    """A flag or a mask that may be left out does not stand in the way."""

    class Optional(Body):
        def forward(self, image: Tensor, mask: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
            """Return the maps."""
            maps = super().forward(image)
            return maps * scale if mask is None else maps * mask

    assert describe(cut_network(Optional()))[1] == ["convs.2", "convs.3", "convs.4", "convs.5"]


def test_pieces_carry_the_names_of_the_network(wild: WildPackage) -> None:
    """Stem and layers together have the state of the network but for what is left out, under the same names."""
    network = wild.networks.ConvNext()
    chain = cut_network(network)
    names = [name for part in chain.parts_of(network) for name in part.state_dict()]
    assert len(names) == len(set(names))
    left_out = set(network.state_dict()) - set(names)
    assert left_out == {"norm.weight", "norm.bias", "head.weight", "head.bias"}


def test_settings_are_a_value() -> None:
    """They are frozen and compare by content."""
    said = CustomBackbone(nn.Module, stem="a")
    assert dataclasses.replace(said) == said
