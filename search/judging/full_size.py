"""Outputs brought back to a photograph's own size, to be judged against labels as their files hold them.

The network sees every image fitted to one size (`search.data.files.fitting`); what it says of the padding is cut off,
the rest is stretched back. Legend: C channels, H W pixels of the network's input, h w of the image in its own size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from search.data.catalogue import TaskInfo
from search.data.files.fitting import Placement
from search.data.files.sources import Label, Sample

MAX_NUMBERS = 2**25
"""Of a stretched output at a time: 128 MiB."""


@runtime_checkable
class NativeSamples(Protocol):
    """A data set that also gives its samples in their own size."""

    def native(self, index: int) -> Sample:
        """Return a sample in its own size."""
        ...

    def placement(self, index: int) -> Placement:
        """Return where its image lies inside the network's input."""
        ...


def pair_in_full(
    task: TaskInfo, output_CHW: Tensor, label: Label, placement: Placement, *, max_numbers: int = MAX_NUMBERS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an output in the image's own size with its label, as batches of one; strips of rows where it is large.

    Metrics that judge an image as a whole are those of one channel, which are never cut into strips.

    Args:
        task: The task.
        output_CHW: Raw output at the network's size, or (C,) for the image as a whole.
        label: As the sample's files hold it; where it is None nothing is yielded.
        placement: Where the image lies inside the network's input.
        max_numbers: Numbers of an output that may be stretched at a time.
    """
    if label is None:
        return
    label_1 = _to_batch(task, label).to(output_CHW.device)
    if output_CHW.dim() == 1:
        yield output_CHW[None], label_1
        return
    height, width = placement.native_size
    num_rows = height if len(output_CHW) == 1 else max(1, max_numbers // (len(output_CHW) * width))
    for first in range(0, height, num_rows):
        last = min(first + num_rows, height)
        yield stretch_rows(output_CHW, placement, first, last)[None], label_1[..., first:last, :]


def stretch(output_CHW: Tensor, placement: Placement) -> Tensor:
    """Return an output in the image's own size, (C, h, w)."""
    return stretch_rows(output_CHW, placement, 0, placement.native_size[0])


def stretch_rows(output_CHW: Tensor, placement: Placement, first: int, last: int) -> Tensor:
    """Return some rows of an output in the image's own size, bilinear; where the image was not resized, as they are.

    Args:
        output_CHW: Raw output at the network's size.
        placement: Where the image lies inside the network's input.
        first: First row, in pixels of the image's own size.
        last: Row before which to end.
    """
    (top, left), (height, width) = (placement.top, placement.left), placement.size
    inside_CHW = output_CHW[:, top : top + height, left : left + width]
    if placement.size == placement.native_size:
        return inside_CHW[:, first:last]
    rows_R = torch.arange(first, last, device=output_CHW.device, dtype=torch.float64)
    place_R = ((rows_R + 0.5) * height / placement.native_size[0] - 0.5).clamp(0, height - 1)
    above_R = place_R.long()
    below_R = (above_R + 1).clamp(max=height - 1)
    share_R1 = (place_R - above_R).to(inside_CHW.dtype)[:, None]
    blended_CRW = torch.lerp(inside_CHW[:, above_R], inside_CHW[:, below_R], share_R1)
    size = (last - first, placement.native_size[1])
    return functional.interpolate(blended_CRW[None], size, mode="bilinear", align_corners=False)[0]


def _to_batch(task: TaskInfo, label: Label) -> Tensor:
    """Return a label as `search.data.loading.TaskDataset` describes it, as a batch of one."""
    if isinstance(label, int):
        return torch.tensor([label])
    assert label is not None
    values = torch.from_numpy(np.ascontiguousarray(label))
    if task.kind in ("segmentation", "parts"):
        return values.long()[None]
    return values.float().permute(2, 0, 1)[None] if task.kind == "normals" else values.float()[None, None]
