"""Costs by arithmetic on shapes, against hand counts and the networks' own parameters."""

import pytest
import torch

from models.arithmetic import PartCost, compute_part_costs
from models.backbones import get_backbone
from models.catalogue import BACKBONES, HeadSpec
from models.errors import UnknownBackboneError
from models.heads import build_head


def test_the_planted_network_costs_what_a_hand_count_says() -> None:
    """Nine products per input channel, output channel and pixel; one per weight of a linear head."""
    parts = compute_part_costs("tiny4", 1, (24, 24), [HeadSpec(dense=False, channels=10)])
    block = 9 * 4 * 4
    assert parts.stem == PartCost(9 * 4 * 576, 9 * 4 + 8)
    assert [layer.madds for layer in parts.layers] == [block * pixels for pixels in (576, 144, 144, 36, 36)]
    assert {layer.params for layer in parts.layers} == {block + 8}
    assert parts.heads == (PartCost(40, 50),)


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_are_those_of_the_networks(name: str) -> None:
    """Stem, layers and heads hold as many parameters as the modules that are built."""
    backbone = get_backbone(name)
    heads = [HeadSpec(dense=True, channels=7), HeadSpec(dense=False, channels=3)]
    parts = compute_part_costs(name, 3, (64, 64), heads)
    with torch.device("meta"):
        modules = [backbone.build_stem(3), *(layer.build() for layer in backbone.layers)]
        modules += [build_head(backbone, head.dense, head.channels) for head in heads]
    built = [sum(parameter.numel() for parameter in module.parameters()) for module in modules]
    assert [part.params for part in (parts.stem, *parts.layers, *parts.heads)] == built


def test_costs_without_heads_are_those_of_the_encoder() -> None:
    """No head is no cost, and the encoder's does not depend on heads."""
    bare = compute_part_costs("mobilenet_v2", 3, (64, 64), [])
    assert bare.heads == ()
    assert bare.layers == compute_part_costs("mobilenet_v2", 3, (64, 64), [HeadSpec(True, 2)]).layers


def test_unknown_backbones_are_refused() -> None:
    """A name outside the table raises the room's own error."""
    with pytest.raises(UnknownBackboneError, match="resnet152"):
        compute_part_costs("resnet152", 3, (64, 64), [])
