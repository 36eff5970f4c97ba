"""What kind of task the files of a family may be labels of, by what they hold and what they are called.

A guess is a proposal to a person: it says what it was made from. Shapes: H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from search.data.reading.array_files import read_npy
from search.data.reading.image_files import open_picture
from search.errors import SampleError

MOST_CLASSES = 255
_MOST_VALUES = 1024
_COLOUR_CHANNELS = 3
_FEW = 64
_UNIT = (0.93, 1.07)
_UNIT_SHARE = 0.9


@dataclass(frozen=True)
class FileSummary:
    """What one file holds.

    Attributes:
        size: (H, W).
        channels: 1 or 3.
        bits: Of a whole number; 0 for other numbers.
        values: Its distinct values, sorted; None where there are more than a map of classes has.
        extremes: (Smallest, largest) finite value that is not 0; None where there is none.
        has_zeros: Whether some are 0.
        has_gaps: Whether some are no finite numbers.
        unit_share: Share of pixels that are unit vectors among those that may be vectors, of three channels.
        thin_share: Share of positive pixels that touch a negative one, of two values.
    """

    size: tuple[int, int]
    channels: int
    bits: int
    values: tuple[float, ...] | None
    extremes: tuple[float, float] | None
    has_zeros: bool
    has_gaps: bool
    unit_share: float = 0.0
    thin_share: float = 0.0


@dataclass(frozen=True)
class Guess:
    """A kind of task, with what its manifest says beside the path.

    Attributes:
        kind: As in a manifest.
        settings: Further keys and their values.
        reason: What was seen, and what the person should look at.
    """

    kind: str
    settings: dict[str, Any]
    reason: str


def summarise_file(path: Path) -> FileSummary | None:
    """Return what a file holds; None where it cannot be read as an array of one or three channels."""
    try:
        if path.suffix.lower() == ".npy":
            values, bits = read_npy(path), 0
        else:
            picture = open_picture(path)
            picture.decode()
            if picture.has_alpha or picture.image.mode not in ("1", "L", "P", "I", "I;16", "RGB"):
                return None
            values, bits = np.asarray(picture.image), picture.depth
    except SampleError:
        return None
    if values.dtype.kind in "bui":
        bits = bits or values.dtype.itemsize * 8
    if values.ndim == 2:
        return _summarise_map(values, bits)
    if values.ndim == 3 and values.shape[2] == _COLOUR_CHANNELS:
        return _summarise_colours(values, bits)
    return None


def _summarise_map(values_HW: NDArray[Any], bits: int) -> FileSummary:
    """Return what a map of numbers holds."""
    finite_HW = np.isfinite(values_HW)
    known = values_HW[finite_HW & (values_HW != 0)]
    distinct = np.unique(values_HW[finite_HW])
    thin_share = 0.0
    if len(distinct) == 2:
        positive_HW = values_HW == distinct[1]
        thin_share = 1 - float(binary_erosion(positive_HW).sum()) / float(positive_HW.sum())
    return FileSummary(
        size=(values_HW.shape[0], values_HW.shape[1]),
        channels=1,
        bits=bits,
        values=tuple(float(value) for value in distinct) if len(distinct) <= _MOST_VALUES else None,
        extremes=(float(known.min()), float(known.max())) if known.size else None,
        has_zeros=bool((values_HW == 0).any()),
        has_gaps=not finite_HW.all(),
        thin_share=thin_share,
    )


def _summarise_colours(values_HW3: NDArray[Any], bits: int) -> FileSummary:
    """Return what a map of colours or vectors holds."""
    vectors_HW3 = values_HW3 / 127.5 - 1 if values_HW3.dtype == np.uint8 else values_HW3.astype(np.float64)
    length_HW = np.linalg.norm(np.nan_to_num(vectors_HW3), axis=2)
    # Black, white and the middle of all colours stand for "nothing" in maps of normals.
    may_be_HW = (length_HW > 0.02) & (length_HW < 1.7)
    unit_HW = (length_HW > _UNIT[0]) & (length_HW < _UNIT[1])
    return FileSummary(
        size=(values_HW3.shape[0], values_HW3.shape[1]),
        channels=_COLOUR_CHANNELS,
        bits=bits,
        values=None,
        extremes=None,
        has_zeros=False,
        has_gaps=bool(not np.isfinite(vectors_HW3).all()),
        unit_share=float(unit_HW.sum()) / max(int(may_be_HW.sum()), 1),
    )


def is_photograph(summaries: Sequence[FileSummary]) -> bool:
    """Return whether files are colour images and no maps of normals."""
    return (
        bool(summaries)
        and all(summary.channels == _COLOUR_CHANNELS for summary in summaries)
        and not _is_normals(summaries)
    )


def guess_task(words: str, summaries: Sequence[FileSummary]) -> Guess | str:
    """Return what files may be labels of, or a sentence that says why nothing was guessed.

    Args:
        words: What their path says, in lower case.
        summaries: Of all that could be read, at least one.
    """
    if any(summary.channels != summaries[0].channels for summary in summaries):
        return "some are colour images and some are not"
    if summaries[0].channels == _COLOUR_CHANNELS:
        if _is_normals(summaries):
            return Guess("normals", {}, "three channels that are unit vectors")
        return "colour images: a map of classes must hold class numbers, not colours"
    if _is_depth(words, summaries):
        return _guess_depth(summaries)
    values = {value for summary in summaries for value in summary.values or ()}
    if values <= {0.0, 1.0} or values <= {0.0, 255.0}:
        return _guess_binary(words, summaries)
    return _guess_classes(words, values)


def _is_normals(summaries: Sequence[FileSummary]) -> bool:
    """Return whether files hold unit vectors."""
    return all(summary.channels == _COLOUR_CHANNELS for summary in summaries) and (
        float(np.mean([summary.unit_share for summary in summaries])) >= _UNIT_SHARE
    )


def _is_depth(words: str, summaries: Sequence[FileSummary]) -> bool:
    """Return whether maps hold distances: fractions, more than eight bits, or many values under such a name."""
    called_so = any(word in words for word in ("depth", "dist", "range"))
    many = any(summary.values is None or len(summary.values) > _FEW for summary in summaries)
    fractions = any(
        summary.bits == 0 and (summary.values is None or any(value % 1 for value in summary.values))
        for summary in summaries
    )
    wide = any(summary.extremes is not None and summary.extremes[1] > MOST_CLASSES for summary in summaries)
    gaps = any(summary.has_gaps for summary in summaries)
    return (
        fractions or gaps or (many and any(summary.bits > 8 for summary in summaries)) or (called_so and (many or wide))
    )


def _guess_depth(summaries: Sequence[FileSummary]) -> Guess | str:
    """Return a depth task with its scale and its invalid value."""
    if any(summary.has_gaps for summary in summaries):
        return "distances with NaN or infinity: write 0 there, and 0 will be taken for no depth"
    known = [summary.extremes for summary in summaries if summary.extremes is not None]
    if not known:
        return "maps that hold nothing but 0"
    smallest, largest = min(low for low, _ in known), max(high for _, high in known)
    negative = {value for summary in summaries for value in summary.values or () if value < 0}
    if smallest < 0 and (len(negative) != 1 or any(summary.has_zeros for summary in summaries)):
        return "distances below 0: write 0 where there is none"
    scale = 0.001 if largest > 500 else 1.0
    unit = "millimetres" if scale == 0.001 else "metres"
    invalid = smallest if smallest < 0 else 0
    reason = f"values up to {largest:g}, taken for {unit}: scale is what one unit is in metres, so check it"
    return Guess("depth", {"scale": scale, "invalid": invalid}, reason)


def _guess_binary(words: str, summaries: Sequence[FileSummary]) -> Guess:
    """Return an edge or a saliency task."""
    thin = float(np.mean([summary.thin_share for summary in summaries]))
    if any(word in words for word in ("edge", "contour", "boundar", "outline")) or (thin > 0.8 and "sal" not in words):
        return Guess("edge", {"positive_weight": 0.95}, "two values, thin lines")
    return Guess("saliency", {}, "two values, areas; a map of two classes would be segmentation")


def _guess_classes(words: str, values: set[float]) -> Guess | str:
    """Return a task of classes, as many as the numbers in the files need."""
    known = sorted(value for value in values if value != MOST_CLASSES)
    if any(value % 1 or value < 0 for value in known) or not known:
        return "numbers that are no classes"
    if known[-1] >= MOST_CLASSES or len(known) > _FEW * 4:
        return f"numbers up to {known[-1]:g}: a task has at most {MOST_CLASSES} classes"
    if len(known) > _FEW and any(word in words for word in ("sal", "mask", "prob", "heat")):
        return Guess("saliency", {}, "many grey values, split at half of white")
    classes = [f"class {number}" for number in range(max(2, int(known[-1]) + 1))]
    kind = "parts" if "part" in words else "segmentation"
    settings = {"classes": classes, "ignore": MOST_CLASSES}
    return Guess(kind, settings, f"{len(known)} class numbers up to {int(known[-1])}: give the classes their names")
