"""Labels of dense tasks from files that nobody has looked at, in the form of `sources.Label`.

Every reader is told the size of the image, refuses a label of another size before decoding it, and never changes a
value on the way but as documented. Shapes: H W pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.data.catalogue import IGNORE_LABEL
from search.data.reading.array_files import read_npy
from search.data.reading.image_files import open_picture
from search.data.reading.mat_files import read_mat
from search.data.reading.places import quote, refusing
from search.errors import SampleError

Size = tuple[int, int]
Numbers = NDArray[np.generic]

MAX_SHOWN_VALUES = 6
UNIT_LENGTHS = (0.5, 1.5)
"""A colour that decodes to a shorter or longer vector says nothing: black, white and middle grey, which stand for
"no normal" in most files; eight bits and JPEG blur the length of a true one by a few percent only."""


def read_class_map(path: Path, *, size: Size, num_classes: int, ignore: int | None = None) -> NDArray[np.uint8]:
    """Return the class of each pixel, uint8 (H, W), 255 where ignored.

    Args:
        path: Palette or grey .png, whose stored numbers are the classes (a palette's colours play no role), or .npy.
        size: (H, W) of the image.
        num_classes: Classes are 0 .. num_classes - 1.
        ignore: Number in the file that stands for "no label"; 255 always does.

    Raises:
        SampleError: The file is missing, broken, in colour or of another size, or holds other numbers.
    """
    numbers_HW = _read_numbers(path, size)
    with refusing(path, "map of whole numbers"):
        if numbers_HW.dtype.kind == "f" and not np.array_equal(numbers_HW, np.rint(numbers_HW)):
            raise SampleError(f"Classes must be whole numbers, but {quote(path)} holds fractions. Store class numbers.")
    return to_class_map(path, numbers_HW, num_classes=num_classes, ignore=ignore)


def to_class_map(path: Path, numbers_HW: Numbers, *, num_classes: int, ignore: int | None = None) -> NDArray[np.uint8]:
    """Return whole numbers (H, W) as a map of classes, uint8, 255 where ignored.

    Args:
        path: For messages.
        numbers_HW: Of any dtype of numbers.
        num_classes: Classes are 0 .. num_classes - 1.
        ignore: Number that stands for "no label"; 255 always does.

    Raises:
        SampleError: There are other numbers; the sentence names some of them.
    """
    ignored_HW = np.equal(numbers_HW, IGNORE_LABEL)
    if ignore is not None:
        ignored_HW |= np.equal(numbers_HW, ignore)
    known_HW = np.greater_equal(numbers_HW, 0) & np.less(numbers_HW, num_classes)
    wrong = np.unique(numbers_HW[~(known_HW | ignored_HW)])
    if len(wrong):
        raise SampleError(
            f"Classes in {quote(path)} must lie in 0 to {num_classes - 1}, or be {_name_ignored(ignore)} where there "
            f"is no label, got {_name_values(wrong)}. Mend the map, or the list of classes."
        )
    return np.where(ignored_HW, IGNORE_LABEL, numbers_HW).astype(np.uint8)


def read_binary_map(path: Path, *, size: Size, ignore: int | None = None, of_255: bool = False) -> NDArray[np.uint8]:
    """Return where something is, uint8 (H, W) in {0, 1, 255}, 255 where ignored.

    Without `ignore`, a file of 0 and 1 is taken as it is, and a grey one is split at half of white. With it, the file
    must hold nothing but 0, 1 (or 255, where that is not `ignore`) and `ignore`.

    Args:
        path: Grey or palette .png, or .npy of truth values or numbers.
        size: (H, W) of the image.
        ignore: Number in the file that stands for "no label".
        of_255: Whether numbers are known to be shares of 255, so that 1 is next to nothing.

    Raises:
        SampleError: The file is missing, broken, in colour or of another size, or its numbers are not as above.
    """
    numbers_HW = _read_numbers(path, size)
    if ignore is None:
        return _split_at_half(path, numbers_HW, of_255)
    ignored_HW = np.equal(numbers_HW, ignore)
    positive_HW = np.isin(numbers_HW, (1, IGNORE_LABEL)) & ~ignored_HW
    wrong = np.unique(numbers_HW[~(ignored_HW | positive_HW | np.equal(numbers_HW, 0))])
    if len(wrong):
        raise SampleError(
            f"{quote(path)} must hold 0, 1 and {ignore} only, since {ignore} is named as ignored, "
            f"got {_name_values(wrong)}. Mend the map."
        )
    return np.where(ignored_HW, IGNORE_LABEL, positive_HW).astype(np.uint8)


def _split_at_half(path: Path, numbers_HW: Numbers, of_255: bool) -> NDArray[np.uint8]:
    """Return 1 where a value is above half of the largest that its file can mean, uint8 (H, W)."""
    if numbers_HW.dtype.kind == "b":
        return numbers_HW.astype(np.uint8)
    if not np.isfinite(numbers_HW).all():
        raise SampleError(f"{quote(path)} holds values that are no numbers. Write 0 or 1 there.")
    lowest, highest = float(numbers_HW.min()), float(numbers_HW.max())
    if lowest < 0 or highest > IGNORE_LABEL:
        raise SampleError(f"{quote(path)} must hold 0 to 1 or 0 to 255, got {lowest:g} to {highest:g}. Mend the map.")
    if highest <= 1 and not of_255:
        return np.greater(numbers_HW, 0.5).astype(np.uint8)
    values = set(np.unique(numbers_HW).tolist())
    if not of_255 and values <= {0, 1, IGNORE_LABEL} and {1, IGNORE_LABEL} <= values:
        raise SampleError(
            f"{quote(path)} holds both 1 and 255, so it is not clear whether 255 is positive or ignored. "
            f"Name the ignored value (`ignore: 255`), or use 0 and 255 only."
        )
    return np.greater(numbers_HW, IGNORE_LABEL / 2).astype(np.uint8)


def read_normals(path: Path, *, size: Size, lengths: tuple[float, float] = UNIT_LENGTHS) -> NDArray[np.float32]:
    """Return unit normals, float32 (H, W, 3), 255 in all three where there is none; axes as they are in the file.

    Args:
        path: .png or .jpg with value / 255 * 2 - 1, where colours far from any unit vector are no normals; or .npy
            (H, W, 3), uint8 of the same meaning or floats, where zero vectors and (255, 255, 255) are no normals.
        size: (H, W) of the image.
        lengths: Shortest and longest vector that an eight-bit colour may mean.

    Raises:
        SampleError: The file is missing, broken or of another size, or holds values that are no numbers.
    """
    if path.suffix.lower() == ".npy":
        values_HW3 = read_npy(path)
        _check_shape(path, values_HW3.shape, (*size, 3))
    else:
        picture = open_picture(path)
        _check_shape(path, picture.size, size)
        if picture.image.mode != "RGB" or picture.depth != 8 or picture.has_alpha:
            raise SampleError(f"Normals must be an 8-bit RGB image, but {quote(path)} is not. Save them as such.")
        picture.decode()
        values_HW3 = np.asarray(picture.image)
    return _to_normals(path, values_HW3, lengths)


def _to_normals(path: Path, values_HW3: Numbers, lengths: tuple[float, float]) -> NDArray[np.float32]:
    """Return values (H, W, 3), coded in eight bits or floats, as unit normals, 255 in all three where there is none."""
    if values_HW3.dtype == np.uint8:
        vectors_HW3 = values_HW3.astype(np.float32) / 255 * 2 - 1
        shortest, longest = lengths
    else:
        vectors_HW3 = values_HW3.astype(np.float32)
        shortest, longest = 1e-3, np.inf
        if not np.isfinite(vectors_HW3).all():
            raise SampleError(f"{quote(path)} holds normals that are no numbers. Write 0, 0, 0 where there is none.")
    length_HW = np.linalg.norm(vectors_HW3, axis=2)
    none_HW = (length_HW < shortest) | (length_HW > longest) | (vectors_HW3 == IGNORE_LABEL).all(2)
    unit_HW3 = vectors_HW3 / np.where(none_HW, 1, length_HW)[:, :, None]
    return np.where(none_HW[:, :, None], np.float32(IGNORE_LABEL), unit_HW3).astype(np.float32)


def read_depth(
    path: Path, *, size: Size, scale: float = 1.0, invalid: float | None = 0, key: str = "depth"
) -> NDArray[np.float32]:
    """Return depth in metres, float32 (H, W), 255 where there is none.

    Args:
        path: .npy, grey .png of 8 or 16 bits, or .mat.
        size: (H, W) of the image.
        scale: Metres per unit of the file.
        invalid: Value in the file that stands for "no depth".
        key: Variable of a .mat file.

    Raises:
        SampleError: The file is missing, broken or of another size, or a depth is not finite or not positive.
    """
    if path.suffix.lower() == ".mat":
        values_HW = to_numbers(path, read_mat(path, key), size)
    else:
        values_HW = _read_numbers(path, size)
    stored_HW = values_HW.astype(np.float64)
    if not np.isfinite(stored_HW).all():
        raise SampleError(
            f"Depth must be finite, but {quote(path)} has {int((~np.isfinite(stored_HW)).sum())} pixels of NaN or "
            f"infinity. Write the value there that `invalid` names."
        )
    none_HW = np.zeros(size, dtype=bool) if invalid is None else stored_HW == invalid
    metres_HW = stored_HW * scale
    too_low = int((~none_HW & (metres_HW <= 0)).sum())
    if too_low or not (np.abs(metres_HW) < np.finfo(np.float32).max).all():
        seen = f"{too_low} pixels of zero or less" if too_low else "values beyond any distance"
        raise SampleError(
            f"Depth must be positive where it is known, but {quote(path)} has {seen}. "
            f"Name the value that stands for no depth as `invalid`, and check `scale`."
        )
    return np.where(none_HW, IGNORE_LABEL, metres_HW).astype(np.float32)


def to_numbers(path: Path, values: object, size: Size) -> Numbers:
    """Return what a file held as an array of numbers (H, W).

    Raises:
        SampleError: It is no array of numbers, or of another size than the image.
    """
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise SampleError(f"{quote(path)} must hold an array of numbers, but holds something else. Save it again.")
    squeezed: Numbers = values[:, :, 0] if values.ndim == 3 and values.shape[2] == 1 else values
    _check_shape(path, squeezed.shape, size)
    return squeezed


def _read_numbers(path: Path, size: Size) -> Numbers:
    """Return the stored numbers (H, W) of a .npy array or of a grey or palette PNG."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return to_numbers(path, read_npy(path), size)
    if suffix != ".png":
        raise SampleError(
            f"Numbers per pixel must come as .png or .npy, got {quote(path)}. JPEG would change them; save a PNG."
        )
    picture = open_picture(path)
    _check_shape(path, picture.size, size)
    mode = picture.image.mode
    if (picture.has_alpha and mode != "P") or mode not in ("1", "L", "P", "I", "I;16"):
        raise SampleError(
            f"A label must be a grey or palette image, one number a pixel, but {quote(path)} is {mode}. "
            f"Store the numbers rather than colours."
        )
    picture.decode()
    with refusing(path, "label"):
        stored_HW: Numbers = np.asarray(picture.image)
        if mode == "L" and picture.depth in (2, 4):  # the decoder spreads them over 0..255; palettes it leaves alone
            stored_HW = np.floor_divide(stored_HW, np.uint8(255 // (2**picture.depth - 1)), dtype=np.uint8)
    return stored_HW


def _check_shape(path: Path, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raise SampleError unless a label has the size of its image."""
    if tuple(shape) != tuple(wanted):
        raise SampleError(
            f"Label and image must have one size, but {quote(path)} is {_name_shape(shape)} (height x width) where "
            f"{_name_shape(wanted)} is needed. Resize the label without mixing values, or replace it."
        )


def _name_shape(shape: tuple[int, ...]) -> str:
    """Return "2x3" for (2, 3)."""
    return "x".join(map(str, shape)) or "a single number"


def _name_ignored(ignore: int | None) -> str:
    """Return the numbers that stand for no label."""
    return "255" if ignore in (None, IGNORE_LABEL) else f"{ignore} or 255"


def _name_values(values: Numbers) -> str:
    """Return a few of the values for a message."""
    shown = ", ".join(f"{value:g}" for value in values[:MAX_SHOWN_VALUES].tolist())
    return shown if len(values) <= MAX_SHOWN_VALUES else f"{shown} and {len(values) - MAX_SHOWN_VALUES} more"
