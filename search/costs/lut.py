"""Look-up table of costs, measured: multiply-adds and parameters of stem, layers and heads as fvcore counts them.

A MAdd is one multiplication with its addition in a convolution, a linear layer or a product of matrices. Batch norm
folds away at inference; activations, pooling and resizing are not counted.
Neighbours: `models.backbones` and `models.heads` are what is measured, `search.costs.cost_table` adds it up for a tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import Tensor, nn

from models.backbones import get_backbone
from models.catalogue import check_input_size
from models.heads import build_head
from search.costs.cost_table import CostTable
from search.data.catalogue import TaskInfo

HeadKind = tuple[bool, int]  # (dense, output channels): all that the cost of a head depends on
Cost = tuple[NonNegativeInt, NonNegativeInt]  # (multiply-adds, parameters)

_COUNTED_OPERATORS = ("conv", "linear", "addmm", "matmul", "bmm", "einsum")


@dataclass(frozen=True)
class _Request:
    """All that a measurement depends on, but for library versions."""

    backbone: str
    input_size: tuple[int, int]
    image_channels: int
    heads: tuple[HeadKind, ...]
    definition: str


class _Measured(BaseModel):
    """The costs of all parts, heads in the order of the request; checks what a cache file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    stem: Cost
    layers: tuple[Cost, ...]
    heads: tuple[Cost, ...]


def measure_costs(
    backbone_name: str,
    tasks: Sequence[TaskInfo],
    input_size: tuple[int, int],
    image_channels: int,
    cache_dir: Path | None = None,
) -> CostTable:
    """Return the cost of every part of a branched network, looked up where it was measured before.

    Args:
        backbone_name: Its name, one of the table or one that another package brings.
        tasks: The tasks that get a head.
        input_size: (H, W) of the images, in pixels.
        image_channels: C of the images.
        cache_dir: Folder of measurements to read and to add to; one that cannot be read or written is no hindrance.

    Raises:
        UnknownBackboneError: No such backbone.
        InputSizeError: The images are too small for it.
        ForeignBackboneError, CutError: Another package brings it, and it cannot be used, cut or fed with such images.
    """
    backbone = get_backbone(backbone_name)
    backbone.check_image_channels(image_channels)
    check_input_size(backbone.info, input_size)
    kinds = {task.name: (task.kind != "classification", task.channels) for task in tasks}
    heads_needed = tuple(sorted(set(kinds.values())))
    request = _Request(backbone_name, input_size, image_channels, heads_needed, backbone.definition)
    measured = _load_or_measure(request, cache_dir)
    by_kind = dict(zip(request.heads, measured.heads, strict=True))
    heads = {name: by_kind[kind] for name, kind in kinds.items()}
    return CostTable(
        backbone=backbone_name,
        input_size=input_size,
        layer_names=tuple(layer.name for layer in backbone.layers),
        stem_madds=measured.stem[0],
        layer_madds=tuple(madds for madds, _ in measured.layers),
        decoder_madds={name: madds for name, (madds, _) in heads.items()},
        stem_params=measured.stem[1],
        layer_params=tuple(params for _, params in measured.layers),
        decoder_params={name: params for name, (_, params) in heads.items()},
    )


def count_madds(module: nn.Module, inputs: tuple[object, ...]) -> int:
    """Return the multiply-adds of one forward pass: convolutions, linear layers and products of matrices.

    Args:
        module: Any network on the CPU, in evaluation mode.
        inputs: Positional arguments of its forward.
    """
    with warnings.catch_warnings():
        # On import fvcore scripts a function and then it traces the module; torch warns that it deprecates both.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis  # noqa: PLC0415

        analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = analysis.by_operator()
    return int(sum(counts[operator] for operator in _COUNTED_OPERATORS))


def _load_or_measure(request: _Request, cache_dir: Path | None) -> _Measured:
    """Return a measurement from this process, from the cache folder or, failing these, a fresh one."""
    if cache_dir is None:
        return _measure(request)
    key = _compute_key(request)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    height, width = request.input_size
    path = cache_dir / f"{request.backbone.replace(':', '-')}-{height}x{width}-{digest}.json"
    found = _find_cached(path, request, key)
    if found is not None:
        return found
    measured = _measure(request)
    # A full or read-only disk costs the next run a second of measuring, no more.
    with suppress(OSError):
        _write_atomically(path, measured.model_dump_json())
    return measured


def _compute_key(request: _Request) -> str:
    """Return the text that names a measurement: the request and the versions of all that has a say in it."""
    versions = {name: metadata.version(name) for name in ("bmtas", "fvcore", "torch")}
    return json.dumps({"request": asdict(request), "versions": versions}, sort_keys=True)


def _find_cached(path: Path, request: _Request, key: str) -> _Measured | None:
    """Return the measurement a cache file holds, None where it is missing, corrupt or another's."""
    try:
        measured = _Measured.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    num_layers = len(get_backbone(request.backbone).layers)
    fits = measured.key == key and len(measured.layers) == num_layers and len(measured.heads) == len(request.heads)
    return measured if fits else None


def _write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or none, whoever else writes it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


@lru_cache(maxsize=32)
def _measure(request: _Request) -> _Measured:
    """Return the costs of all parts; parts that are built alike and get inputs of one shape are counted once."""
    backbone = get_backbone(request.backbone)
    size = request.input_size
    known: dict[str, int] = {}

    def run(module: nn.Module, *inputs: Tensor | tuple[int, int]) -> tuple[Cost, Tensor]:
        """Return the cost of a part and its output, on the meta device."""
        output: Tensor = module.eval()(*inputs)
        params = sum(parameter.numel() for parameter in module.parameters())
        code = getattr(module, "code", "")  # parts of foreign networks may look alike and compute something else
        kind = f"{module!r} {code} {[item.shape if isinstance(item, Tensor) else item for item in inputs]}"
        if kind not in known:
            known[kind] = _count_on_cpu(module, inputs)
        return (known[kind], params), output

    # Nothing is allocated, drawn or computed on the meta device, so neither memory nor random numbers are touched.
    with torch.device("meta"):
        stem_module, ops = backbone.build_parts(request.image_channels, [1] * len(backbone.layers))
        head_modules = [build_head(backbone, *kind) for kind in request.heads]
    with torch.no_grad():
        image = torch.empty(1, request.image_channels, *size, device="meta")
        stem, features = run(stem_module, image)
        layers: list[Cost] = []
        for index, (op,) in enumerate(ops):
            cost, features = run(op, features)
            layers.append(cost)
            if index == backbone.low_level_layer:
                low_level = features
        heads = [run(head, features, low_level, size)[0] for head in head_modules]
    return _Measured(key=_compute_key(request), stem=stem, layers=tuple(layers), heads=tuple(heads))


def _count_on_cpu(module: nn.Module, inputs: tuple[Tensor | tuple[int, int], ...]) -> int:
    """Return the multiply-adds of a module on the meta device, by moving it: fvcore needs real tensors."""
    blank = tuple(torch.zeros_like(item, device="cpu") if isinstance(item, Tensor) else item for item in inputs)
    module = module.to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()  # left-over memory may hold denormal numbers, which slow the run down
    return count_madds(module, blank)
