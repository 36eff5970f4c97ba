"""Predictions beside labels as one contact sheet, for the report and for a look at a dataset.

A block per sample: the image with the answers of its classification tasks below it, then a column per dense task with
the prediction under the label; a sheet of one task has its legend below. `search.pictures.colouring` makes the colours.
Shapes: B batch, C channels, H W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from search.data.catalogue import IGNORE_LABEL, TaskInfo
from search.data.loading import TaskDataset
from search.judging.evaluate import eval_mode
from search.judging.tasks import KINDS
from search.pictures.colouring import Colours, Range, colour_image, colour_label, colour_prediction
from search.pictures.legends import draw_legend
from search.pictures.lettering import INK, LINE, PAPER, QUIET, WRONG, clip, font, measure

PAGE_WIDTH = 980
"""Pixels of the report's page; blocks stand side by side as long as they fit."""

_SMALLEST_TILE, _LARGEST_TILE = 72, 160
_ENLARGED_TILE = 144
_MARGIN, _GAP, _BLOCK_GAP = 10, 4, 18
_SIDE = 20  # width of the upright words "label" and "prediction"


@dataclass(frozen=True)
class Answer:
    """What is said of a sample's class: the line below its image, and whether the prediction misses the label."""

    text: str
    is_wrong: bool = False


@dataclass(frozen=True)
class Pictures:
    """PNGs of the same samples: one sheet of all tasks, and by name one of each task with its legend."""

    sheet: bytes
    by_task: Mapping[str, bytes]


@dataclass(frozen=True)
class _Column:
    """One dense task of a sample: its name, and one or two pictures from top to bottom."""

    heading: str
    tiles: tuple[Colours, ...]


@dataclass(frozen=True)
class _Block:
    """One sample."""

    image: Colours
    answers: tuple[Answer, ...]
    columns: tuple[_Column, ...]


def draw_predictions(
    network: nn.Module,
    dataset: TaskDataset,
    tasks: Sequence[TaskInfo],
    indices: Sequence[int],
    *,
    device: torch.device | str,
) -> Pictures:
    """Return pictures of samples with their labels and what a network makes of them; its modes stay as they were.

    Args:
        network: On `device`; maps image (B, C, H, W) to one raw output per task name.
        dataset: Where the samples come from; it labels all the tasks.
        tasks: Tasks to show.
        indices: Samples to show, at least one, run through the network as one batch.
        device: Where the network is.
    """
    batch = dataset.batch(list(indices))
    with eval_mode(network), torch.no_grad():
        outputs = network(batch["image"].to(device))
    found = {task.name: outputs[task.name].cpu() for task in tasks}
    return Pictures(
        sheet=_write_png(_draw_sheet(batch, tasks, found)),
        by_task={task.name: _write_png(_draw_task(batch, task, found[task.name])) for task in tasks},
    )


def draw_samples(dataset: TaskDataset, tasks: Sequence[TaskInfo], indices: Sequence[int]) -> bytes:
    """Return a PNG of samples with their labels; see `draw_predictions`."""
    return _write_png(_draw_sheet(dataset.batch(list(indices)), tasks, None))


def describe_answer(task: TaskInfo, label: int, predicted: int | None) -> Answer:
    """Return the line on a sample's class.

    Args:
        task: A classification task.
        label: Its class, 255 where it is not known.
        predicted: Class that a network predicts, None where none was asked.
    """
    truth = "no label" if label == IGNORE_LABEL else _name_class(task, label)
    if predicted is None:
        return Answer(f"{task.name}: {truth}")
    is_wrong = label not in (IGNORE_LABEL, predicted)
    return Answer(f"{task.name}: {_name_class(task, predicted)} ({truth})", is_wrong)


def find_depth_range(label_B1HW: Tensor) -> Range:
    """Return the (nearest, farthest) labelled metres of a batch; (0, 1) where nothing is labelled."""
    known = label_B1HW[label_B1HW != IGNORE_LABEL]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def fit_tile(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (H, W) in which pictures of a size are shown: small ones enlarged by a whole factor, large reduced."""
    longest = max(size)
    if longest <= _SMALLEST_TILE:
        factor = _ENLARGED_TILE // longest
        return size[0] * factor, size[1] * factor
    scale = min(1.0, _LARGEST_TILE / longest)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _name_class(task: TaskInfo, index: int) -> str:
    """Return the name of a class, its number where it has none."""
    return task.class_names[index] if task.class_names else str(index)


def _write_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _draw_task(batch: Mapping[str, Tensor], task: TaskInfo, output: Tensor) -> Image.Image:
    """Return the picture of one task, its legend below the samples."""
    sheet = _draw_sheet(batch, [task], {task.name: output})
    if not KINDS[task.kind].dense:
        return sheet
    label = batch[task.name]
    classes: set[int] = set()
    if task.kind in ("segmentation", "parts"):
        classes = set(label.unique().tolist()) - {IGNORE_LABEL} | set(output.argmax(dim=1).unique().tolist())
    depth_range = find_depth_range(label) if task.kind == "depth" else (0.0, 1.0)
    width = sheet.width - 2 * _MARGIN
    legend = draw_legend(task, width, classes=sorted(classes), depth_range=depth_range)
    size = max(sheet.width, legend.width + 2 * _MARGIN), sheet.height + legend.height + _MARGIN
    page = Image.new("RGB", size, PAPER)
    page.paste(sheet, (0, 0))
    page.paste(legend, (_MARGIN, sheet.height))
    return page


def _draw_sheet(
    batch: Mapping[str, Tensor], tasks: Sequence[TaskInfo], outputs: Mapping[str, Tensor] | None
) -> Image.Image:
    """Return the picture of a batch, with predictions where there are outputs."""
    assert len(batch["image"]) > 0, "a sheet shows at least one sample"
    ranges = {task.name: find_depth_range(batch[task.name]) for task in tasks if task.kind == "depth"}
    blocks = [_build_block(index, batch, tasks, outputs, ranges) for index in range(len(batch["image"]))]
    return _paste_blocks([_draw_block(block) for block in blocks])


def _build_block(
    index: int,
    batch: Mapping[str, Tensor],
    tasks: Sequence[TaskInfo],
    outputs: Mapping[str, Tensor] | None,
    ranges: Mapping[str, Range],
) -> _Block:
    """Return one sample of a batch in words and colours."""
    answers, columns = [], []
    for task in tasks:
        label = batch[task.name][index]
        output = None if outputs is None else outputs[task.name][index]
        if not KINDS[task.kind].dense:
            predicted = None if output is None else int(output.argmax())
            answers.append(describe_answer(task, int(label), predicted))
            continue
        depth_range = ranges.get(task.name, (0.0, 1.0))
        tiles = [colour_label(task, label, depth_range)]
        if output is not None:
            tiles.append(colour_prediction(task, output, depth_range))
        unit = "" if task.kind != "depth" else f" {depth_range[0]:.2g}-{depth_range[1]:.2g} m"
        columns.append(_Column(f"{task.name}{unit}", tuple(tiles)))
    return _Block(colour_image(batch["image"][index]), tuple(answers), tuple(columns))


def _draw_block(block: _Block) -> Image.Image:
    """Return the picture of one sample."""
    tile = fit_tile((block.image.shape[0], block.image.shape[1]))
    height, width = tile
    num_rows = max((len(column.tiles) for column in block.columns), default=1)
    top = LINE if block.columns else 0
    left = width + _GAP + (_SIDE if num_rows == 2 else 0)
    # Words may grow wider than the image, but not into the predictions beside it.
    words_width = width if block.columns else max([width, *(measure(answer.text) for answer in block.answers)])
    words_height = height + _GAP + len(block.answers) * LINE
    size = (
        left + len(block.columns) * (width + _GAP) if block.columns else words_width,
        top + max(words_height, num_rows * (height + _GAP)),
    )
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    sheet.paste(_to_tile(block.image, tile), (0, top))
    for line, answer in enumerate(block.answers):
        place = (0, top + height + _GAP + line * LINE)
        pen.text(place, clip(answer.text, words_width), fill=WRONG if answer.is_wrong else INK, font=font())
    for number, column in enumerate(block.columns):
        x = left + number * (width + _GAP)
        pen.text((x, 0), clip(column.heading, width), fill=INK, font=font())
        for row, colours in enumerate(column.tiles):
            sheet.paste(_to_tile(colours, tile), (x, top + row * (height + _GAP)))
    if num_rows == 2:
        for row, caption in enumerate(("label", "prediction")):
            _write_upright(sheet, caption, (width + _GAP, top + row * (height + _GAP)), height)
    return sheet


def _paste_blocks(blocks: Sequence[Image.Image]) -> Image.Image:
    """Return all samples on one page, as many side by side as fit."""
    width, height = max(block.width for block in blocks), max(block.height for block in blocks)
    per_row = min(len(blocks), max(1, (PAGE_WIDTH - 2 * _MARGIN + _BLOCK_GAP) // (width + _BLOCK_GAP)))
    num_rows = -(-len(blocks) // per_row)
    size = (
        2 * _MARGIN + per_row * (width + _BLOCK_GAP) - _BLOCK_GAP,
        2 * _MARGIN + num_rows * (height + _BLOCK_GAP) - _BLOCK_GAP,
    )
    page = Image.new("RGB", size, PAPER)
    for number, block in enumerate(blocks):
        row, column = divmod(number, per_row)
        page.paste(block, (_MARGIN + column * (width + _BLOCK_GAP), _MARGIN + row * (height + _BLOCK_GAP)))
    return page


def _to_tile(colours_HW3: Colours, size: tuple[int, int]) -> Image.Image:
    """Return a picture in the size (H, W) of a tile; whole pixels when enlarged, averages when reduced."""
    tile = Image.fromarray(np.ascontiguousarray(colours_HW3))
    grows = size[0] >= colours_HW3.shape[0]
    return tile.resize((size[1], size[0]), Image.Resampling.NEAREST if grows else Image.Resampling.BOX)


def _write_upright(sheet: Image.Image, text: str, place: tuple[int, int], height: int) -> None:
    """Write a quiet word that reads upwards, centred along a tile of some height whose side begins at `place`."""
    strip = Image.new("RGB", (height, _SIDE - 2), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.text(((height - pen.textlength(text, font=font())) / 2, 0), text, fill=QUIET, font=font())
    sheet.paste(strip.transpose(Image.Transpose.ROTATE_90), place)
