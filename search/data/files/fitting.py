"""From a sample in its own size to the network's input: resized or padded, in the few bytes that a cache keeps.

No torch here, so that processes which only read files start in no time. `samples` turns these arrays into tensors.
Shapes: C channels, H W pixels of the input, h w of the image in its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search.data.catalogue import IGNORE_LABEL, TaskInfo, TaskKind
from search.data.files.sources import Sample
from search.spec import Fit

Arrays = dict[str, NDArray[Any]]

IMAGE = "image"
NATIVE_SIZE = "native size"
"""Name beside those of the tasks; a task cannot be called so, since names of tasks have no blanks."""
_BYTES_PER_PIXEL: dict[TaskKind, int] = {
    "segmentation": 1,
    "parts": 1,
    "saliency": 1,
    "edge": 1,
    "depth": 4,
    "normals": 6,
    "classification": 0,
}


@dataclass(frozen=True)
class InputForm:
    """What the network's input looks like.

    Attributes:
        input_size: (H, W) in pixels at full resolution.
        fit: "resize" stretches every image to the input; "pad" leaves it as it is at the top left and fills the rest
            with its mean colour, after scaling down what is larger than the input.
        resolution_scale: Side of the input as a share of the full one, in (0, 1].
    """

    input_size: tuple[int, int]
    fit: Fit = "resize"
    resolution_scale: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Return (H, W) of the input in pixels."""
        height, width = (max(1, round(side * self.resolution_scale)) for side in self.input_size)
        return height, width


@dataclass(frozen=True)
class Placement:
    """Where an image lies inside the network's input.

    Attributes:
        scale: Size inside over size of its own, down and across.
        top: Row of the input in which the image begins.
        left: Column of the input in which the image begins.
        size: (H, W) of the image inside the input, in pixels.
        native_size: (h, w) of the image in its own size, in pixels.
    """

    scale: tuple[float, float]
    top: int
    left: int
    size: tuple[int, int]
    native_size: tuple[int, int]


def place(native_size: tuple[int, int], form: InputForm) -> Placement:
    """Return where an image of (h, w) pixels lies inside the input.

    A padded image begins at the top left, because only that corner is the same pixel at every resolution.
    """
    height, width = form.size
    if form.fit == "pad":
        shrunk = min(1.0, *(side / own for side, own in zip(form.input_size, native_size, strict=True)))
        own_height, own_width = (side * shrunk * form.resolution_scale for side in native_size)
        height, width = min(height, max(1, round(own_height))), min(width, max(1, round(own_width)))
    scale = height / native_size[0], width / native_size[1]
    return Placement(scale, top=0, left=0, size=(height, width), native_size=native_size)


def fit_sample(sample: Sample, tasks: Sequence[TaskInfo], form: InputForm) -> Arrays:
    """Return a sample as the network sees it: the image smoothly scaled, labels of the nearest pixel.

    Metres stay metres and directions stay directions, since the view stays the same. Labels outside of a padded image
    are ignored; a task without a label has no array.

    Args:
        sample: The sample in its own size.
        tasks: Which of its labels to keep.
        form: The input.

    Returns:
        The arrays of a sample as `search.data.compact` describes it, and "native size" int64 (2,). Half precision keeps
        normals within 0.03 degrees.
    """
    image_hwC = sample.image_HWC
    placement = place((image_hwC.shape[0], image_hwC.shape[1]), form)
    arrays: Arrays = {
        IMAGE: _fit_image(image_hwC, placement, form.size),
        NATIVE_SIZE: np.array(placement.native_size, dtype=np.int64),
    }
    for task in tasks:
        label = sample.labels.get(task.name)
        if label is None:
            continue
        if isinstance(label, int):
            arrays[task.name] = np.array(label, dtype=np.int64)
        elif task.kind == "normals":
            normals_HWC = _fit_label(label, placement, form.size).astype(np.float16)
            arrays[task.name] = np.ascontiguousarray(normals_HWC.transpose(2, 0, 1))
        elif task.kind == "edge":
            arrays[task.name] = _fit_edges(label, placement, form.size)
        else:
            dtype = np.float32 if task.kind == "depth" else np.uint8
            arrays[task.name] = _fit_label(label, placement, form.size).astype(dtype, copy=False)
    return arrays


def count_bytes(tasks: Sequence[TaskInfo], form: InputForm) -> int:
    """Return what the arrays of a sample take at most, with a little for their names."""
    bytes_per_pixel = 3 + sum(_BYTES_PER_PIXEL[task.kind] for task in tasks)
    return form.size[0] * form.size[1] * bytes_per_pixel + 4096


def _fit_image(image_hwC: NDArray[np.uint8], placement: Placement, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image inside the input, (3, H, W); what it does not cover has its mean colour."""
    height, width = placement.size
    if placement.size != placement.native_size:
        # Pillow averages over all pixels that fall into one where it shrinks, so that nothing fine turns into noise.
        shrunk = Image.fromarray(image_hwC).resize((width, height), Image.Resampling.BILINEAR)
        image_hwC = np.asarray(shrunk)
    inside_CHW = image_hwC.transpose(2, 0, 1)
    if placement.size == size:
        return np.ascontiguousarray(inside_CHW)
    mean_C = inside_CHW.mean((1, 2)).round().astype(np.uint8)
    out_CHW = np.broadcast_to(mean_C[:, None, None], (len(mean_C), *size)).copy()
    out_CHW[:, :height, :width] = inside_CHW
    return out_CHW


def _fit_label(label_hw: NDArray[Any], placement: Placement, size: tuple[int, int]) -> NDArray[Any]:
    """Return a dense label inside the input, ignored where the image is not; further axes come along."""
    rows, cols = (_nearest(new, own) for new, own in zip(placement.size, placement.native_size, strict=True))
    inside_HW = label_hw[rows[:, None], cols]
    if placement.size == size:
        return inside_HW
    out_HW = np.full((*size, *label_hw.shape[2:]), IGNORE_LABEL, dtype=label_hw.dtype)
    out_HW[: placement.size[0], : placement.size[1]] = inside_HW
    return out_HW


def _fit_edges(label_hw: NDArray[Any], placement: Placement, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return edges inside the input: where they shrink, every pixel that an edge falls into is one.

    By the nearest pixel alone, lines one pixel wide would turn into dashes.
    """
    (height, width), own = placement.size, placement.native_size
    small = min(height, own[0]), min(width, own[1])
    shrunk_HW = label_hw[_nearest(small[0], own[0])[:, None], _nearest(small[1], own[1])].astype(np.uint8)
    rows, cols = np.nonzero(label_hw == 1)
    shrunk_HW[rows * small[0] // own[0], cols * small[1] // own[1]] = 1
    return _fit_label(shrunk_HW, replace(placement, native_size=small), size)


def _nearest(new_side: int, own_side: int) -> NDArray[np.int64]:
    """Return the pixel that holds the centre of each new pixel, in whole numbers throughout."""
    return (2 * np.arange(new_side) + 1) * own_side // (2 * new_side)
