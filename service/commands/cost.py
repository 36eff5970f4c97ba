"""`bmtas cost`: what a backbone costs with the tasks of a dataset, and what one architecture of it costs.

The request is checked before torch is imported; no data is loaded.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.foreign import check_backbone_name
from search.architecture import Architecture, check_fits_dataset
from search.data.catalogue import TaskInfo, resolve_tasks
from search.errors import ArchitectureFileError, InputSizeError
from search.spec import parse_size
from service.commands.shell import Shell
from service.commands.tables import build_cost_table, print_table

if TYPE_CHECKING:
    from search.costs.cost_table import CostTable

_MAX_SIDE = 2048  # an untrained network is run once per part, and larger images fill a laptop's memory


@dataclass(frozen=True)
class CostRequest:
    """What the person asked.

    Attributes:
        dataset: Its name; gives the tasks and the channels of an image.
        backbone: Its name.
        size: "HxW" in pixels; None for the dataset's own.
        tasks: Names; None for those of the architecture, or all of the dataset.
        architecture: Path of an architecture.json to count as well.
    """

    dataset: str
    backbone: str
    size: str | None
    tasks: tuple[str, ...] | None
    architecture: Path | None


def show_costs(request: CostRequest, shell: Shell, *, as_json: bool) -> None:
    """Print the costs as a table or as JSON.

    Raises:
        SearchError: A name, a size or the architecture does not fit.
        ModelsError: An unknown backbone, or a size too small for it.
    """
    info = shell.datasets.get(request.dataset)
    check_backbone_name(request.backbone)
    architecture = load_architecture(request.architecture) if request.architecture is not None else None
    names = architecture.tasks if architecture is not None and request.tasks is None else request.tasks
    if architecture is not None:
        check_fits_dataset(architecture, info)
    tasks = resolve_tasks(info, names)
    if architecture is not None:
        _check_same(architecture, request.backbone, tasks)
    size = info.default_size if request.size is None else parse_size(request.size)
    _check_affordable(size)

    from search.costs.lut import measure_costs  # noqa: PLC0415 - imports torch; everything above answers without it

    costs = measure_costs(request.backbone, tasks, size, info.image_channels, shell.settings.cache_dir)
    document = describe_costs(info.name, tasks, costs, architecture)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        branching = None if architecture is None else architecture.branching
        print_table(build_cost_table(costs, info.name, branching), sys.stdout)


def describe_costs(
    dataset: str, tasks: tuple[TaskInfo, ...], costs: CostTable, architecture: Architecture | None
) -> dict[str, object]:
    """Return what `bmtas cost --json` prints; `architecture_madds` is None without an architecture."""
    return {
        "dataset": dataset,
        "backbone": costs.backbone,
        "size": list(costs.input_size),
        "tasks": {task.name: task.channels for task in tasks},
        "stem_madds": costs.stem_madds,
        "layer_names": list(costs.layer_names),
        "layer_madds": list(costs.layer_madds),
        "decoder_madds": dict(costs.decoder_madds),
        "shared_madds": costs.shared_madds,
        "split_madds": costs.split_madds,
        "single_madds": costs.single_madds,
        "architecture_madds": None if architecture is None else costs.madds(architecture.branching),
        "shared_params": costs.shared_params,
        "single_params": costs.single_params,
    }


def load_architecture(path: Path) -> Architecture:
    """Return the architecture in a file.

    Raises:
        ArchitectureFileError: It is corrupt.
        OSError: It cannot be read.
    """
    return Architecture.from_json_bytes(path.read_bytes(), str(path))


def _check_affordable(size: tuple[int, int]) -> None:
    """Refuse an image too large to be run through a network here; backbones refuse those that are too small."""
    if max(size) > _MAX_SIDE:
        raise InputSizeError(
            f"Costs are counted on images of at most {_MAX_SIDE} pixels a side, got {size[0]}x{size[1]}. "
            "Ask for a smaller size: MAdds grow with the number of pixels."
        )


def _check_same(architecture: Architecture, backbone: str, tasks: tuple[TaskInfo, ...]) -> None:
    """Refuse an architecture of another backbone or of other tasks than those asked for."""
    if architecture.backbone != backbone:
        raise ArchitectureFileError(
            f"The architecture must be of the backbone asked for, but it is of '{architecture.backbone}' and not of "
            f"'{backbone}'. Give --backbone {architecture.backbone}, or another file."
        )
    if {task.name for task in tasks} != set(architecture.tasks):
        raise ArchitectureFileError(
            f"The architecture must be for the tasks asked for, but it is for {', '.join(architecture.tasks)}, and "
            f"--tasks names {', '.join(task.name for task in tasks)}. Leave --tasks out, or give another file."
        )
