"""Batch norm over the batches of all processes, for devices on which torch's own SyncBatchNorm does not run.

Shapes: B batch, C channels, H W pixels, S = C + 1 sums: one per channel, and the count of its values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _SumOverAll(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of theirs, since each of them goes on from the same sum."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """Return the sums of all processes' values."""
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        """Return the sums of all processes' gradients."""
        total = gradients[0].contiguous()
        distributed.all_reduce(total)
        return total


def sum_over_all(values: Tensor) -> Tensor:
    """Return the sums of all processes' values, with a gradient; all of them must call it in the same order."""
    total: Tensor = _SumOverAll.apply(values)  # type: ignore[no-untyped-call]
    return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that in training normalises by the statistics of all processes' batches together."""

    @classmethod
    def sharing(cls, norm: nn.BatchNorm2d) -> GlobalBatchNorm2d:
        """Return a global batch norm that holds the very parameters and statistics of `norm`."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        shared.weight, shared.bias = norm.weight, norm.bias
        for name, value in norm.named_buffers():
            setattr(shared, name, value)
        return shared.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised maps, shape as given."""
        if not self.training:
            return super().forward(input)
        values_BCHW = input.float()
        count_1 = values_BCHW.new_tensor([values_BCHW.numel() / values_BCHW.shape[1]])
        total_S = sum_over_all(torch.cat([values_BCHW.sum((0, 2, 3)), count_1]))
        count = total_S[-1].detach()
        mean_C11 = (total_S[:-1] / count)[:, None, None]
        centred_BCHW = values_BCHW - mean_C11
        # In a second round, since the difference of two large sums would lose what is left of it.
        variance_C = sum_over_all(centred_BCHW.square().sum((0, 2, 3))) / count
        self._follow(mean_C11[:, 0, 0].detach(), variance_C.detach() * (count / (count - 1).clamp(min=1)))
        normed_BCHW = centred_BCHW * (variance_C + self.eps).rsqrt()[:, None, None]
        if self.affine:
            normed_BCHW = normed_BCHW * self.weight[:, None, None] + self.bias[:, None, None]
        return normed_BCHW.to(input.dtype)

    def _follow(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Move the running statistics towards those of this batch, as torch's own batch norm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean_C, share)
            self.running_var.lerp_(variance_C, share)


def use_global_norms(module: nn.Module) -> None:
    """Replace, in place, the batch norms inside a module by global ones that hold the same parameters."""
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, GlobalBatchNorm2d.sharing(child))
