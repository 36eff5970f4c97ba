"""Task decoders: DeepLabv3+ for dense tasks, pooled linear for labels.

They stand on the last layer of a backbone, and dense ones on its low-level features too. Source: Chen et al., ECCV 2018
(DeepLabv3+). Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.blocks import ConvNormAct, SeparableConv, init_like_torchvision
from models.encoder import Backbone, DecoderSpec

_resize = partial(functional.interpolate, mode="bilinear", align_corners=False)


class DenseHead(nn.Module):
    """DeepLabv3+: join the features with reduced low-level ones, refine by two convolutions, one logit map per channel.

    Args:
        feature_channels: C of the encoder's last layer.
        low_level_channels: C of the low-level features as the encoder gives them.
        channels: C of the logits.
        spec: How wide the decoder is and which convolutions it has.
    """

    def __init__(self, feature_channels: int, low_level_channels: int, channels: int, spec: DecoderSpec) -> None:
        super().__init__()
        convolution = SeparableConv if spec.separable else ConvNormAct
        self.reduce = ConvNormAct(
            low_level_channels, spec.low_level_channels, kernel_size=1, activation=spec.activation
        )
        self.refine = nn.Sequential(
            convolution(feature_channels + spec.low_level_channels, spec.channels, activation=spec.activation),
            convolution(spec.channels, spec.channels, activation=spec.activation),
        )
        self.logits = nn.Conv2d(spec.channels, channels, 1)

    def forward(self, features_BCHW: Tensor, low_level_BCHW: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Return one logit map per output channel.

        Args:
            features_BCHW: Output of the encoder's last layer.
            low_level_BCHW: Output of the backbone's low-level layer.
            output_size: (H, W) of the logits, in pixels.

        Returns:
            Logits, shape (B, channels, *output_size).
        """
        detail_BCHW = self.reduce(low_level_BCHW)
        context_BCHW = _resize(features_BCHW, size=detail_BCHW.shape[-2:])
        refined_BCHW = self.refine(torch.cat([context_BCHW, detail_BCHW], dim=1))
        return _resize(self.logits(refined_BCHW), size=output_size)


class LabelHead(nn.Module):
    """Pool over the image, one linear layer.

    Args:
        feature_channels: C of the encoder's last layer.
        channels: Number of labels.
        spec: How the features are pooled.
    """

    def __init__(self, feature_channels: int, channels: int, spec: DecoderSpec) -> None:
        super().__init__()
        self.takes_maximum = spec.label_pool == "max"
        self.linear = nn.Linear(feature_channels, channels)

    def forward(self, features_BCHW: Tensor, low_level_BCHW: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Return one logit per label, shape (B, channels); low-level features and output size play no part."""
        del low_level_BCHW, output_size  # every head is called alike
        pooled_BC = features_BCHW.amax((2, 3)) if self.takes_maximum else features_BCHW.mean((2, 3))
        logits_BC: Tensor = self.linear(pooled_BC)
        return logits_BC


def build_head(backbone: Backbone, dense: bool, channels: int) -> nn.Module:
    """Return a fresh, randomly initialised decoder.

    Its forward takes (features_BCHW, low_level_BCHW, output_size) and returns logits_BCHW at `output_size` for a dense
    task, logits_BC for labels.

    Args:
        backbone: The encoder it stands on.
        dense: Whether it predicts a map or labels of the whole image.
        channels: Output channels.
    """
    feature_channels = backbone.layers[-1].out_channels
    if not dense:
        return LabelHead(feature_channels, channels, backbone.decoder)
    low_level_channels = backbone.layers[backbone.low_level_layer].out_channels
    head = DenseHead(feature_channels, low_level_channels, channels, backbone.decoder)
    return init_like_torchvision(head) if backbone.decoder.torchvision_init else head
