"""What a trained network makes of a photograph of any size, in that size, and pictures of it for people.

`search.judging.full_size` stretches outputs back, `search.pictures.colouring` and `search.pictures.legends` make the
pictures.
Legend: C channels, h w pixels of the photograph.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from search.data.catalogue import TaskInfo
from search.data.files.fitting import IMAGE, InputForm, Placement, fit_sample, place
from search.data.files.sources import Sample
from search.judging.evaluate import eval_mode
from search.judging.full_size import stretch_rows
from search.judging.tasks import KINDS
from search.pictures.colouring import Colours, Range, colour_classes, colour_depth, colour_mask, colour_normals
from search.pictures.legends import draw_legend
from search.pictures.lettering import PAPER

MAX_NUMBERS = 2**24
"""That are stretched, or coloured, at a time: 64 MiB."""
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey
_MARGIN, _NARROWEST = 6, 260  # pixels around a legend, and those that its words need
_PAGE_WIDTH = 800  # pixels across as which a picture is usually looked at


@dataclass(frozen=True)
class Prediction:
    """What a network says of one task of one photograph.

    Attributes:
        task: The task.
        values: By kind of task: classes uint8 (h, w); depth float32 (h, w) in metres; normals float32 (h, w, 3), unit
            vectors; probabilities float32 (h, w) of saliency and edges, and (C,) of the classes of the image.
    """

    task: TaskInfo
    values: NDArray[Any]

    def describe(self) -> dict[str, float]:
        """Return the figures that a person asks for first, by name: shares of classes, the range of depth."""
        if self.task.kind in ("segmentation", "parts"):
            counts = np.bincount(self.values.ravel(), minlength=self.task.channels)
            return {_name(self.task, k): counts[k] / self.values.size for k in np.argsort(-counts) if counts[k]}
        if self.task.kind == "classification":
            return {_name(self.task, int(k)): float(self.values[k]) for k in np.argsort(-self.values)}
        if self.task.kind == "depth":
            return {"nearest": float(self.values.min()), "farthest": float(self.values.max())}
        if self.task.kind == "normals":
            towards = self.values.mean(axis=(0, 1))
            return {axis: float(value) for axis, value in zip("xyz", towards, strict=True)}
        return {"above one half": float((self.values > 0.5).mean())}


@dataclass(frozen=True)
class Predictor:
    """A trained network and how photographs are brought to its input.

    Attributes:
        network: On `device`; maps image (1, C, H, W) to one raw output per task name.
        device: Where it is.
        tasks: Its tasks.
        form: Its input.
        image_channels: 3 for colour, 1 for grey.
        max_numbers: Numbers of an output that may be stretched at a time.
    """

    network: nn.Module
    device: torch.device
    tasks: Sequence[TaskInfo]
    form: InputForm
    image_channels: int
    max_numbers: int = MAX_NUMBERS

    def predict(self, image_hwC: NDArray[np.uint8]) -> tuple[Prediction, ...]:
        """Return what the network says of a photograph, uint8 of three channels, for every task."""
        placement = place((image_hwC.shape[0], image_hwC.shape[1]), self.form)
        fitted_CHW = fit_sample(Sample(image_hwC, {}), (), self.form)[IMAGE].astype(np.float32)
        if self.image_channels == 1:
            fitted_CHW = np.tensordot(np.array(_LUMA, dtype=np.float32), fitted_CHW, axes=1)[None]
        image_1CHW = torch.from_numpy(fitted_CHW / 127.5 - 1)[None].to(self.device)
        with eval_mode(self.network), torch.no_grad():
            outputs: Mapping[str, Tensor] = self.network(image_1CHW)
            return tuple(
                Prediction(task, _finish(task, outputs[task.name][0], placement, self.max_numbers))
                for task in self.tasks
            )


def draw_prediction(prediction: Prediction, *, max_numbers: int = MAX_NUMBERS) -> bytes:
    """Return the picture of a dense task as a PNG: the prediction in the photograph's size, its legend below."""
    task, values = prediction.task, prediction.values
    depth_range = _find_range(values) if task.kind == "depth" else (0.0, 1.0)
    classes = np.unique(values).tolist() if task.kind in ("segmentation", "parts") else []
    height, width = values.shape[:2]
    enlarged = max(1, round(width / _PAGE_WIDTH))  # words must stay legible when the whole picture is looked at
    legend = draw_legend(
        task, max(width // enlarged, _NARROWEST) - 2 * _MARGIN, classes=classes, depth_range=depth_range
    )
    legend = legend.resize((legend.width * enlarged, legend.height * enlarged), Image.Resampling.BICUBIC)
    size = (max(width, legend.width + 2 * _MARGIN), height + legend.height + 2 * _MARGIN)
    page = Image.new("RGB", size, PAPER)
    for first, strip in _list_strips(values, max_numbers // 3):
        page.paste(Image.fromarray(_colour(task, strip, depth_range)), (0, first))
    page.paste(legend, (_MARGIN, height + _MARGIN))
    return write_png(page)


def write_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def write_raw(prediction: Prediction) -> tuple[bytes, str]:
    """Return the numbers of a dense task for programs, and the suffix of their file.

    Classes are a PNG whose grey is the number of the class; everything else is a .npy file of `Prediction.values`.
    """
    if prediction.task.kind in ("segmentation", "parts"):
        return write_png(Image.fromarray(prediction.values)), ".png"
    stream = io.BytesIO()
    np.save(stream, prediction.values, allow_pickle=False)
    return stream.getvalue(), ".npy"


def _finish(task: TaskInfo, output_CHW: Tensor, placement: Placement, max_numbers: int) -> NDArray[Any]:
    """Return a raw output as `Prediction.values` describes it."""
    if not KINDS[task.kind].dense:
        return output_CHW.double().softmax(dim=0).float().cpu().numpy()
    height, width = placement.native_size
    num_rows = max(1, max_numbers // (len(output_CHW) * width))
    change = _CHANGES.get(task.kind, _as_probability)
    strips = [
        change(stretch_rows(output_CHW, placement, first, min(first + num_rows, height))).cpu().numpy()
        for first in range(0, height, num_rows)
    ]
    return np.concatenate(strips)


def _as_classes(output_CHW: Tensor) -> Tensor:
    """Return the likeliest class of every pixel."""
    return output_CHW.argmax(dim=0).to(torch.uint8)


def _as_depth(output_CHW: Tensor) -> Tensor:
    """Return metres, which are never below zero."""
    return output_CHW[0].float().clamp(min=0)


def _as_normals(output_CHW: Tensor) -> Tensor:
    """Return unit vectors, their components last."""
    return nn.functional.normalize(output_CHW.float(), dim=0).permute(1, 2, 0)


def _as_probability(output_CHW: Tensor) -> Tensor:
    """Return probabilities."""
    return output_CHW[0].float().sigmoid()


_CHANGES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "segmentation": _as_classes,
    "parts": _as_classes,
    "depth": _as_depth,
    "normals": _as_normals,
}


def _list_strips(values: NDArray[Any], max_pixels: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield strips of rows of a prediction, each with its first row, none of them large."""
    num_rows = max(1, max_pixels // values.shape[1])
    for first in range(0, len(values), num_rows):
        yield first, values[first : first + num_rows]


def _colour(task: TaskInfo, values: NDArray[Any], depth_range: Range) -> Colours:
    """Return a strip of a prediction in colours."""
    if task.kind in ("segmentation", "parts"):
        return colour_classes(values, task.channels)
    if task.kind == "depth":
        return colour_depth(values, depth_range)
    if task.kind == "normals":
        return colour_normals(values.transpose(2, 0, 1))
    return colour_mask(values)


def _find_range(depth_HW: NDArray[Any]) -> Range:
    """Return the (nearest, farthest) metres that colours tell apart: all but the outermost hundredths."""
    near, far = np.percentile(depth_HW, (1, 99))
    return float(near), float(far)


def _name(task: TaskInfo, index: int) -> str:
    """Return the name of a class, its number where it has none."""
    return task.class_names[index] if len(task.class_names) > index else str(index)
