"""A backbone of another package, ready for a search: loaded, cut, measured and given the decoders' specification.

Neighbours: `models.foreign` says where it comes from, `models.chain` cuts it, `models.backbones` hands it out.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from models.blocks import ASPP, init_like_torchvision, without_last_affine
from models.catalogue import BackboneInfo
from models.chain import Chain, CustomBackbone, Network, Pyramid, as_module, cut_network
from models.cutting import Cut
from models.encoder import Backbone, DecoderSpec, Layer
from models.errors import CutError, ForeignBackboneError
from models.foreign import ForeignBackbone, describe_error, load_foreign
from models.pieces import same_randomness

_FULL_FROM = 6_000_000
"""Parameters of an encoder from which on it gets ASPP in full: MobileNets have less, ResNets more."""
_PYRAMID_CHANNELS = {"full": 256, "reduced": 128, "none": 128}
_LOW_LEVEL_CHANNELS = 48
_DETAIL_STRIDE = 4
_TRIAL_SIDE = 16  # pixels of the maps on which a layer is tried
_PYRAMID = "aspp"


@dataclass(frozen=True)
class _Source:
    """Where fresh parts come from.

    Attributes:
        make: Builds the network anew.
        chain: How it is cut.
        shapes: Names and shapes of its state, which every new one must have.
        blanks: Stem and layers without numbers, for those who only look at shapes.
    """

    make: Callable[[], nn.Module]
    chain: Chain
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    blanks: tuple[nn.Module, ...]

    def draw(self) -> list[nn.Module]:
        """Return fresh parts of one new network, stem first.

        Raises:
            ForeignBackboneError: It is another network than before.
        """
        if torch.get_default_device().type == "meta":
            return [copy.deepcopy(blank) for blank in self.blanks]
        with torch.device("cpu"):
            module = self.make()
        if _list_shapes(module) != self.shapes:
            raise ForeignBackboneError(
                f"{type(module).__name__} was built with other parameters than the first time. "
                "Let the callable return the same network at every call."
            )
        return list(self.chain.parts_of(module))

    def build(self, index: int) -> nn.Module:
        """Return one fresh part, 0 for the stem."""
        return self.draw()[index]

    def build_stem(self, image_channels: int) -> nn.Module:
        """Return a fresh stem; `Backbone.check_image_channels` says which images it takes."""
        del image_channels
        return self.build(0)


@lru_cache(maxsize=32)
def load_custom(foreign: ForeignBackbone) -> Backbone:
    """Return a backbone of another package; its code is run by this.

    Raises:
        ForeignBackboneError: It cannot be imported or built, or is no network.
        CutError: It cannot be cut into a stem and layers.
    """
    with same_randomness(0), torch.device("cpu"):
        found = load_foreign(foreign)
        try:
            if isinstance(found, CustomBackbone):
                return build_custom(foreign.name, found)
            if isinstance(found, nn.Module) or not callable(found):
                raise ForeignBackboneError(
                    "a backbone is a callable without arguments that returns a new network, or a CustomBackbone, got "
                    f"a {type(found).__name__}. Give a function instead"
                )
            given = _call(found)
            if isinstance(given, CustomBackbone):
                return build_custom(foreign.name, given)
            return build_custom(foreign.name, CustomBackbone(build=found), given)
        except CutError as error:
            raise CutError(f"Backbone '{foreign.name}' cannot be searched. {error}") from None
        except ForeignBackboneError as error:
            raise ForeignBackboneError(f"Backbone '{foreign.name}' ({foreign.target}) is of no use: {error}.") from None
        except Exception as error:  # code of others can fail in more ways than can be foreseen
            raise CutError(
                f"Backbone '{foreign.name}' cannot be searched: looking into it ended with {describe_error(error)}. "
                "Give a plain nn.Module, neither compiled, scripted nor wrapped."
            ) from error


def build_custom(name: str, settings: CustomBackbone, first: object = None) -> Backbone:
    """Return the backbone that a network is cut into.

    Args:
        name: What to call it.
        settings: The network and what a person said of it.
        first: What a first call of its callable gave; None to call it.

    Raises:
        ForeignBackboneError: It cannot be built, or its callable returns no new network at every call.
        CutError: It cannot be cut.
    """
    with same_randomness(0), torch.device("cpu"):
        return _build(name, settings, first)


def _build(name: str, settings: CustomBackbone, first: object) -> Backbone:
    """Return the backbone that a network is cut into, drawing as many random numbers as that takes."""
    make = partial(_make, settings.build)
    network = _check_network(_call(settings.build) if first is None else first)
    module = as_module(network)
    _check_parameters(module)
    shapes = _list_shapes(module)
    _check_tensors(module)
    _check_independent(module, make())
    chain = cut_network(network, settings)
    trial = [copy.deepcopy(part).train() for part in chain.parts_of(module)]
    chain = replace(chain, last_norms=_confirm_norms(chain, trial))
    stride = chain.layout.layer_ends[-1].stride
    min_size = settings.min_size or _measure_min_size(trial, chain.image_channels, stride)
    # From now on it serves for shapes and names only; the numbers of a large classifier need not lie about.
    blanks = tuple(copy.deepcopy(part) for part in chain.parts_of(module.to("meta")))
    return _wire(name, replace(settings, min_size=min_size), _Source(make, chain, shapes, blanks))


def _wire(name: str, settings: CustomBackbone, source: _Source) -> Backbone:
    """Return the backbone of a network that has been cut."""
    cuts = [source.chain.layout.stem_end, *source.chain.layout.layer_ends]
    kind = _choose_pyramid(settings, source)
    channels = min(_PYRAMID_CHANNELS[kind], cuts[-1].channels)
    layers = _list_layers(source, cuts)
    num_blocks = len(layers)
    if kind != "none":
        layers.append(_plan_pyramid(kind == "full", cuts[-1], channels))
    low_level = max((at for at, cut in enumerate(cuts[1:]) if cut.stride <= _DETAIL_STRIDE), default=0)
    detail = min(_LOW_LEVEL_CHANNELS, cuts[1 + low_level].channels)
    stride = cuts[-1].stride
    summary = settings.summary or _summarise(source, num_blocks, kind)
    return Backbone(
        info=BackboneInfo(name, "custom", len(layers), stride, settings.min_size or stride, summary),
        build_stem=source.build_stem,
        layers=tuple(layers),
        low_level_layer=low_level,
        decoder=DecoderSpec(detail, channels, kind != "full", nn.ReLU, "average"),
        stem_prefixes=_keys_of(source.blanks[0]),
        dropped_prefixes=_list_dropped_keys(source),
        image_channels=source.chain.image_channels,
        draw_parts=source.draw,
        definition=_compute_definition(source),
    )


def _list_layers(source: _Source, cuts: Sequence[Cut]) -> list[Layer]:
    """Return the layers that a network is cut into; the first cut ends the stem."""
    return [
        Layer(name, partial(source.build, 1 + at), after.channels, after.stride // before.stride, _keys_of(blank))
        for at, (name, blank, (before, after)) in enumerate(
            zip(source.chain.layout.layer_names, source.blanks[1:], pairwise(cuts), strict=True)
        )
    ]


def _choose_pyramid(settings: CustomBackbone, source: _Source) -> Pyramid:
    """Return the form of ASPP that was asked for, or the one that fits the number of parameters."""
    if settings.pyramid != "auto":
        return settings.pyramid
    num_params = sum(parameter.numel() for part in source.blanks for parameter in part.parameters())
    return "full" if num_params >= _FULL_FROM else "reduced"


def _plan_pyramid(full: bool, last: Cut, channels: int) -> Layer:
    """Return the layer that gathers context behind the last block, dilated to reach as far at every stride."""
    rates = tuple(max(1, rate * 16 // last.stride) for rate in (6, 12, 18)) if full else ()
    return Layer(_PYRAMID, partial(_build_pyramid, last.channels, channels, rates), channels, 1, {})


def _build_pyramid(in_channels: int, channels: int, rates: tuple[int, ...]) -> nn.Module:
    """Return a fresh ASPP."""
    return init_like_torchvision(ASPP(in_channels, channels, rates=rates, activation=nn.ReLU))


def _call(build: Callable[[], object]) -> object:
    """Return what a person's callable returns."""
    try:
        return build()
    except (Exception, SystemExit) as error:
        raise ForeignBackboneError(
            f"its callable must build a network without arguments, but it ended with {describe_error(error)}"
        ) from error


def _make(build: Callable[[], Network]) -> nn.Module:
    """Return a new network as one module."""
    return as_module(_check_network(_call(build)))


def _check_network(given: object) -> Network:
    """Return what a callable gave, or refuse it."""
    if isinstance(given, nn.Module | list | tuple):
        return given
    raise ForeignBackboneError(f"its callable must return an nn.Module or a list of them, got {type(given).__name__}")


def _check_parameters(module: nn.Module) -> None:
    """Refuse a network that has no shapes yet, or no parameters at all."""
    lazy = next((name for name, parameter in module.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise CutError(
            f"Its parameter '{lazy}' has no shape before a first run. Let the callable run it once, or give it."
        )
    if next(module.parameters(), None) is None:
        raise CutError("It has no parameters, so there is nothing to search.")


def _check_tensors(module: nn.Module) -> None:
    """Refuse a network whose modules keep tensors that no device and no file would see."""
    for path, part in module.named_modules():
        name = next((name for name, value in vars(part).items() if isinstance(value, Tensor)), None)
        if name is not None:
            raise CutError(
                f"Module '{path}' keeps the tensor '{name}' as a plain attribute, which no file would hold. "
                "Register it as a buffer."
            )


def _check_independent(module: nn.Module, twin: nn.Module) -> None:
    """Refuse networks that come from two calls and have parameters in common."""
    mine = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    shared = next((name for name, tensor in twin.named_parameters() if id(tensor) in mine), None)
    if module is twin or shared is not None:
        raise ForeignBackboneError(
            f"its callable must return a new network at every call, but two of them share "
            f"{'everything' if shared is None else repr(shared)}. Build it inside of the callable"
        )


def _confirm_norms(chain: Chain, parts: Sequence[nn.Module]) -> tuple[str | None, ...]:
    """Return the last norms of the layers that run without their affine parameters, None for the others."""
    cuts = [chain.layout.stem_end, *chain.layout.layer_ends]
    confirmed: list[str | None] = []
    for path, part, before in zip(chain.last_norms, parts[1:], cuts, strict=False):
        trial = copy.deepcopy(part)
        trial.last_norm = path  # type: ignore[assignment]  # a plain attribute of a module
        try:
            with torch.no_grad():
                without_last_affine(trial)(torch.zeros(2, before.channels, _TRIAL_SIDE, _TRIAL_SIDE))
        except Exception:  # a norm of somebody's own that needs its weights
            confirmed.append(None)
        else:
            confirmed.append(path)
    return tuple(confirmed)


def _measure_min_size(parts: Sequence[nn.Module], image_channels: int, stride: int) -> int:
    """Return the smallest side of an image, in pixels: twice the stride, or more where the network needs it.

    Half of it must run too, since the search may halve its images.
    """
    for side in (2 * stride, 4 * stride, 8 * stride):
        if all(_runs(parts, image_channels, tried) for tried in (side, side // 2)):
            return side
    return 16 * stride


def _runs(parts: Sequence[nn.Module], image_channels: int, side: int) -> bool:
    """Return whether an encoder takes images of a side."""
    value = torch.zeros(2, image_channels, side, side)
    with suppress(Exception), torch.no_grad():  # whatever a person's code may raise
        for part in parts:
            value = part(value)
        return min(value.shape[2:]) > 0
    return False


def _keys_of(part: nn.Module) -> dict[str, str]:
    """Return the names of a part's state, which are those of the whole network, each as it stands."""
    return {name: name for name in part.state_dict()}


def _list_shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the names and shapes of a network's state."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())


def _list_dropped_keys(source: _Source) -> tuple[str, ...]:
    """Return the names of the network's state that no part holds."""
    kept = {name for part in source.blanks for name in part.state_dict()}
    return tuple(name for name, _ in source.shapes if name not in kept)


def _summarise(source: _Source, num_blocks: int, kind: str) -> str:
    """Return one line about a backbone."""
    name = type(source.chain.found.trace.module).__name__
    ending = {"full": " and ASPP", "reduced": " and R-ASPP", "none": ""}[kind]
    dropped = f", without {', '.join(source.chain.dropped[:4])}" if source.chain.dropped else ""
    return f"{num_blocks} blocks of {name}{ending}{dropped}"


def _compute_definition(source: _Source) -> str:
    """Return a hash of all that says what the parts compute: their steps, their state and the code of their modules."""
    digest, files = hashlib.sha256(), set[str]()
    for part, graph in zip(source.blanks, source.chain.pieces.graphs, strict=False):
        digest.update(f"{graph}{part!r}{_list_shapes(part)}".encode())
        for kind in {type(one) for one in part.modules() if not type(one).__module__.startswith("torch.")}:
            with suppress(OSError, TypeError):  # code that was never in a file
                files.add(inspect.getsourcefile(kind) or "")
    for file in sorted(files):
        with suppress(OSError):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
