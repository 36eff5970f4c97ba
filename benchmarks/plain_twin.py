"""The plain twin of the search: the paper's supergraph and its two updates, written as literally as possible.

Task by task, every op evaluated by its own modules whatever it weighs, soft mix, weight gradients in both updates, no
sharing between tasks. Source: Bruggemann et al., BMVC 2020, Sec. 3.2. `benchmarks/search_step.py` runs against it.
Shapes: B batch, C H W image, L layers, T tasks, K ops per layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from models.blocks import without_last_affine
from models.catalogue import HeadSpec
from models.encoder import Backbone
from models.heads import build_head
from search.judging.losses import Loss


class PlainSupergraph(nn.Module):
    """All branchings at once; parameters have the names of `models.supergraph.Supergraph`.

    Args:
        backbone: Stem and searched layers.
        heads: What each task asks of its head; the order of the T tasks.
        image_channels: Channels of the input image.
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, HeadSpec], image_channels: int) -> None:
        super().__init__()
        self.low_level_layer = backbone.low_level_layer
        self.stem = backbone.build_stem(image_channels)
        self.layers = nn.ModuleList(
            nn.ModuleList(without_last_affine(layer.build()) for _ in heads) for layer in backbone.layers
        )
        self.heads = nn.ModuleDict(
            {task: build_head(backbone, spec.dense, spec.channels) for task, spec in heads.items()}
        )

    def forward(self, image_BCHW: Tensor, task: str, mix_LK: Tensor) -> Tensor:
        """Return one task's output with every op of every layer evaluated."""
        features_BCHW = low_level_BCHW = self.stem(image_BCHW)
        for index, ops in enumerate(self.layers):
            assert isinstance(ops, nn.ModuleList)
            outputs = [weight * op(features_BCHW) for weight, op in zip(mix_LK[index], ops, strict=True)]
            features_BCHW = reduce(torch.add, outputs)
            if index == self.low_level_layer:
                low_level_BCHW = features_BCHW
        output: Tensor = self.heads[task](features_BCHW, low_level_BCHW, tuple(image_BCHW.shape[-2:]))
        return output


def update_weights_plainly(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    losses: Mapping[str, Loss],
    mix_LTK: Tensor,
) -> list[float]:
    """Return the T losses of one weight update: for each task one forward, one backward and one step."""
    seen = []
    for position, (task, loss_of) in enumerate(losses.items()):
        optimiser.zero_grad()
        loss = loss_of(network(batch["image"], task, mix_LTK[:, position]), batch[task])
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    return seen


def update_logits_plainly(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    losses: Mapping[str, Loss],
    mix_LTK: Tensor,
) -> list[float]:
    """Return the T losses of one architecture update: the gradients of all tasks gathered, then one step.

    Args:
        network: The supergraph; its weights get gradients that nobody uses.
        optimiser: Moves the logits from which `mix_LTK` was drawn.
        batch: Images and labels.
        losses: Loss of each task, in the order of the tasks.
        mix_LTK: The mix, with its graph down to the logits.
    """
    seen, slopes = [], []
    optimiser.zero_grad()
    network.zero_grad()
    for position, (task, loss_of) in enumerate(losses.items()):
        mix_LK = mix_LTK[:, position].detach().requires_grad_()  # frees one task's graph before the next is built
        loss = loss_of(network(batch["image"], task, mix_LK), batch[task])
        loss.backward()
        assert mix_LK.grad is not None
        slopes.append(mix_LK.grad)
        seen.append(float(loss.detach()))
    mix_LTK.backward(torch.stack(slopes, dim=1))
    optimiser.step()
    return seen
