"""The supergraph: every branching at once, each encoder layer holding K candidate copies ("ops") of its block.

A task's features at a layer are the mix of the ops' outputs. The supergraph is told the mix; it knows no temperature,
no logits and no budget. Source: Bruggemann et al., BMVC 2020, Sec. 3.2.
Shapes: B batch, C H W image, L layers, T tasks, K ops per layer (K = T).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from models.blocks import without_last_affine
from models.branched import BranchedNetwork
from models.branching import Branching
from models.catalogue import HeadSpec
from models.encoder import Backbone
from models.fast_training import lay_out, use_fast_convolutions
from models.heads import build_head
from models.op_bank import mix_ops

ActiveOps = Sequence[Sequence[int]]
"""Per layer, the indices of the ops that are evaluated."""

NEGLIGIBLE_WEIGHT = 1e-6
"""Ops of at most this weight are not evaluated: with five ops in 18 layers that moves features by less than 1e-4."""


def find_active_ops(mix_LK: Tensor) -> list[list[int]]:
    """Return per layer the indices of the ops whose weight is not negligible; pass a mix on the CPU, it is read."""
    return [[op for op, weight in enumerate(row) if abs(weight) > NEGLIGIBLE_WEIGHT] for row in mix_LK.tolist()]


class Supergraph(nn.Module):
    """All branchings of one backbone over T tasks.

    The last batch norm of every op has no affine parameters, which keeps the ops' outputs on one scale (Sec. 4.1).

    Args:
        backbone: Stem and searched layers.
        heads: What each task asks of its head; the order of the T tasks.
        image_channels: Channels of the input image.
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, HeadSpec], image_channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tasks = tuple(heads)
        self.head_specs = dict(heads)
        self.image_channels = image_channels
        self.stem, ops = backbone.build_parts(image_channels, [len(self.tasks)] * len(backbone.layers))
        self.layers = nn.ModuleList(nn.ModuleList(without_last_affine(op) for op in copies) for copies in ops)
        self.heads = nn.ModuleDict(
            {task: build_head(backbone, spec.dense, spec.channels) for task, spec in heads.items()}
        )
        self.align_ops()
        use_fast_convolutions(self)

    @property
    def num_layers(self) -> int:
        """Return L, the number of searched layers."""
        return len(self.layers)

    @property
    def num_ops(self) -> int:
        """Return K, the number of ops per layer."""
        return len(self.tasks)

    def align_ops(self) -> None:
        """Give all ops of a layer the weights of its first op, as when all start from one pretrained file."""
        for ops in self.layers:
            assert isinstance(ops, nn.ModuleList)
            state = ops[0].state_dict()
            for op in ops[1:]:
                op.load_state_dict(state)

    def forward(self, image_BCHW: Tensor, task: str, mix_LK: Tensor, active: ActiveOps | None = None) -> Tensor:
        """Return the output of one task when each layer mixes its ops as told.

        Args:
            image_BCHW: Input images.
            task: The task whose head is used.
            mix_LK: Weight of every op; ops of negligible weight are not evaluated, so they get no gradient and their
                batch norms see no batch.
            active: The ops to evaluate, when the caller knows them; found from `mix_LK` otherwise.

        Returns:
            The head's output: (B, channels, H, W) for dense tasks, (B, channels) for labels.
        """
        stem_BCHW = self.stem(lay_out(image_BCHW, self.backbone.info, training=self.training))
        return self.forward_from_stem(stem_BCHW, task, mix_LK, active, image_BCHW.shape[-2:])

    def forward_from_stem(
        self,
        stem_BCHW: Tensor,
        task: str,
        mix_LK: Tensor,
        active: ActiveOps | None,
        output_size: Sequence[int],
    ) -> Tensor:
        """Return the output of one task from the stem's features, which all tasks have in common."""
        if active is None:
            active = find_active_ops(mix_LK)
        features_BCHW = low_level_BCHW = lay_out(stem_BCHW, self.backbone.info, training=self.training)
        for index, (ops, chosen) in enumerate(zip(self.layers, active, strict=True)):
            assert isinstance(ops, nn.ModuleList)
            features_BCHW = mix_ops([ops[op] for op in chosen], features_BCHW, [mix_LK[index, op] for op in chosen])
            if index == self.backbone.low_level_layer:
                low_level_BCHW = features_BCHW
        output: Tensor = self.heads[task](features_BCHW, low_level_BCHW, tuple(output_size))
        return output

    def to_branched(self, branching: Branching, routing_LT: Sequence[Sequence[int]]) -> BranchedNetwork:
        """Return the branched network of a branching with a copy of the weights of the ops that a routing picks.

        Args:
            branching: The tree that `routing_LT` builds.
            routing_LT: Op picked per layer and task; tasks of one group must pick the same op.
        """
        network = BranchedNetwork(self.backbone, self.head_specs, self.image_channels, branching)
        network.stem.load_state_dict(self.stem.state_dict())
        network.heads.load_state_dict(self.heads.state_dict())
        for index, groups in enumerate(branching.groups):
            for group, block in zip(groups, network.blocks(index), strict=True):
                picked = {int(routing_LT[index][self.tasks.index(task)]) for task in group}
                assert len(picked) == 1, f"tasks {group} share layer {index} but pick the ops {picked}"
                ops = self.layers[index]
                assert isinstance(ops, nn.ModuleList)
                _copy_with_unit_affine(ops[picked.pop()], block)
        return network


def _copy_with_unit_affine(op: nn.Module, block: nn.Module) -> None:
    """Copy an op's weights into a block whose last norm is affine; that norm gets scale 1 and shift 0."""
    missing, unexpected = block.load_state_dict(op.state_dict(), strict=False)
    assert not unexpected, unexpected
    for name in missing:
        kind = name.rpartition(".")[2]
        assert kind in ("weight", "bias"), missing
        nn.init.constant_(block.get_parameter(name), 1.0 if kind == "weight" else 0.0)
