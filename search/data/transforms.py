"""Resizing and random augmentation of whole batches, labels included: flip, scale, crop and pad.

Images are sampled bilinearly, labels by the nearest pixel, so that no label value arises that was not there. Dense
labels outside of the image are IGNORE_LABEL. Source: the training recipe of Bruggemann et al., BMVC 2020, section 4.
Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search.data.catalogue import IGNORE_LABEL, TaskKind

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image of a batch, in this order; all tensors are (B,).

    Attributes:
        flip: Whether it is mirrored left to right.
        scale: By which factor it is resized.
        top: Which row of the resized image becomes the first one, negative where rows are padded above it.
        left: The same for columns.
    """

    flip: Tensor
    scale: Tensor
    top: Tensor
    left: Tensor


def draw_augmentation(num: int, size: tuple[int, int], generator: torch.Generator) -> Augmentation:
    """Return a random augmentation of a batch, each image on its own.

    Args:
        num: Images in the batch.
        size: Their (H, W), which they keep.
        generator: The only source of chance.
    """
    flip = torch.randint(0, 2, (num,), generator=generator).bool()
    scale = torch.tensor(SCALES)[torch.randint(0, len(SCALES), (num,), generator=generator)]
    share = torch.rand(2, num, generator=generator)
    # The window lies anywhere inside a larger image, and a smaller image anywhere inside the window.
    slack = torch.stack([_scaled(size[0], scale) - size[0], _scaled(size[1], scale) - size[1]])
    offset = slack.sign() * (share * (slack.abs() + 1)).long()
    return Augmentation(flip, scale, offset[0], offset[1])


def augment(
    batch: Mapping[str, Tensor], kinds: Mapping[str, TaskKind], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return a batch with each image and its labels flipped, scaled and cropped or padded at random."""
    image = batch["image"]
    drawn = draw_augmentation(len(image), (image.shape[2], image.shape[3]), generator)
    return apply_augmentation(batch, kinds, drawn)


def apply_augmentation(
    batch: Mapping[str, Tensor], kinds: Mapping[str, TaskKind], augmentation: Augmentation
) -> dict[str, Tensor]:
    """Return the augmented batch in the same size.

    A mirrored surface faces the other way: x of its normals changes sign. A larger image is one seen from nearer:
    depth is divided by the scale. Around a smaller image there is its own mean colour, and nothing to learn.

    Args:
        batch: "image" (B, C, H, W) and the labels of each task.
        kinds: Kind of each task in the batch; labels of classification stay as they are.
        augmentation: What to do with each image.
    """
    image_BCHW = batch["image"]
    rows = _Axis(image_BCHW.shape[2], augmentation.scale, augmentation.top, torch.zeros_like(augmentation.flip))
    cols = _Axis(image_BCHW.shape[3], augmentation.scale, augmentation.left, augmentation.flip)
    inside_BHW = rows.inside[:, :, None] & cols.inside[:, None, :]
    mean_BC11 = image_BCHW.mean((2, 3), keepdim=True)
    sampled_BCHW = cols.blend(rows.blend(image_BCHW, 2), 3)
    out = {"image": torch.where(inside_BHW[:, None], sampled_BCHW, mean_BC11)}
    for name, kind in kinds.items():
        label = batch[name]
        if kind == "classification":
            out[name] = label
            continue
        label_BCHW = label if label.dim() == 4 else label[:, None]
        picked_BCHW = cols.pick(rows.pick(label_BCHW, 2), 3)
        changed_BCHW = _change_values(picked_BCHW, kind, augmentation)
        masked_BCHW = torch.where(inside_BHW[:, None], changed_BCHW, IGNORE_LABEL)
        out[name] = masked_BCHW if label.dim() == 4 else masked_BCHW[:, 0]
    return out


def resize(batch: Mapping[str, Tensor], kinds: Mapping[str, TaskKind], size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the batch in another size (H, W); metres stay metres, since the view stays the same."""
    image_BCHW = batch["image"]
    out = {"image": nn.functional.interpolate(image_BCHW, size, mode="bilinear")}
    rows, cols = (
        _nearest(torch.arange(new), old, torch.tensor(new)) for old, new in zip(image_BCHW.shape[2:], size, strict=True)
    )
    for name, kind in kinds.items():
        label = batch[name]
        out[name] = label if kind == "classification" else label[..., rows[:, None], cols]
    return out


def scale_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return (H, W) times a factor, each side rounded to whole pixels and at least 1."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class _Axis:
    """Where each pixel of the output lies on one axis of the input, for every image of a batch."""

    def __init__(self, side: int, scale_B: Tensor, offset_B: Tensor, flip_B: Tensor) -> None:
        scaled_B1 = _scaled(side, scale_B)[:, None]
        position_BN = torch.arange(side) + offset_B[:, None]
        self.inside = (position_BN >= 0) & (position_BN < scaled_B1)
        position_BN = position_BN.clamp(min=0).minimum(scaled_B1 - 1)
        point_BN = ((position_BN + 0.5) * side / scaled_B1 - 0.5).clamp(0, side - 1)
        low_BN = point_BN.long()
        self._share = point_BN - low_BN
        high_BN, nearest_BN = (low_BN + 1).clamp(max=side - 1), _nearest(position_BN, side, scaled_B1)
        # Mirroring the input is the same as reading it from the other end.
        self._low, self._high, self._near = (
            torch.where(flip_B[:, None], side - 1 - index, index) for index in (low_BN, high_BN, nearest_BN)
        )

    def blend(self, image_BCHW: Tensor, dim: int) -> Tensor:
        """Return the image sampled bilinearly along one of its last two dimensions."""
        low, high = _take(image_BCHW, self._low, dim), _take(image_BCHW, self._high, dim)
        share = self._share[:, None, :, None] if dim == 2 else self._share[:, None, None, :]
        return low + (high - low) * share

    def pick(self, label_BCHW: Tensor, dim: int) -> Tensor:
        """Return the label sampled by the nearest pixel along one of its last two dimensions."""
        return _take(label_BCHW, self._near, dim)


def _take(values_BCHW: Tensor, index_BN: Tensor, dim: int) -> Tensor:
    """Return values at an index per image along dimension 2 or 3."""
    shape = list(values_BCHW.shape)
    shape[dim] = index_BN.shape[1]
    index = index_BN[:, None, :, None] if dim == 2 else index_BN[:, None, None, :]
    return values_BCHW.gather(dim, index.expand(shape))


def _scaled(side: int, scale_B: Tensor) -> Tensor:
    """Return the side of each resized image, whole pixels (B,)."""
    return (side * scale_B.double()).round().long().clamp(min=1)


def _nearest(position: Tensor, side: int, scaled: Tensor) -> Tensor:
    """Return the input pixel that holds the centre of each output pixel, in whole numbers throughout."""
    return (2 * position + 1) * side // (2 * scaled)


def _change_values(label_BCHW: Tensor, kind: TaskKind, augmentation: Augmentation) -> Tensor:
    """Return a label whose values follow the change of the view; ignored pixels stay ignored."""
    if kind == "depth":
        return torch.where(label_BCHW == IGNORE_LABEL, label_BCHW, label_BCHW / augmentation.scale[:, None, None, None])
    if kind == "normals":
        sign_B3 = torch.ones(len(label_BCHW), 3)
        sign_B3[:, 0] = torch.where(augmentation.flip, -1.0, 1.0)
        return torch.where(label_BCHW == IGNORE_LABEL, label_BCHW, label_BCHW * sign_B3[:, :, None, None])
    return label_BCHW
