"""Training on a CPU by faster routes: the same numbers up to rounding, from kernels that fill the processor better.

`models.supergraph` and `models.branched` apply it to themselves. Only training mode on a CPU takes these routes;
evaluation, export and GPUs run the plain modules, so outputs there do not depend on this file. What it brings is
measured by `benchmarks/search_step.py`.
Shapes: B batch, C channels, H W pixels, P = 4 B images of half the height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.catalogue import BackboneInfo


class FastConv2d(nn.Conv2d):
    """A convolution with the parameters of a plain one that, in training on a CPU, may take another route."""

    @classmethod
    def sharing(cls, conv: nn.Conv2d) -> FastConv2d:
        """Return a fast convolution that holds the very parameters of `conv`."""
        with torch.device("meta"):  # draws no random numbers, so that a seed still names the same weights
            fast = cls(
                conv.in_channels,
                conv.out_channels,
                (conv.kernel_size[0], conv.kernel_size[1]),
                groups=conv.groups,
                bias=conv.bias is not None,
            )
        fast.stride, fast.padding, fast.dilation = conv.stride, conv.padding, conv.dilation
        fast.weight, fast.bias = conv.weight, conv.bias
        return fast.train(conv.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of the maps, shape (B, C, H, W)."""
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        if self.kernel_size == (1, 1) and self.padding == (0, 0):
            # With one thread torch hands small batches to a 1x1 kernel 1.7 times slower than oneDNN's, unless they are
            # dilated. One tap has nothing to dilate, so this changes the kernel and nothing else.
            return functional.conv2d(input, self.weight, self.bias, self.stride, 0, 2, self.groups)
        if self.dilation == (2, 2) and self.stride == (1, 1) and self.groups == self.in_channels and self._keeps_size:
            return self._convolve_phases(input)
        return super().forward(input)

    @property
    def _keeps_size(self) -> bool:
        """Return whether the padding makes up for a dilation of 2."""
        return self.padding == (self.kernel_size[0] - 1, self.kernel_size[1] - 1) and all(
            side % 2 for side in self.kernel_size
        )

    def _convolve_phases(self, maps_BCHW: Tensor) -> Tensor:
        """Return a depthwise convolution of dilation 2 as a plain one on the four phases of the grid.

        A tap two pixels away is the next pixel of the same phase (even or odd rows and columns). The dilated kernel's
        gradient takes 10 times as long as the plain one's.
        """
        assert not isinstance(self.padding, str)
        height, width = maps_BCHW.shape[-2:]
        even_BCHW = functional.pad(maps_BCHW, (0, width % 2, 0, height % 2))
        padding = (self.padding[0] // 2, self.padding[1] // 2)
        phases_PCHW = functional.conv2d(_to_phases(even_BCHW), self.weight, self.bias, 1, padding, 1, self.groups)
        return _from_phases(phases_PCHW)[..., :height, :width]


def use_fast_convolutions(module: nn.Module) -> None:
    """Replace, in place, the plain convolutions inside a module by fast ones that hold the same parameters."""
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if type(child) is nn.Conv2d and _is_plain(child):
                setattr(part, name, FastConv2d.sharing(child))


def _is_plain(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has nothing that a fast one lacks: hooks, computed weights, padding by copies."""
    hooked = any(value for name, value in vars(conv).items() if name.endswith(("_hooks", "_hooks_with_kwargs")))
    return not hooked and conv.padding_mode == "zeros" and "weight" in conv._parameters


def lay_out(maps_BCHW: Tensor, info: BackboneInfo, *, training: bool) -> Tensor:
    """Return the maps in the memory layout in which a backbone trains fastest, values as given.

    Channels last makes depthwise convolutions and batch norms on a CPU about twice as fast; full 3x3 convolutions,
    all that the other families have, get slower.
    """
    if training and maps_BCHW.device.type == "cpu" and info.family == "mobilenet":
        return maps_BCHW.contiguous(memory_format=torch.channels_last)
    return maps_BCHW


def _to_phases(maps_BCHW: Tensor) -> Tensor:
    """Return the four phases of maps of even height and width as images of half the size, channels last."""
    batch, channels, height, width = maps_BCHW.shape
    grid = maps_BCHW.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    phases_PHWC = grid.permute(2, 4, 0, 1, 3, 5).reshape(4 * batch, height // 2, width // 2, channels)
    return phases_PHWC.permute(0, 3, 1, 2)


def _from_phases(phases_PCHW: Tensor) -> Tensor:
    """Return the maps whose phases these are."""
    num_images, channels, height, width = phases_PCHW.shape
    batch = num_images // 4
    grid = phases_PCHW.permute(0, 2, 3, 1).reshape(2, 2, batch, height, width, channels)
    maps_BHWC = grid.permute(2, 3, 0, 4, 1, 5).reshape(batch, 2 * height, 2 * width, channels)
    return maps_BHWC.permute(0, 3, 1, 2)
