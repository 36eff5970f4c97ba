"""Images from files that nobody has looked at: the header is judged before a pixel is decoded.

Two formats, JPEG and PNG, opened by their own reader, so that no other decoder ever sees a byte. Refused are 16-bit
images (is white 65535, or 4095 as of a sensor?), CMYK (its colours need the printer's profile) and alpha (what lies
below is undefined): turning them into RGB is a guess that only their owner can make. Shapes: H W pixels, C channels.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from search.data.reading.places import quote, read_bounded, refusing
from search.errors import SampleError

MAX_PIXELS = 64 * 2**20
"""More than a telephone takes; 192 MiB as RGB."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_PNG_ALPHA_COLOURS = (4, 6)


@dataclass(frozen=True)
class Picture:
    """A JPEG or PNG file of which only the header has been read.

    Attributes:
        path: For messages.
        image: The image, not decoded yet.
        is_png: PNG rather than JPEG.
        depth: Bits per channel of a pixel.
        has_alpha: Whether pixels can be transparent.
    """

    path: Path
    image: ImageFile.ImageFile
    is_png: bool
    depth: int
    has_alpha: bool

    @property
    def size(self) -> tuple[int, int]:
        """Return (H, W) as stored, before any rotation."""
        return self.image.height, self.image.width

    def decode(self) -> None:
        """Read the pixels.

        Raises:
            SampleError: They are truncated or broken.
        """
        with refusing(self.path, f"{'PNG' if self.is_png else 'JPEG'} image"):
            self.image.load()


def open_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return a JPEG or PNG file with its header read and checked.

    Raises:
        SampleError: The file is missing or empty, of another format than its name says, animated, or announces more
            pixels than allowed.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise SampleError(f"Images must be JPEG or PNG, got {quote(path)}. Convert it to PNG.")
    data = read_bounded(path)
    is_png = suffix == ".png"
    kind = "PNG" if is_png else "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n") is not is_png or data.startswith(b"\xff\xd8") is is_png:
        raise SampleError(f"The name {quote(path)} promises a {kind} image, but the content is another. Rename it.")
    with refusing(path, f"{kind} image"):
        image = PngImageFile(io.BytesIO(data)) if is_png else JpegImageFile(io.BytesIO(data))
        depth, colour = (data[24], data[25]) if is_png else (8, 0)
    width, height = image.size
    if width * height > max_pixels:
        raise SampleError(
            f"{quote(path)} may have {max_pixels:,} pixels at most, but announces {width}x{height}. Make it smaller."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise SampleError(f"{quote(path)} is animated, so it is not clear which image is meant. Save one frame of it.")
    has_alpha = is_png and (colour in _PNG_ALPHA_COLOURS or "transparency" in image.info)
    return Picture(path, image, is_png, depth, has_alpha)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS, turned: bool = True) -> NDArray[np.uint8]:
    """Return an image as uint8 (H, W, 3), turned as its EXIF orientation says unless told otherwise.

    Grey and palette images become RGB; a pixel means the same in it.

    Args:
        path: A .jpg, .jpeg or .png file.
        max_pixels: Refused, before anything is decoded, is what announces more.
        turned: False where labels are known to be drawn on the pixels as they are stored.

    Raises:
        SampleError: The image is missing, broken, too large, animated, 16-bit, CMYK or with alpha.
    """
    picture = open_picture(path, max_pixels=max_pixels)
    if picture.depth > 8:
        raise SampleError(
            f"Images must have 8 bits per channel, but {quote(path)} has {picture.depth}. "
            f"Convert it to 8 bits, with the range of brightness that you mean."
        )
    if picture.has_alpha:
        raise SampleError(f"Images must be opaque, but {quote(path)} has an alpha channel. Flatten it to RGB.")
    if picture.image.mode not in ("1", "L", "P", "RGB"):
        raise SampleError(f"Images must be RGB or grey, but {quote(path)} is {picture.image.mode}. Convert it to RGB.")
    picture.decode()
    with refusing(path, "image"):
        upright = ImageOps.exif_transpose(picture.image) if turned else picture.image
        image_HWC: NDArray[np.uint8] = np.array(upright.convert("RGB"), dtype=np.uint8)
    return image_HWC
