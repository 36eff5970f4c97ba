"""How a machine computes: device, number format, memory layout, compilation, and how many processes.

None of it is part of what names a study: like the device it changes seconds and the last digits, not what is trained,
and a run may go on elsewhere. `search.networks` chooses it from a person's words. Losses are always float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """How networks are trained on a machine; the defaults are those of a CPU, where nothing else pays.

    Attributes:
        device: Where networks and batches lie.
        autocast: Format of convolutions and products in training, e.g. bfloat16; None for float32 throughout.
        channels_last: Whether weights and images lie with their channels last, as tensor cores want them. On a CPU
            `models.fast_training` decides that by itself.
        compiler: Name of a backend of torch.compile; None to run networks as they are written.
        num_processes: Processes that train one network together, each on a device of its own.
    """

    device: torch.device
    autocast: torch.dtype | None = None
    channels_last: bool = False
    compiler: str | None = None
    num_processes: int = 1

    @property
    def pins(self) -> bool:
        """Return whether batches are prepared in pinned memory, from where a GPU fetches them by itself."""
        return self.device.type == "cuda"

    def describe(self) -> str | None:
        """Return in which ways this is not float32 by one process, for whoever compares results; None in none."""
        ways = (
            (self.autocast is not None, str(self.autocast).removeprefix("torch.")),
            (self.channels_last, "channels last"),
            (self.compiler is not None, "compiled"),
            (self.num_processes > 1, f"{self.num_processes} processes"),
        )
        return ", ".join(words for said, words in ways if said) or None

    def place(self, network: Network) -> Network:
        """Return the network, now on the device and in the memory layout."""
        network.to(self.device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub forgot it
        return network

    def send(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch on the device, its images in the memory layout."""
        sent = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        if self.channels_last:
            sent["image"] = sent["image"].contiguous(memory_format=torch.channels_last)
        return sent

    def casting(self) -> AbstractContextManager[object]:
        """Return a context for one forward pass; what a loss gets out of it is brought back to float32 there.

        One pass each: a weight cast once under `no_grad` would be remembered without its gradient.
        """
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def compiled(self, network: Callable[..., Any]) -> Callable[..., Any]:
        """Return what runs the network: itself, or its compiled form, which shares its weights."""
        return network if self.compiler is None else torch.compile(network, backend=self.compiler)
