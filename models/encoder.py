"""What an encoder is to the networks made of it: a stem, then layers of which every task may get its own copy.

`models.backbones` has the built-in ones, `models.chain` makes one of a person's own network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from models.blocks import Activation
from models.catalogue import BackboneInfo
from models.errors import CutError


@dataclass(frozen=True)
class Layer:
    """One searchable encoder layer.

    Attributes:
        name: torchvision's parameter prefix, such as "features.4" or "layer1.0"; "aspp" has no counterpart there.
        build: Returns a fresh, randomly initialised op.
        out_channels: C of its output.
        stride: Input pixels per output pixel.
        weight_prefixes: Parameter prefix in the file that encoders start from -> prefix inside the op; None stands for
            the layer's name, and an empty map for a layer that no file has weights for.
    """

    name: str
    build: Callable[[], nn.Module]
    out_channels: int
    stride: int
    weight_prefixes: Mapping[str, str] | None = None


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
        stem_prefixes: Parameter prefix in the file that encoders start from, torchvision's where it has such a network,
            -> prefix inside the stem.
        dropped_prefixes: Parameters of that file which this encoder knowingly leaves out.
        image_channels: Channels that an image must have; None where the stem is built for as many as there are.
        draw_parts: Returns a fresh stem and one fresh op of the first layers at once, since a network that comes whole
            is built whole; None where every part is built by itself.
        definition: Hash of the code that gives it; empty for built-in ones, which go by the version of this program.
    """

    info: BackboneInfo
    build_stem: Callable[[int], nn.Module]
    layers: tuple[Layer, ...]
    low_level_layer: int
    decoder: DecoderSpec
    stem_prefixes: Mapping[str, str] = field(default_factory=dict)
    dropped_prefixes: tuple[str, ...] = ()
    image_channels: int | None = None
    draw_parts: Callable[[], Sequence[nn.Module]] | None = None
    definition: str = ""

    def build_parts(
        self, image_channels: int, num_ops_L: Sequence[int]
    ) -> tuple[nn.Module, tuple[tuple[nn.Module, ...], ...]]:
        """Return a fresh stem, and per layer as many fresh ops as asked for, each drawn by itself.

        Args:
            image_channels: Channels of an image.
            num_ops_L: Ops of each of the L layers.

        Raises:
            CutError: This stem takes images of other channels only.
        """
        self.check_image_channels(image_channels)
        drawn = [] if self.draw_parts is None else [self.draw_parts() for _ in range(max(num_ops_L))]
        stem = drawn[0][0] if drawn else self.build_stem(image_channels)
        ops = []
        for index, (layer, count) in enumerate(zip(self.layers, num_ops_L, strict=True)):
            ready = [parts[1 + index] for parts in drawn[:count] if len(parts) > 1 + index]
            ops.append(tuple(ready or (layer.build() for _ in range(count))))
        return stem, tuple(ops)

    def check_image_channels(self, image_channels: int) -> None:
        """Refuse images that the stem cannot take.

        Raises:
            CutError: They have other channels than it was written for.
        """
        if self.image_channels not in (None, image_channels):
            raise CutError(
                f"Backbone '{self.info.name}' takes images of {self.image_channels} channels, got {image_channels}. "
                "Bring one whose first layer takes as many, or choose another dataset."
            )
