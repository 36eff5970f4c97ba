"""The torch-free facts of the backbones, against the networks themselves."""

import pytest
import torch

from models.backbones import get_backbone
from models.catalogue import BACKBONES, get_backbone_info
from models.errors import UnknownBackboneError


@pytest.mark.parametrize("name", BACKBONES)
def test_the_facts_hold_for_the_built_network(name: str) -> None:
    """Number of layers and output stride of the table are those of the network."""
    info, backbone = get_backbone_info(name), get_backbone(name)
    with torch.device("meta"):
        features_BCHW = backbone.build_stem(3)(torch.empty(2, 3, 64, 96))
        for layer in backbone.layers:
            features_BCHW = layer.build()(features_BCHW)
    assert info.num_layers == len(backbone.layers)
    assert features_BCHW.shape[2:] == (64 // info.output_stride, 96 // info.output_stride)
    assert backbone.info is info


@pytest.mark.parametrize("name", BACKBONES)
def test_the_smallest_image_leaves_more_than_one_pixel(name: str) -> None:
    """At the smallest size the last feature map still has several pixels, so that batch norm can train on one image."""
    info = get_backbone_info(name)
    assert info.min_size // info.output_stride >= 2


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """The error names what was asked for and every choice."""
    with pytest.raises(UnknownBackboneError, match=r"'vgg'.*tiny4.*resnet101"):
        get_backbone_info("vgg")
