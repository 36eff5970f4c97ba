"""Samples in the few bytes in which they are kept and augmented, and the batches made of them.

A compact sample holds "image" uint8 (C, H, W), and per task with a label: segmentation, parts, saliency and edge uint8
(H, W); normals float16 (3, H, W); depth float32 (H, W) in metres; classification int64 (). 255 is ignored everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo, TaskKind
from search.data.transforms import IMAGE, augment, draw_augmentations

Sample = Mapping[str, Tensor]
_DTYPES: dict[TaskKind, torch.dtype] = {"normals": torch.float16, "depth": torch.float32, "classification": torch.int64}


def make_batch(samples: Sequence[Sample], tasks: Sequence[TaskInfo]) -> dict[str, Tensor]:
    """Return a batch as `search.data.loading.TaskDataset` describes it; missing labels are 255 throughout.

    Args:
        samples: At least one, all of one size.
        tasks: Tasks that get labels in the batch.
    """
    image_BCHW = torch.stack([sample[IMAGE] for sample in samples]).float()
    batch = {IMAGE: image_BCHW.div_(127.5).sub_(1)}
    size = (int(image_BCHW.shape[2]), int(image_BCHW.shape[3]))
    for task in tasks:
        blank = _make_blank(task.kind, size)
        label = torch.stack([sample.get(task.name, blank) for sample in samples])
        if task.kind == "normals":
            batch[task.name] = _to_unit_vectors(label)
        elif task.kind in ("segmentation", "parts", "classification"):
            batch[task.name] = label.long()
        else:
            batch[task.name] = label.float()[:, None]
    return batch


def augment_samples(
    samples: Sequence[Sample], tasks: Sequence[TaskInfo], generator: torch.Generator
) -> list[dict[str, Tensor]]:
    """Return the samples of a batch flipped, scaled and cropped or padded, each by its own draw."""
    kinds = {task.name: task.kind for task in tasks}
    height, width = samples[0][IMAGE].shape[-2:]
    drawn = draw_augmentations(len(samples), (int(height), int(width)), generator)
    return [augment(sample, kinds, augmentation) for sample, augmentation in zip(samples, drawn, strict=True)]


def _make_blank(kind: TaskKind, size: tuple[int, int]) -> Tensor:
    """Return the label of a sample without one."""
    shape = {"classification": (), "normals": (3, *size)}.get(kind, size)
    return torch.full(shape, IGNORE_LABEL, dtype=_DTYPES.get(kind, torch.uint8))


def _to_unit_vectors(half_B3HW: Tensor) -> Tensor:
    """Return normals in single precision, of length 1 or IGNORE_LABEL."""
    normals_B3HW = half_B3HW.float()
    ignored_B1HW = (half_B3HW == IGNORE_LABEL).all(1, keepdim=True)
    # Written out, since torch's norm over three strided values takes thirty times as long.
    x_BHW, y_BHW, z_BHW = normals_B3HW.unbind(1)
    square_BHW = (x_BHW * x_BHW).addcmul_(y_BHW, y_BHW).addcmul_(z_BHW, z_BHW).clamp_(min=1e-12)
    return normals_B3HW.mul_(square_BHW.rsqrt_()[:, None]).masked_fill_(ignored_B1HW, IGNORE_LABEL)
