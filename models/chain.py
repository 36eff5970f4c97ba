"""A person's own network as a backbone, without rewriting it: cut into a stem and searchable layers where it allows.

torch.fx gives its dataflow graph; it can be cut where a single tensor flows. What only serves a classifier is left out.
The chain of pieces is held to the network bit for bit. Neighbours: `models.foreign` finds such networks,
`models.cutting` and `models.grouping` choose the cuts, `models.pieces` makes the parts, `models.custom` a backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from models.cutting import Survey, survey
from models.errors import CutError
from models.grouping import Layout, lay_out_blocks
from models.pieces import Pieces, assemble, check_same, find_last_norm, same_randomness, take_apart
from models.tracing import count_common, trace_network

Network = nn.Module | Sequence[nn.Module]
Pyramid = Literal["auto", "full", "reduced", "none"]


@dataclass(frozen=True)
class CustomBackbone:
    """A network to be searched, with what cannot be seen from it.

    Without any settings the stem is what lies before the first block, and more blocks until the maps are a quarter of
    the image; every residual block, dense block or the like is one layer with what lies before it; a plain chain of
    convolutions gets one layer for each. A list of modules, or an nn.ModuleList, runs in its order: its first element
    is the stem and every other one a layer.

    Attributes:
        build: Takes nothing, returns a new network with its own random weights (or pretrained ones) at every call.
        stem: Path of the module behind which the stem ends, such as "maxpool"; None to choose.
        blocks: Paths of the modules behind which the layers end, in order; what follows the last is left out. Empty to
            choose.
        max_blocks: Neighbouring layers are joined until there are no more; None for no limit.
        image_channels: Channels of an image; None for those of the first convolution.
        min_size: Smallest side of an image, in pixels; None to measure.
        pyramid: ASPP behind the last layer: "full" with dilated branches, "reduced" without, "none", or by its size.
        summary: One line for people.
    """

    build: Callable[[], Network]
    stem: str | None = None
    blocks: tuple[str, ...] = ()
    max_blocks: int | None = None
    image_channels: int | None = None
    min_size: int | None = None
    pyramid: Pyramid = "auto"
    summary: str = ""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.blocks and self.max_blocks is not None:
            raise CutError("Layers are either named by `blocks` or joined up to `max_blocks`, got both. Leave one out.")
        for name in ("max_blocks", "image_channels", "min_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise CutError(f"`{name}` must be a whole number of at least 1, got {value!r}.")


@dataclass(frozen=True)
class Chain:
    """How a network is cut; `parts_of` cuts another one that was built alike.

    Attributes:
        found: Where it can be cut.
        layout: Where it is cut.
        pieces: The steps of its parts.
        last_norms: By layer the path of the norm that sets the scale of its output, if there is one.
        dropped: Paths of the modules that are left out, and names of the steps.
        image_channels: Channels of an image.
    """

    found: Survey
    layout: Layout
    pieces: Pieces
    last_norms: tuple[str | None, ...]
    dropped: tuple[str, ...]
    image_channels: int

    def parts_of(self, module: nn.Module) -> list[fx.GraphModule]:
        """Return stem and layers that hold the very parts of a network."""
        stem, *layers = (assemble(graph, module) for graph in self.pieces.graphs)
        for layer, path in zip(layers, self.last_norms, strict=True):
            layer.last_norm = path  # type: ignore[assignment]  # read by models.blocks.without_last_affine
        return [stem, *layers]


def as_module(network: Network) -> nn.Module:
    """Return a network as one module; a list of modules runs in its order.

    Raises:
        CutError: It is neither.
    """
    if isinstance(network, nn.Module) and not isinstance(network, nn.ModuleList):
        return network
    parts = list(network) if isinstance(network, nn.ModuleList | list | tuple) else []
    if not parts or not all(isinstance(part, nn.Module) for part in parts):
        raise CutError(
            f"A backbone is an nn.Module or a list of them, got {type(network).__name__}. Return one from the callable."
        )
    return nn.Sequential(*parts)


def cut_network(network: Network, settings: CustomBackbone | None = None) -> Chain:
    """Return how a network is cut into a stem and layers; it is left as it was.

    Args:
        network: Built for this, or a copy is worked on by the caller's choice: nothing of it is changed.
        settings: What a person said of it; None for nothing.

    Raises:
        CutError: It cannot be cut; the sentence says where and why.
    """
    said = settings or CustomBackbone(build=lambda: network)
    module = as_module(network)
    is_list = module is not network
    elements = frozenset(name for name, _ in module.named_children()) if is_list else frozenset[str]()
    modes = [(part, part.training) for part in module.modules()]
    channels = said.image_channels or _find_image_channels(module)
    try:
        with same_randomness(0):
            module.eval()
            trace, training = trace_network(module, elements)
            found = survey(trace, training, count_common(trace, training), channels)
            blocks = said.blocks or (tuple(cut.name for cut in found.cuts[1:]) if is_list else ())
            layout = lay_out_blocks(found, said.stem or ("0" if is_list else None), blocks, said.max_blocks)
            positions = [layout.stem_end.position, *(cut.position for cut in layout.layer_ends)]
            pieces = take_apart(trace, positions)
            check_same(module, pieces, torch.randn(2, channels, found.side, found.side))
    finally:
        for part, was in modes:
            part.training = was
    starts = [position + 1 for position in positions]
    norms = [find_last_norm(trace, first, end) for first, end in zip(starts, positions[1:], strict=False)]
    return Chain(found, layout, pieces, tuple(norms), _list_dropped(found, positions[-1]), channels)


def _find_image_channels(module: nn.Module) -> int:
    """Return the channels that the first convolution takes, 3 where there is none."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def _list_dropped(found: Survey, last: int) -> tuple[str, ...]:
    """Return what follows the last layer: outermost modules by path, other steps by name."""
    trace = found.trace
    later = [call for call in trace.calls if call.first > last]
    outer = [
        call
        for call in later
        if not any(
            call.path.startswith(f"{one.path}.") and one.first <= call.first and call.end <= one.end for one in later
        )
    ]
    names = [(call.first, call.path) for call in outer]
    for position, step in enumerate(trace.steps[last + 1 : -1], last + 1):
        if step.op != "get_attr" and not any(call.first <= position < call.end for call in outer):
            names.append((position, step.name))
    return tuple(dict.fromkeys(name for _, name in sorted(names)))
