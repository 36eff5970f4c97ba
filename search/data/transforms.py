"""Resizing and random augmentation of samples, labels included: flip, scale, crop and pad.

torch's own operators do the sampling: smooth for images, by the nearest pixel for labels, so that no label value arises
that was not there; edges stay lines where an image shrinks. Source: the recipe of Bruggemann et al., BMVC 2020, sec. 4.
Shapes: C channels, H W pixels of the input; maps are as `search.data.compact` describes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from search.data.catalogue import IGNORE_LABEL, TaskKind

IMAGE = "image"
_Sampling = Callable[[Tensor, tuple[int, int]], Tensor]
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True)
class Augmentation:
    """What is done to one image, in this order.

    Attributes:
        scale: By which factor it is resized.
        top: Which row of the resized image becomes the first one, negative where rows are padded above it.
        left: The same for columns.
        flip: Whether the result is mirrored left to right.
    """

    scale: float = 1.0
    top: int = 0
    left: int = 0
    flip: bool = False


def draw_augmentations(num: int, size: tuple[int, int], generator: torch.Generator) -> list[Augmentation]:
    """Return random augmentations, one per image of a batch.

    Args:
        num: Images in the batch.
        size: Their (H, W), which they keep.
        generator: The only source of chance.
    """
    flips = torch.randint(0, 2, (num,), generator=generator).tolist()
    scales = [SCALES[choice] for choice in torch.randint(0, len(SCALES), (num,), generator=generator).tolist()]
    shares = torch.rand(2, num, generator=generator).tolist()
    return [
        Augmentation(scale, _draw_offset(size[0], scale, down), _draw_offset(size[1], scale, across), flip > 0)
        for flip, scale, down, across in zip(flips, scales, *shares, strict=True)
    ]


def augment(
    sample: Mapping[str, Tensor], kinds: Mapping[str, TaskKind], augmentation: Augmentation
) -> dict[str, Tensor]:
    """Return a sample flipped, scaled and cropped or padded, in the same size.

    A mirrored surface faces the other way: x of its normals changes sign. A larger image is one seen from nearer: depth
    is divided by the scale. Around a smaller image there is its own mean colour, and nothing to learn.

    Args:
        sample: "image" uint8 (C, H, W) and the labels that there are.
        kinds: Kind of each task; labels of classification stay as they are.
        augmentation: What to do.
    """
    image_CHW = sample[IMAGE]
    mean_C = image_CHW.float().mean((1, 2)).round()
    out = {}
    for name, value in sample.items():
        if name != IMAGE and kinds[name] == "classification":
            out[name] = value
            continue
        fill = mean_C if name == IMAGE else torch.tensor([float(IGNORE_LABEL)])
        sampling = _SAMPLINGS.get("image" if name == IMAGE else kinds[name], _resize_nearest)
        moved = _move(value if value.dim() == 3 else value[None], augmentation, fill, sampling)
        changed = moved if name == IMAGE else _change_values(moved, kinds[name], augmentation)
        out[name] = changed.view(value.shape)
    return out


def resize(sample: Mapping[str, Tensor], kinds: Mapping[str, TaskKind], size: tuple[int, int]) -> dict[str, Tensor]:
    """Return a sample in another size (H, W); metres stay metres, since the view stays the same."""
    out = {}
    for name, value in sample.items():
        kind = "image" if name == IMAGE else kinds[name]
        if kind == "classification" or value.shape[-2:] == size:
            out[name] = value
        else:
            resized = _SAMPLINGS.get(kind, _resize_nearest)(value.view(-1, *value.shape[-2:]), size)
            out[name] = resized.view(*value.shape[:-2], *size)
    return out


def scale_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return (H, W) times a factor, each side rounded to whole pixels and at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _draw_offset(side: int, scale: float, share: float) -> int:
    """Return where the window begins: anywhere inside a larger image, or with a smaller image anywhere inside it."""
    slack = max(1, round(side * scale)) - side
    offset = int(share * (abs(slack) + 1))
    return offset if slack > 0 else -offset


def _move(map_CHW: Tensor, augmentation: Augmentation, fill_C: Tensor, sampling: _Sampling) -> Tensor:
    """Return a map resized and seen through the window; what lies outside has the value to fill with."""
    size = int(map_CHW.shape[1]), int(map_CHW.shape[2])
    scaled = scale_size(size, augmentation.scale)
    resized_CHW = map_CHW if scaled == size else sampling(map_CHW, scaled)
    top, left = augmentation.top, augmentation.left
    seen_CHW = resized_CHW[:, max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
    if seen_CHW.shape[1:] != size:
        canvas_CHW = fill_C.to(map_CHW.dtype)[:, None, None].repeat(len(map_CHW) // len(fill_C), *size)
        rows, cols = (
            slice(-min(start, 0), -min(start, 0) + seen)
            for start, seen in zip((top, left), seen_CHW.shape[1:], strict=True)
        )
        canvas_CHW[:, rows, cols] = seen_CHW
        seen_CHW = canvas_CHW
    return seen_CHW.flip(-1) if augmentation.flip else seen_CHW.clone()


def _resize_smoothly(image_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Return an image in another size, averaged over all that falls into a pixel."""
    # With its channels last, torch has a fast path for bytes.
    image_1CHW = image_CHW[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(image_1CHW, size, mode="bilinear", antialias=True)[0].contiguous()


def _resize_nearest(label_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a label in another size, each pixel that of the pixel which holds its centre."""
    return functional.interpolate(label_CHW[None], size, mode="nearest-exact")[0]


def _resize_edges(label_1HW: Tensor, size: tuple[int, int]) -> Tensor:
    """Return edges in another size: where they shrink, every pixel that an edge falls into is one.

    By the nearest pixel alone, lines one pixel wide would turn into dashes, and every other upright one would vanish.
    """
    height, width = label_1HW.shape[1:]
    small = min(size[0], height), min(size[1], width)
    if small != (height, width):
        shrunk_1HW = _resize_nearest(label_1HW, small)
        rows, cols = (label_1HW[0] == 1).nonzero(as_tuple=True)
        shrunk_1HW[0, rows * small[0] // height, cols * small[1] // width] = 1
        label_1HW = shrunk_1HW
    return _resize_nearest(label_1HW, size)


_SAMPLINGS: Mapping[str, _Sampling] = {"image": _resize_smoothly, "edge": _resize_edges}
"""How maps are resized that are not resized by the nearest pixel."""


def _change_values(label: Tensor, kind: TaskKind, augmentation: Augmentation) -> Tensor:
    """Return a label whose values follow the change of the view, in place; ignored pixels stay ignored."""
    if kind == "depth" and augmentation.scale != 1:
        label.copy_(torch.where(label == IGNORE_LABEL, label, label / augmentation.scale))
    if kind == "normals" and augmentation.flip:
        label[0] = torch.where(label[0] == IGNORE_LABEL, label[0], -label[0])
    return label
