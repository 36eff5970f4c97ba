"""What every part of a branched network costs, and what a tree of them costs: exact counts, no torch.

Filled by `search.costs.lut`, which measures the networks, or by `compute_costs`, which does the arithmetic on their
shapes; a test holds the two together. Counts are ints, so that budgets compare exactly. `search.method.resource` uses
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.arithmetic import compute_part_costs
from models.branching import Branching
from models.catalogue import HeadSpec, check_input_size, get_backbone_info
from models.errors import BranchingError
from models.plans import get_plan
from search.data.catalogue import TaskInfo
from search.errors import TaskSetError


@dataclass(frozen=True)
class CostTable:
    """What every part of a branched network costs for one backbone, input size and set of tasks.

    Attributes:
        backbone: Its name.
        input_size: (H, W) of the images, in pixels.
        layer_names: L names of the searched layers.
        stem_madds: Multiply-adds of the stem, for one image.
        layer_madds: Multiply-adds of one copy of each layer, L of them.
        decoder_madds: Task -> multiply-adds of its head.
        stem_params: Parameters of the stem.
        layer_params: Parameters of one copy of each layer, L of them.
        decoder_params: Task -> parameters of its head.
    """

    backbone: str
    input_size: tuple[int, int]
    layer_names: tuple[str, ...]
    stem_madds: int
    layer_madds: tuple[int, ...]
    decoder_madds: Mapping[str, int]
    stem_params: int
    layer_params: tuple[int, ...]
    decoder_params: Mapping[str, int]

    @property
    def num_tasks(self) -> int:
        """Return T."""
        return len(self.decoder_madds)

    @property
    def base_madds(self) -> int:
        """Return the multiply-adds that no branching changes: the stem and all heads."""
        return self.stem_madds + sum(self.decoder_madds.values())

    @property
    def shared_madds(self) -> int:
        """Return the multiply-adds of the network whose tasks share every layer, the least there is."""
        return self.base_madds + sum(self.layer_madds)

    @property
    def split_madds(self) -> int:
        """Return the multiply-adds of the network whose tasks share nothing but the stem, a search's most."""
        return self.base_madds + self.num_tasks * sum(self.layer_madds)

    @property
    def single_madds(self) -> int:
        """Return the multiply-adds of T separate networks, each with a stem of its own."""
        return self.split_madds + (self.num_tasks - 1) * self.stem_madds

    @property
    def shared_params(self) -> int:
        """Return the parameters of the network whose tasks share every layer."""
        return self.stem_params + sum(self.layer_params) + sum(self.decoder_params.values())

    @property
    def single_params(self) -> int:
        """Return the parameters of T separate networks."""
        return self.num_tasks * (self.stem_params + sum(self.layer_params)) + sum(self.decoder_params.values())

    def encoder_madds(self, branching: Branching) -> int:
        """Return the multiply-adds of all copies of all layers, without stem and heads."""
        return _sum_copies(self.layer_madds, branching)

    def madds(self, branching: Branching) -> int:
        """Return the multiply-adds of a branched network on one image; only the tasks it names have heads.

        Raises:
            BranchingError: It has another number of layers.
            TaskSetError: It names a task that was not measured.
        """
        return self.stem_madds + self.encoder_madds(branching) + _sum_heads(self.decoder_madds, branching)

    def params(self, branching: Branching) -> int:
        """Return the parameters of a branched network, with the affine ones of every batch norm.

        Raises:
            BranchingError: It has another number of layers.
            TaskSetError: It names a task that was not measured.
        """
        copies = _sum_copies(self.layer_params, branching)
        return self.stem_params + copies + _sum_heads(self.decoder_params, branching)


def compute_costs(
    backbone_name: str, tasks: Sequence[TaskInfo], input_size: tuple[int, int], image_channels: int
) -> CostTable:
    """Return the cost of every part of a branched network by arithmetic on shapes, in under a millisecond.

    Args:
        backbone_name: Key of `models.catalogue.BACKBONES`.
        tasks: The tasks that get a head.
        input_size: (H, W) of the images, in pixels.
        image_channels: C of the images.

    Raises:
        UnknownBackboneError: No such backbone.
        InputSizeError: The images are too small for it.
    """
    check_input_size(get_backbone_info(backbone_name), input_size)
    heads = [HeadSpec(task.kind != "classification", task.channels) for task in tasks]
    parts = compute_part_costs(backbone_name, image_channels, input_size, heads)
    return CostTable(
        backbone=backbone_name,
        input_size=input_size,
        layer_names=tuple(layer.name for layer in get_plan(backbone_name).layers),
        stem_madds=parts.stem.madds,
        layer_madds=tuple(layer.madds for layer in parts.layers),
        decoder_madds={task.name: head.madds for task, head in zip(tasks, parts.heads, strict=True)},
        stem_params=parts.stem.params,
        layer_params=tuple(layer.params for layer in parts.layers),
        decoder_params={task.name: head.params for task, head in zip(tasks, parts.heads, strict=True)},
    )


def _sum_copies(layer_costs: Sequence[int], branching: Branching) -> int:
    """Return the cost of all copies of all layers."""
    if branching.num_layers != len(layer_costs):
        raise BranchingError(
            f"A branching for this backbone needs {len(layer_costs)} layers, got {branching.num_layers}. "
            "Take the branching of a run on the same backbone."
        )
    return sum(cost * copies for cost, copies in zip(layer_costs, branching.num_branches, strict=True))


def _sum_heads(head_costs: Mapping[str, int], branching: Branching) -> int:
    """Return the cost of the heads of a branching's tasks."""
    unknown = [task for task in branching.tasks if task not in head_costs]
    if unknown:
        raise TaskSetError(
            f"Costs are known for the tasks {', '.join(head_costs)}, got {', '.join(unknown)}. Measure them too."
        )
    return sum(head_costs[task] for task in branching.tasks)
