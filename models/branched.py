"""The branched network: one branching made concrete, the network a person takes home.

A block stands once per group of tasks and layer; each block is evaluated once for all tasks below it.
Source: Bruggemann et al., BMVC 2020, Sec. 3.1. Shapes: B batch, C H W image, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from models.branching import Branching
from models.catalogue import HeadSpec
from models.encoder import Backbone
from models.errors import BranchingError
from models.fast_training import lay_out, use_fast_convolutions
from models.heads import build_head


class BranchedNetwork(nn.Module):
    """A tree of blocks: stem, L layers with one block per group, one head per task.

    Args:
        backbone: Stem and layers.
        heads: What each task asks of its head.
        image_channels: Channels of the input image.
        branching: Which tasks share which layer; its tasks give the order of the outputs.

    Raises:
        BranchingError: The branching has other tasks than `heads` or another number of layers than the backbone.
    """

    def __init__(
        self, backbone: Backbone, heads: Mapping[str, HeadSpec], image_channels: int, branching: Branching
    ) -> None:
        super().__init__()
        if set(branching.tasks) != set(heads):
            raise BranchingError(
                f"The branching is for the tasks {sorted(branching.tasks)}, the heads for {sorted(heads)}. "
                "Name one head per task of the branching."
            )
        if branching.num_layers != len(backbone.layers):
            raise BranchingError(
                f"Backbone '{backbone.info.name}' has {len(backbone.layers)} layers, the branching "
                f"{branching.num_layers}. Build the branching for this backbone."
            )
        self.backbone = backbone
        self.branching = branching
        self.head_specs = {task: heads[task] for task in branching.tasks}
        self.image_channels = image_channels
        self.stem, ops = backbone.build_parts(image_channels, branching.num_branches)
        self.layers = nn.ModuleList(nn.ModuleList(blocks) for blocks in ops)
        self.heads = nn.ModuleDict(
            {task: build_head(backbone, spec.dense, spec.channels) for task, spec in self.head_specs.items()}
        )
        use_fast_convolutions(self)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks in the order of the outputs."""
        return self.branching.tasks

    def blocks(self, layer: int) -> Iterator[nn.Module]:
        """Yield the blocks of a layer in the order of its groups."""
        blocks = self.layers[layer]
        assert isinstance(blocks, nn.ModuleList)
        yield from blocks

    def forward(self, image_BCHW: Tensor) -> dict[str, Tensor]:
        """Return every task's output: (B, channels, H, W) for dense tasks, (B, channels) for labels."""
        stem_BCHW = self.stem(lay_out(image_BCHW, self.backbone.info, training=self.training))
        features = dict.fromkeys(self.tasks, stem_BCHW)
        low_level = dict(features)
        for index, groups in enumerate(self.branching.groups):
            for group, block in zip(groups, self.blocks(index), strict=True):
                features.update(dict.fromkeys(group, block(features[group[0]])))
            if index == self.backbone.low_level_layer:
                low_level = dict(features)
        size = (image_BCHW.shape[-2], image_BCHW.shape[-1])
        return {task: self.heads[task](features[task], low_level[task], size) for task in self.tasks}

    def restricted_to(self, tasks: Sequence[str]) -> BranchedNetwork:
        """Return the network of fewer tasks, sharing this one's weights and holding only the blocks they need."""
        branching = self.branching.restricted_to(tasks)
        smaller = BranchedNetwork(
            self.backbone, {task: self.head_specs[task] for task in branching.tasks}, self.image_channels, branching
        )
        smaller.stem = self.stem
        for index, groups in enumerate(branching.groups):
            owners = self.branching.groups[index]
            kept = [next(i for i, owner in enumerate(owners) if set(group) <= set(owner)) for group in groups]
            smaller.layers[index] = nn.ModuleList(list(self.blocks(index))[i] for i in kept)
        smaller.heads = nn.ModuleDict({task: self.heads[task] for task in branching.tasks})
        return smaller.train(self.training)

    def parameters_by_sharing(self) -> dict[int, list[nn.Parameter]]:
        """Return the parameters by the number of tasks that share them; the stem is shared by all, heads by one."""
        by_sharing: dict[int, list[nn.Parameter]] = {}
        by_sharing.setdefault(len(self.tasks), []).extend(self.stem.parameters())
        for index, groups in enumerate(self.branching.groups):
            for group, block in zip(groups, self.blocks(index), strict=True):
                by_sharing.setdefault(len(group), []).extend(block.parameters())
        by_sharing.setdefault(1, []).extend(self.heads.parameters())
        return by_sharing
