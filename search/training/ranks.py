"""The crew of several processes, by torch's distributed package: gradients by DistributedDataParallel, NCCL or Gloo.

Batch norms see the batches of all: torch's SyncBatchNorm on GPUs, `synced_norm` elsewhere.
Shapes: N values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from search.training.synced_norm import use_global_norms


class Ranks:
    """One process of several; `join_ranks` makes it.

    Args:
        rank: Its number, from 0.
        size: How many there are.
        device: Where its copy of the network lies.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self._rank, self._size, self._device = rank, size, device

    @property
    def rank(self) -> int:
        """Return the number of this process."""
        return self._rank

    @property
    def size(self) -> int:
        """Return how many there are."""
        return self._size

    def join(self, network: nn.Module) -> nn.Module:
        """Return what runs the network; its batch norms are replaced, and all processes begin with the first's weights.

        Every process must use all parameters in every pass: what is left out makes the others wait for ever.
        """
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        else:
            use_global_norms(network)
        return DistributedDataParallel(network, device_ids=[self._device.index] if on_gpu else None)

    def apart(self, runner: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which gradients stay with this process; those after it are shared with these."""
        assert isinstance(runner, DistributedDataParallel)
        return runner.no_sync()

    def sum(self, values_N: Tensor) -> Tensor:
        """Return the sums of all processes' values."""
        total_N = values_N.clone()
        distributed.all_reduce(total_N)
        return total_N

    def agree(self, word: bool) -> bool:
        """Return what the first process says; by the processor's own backend, which waits for no GPU."""
        said = torch.tensor([int(word)])
        distributed.broadcast(said, src=0)
        return bool(said.item())


@contextmanager
def join_ranks(rank: int, size: int, device: torch.device, meeting_point: Path) -> Iterator[Ranks]:
    """Yield this process's place among several, once all have come; leave them in the end.

    Args:
        rank: Its number, from 0.
        size: How many are expected.
        device: Where its copy of the network lies.
        meeting_point: A file, not there yet, on a disk that all of them see.
    """
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, init_method=meeting_point.as_uri(), rank=rank, world_size=size)
    try:
        yield Ranks(rank, size, device)
    finally:
        distributed.destroy_process_group()
