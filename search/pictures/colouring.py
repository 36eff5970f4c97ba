"""Labels and raw outputs of dense tasks -> colours for people; nothing here knows how a sheet is laid out.

Classes in the colours of Okabe and Ito, which colour-blind people tell apart, masks in grey, normals as (n + 1) / 2,
depth through a map whose lightness falls with the distance. Shapes: H W pixels, K classes; colours are uint8 RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from search.data.catalogue import IGNORE_LABEL, TaskInfo

Colours = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Range = tuple[float, float]

FIRST_CLASS = (38, 42, 51)
"""Dark slate: class 0 is the background in most tasks."""

_OKABE_ITO = (
    *((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
# Every further round of the seven colours is mixed with a grey: (its value, its share).
_ROUNDS = ((0, 0.0), (255, 0.5), (0, 0.45), (255, 0.75), (0, 0.68), (128, 0.6))

# Equal steps of viridis (van der Walt and Smith, public domain), from far to near.
_DEPTH_STOPS = np.array(
    [
        *((68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142)),
        *((31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37)),
    ],
    dtype=np.float64,
)


def colour_label(task: TaskInfo, label: Tensor, depth_range: Range) -> Colours:
    """Return the picture of one label, (H, W, 3), hatched where it is ignored.

    Args:
        task: A dense task.
        label: Of one sample, as `search.data.loading.TaskDataset` describes it, without the batch.
        depth_range: (Nearest, farthest) in metres, for depth.
    """
    values = label.detach().cpu().numpy()
    ignored_HW = values == IGNORE_LABEL if values.ndim == 2 else (values == IGNORE_LABEL).all(axis=0)
    if task.kind in ("segmentation", "parts"):
        colours_HW3 = colour_classes(np.where(ignored_HW, 0, values), task.channels)
    elif task.kind == "normals":
        colours_HW3 = colour_normals(values)
    elif task.kind == "depth":
        colours_HW3 = colour_depth(values[0], depth_range)
    else:
        colours_HW3 = colour_mask(values[0])
    return hatch(colours_HW3, ignored_HW)


def colour_prediction(task: TaskInfo, output: Tensor, depth_range: Range) -> Colours:
    """Return the picture of one raw output, (H, W, 3).

    Args:
        task: A dense task.
        output: Of one sample, (channels, H, W): logits, or normals of any length, or metres.
        depth_range: (Nearest, farthest) in metres, for depth; what lies outside gets the colour of the nearer end.
    """
    values = output.detach().cpu().double()
    if task.kind in ("segmentation", "parts"):
        return colour_classes(values.argmax(dim=0).numpy(), task.channels)
    if task.kind == "normals":
        return colour_normals(values.numpy())
    if task.kind == "depth":
        return colour_depth(values[0].numpy(), depth_range)
    return colour_mask(values[0].sigmoid().numpy())


def class_colours(num_classes: int) -> Colours:
    """Return a colour per class, (K, 3); the first 43 differ, later ones repeat them but for the first."""
    base_73 = np.array(_OKABE_ITO, dtype=np.float64)
    rounds = [base_73 * (1 - share) + grey * share for grey, share in _ROUNDS]
    palette = np.concatenate(rounds)
    colours_K3 = palette[np.arange(num_classes - 1) % len(palette)]
    return _to_bytes(np.concatenate([np.array([FIRST_CLASS]), colours_K3]))


def colour_classes(class_HW: NDArray[Any], num_classes: int) -> Colours:
    """Return the colour of every pixel's class, (H, W, 3).

    Args:
        class_HW: Integers in 0..num_classes-1.
        num_classes: K.
    """
    colours_HW3: Colours = class_colours(num_classes)[class_HW]
    return colours_HW3


def colour_mask(probability_HW: NDArray[Any]) -> Colours:
    """Return probabilities in 0..1 as grey, (H, W, 3): black for 0, white for 1."""
    return np.repeat(_to_bytes(255 * probability_HW)[..., None], 3, axis=-1)


def colour_normals(normals_3HW: NDArray[Any]) -> Colours:
    """Return directions as colours, (H, W, 3): (n + 1) / 2 of the unit vector, mid-grey where there is none.

    Args:
        normals_3HW: Vectors of any length.
    """
    length_1HW = np.linalg.norm(normals_3HW.astype(np.float64), axis=0, keepdims=True)
    unit_3HW = normals_3HW / np.maximum(length_1HW, 1e-12)
    return _to_bytes(127.5 * (unit_3HW + 1)).transpose(1, 2, 0)


def colour_depth(depth_HW: NDArray[Any], depth_range: Range) -> Colours:
    """Return metres as colours, (H, W, 3): yellow for the nearest, dark violet for the farthest.

    Args:
        depth_HW: Metres.
        depth_range: (Nearest, farthest) in metres.
    """
    nearest, farthest = depth_range
    share_HW = np.clip((farthest - depth_HW) / max(farthest - nearest, 1e-9), 0, 1)
    stops = np.linspace(0, 1, len(_DEPTH_STOPS))
    return _to_bytes(np.stack([np.interp(share_HW, stops, channel) for channel in _DEPTH_STOPS.T], axis=-1))


def colour_image(image_CHW: Tensor) -> Colours:
    """Return an image in [-1, 1] of one or three channels as colours, (H, W, 3)."""
    values_HWC = _to_bytes((image_CHW.detach().cpu().double().numpy() + 1) * 127.5).transpose(1, 2, 0)
    return np.broadcast_to(values_HWC, (*values_HWC.shape[:2], 3)).copy()


def hatch(colours_HW3: Colours, ignored_HW: Mask) -> Colours:
    """Return the picture with grey stripes where a mask says that nothing is known."""
    rows, columns = np.indices(ignored_HW.shape)
    stripes_HW = np.where((rows + columns) % 8 < 3, 165, 205).astype(np.uint8)
    return np.where(ignored_HW[..., None], stripes_HW[..., None], colours_HW3)


def _to_bytes(values: NDArray[Any]) -> Colours:
    """Return values of 0..255 rounded to bytes; what is not a number becomes 0."""
    rounded: Colours = np.rint(np.clip(np.nan_to_num(values), 0, 255)).astype(np.uint8)
    return rounded
