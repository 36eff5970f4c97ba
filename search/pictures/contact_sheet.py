"""A few samples of a dataset made of files as one picture, labels beside images, what the colours mean below.

`search.pictures.sheets` draws the samples, `search.pictures.legends` the strips. Shapes: H W pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from search.data.catalogue import IGNORE_LABEL, DatasetInfo, TaskInfo
from search.data.files.fitting import InputForm
from search.data.files.samples import SplitRequest, open_files
from search.data.files.sources import Sample, SampleSource, Split
from search.judging.tasks import KINDS
from search.pictures.legends import draw_legend
from search.pictures.lettering import INK, LINE, PAPER, clip, font
from search.pictures.sheets import draw_samples, find_depth_range

NUM_SHOWN = 6
_MARGIN, _GAP = 10, 4


@dataclass(frozen=True)
class _Chosen:
    """A source that holds some samples of another one, all in its validation split."""

    source: SampleSource
    sample_ids: tuple[str, ...]

    @property
    def info(self) -> DatasetInfo:
        """Return the facts of the other source."""
        return self.source.info

    def ids(self, split: Split) -> Sequence[str]:
        """Return the chosen samples."""
        return self.sample_ids if split == "val" else ()

    def files(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sequence[Path]:
        """Return the files of a sample."""
        return self.source.files(sample_id, tasks)

    def read(self, sample_id: str, tasks: Sequence[TaskInfo]) -> Sample:
        """Return a sample."""
        return self.source.read(sample_id, tasks)


def draw_contact_sheet(
    source: SampleSource, tasks: Sequence[TaskInfo], sample_ids: Sequence[str], cache_dir: Path
) -> bytes:
    """Return a PNG of samples as networks get them, each with its labels, and a legend per dense task.

    Args:
        source: The dataset.
        tasks: Tasks to show.
        sample_ids: Samples to show, at least one; each is sound.
        cache_dir: Folder for fitted samples.

    Raises:
        SampleError: A sample is not sound.
    """
    info = source.info
    request = SplitRequest("val", tuple(tasks), len(sample_ids), InputForm(info.default_size, info.fit))
    dataset = open_files(_Chosen(source, tuple(sample_ids)), request, cache_dir=cache_dir)
    indices = range(len(sample_ids))
    sheet = Image.open(io.BytesIO(draw_samples(dataset, tasks, indices)))
    batch = dataset.batch(indices)
    strips = []
    for task in tasks:
        if KINDS[task.kind].dense:
            label = batch[task.name]
            classes = sorted(set(label.unique().tolist()) - {IGNORE_LABEL}) if task.class_names else []
            depth_range = find_depth_range(label) if task.kind == "depth" else (0.0, 1.0)
            legend = draw_legend(task, sheet.width - 2 * _MARGIN, classes=classes, depth_range=depth_range)
            strips.append((task.name, legend))
    words = (f"samples: {', '.join(sample_ids)}", "hatched: no label")
    return _write_png(_put_below(sheet, strips, words))


def choose_samples(sample_ids: Sequence[str], number: int = NUM_SHOWN) -> tuple[str, ...]:
    """Return some samples spread evenly over all."""
    if len(sample_ids) <= number:
        return tuple(sample_ids)
    return tuple(sample_ids[index * len(sample_ids) // number] for index in range(number))


def _put_below(sheet: Image.Image, strips: Sequence[tuple[str, Image.Image]], words: Sequence[str]) -> Image.Image:
    """Return a sheet with named strips and lines of words below it."""
    width = max([sheet.width, *(strip.width + 2 * _MARGIN for _, strip in strips)])
    height = sheet.height + sum(LINE + strip.height + _GAP for _, strip in strips) + len(words) * LINE + _MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    page.paste(sheet, (0, 0))
    pen, top = ImageDraw.Draw(page), sheet.height
    for name, strip in strips:
        pen.text((_MARGIN, top), name, fill=INK, font=font())
        page.paste(strip, (_MARGIN, top + LINE))
        top += LINE + strip.height + _GAP
    for number, line in enumerate(words):
        pen.text((_MARGIN, top + number * LINE), clip(line, width - 2 * _MARGIN), fill=INK, font=font())
    return page


def _write_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
