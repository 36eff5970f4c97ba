"""Encoders that start from a weight file: the file cut into the parts of a backbone, and the parts put in place.

Every parameter is accounted for: those of the file are taken, knowingly left out or refused by name, those of the
network are loaded or new. Neighbours: `models.backbones` says which prefix of the file belongs to which part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.branched import BranchedNetwork
from models.encoder import Backbone, Layer
from models.errors import PretrainedWeightsError
from models.supergraph import Supergraph

_COUNTER = "num_batches_tracked"  # the files of old torchvision versions lack it
StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class PretrainedParts:
    """A weight file cut into the parts of a backbone.

    Attributes:
        stem: State dict of the stem, for images of 3 channels where it can be built for any.
        layers: State dict of each layer; None for a layer that the file has no weights for (ASPP).
        num_dropped: Numbers in the file that the encoder leaves out (the classifier).
    """

    stem: StateDict
    layers: tuple[StateDict | None, ...]
    num_dropped: int = 0


@dataclass(frozen=True)
class Account:
    """How many parameters of a network, as single numbers, came from a file, and how many are drawn at random.

    Attributes:
        loaded: They start from the file.
        new: They have no counterpart there: heads, ASPP, the first convolution of images without three channels.
    """

    loaded: int
    new: int


def split_pretrained(backbone: Backbone, state_dict: Mapping[str, Tensor]) -> PretrainedParts:
    """Return the weights of a file cut into the parts of a backbone, each ready for `load_state_dict`.

    Args:
        backbone: The encoder they are meant for.
        state_dict: What a weight file of the whole network holds, torchvision's for the backbones named after it.

    Raises:
        PretrainedWeightsError: A parameter is unknown, missing, misshapen or no plain finite number.
    """
    places = _find_places(backbone)
    parts: dict[str, StateDict] = {place[0]: {} for place in places.values()}
    num_dropped = 0
    for key, tensor in state_dict.items():
        if key.startswith(backbone.dropped_prefixes):
            num_dropped += tensor.numel()
            continue
        prefix = max((prefix for prefix in places if key.startswith(prefix)), key=len, default=None)
        if prefix is None:
            raise _misfit(backbone, f"has no parameter '{key}'")
        part, ours = places[prefix]
        parts[part][ours + key.removeprefix(prefix)] = tensor
    with torch.device("meta"):
        _check_part(backbone, "stem", parts["stem"], backbone.build_stem(backbone.image_channels or 3))
        for layer in backbone.layers:
            if layer.name in parts:
                _check_part(backbone, layer.name, parts[layer.name], layer.build())
    return PretrainedParts(parts["stem"], tuple(parts.get(layer.name) for layer in backbone.layers), num_dropped)


def start_from(network: Supergraph | BranchedNetwork, parts: PretrainedParts) -> Account:
    """Give a network the weights of a file, in place: every op of a layer the same ones; return what is accounted for.

    Ops of a supergraph have no affine parameters in their last batch norm, so those of the file are left out there.

    Args:
        network: Fresh; what has no counterpart in the file keeps the weights it was drawn with.
        parts: Of the network's backbone.
    """
    loaded = _load_part(network.stem, parts.stem)
    for ops, weights in zip(network.layers, parts.layers, strict=True):
        assert isinstance(ops, nn.ModuleList)
        loaded += sum(_load_part(op, weights) for op in ops if weights is not None)
    total = sum(parameter.numel() for parameter in network.parameters())
    return Account(loaded, total - loaded)


def _load_part(module: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Give a module the weights that fit it and return how many single parameters got theirs."""
    own = module.state_dict()
    fitting = {key: tensor for key, tensor in weights.items() if key in own and own[key].shape == tensor.shape}
    module.load_state_dict(own | fitting)
    return sum(parameter.numel() for name, parameter in module.named_parameters() if name in fitting)


def _find_places(backbone: Backbone) -> dict[str, tuple[str, str]]:
    """Return by prefix in a file the part it belongs to, "stem" or a layer's name, and the prefix inside that part."""
    places = {theirs: ("stem", ours) for theirs, ours in backbone.stem_prefixes.items()}
    for layer in backbone.layers:
        places |= {theirs: (layer.name, ours) for theirs, ours in _prefixes_of(layer).items()}
    return places


def _prefixes_of(layer: Layer) -> Mapping[str, str]:
    """Return by prefix in a file the prefix inside a layer."""
    return {f"{layer.name}.": ""} if layer.weight_prefixes is None else layer.weight_prefixes


def _check_part(backbone: Backbone, part: str, weights: Mapping[str, Tensor], module: nn.Module) -> None:
    """Refuse weights of one part that lack a parameter, have one too many, of another shape or no plain number."""
    expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
    for key in weights:
        if key not in expected:
            raise _misfit(backbone, f"has no parameter '{key}' in {part}")
    for key, shape in expected.items():
        if key not in weights:
            if not key.endswith(_COUNTER):
                raise _misfit(backbone, f"needs '{key}' in {part}, which the file lacks")
            continue
        if weights[key].shape != shape:
            seen = tuple(weights[key].shape)
            raise _misfit(backbone, f"needs '{key}' in {part} of shape {tuple(shape)}, got {seen}")
        _check_numbers(backbone, part, key, weights[key])


def _check_numbers(backbone: Backbone, part: str, key: str, tensor: Tensor) -> None:
    """Refuse a parameter that is sparse, quantised, complex or not finite."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or not (tensor.is_floating_point() or key.endswith(_COUNTER)):
        raise _misfit(backbone, f"needs '{key}' in {part} as plain floating-point numbers, got {tensor.dtype}")
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
        raise _misfit(backbone, f"needs finite numbers in '{key}' in {part}, and the file holds NaN or infinity")


def _misfit(backbone: Backbone, finding: str) -> PretrainedWeightsError:
    """Return the error that says why a weight file does not fit."""
    name = backbone.info.name
    return PretrainedWeightsError(
        f"Backbone '{name}' {finding}. Give a weight file of '{name}', as torchvision publishes it or under the same "
        f"parameter names."
    )
