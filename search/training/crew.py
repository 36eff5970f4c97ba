"""The processes that train one network together: who this one is, and what it needs to say to the others.

`Alone` is the crew of one. `search.training.ranks` has the crew of several. Each takes its share of every batch, so
that all together see the batches that one process would see. Shapes: N values.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor, nn


class Crew(Protocol):
    """Processes in step with each other."""

    @property
    def rank(self) -> int:
        """Return the number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Return how many there are."""
        ...

    def join(self, network: nn.Module) -> nn.Module:
        """Return what runs the network, in training mode, so that gradients and batch norms are those of all."""
        ...

    def apart(self, runner: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which gradients stay with this process; those after it are shared with these."""
        ...

    def sum(self, values_N: Tensor) -> Tensor:
        """Return the sums of all processes' values."""
        ...

    def agree(self, word: bool) -> bool:
        """Return what the first process says."""
        ...


class Alone:
    """One process by itself."""

    rank = 0
    size = 1

    def join(self, network: nn.Module) -> nn.Module:
        """Return the network."""
        return network

    def apart(self, runner: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which nothing is different."""
        return nullcontext()

    def sum(self, values_N: Tensor) -> Tensor:
        """Return the values."""
        return values_N

    def agree(self, word: bool) -> bool:
        """Return the word."""
        return word
