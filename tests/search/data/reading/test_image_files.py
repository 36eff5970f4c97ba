"""Images of strangers: what is shown is what is read, and what is broken or ambiguous is refused by name."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from search.data.reading.image_files import read_image
from search.errors import SampleError

COLOURS_HWC = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(folder: Path, name: str, image: Image.Image, **options: Any) -> Path:
    """Return the file that an image was written to."""
    image.save(folder / name, **options)
    return folder / name


def announce_png(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """Return a PNG whose header announces a size that no pixel follows."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), (b"IDAT", b"\x78\x9c")]
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def encode(image_HWC: NDArray[np.uint8], kind: str) -> bytes:
    """Return the bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(image_HWC).save(stream, kind)
    return stream.getvalue()


def test_colours_are_read_as_they_are(tmp_path: Path) -> None:
    """An RGB image keeps every value."""
    np.testing.assert_array_equal(read_image(save(tmp_path, "a.png", Image.fromarray(COLOURS_HWC))), COLOURS_HWC)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palettes_become_rgb(tmp_path: Path, mode: str) -> None:
    """What is shown of an image with fewer colours is what is read."""
    image = Image.fromarray(COLOURS_HWC).convert(mode)
    np.testing.assert_array_equal(read_image(save(tmp_path, "a.png", image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_camera_says(tmp_path: Path, orientation: int) -> None:
    """Each EXIF orientation is undone, unless labels are known to be drawn on the pixels as they are stored."""
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path, "a.png", Image.fromarray(COLOURS_HWC), exif=exif)
    turns = [lambda a: a, np.fliplr, lambda a: a[::-1, ::-1], np.flipud, lambda a: a.transpose(1, 0, 2)]
    turns += [lambda a: np.rot90(a, -1), lambda a: np.rot90(a, 2).transpose(1, 0, 2), np.rot90]
    np.testing.assert_array_equal(read_image(path), turns[orientation - 1](COLOURS_HWC))
    np.testing.assert_array_equal(read_image(path, turned=False), COLOURS_HWC)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [("a.png", "I;16", "8 bits"), ("a.png", "RGBA", "opaque"), ("a.png", "LA", "opaque"), ("a.jpg", "CMYK", "is CMYK")],
)
def test_what_only_its_owner_can_convert_is_refused(tmp_path: Path, name: str, mode: str, reason: str) -> None:
    """Depth, transparency and printers' colours are no guess of ours."""
    grey = Image.fromarray(COLOURS_HWC[:, :, 0])
    image = Image.fromarray(COLOURS_HWC[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else grey.convert("RGB")
    with pytest.raises(SampleError, match=rf"{name}.*{reason}|{reason}.*{name}"):
        read_image(save(tmp_path, name, image if mode == "I;16" else image.convert(mode)))


def test_sixteen_bit_colour_is_refused(tmp_path: Path) -> None:
    """PNG of 48 bits a pixel, which Pillow would cut to 24 without a word, is refused."""
    (tmp_path / "a.png").write_bytes(announce_png(4, 4, depth=16))
    with pytest.raises(SampleError, match="has 16"):
        read_image(tmp_path / "a.png")


def test_transparent_palettes_are_refused(tmp_path: Path) -> None:
    """A palette with a transparent colour is an alpha channel in disguise."""
    image = Image.fromarray(COLOURS_HWC).convert("P")
    with pytest.raises(SampleError, match="opaque"):
        read_image(save(tmp_path, "a.png", image, transparency=3))


def test_animations_are_refused(tmp_path: Path) -> None:
    """A PNG of two frames is no image."""
    frames = [Image.fromarray(COLOURS_HWC), Image.fromarray(255 - COLOURS_HWC)]
    with pytest.raises(SampleError, match="animated"):
        read_image(save(tmp_path, "a.png", frames[0], save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (9000, 9000)])
def test_announced_bombs_are_refused_before_they_are_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    """A header of a few bytes does not make memory of its promises."""
    (tmp_path / "bomb.png").write_bytes(announce_png(*size))
    tracemalloc.start()
    with pytest.raises(SampleError, match=rf"bomb\.png.*announces {size[0]}x{size[1]}"):
        read_image(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_jpeg_bombs_are_refused(tmp_path: Path) -> None:
    """The size in the frame header of a JPEG counts, not its few bytes."""
    data = bytearray(encode(COLOURS_HWC, "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    (tmp_path / "bomb.jpg").write_bytes(data)
    with pytest.raises(SampleError, match="announces 60000x60000"):
        read_image(tmp_path / "bomb.jpg")


def test_limit_of_pixels_is_the_callers(tmp_path: Path) -> None:
    """An image of exactly as many pixels as allowed is read, one more is not."""
    path = save(tmp_path, "a.png", Image.fromarray(COLOURS_HWC))
    assert read_image(path, max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(SampleError, match="34 pixels"):
        read_image(path, max_pixels=34)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated_images_are_refused(tmp_path: Path, name: str) -> None:
    """Cut anywhere before its pixels end, a file is refused, not filled with grey."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = encode(noise_HWC, "PNG" if name == "a.png" else "JPEG")
    for length in range(1, len(whole) - 40, 97):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(SampleError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "PNG"), ("a.png", "JPEG"), ("a.png", "GIF"), ("a.gif", "GIF")])
def test_only_jpeg_and_png_under_their_names_are_read(tmp_path: Path, name: str, kind: str) -> None:
    """Neither another format nor a wrong name reaches a decoder."""
    (tmp_path / name).write_bytes(encode(COLOURS_HWC, kind))
    with pytest.raises(SampleError, match=r"Rename it|Convert it"):
        read_image(tmp_path / name)


@given(st.sampled_from(["a.png", "a.jpg"]), st.binary(max_size=300), st.data())
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, name: str, tail: bytes, data: st.DataObject
) -> None:
    """Whatever is in a file, pixels or a SampleError come out, never another exception."""
    whole = encode(COLOURS_HWC, "PNG" if name == "a.png" else "JPEG")
    keep = data.draw(st.integers(0, len(whole)))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + 4 :]
    path = tmp_path_factory.getbasetemp() / name
    for content in (tail, whole[:keep] + tail, changed):
        path.write_bytes(content)
        with suppress(SampleError):
            assert read_image(path, max_pixels=10**6).dtype == np.uint8
