"""Task decoders on every family of backbones."""

import pytest
import torch
from torch import Tensor, nn

from models.backbones import get_backbone
from models.encoder import Backbone
from models.heads import build_head

FAMILIES = ("tiny4", "mobilenet_v2", "resnet18")


def draw_features(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """Return random features and low-level features of the backbone's widths."""
    generator = torch.Generator().manual_seed(3)
    low_channels = backbone.layers[backbone.low_level_layer].out_channels
    features_BCHW = torch.randn(2, backbone.layers[-1].out_channels, 3, 4, generator=generator)
    return features_BCHW, torch.randn(2, low_channels, 9, 13, generator=generator)


@pytest.mark.parametrize("name", FAMILIES)
def test_dense_heads_answer_at_the_size_asked_for(name: str) -> None:
    """Odd sizes included, the logits have the wanted height and width."""
    head = build_head(get_backbone(name), True, 5)
    assert head(*draw_features(get_backbone(name)), (35, 51)).shape == (2, 5, 35, 51)


@pytest.mark.parametrize("name", FAMILIES)
def test_dense_heads_learn_from_both_inputs(name: str) -> None:
    """Gradients reach the features and the low-level features."""
    features_BCHW, low_level_BCHW = (tensor.requires_grad_() for tensor in draw_features(get_backbone(name)))
    build_head(get_backbone(name), True, 1)(features_BCHW, low_level_BCHW, (20, 20)).sum().backward()
    for tensor in (features_BCHW, low_level_BCHW):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_label_heads_ignore_what_only_dense_heads_need(name: str) -> None:
    """Low-level features and output size change nothing."""
    head = build_head(get_backbone(name), False, 7)
    features_BCHW, low_level_BCHW = draw_features(get_backbone(name))
    logits_BC = head(features_BCHW, low_level_BCHW, (20, 20))
    assert logits_BC.shape == (2, 7)
    assert torch.equal(logits_BC, head(features_BCHW, torch.zeros_like(low_level_BCHW), (1, 1)))


@pytest.mark.parametrize(("name", "takes_maximum"), [("tiny4", True), ("mobilenet_v2", False), ("resnet18", False)])
def test_label_heads_pool_as_their_family_does(name: str, takes_maximum: bool) -> None:
    """The planted benchmark's network takes the maximum over the image, the ImageNet families the average."""
    backbone = get_backbone(name)
    head = build_head(backbone, False, 3)
    features_BCHW, low_level_BCHW = draw_features(backbone)
    linear = head.get_submodule("linear")
    pooled_BC = features_BCHW.flatten(2).max(2).values if takes_maximum else features_BCHW.flatten(2).mean(2)
    torch.testing.assert_close(head(features_BCHW, low_level_BCHW, (1, 1)), linear(pooled_BC))


def test_mobilenet_refines_by_separable_and_resnet_by_full_convolutions() -> None:
    """The decoders have the widths and kinds of the paper's networks."""
    kinds = {}
    for name in ("mobilenet_v2", "resnet50"):
        convolutions = [
            part for part in build_head(get_backbone(name), True, 21).modules() if isinstance(part, nn.Conv2d)
        ]
        kinds[name] = [(part.in_channels, part.out_channels, part.kernel_size[0], part.groups) for part in convolutions]
    assert kinds["mobilenet_v2"] == [
        *((24, 48, 1, 1), (176, 176, 3, 176), (176, 128, 1, 1)),
        *((128, 128, 3, 128), (128, 128, 1, 1), (128, 21, 1, 1)),
    ]
    assert kinds["resnet50"] == [(256, 48, 1, 1), (304, 256, 3, 1), (256, 256, 3, 1), (256, 21, 1, 1)]
