"""Which batches a search goes through: per epoch those of the logits, then those of the weights.

Everything follows from the recipe and the seed. Neighbours: `search.data.splits` draws, `search.bilevel` runs.
"""

from __future__ import annotations

from torch import Tensor

from search.data.splits import epoch_batches, split_search
from search.spec import SearchSpec


class SearchPlan:
    """The batches of one search.

    Args:
        spec: The recipe.
        num_samples: Training samples, split here between logits and weights.
        seed: Names the split and the order of every epoch.
    """

    def __init__(self, spec: SearchSpec, num_samples: int, seed: int) -> None:
        self.spec, self.seed = spec, seed
        self.weight_indices, self.arch_indices = split_search(num_samples, spec.arch_fraction, seed)
        self._epoch = -1
        self._batches: tuple[list[Tensor], list[Tensor]] = ([], [])

    @property
    def arch_steps(self) -> int:
        """Return how many batches of the logits an epoch has after the warm-up."""
        return _count_batches(len(self.arch_indices), self.spec.batch_size)

    def warming_up(self, epoch: int) -> bool:
        """Return whether an epoch belongs to the warm-up, in which the logits stand still."""
        return epoch < self.spec.warmup_epochs

    def batches(self, epoch: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return the batches of the logits pass and of the weights pass; the warm-up moves no logits."""
        if self._epoch != epoch:
            size = self.spec.batch_size
            arch = [] if self.warming_up(epoch) else epoch_batches(self.arch_indices, size, self.seed, epoch, "logits")
            self._epoch = epoch
            self._batches = arch, epoch_batches(self.weight_indices, size, self.seed, epoch, "weights")
        return self._batches

    def count_steps(self, first_epoch: int, last_epoch: int) -> int:
        """Return how many batches the epochs from `first_epoch` up to, not including, `last_epoch` have."""
        num_weights = _count_batches(len(self.weight_indices), self.spec.batch_size)
        searching = max(0, last_epoch - max(first_epoch, self.spec.warmup_epochs))
        return (last_epoch - first_epoch) * num_weights + searching * self.arch_steps


def _count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `epoch_batches` makes of this many samples."""
    return max(1, num_samples // batch_size)
