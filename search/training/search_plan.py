"""Which batches a search goes through: per epoch those of the logits, then those of the weights.

Everything follows from the recipe and the seed. Neighbours: `search.data.splits` draws, `search.method.bilevel` runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from search.data.feeding import PlannedBatch
from search.data.splits import derive_seed, epoch_batches, split_search
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

    @property
    def arch_steps(self) -> int:
        """Return how many batches of the logits an epoch has after the warm-up."""
        return _count_batches(len(self.arch_indices), self.spec.batch_size)

    @property
    def weight_steps(self) -> int:
        """Return how many batches of the weights an epoch has."""
        return _count_batches(len(self.weight_indices), self.spec.batch_size)

    def warming_up(self, epoch: int) -> bool:
        """Return whether an epoch belongs to the warm-up, in which the logits stand still."""
        return epoch < self.spec.warmup_epochs

    def upcoming(self, epoch: int, step: int) -> Iterator[PlannedBatch]:
        """Yield the batches from a step of an epoch on, to the end of the search."""
        size, seed = self.spec.batch_size, self.seed
        for later in range(epoch, self.spec.epochs):
            batches = epoch_batches(self.weight_indices, size, seed, later, "weights")
            if not self.warming_up(later):
                batches = epoch_batches(self.arch_indices, size, seed, later, "logits") + batches
            for index in range(step if later == epoch else 0, len(batches)):
                yield PlannedBatch(batches[index], derive_seed(seed, "samples", later, index))

    def count_logits_steps(self, epoch: int) -> int:
        """Return how many batches of the logits an epoch begins with; the warm-up moves no logits."""
        return 0 if self.warming_up(epoch) else self.arch_steps

    def count_steps(self, first_epoch: int, last_epoch: int) -> int:
        """Return how many batches the epochs from `first_epoch` up to, not including, `last_epoch` have."""
        searching = max(0, last_epoch - max(first_epoch, self.spec.warmup_epochs))
        return (last_epoch - first_epoch) * self.weight_steps + searching * self.arch_steps


def _count_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `epoch_batches` makes of this many samples."""
    return max(1, num_samples // batch_size)
