"""Labels of strangers: each value comes out as documented, and what does not fit is refused with what was seen."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.io import savemat

from search.data.reading.label_files import read_binary_map, read_class_map, read_depth, read_normals
from search.errors import SampleError

CLASSES_HW = np.array([[0, 1, 2], [3, 3, 0]], dtype=np.uint8)


def save_png(path: Path, values: ArrayLike, *, palette: bool = False, bits: int = 8) -> Path:
    """Return the PNG that numbers were saved in, a palette of arbitrary colours put over them when asked."""
    image = Image.fromarray(np.asarray(values))
    if palette:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(path, bits=bits)
    return path


def save_npy(path: Path, values: ArrayLike) -> Path:
    """Return the .npy file that numbers were saved in."""
    np.save(path, np.asarray(values))
    return path


def pack_png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """Return a grey PNG from its packed rows."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palette_indices_are_the_classes(tmp_path: Path, bits: int) -> None:
    """Colours play no role, however many bits an index has."""
    path = save_png(tmp_path / "a.png", CLASSES_HW, palette=True, bits=bits)
    np.testing.assert_array_equal(read_class_map(path, size=(2, 3), num_classes=4), CLASSES_HW)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_values_are_the_classes(tmp_path: Path, dtype: type[np.generic]) -> None:
    """8 and 16 bits of grey hold the numbers themselves."""
    path = save_png(tmp_path / "a.png", CLASSES_HW.astype(dtype))
    np.testing.assert_array_equal(read_class_map(path, size=(2, 3), num_classes=4), CLASSES_HW)


def test_grey_of_few_bits_holds_the_stored_numbers(tmp_path: Path) -> None:
    """Grey of 1, 2 or 4 bits is not spread over 0 to 255, as it is for the eye."""
    header = {1: ([[1, 0, 1]], b"\x00\xa0"), 2: ([[1, 0, 3]], b"\x00\x4c"), 4: ([[1, 0, 15]], b"\x00\x10\xf0")}
    for bits, (values, row) in header.items():
        path = tmp_path / f"{bits}.png"
        path.write_bytes(pack_png(3, 1, bits, row))
        np.testing.assert_array_equal(read_class_map(path, size=(1, 3), num_classes=16), values)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_arrays_of_classes_are_read(tmp_path: Path, dtype: str) -> None:
    """Whole numbers of any dtype do, also with a last axis of one."""
    path = save_npy(tmp_path / "a.npy", (CLASSES_HW % 2).astype(dtype)[:, :, None])
    np.testing.assert_array_equal(read_class_map(path, size=(2, 3), num_classes=2), CLASSES_HW % 2)


def test_ignored_classes_become_255(tmp_path: Path) -> None:
    """The number that a person names says nothing, and 255 never does."""
    path = save_npy(tmp_path / "a.npy", [[0, 7, 255]])
    np.testing.assert_array_equal(read_class_map(path, size=(1, 3), num_classes=2, ignore=7), [[0, 255, 255]])


@pytest.mark.parametrize(
    ("values", "seen"), [([[0, 9, 4]], "got 4, 9"), ([[-1, 0, 0]], "got -1"), ([[256, 1, 511]], "got 256, 511")]
)
def test_classes_out_of_range_are_refused_with_what_was_seen(tmp_path: Path, values: ArrayLike, seen: str) -> None:
    """A number that is no class is not cut, wrapped or ignored."""
    with pytest.raises(SampleError, match=f"0 to 3, or be 255.*{seen}"):
        read_class_map(save_npy(tmp_path / "a.npy", values), size=(1, 3), num_classes=4)


@pytest.mark.parametrize("values", [[[0.5, 1, 2]], [[np.nan, 1, 2]], [[np.inf, 0, 0]]])
def test_fractions_are_no_classes(tmp_path: Path, values: ArrayLike) -> None:
    """A class map that was resized smoothly is refused."""
    with pytest.raises(SampleError, match=r"whole numbers|got inf"):
        read_class_map(save_npy(tmp_path / "a.npy", values), size=(1, 3), num_classes=4)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_colours_are_no_classes(tmp_path: Path, name: str) -> None:
    """A map painted in colours, or one that JPEG has changed, is refused."""
    Image.new("RGB", (3, 2)).save(tmp_path / name)
    with pytest.raises(SampleError, match=r"Store the numbers|save a PNG"):
        read_class_map(tmp_path / name, size=(2, 3), num_classes=4)


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_labels_of_another_size_are_refused(tmp_path: Path, suffix: str) -> None:
    """Label and image share one size; height and width are not mixed up."""
    save_png(tmp_path / "a.png", CLASSES_HW)
    save_npy(tmp_path / "a.npy", CLASSES_HW)
    path = tmp_path / f"a.{suffix}"
    for read in (read_binary_map, read_depth):
        with pytest.raises(SampleError, match=rf"a\.{suffix}' is 2x3 .* where 3x2 is needed"):
            read(path, size=(3, 2))
    with pytest.raises(SampleError, match="2x3"):
        read_class_map(path, size=(3, 2), num_classes=4)
    with pytest.raises(SampleError, match="2x3"):
        read_normals(path, size=(3, 2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 1, 1]], np.uint8), [[0, 1, 1]]),
        (np.array([[0, 255, 128]], np.uint8), [[0, 1, 1]]),
        (np.array([[127, 200, 1]], np.uint8), [[0, 1, 0]]),
        (np.array([[False, True, True]]), [[0, 1, 1]]),
        (np.array([[0.0, 0.5, 0.6]]), [[0, 0, 1]]),
    ],
)
def test_binary_maps_split_at_half(tmp_path: Path, values: NDArray[np.generic], expected: ArrayLike) -> None:
    """0 and 1 are taken as they are, grey is split at half of white."""
    np.testing.assert_array_equal(read_binary_map(save_npy(tmp_path / "a.npy", values), size=(1, 3)), expected)
    if values.dtype == np.uint8:
        path = save_png(tmp_path / "a.png", values)
        np.testing.assert_array_equal(read_binary_map(path, size=(1, 3)), expected)


def test_ambiguous_binary_maps_are_refused(tmp_path: Path) -> None:
    """A file of 0, 1 and 255 may mean two things, until the ignored value is named."""
    path = save_npy(tmp_path / "a.npy", np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(SampleError, match="both 1 and 255"):
        read_binary_map(path, size=(1, 3))
    np.testing.assert_array_equal(read_binary_map(path, size=(1, 3), ignore=255), [[0, 1, 255]])


def test_named_ignored_values_allow_no_others(tmp_path: Path) -> None:
    """With an ignored value, 0 and 1 or 255 are the only others."""
    path = save_npy(tmp_path / "a.npy", np.array([[0, 255, 128]], np.uint8))
    np.testing.assert_array_equal(read_binary_map(path, size=(1, 3), ignore=128), [[0, 1, 255]])
    with pytest.raises(SampleError, match="got 128"):
        read_binary_map(path, size=(1, 3), ignore=255)


@pytest.mark.parametrize("values", [[[0, 256, 0]], [[-1, 0, 0]], [[np.nan, 0, 1]]])
def test_binary_maps_of_other_ranges_are_refused(tmp_path: Path, values: ArrayLike) -> None:
    """What is neither 0 to 1 nor 0 to 255 is no such map."""
    with pytest.raises(SampleError, match=r"a\.npy"):
        read_binary_map(save_npy(tmp_path / "a.npy", values), size=(1, 3))


def test_normals_are_decoded_to_unit_length(tmp_path: Path) -> None:
    """Colours become vectors of length one; black, white and grey are no normals."""
    colours_HW3 = np.array([[[255, 128, 128], [128, 255, 0], [0, 0, 0], [255, 255, 255], [127, 128, 127]]], np.uint8)
    normals_HW3 = read_normals(save_png(tmp_path / "a.png", colours_HW3), size=(1, 5))
    np.testing.assert_allclose(normals_HW3[0, 0], [1, 0, 0], atol=0.005)
    np.testing.assert_allclose(normals_HW3[0, 1], np.array([0, 1, -1]) / np.sqrt(2), atol=0.005)
    np.testing.assert_allclose(np.linalg.norm(normals_HW3[0, :2], axis=1), 1, atol=1e-6)
    assert (normals_HW3[0, 2:] == 255).all()


def test_arrays_of_normals_are_renormalised(tmp_path: Path) -> None:
    """Floats of any length keep their direction; zero vectors and 255 say nothing."""
    values_HW3 = np.array([[[0, 3, 4], [0, 0, 0], [255, 255, 255]]], np.float64)
    normals_HW3 = read_normals(save_npy(tmp_path / "a.npy", values_HW3), size=(1, 3))
    np.testing.assert_allclose(normals_HW3[0], [[0.0, 0.6, 0.8], [255.0] * 3, [255.0] * 3])
    assert normals_HW3.dtype == np.float32


def test_normals_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN is no direction."""
    with pytest.raises(SampleError, match="no numbers"):
        read_normals(save_npy(tmp_path / "a.npy", [[[np.nan, 0, 1]]]), size=(1, 1))


def test_depth_is_scaled_and_missing_depth_ignored(tmp_path: Path) -> None:
    """Millimetres of 16 bits, metres of floats, and MATLAB's matrices give the same metres."""
    expected = np.array([[1.5, 255, 60.0]], np.float32)
    millimetres = np.array([[1500, 0, 60_000]], np.uint16)
    savemat(tmp_path / "a.mat", {"depth": np.array([[1.5, 0, 60.0]])})
    png = read_depth(save_png(tmp_path / "a.png", millimetres), size=(1, 3), scale=0.001)
    npy = read_depth(save_npy(tmp_path / "a.npy", np.array([[1.5, -1, 60]])), size=(1, 3), invalid=-1)
    for depth_HW in (png, npy, read_depth(tmp_path / "a.mat", size=(1, 3))):
        np.testing.assert_allclose(depth_HW, expected, rtol=1e-6)
        assert depth_HW.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[np.nan, 1, np.inf]], "2 pixels of NaN or infinity"),
        ([[-0.5, 1, 2]], "1 pixels of zero or less"),
        ([[1e300, 1, 1]], "beyond any distance"),
    ],
)
def test_impossible_depth_is_refused(tmp_path: Path, values: ArrayLike, reason: str) -> None:
    """NaN, infinity, what lies behind the camera and what no float can hold are refused with a count."""
    with pytest.raises(SampleError, match=reason):
        read_depth(save_npy(tmp_path / "a.npy", values), size=(1, 3))


def test_zero_depth_needs_to_be_named(tmp_path: Path) -> None:
    """Zero metres are no distance unless they are said to stand for none."""
    path = save_npy(tmp_path / "a.npy", [[0.0, 1.0]])
    with pytest.raises(SampleError, match="zero or less"):
        read_depth(path, size=(1, 2), invalid=None)


@given(st.binary(max_size=120), st.sampled_from(["png", "npy", "mat", "jpg"]), st.integers(0, 150))
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, suffix: str, place: int
) -> None:
    """Whatever is in a file, a label of the right shape or a SampleError comes out."""
    path = tmp_path_factory.getbasetemp() / f"label.{suffix}"
    stream = io.BytesIO()
    if suffix == "mat":
        savemat(stream, {"depth": CLASSES_HW})
    elif suffix == "npy":
        np.save(stream, CLASSES_HW)
    else:
        Image.fromarray(CLASSES_HW).save(stream, suffix.replace("jpg", "jpeg"))
    whole = stream.getvalue()
    path.write_bytes(whole[:place] + noise + whole[place + len(noise) :])
    with suppress(SampleError):
        assert read_depth(path, size=(2, 3)).shape == (2, 3)
    with suppress(SampleError):
        assert read_class_map(path, size=(2, 3), num_classes=4).max() <= 255
    with suppress(SampleError):
        assert read_binary_map(path, size=(2, 3)).max() <= 1
    with suppress(SampleError):
        assert read_normals(path, size=(2, 3)).shape == (2, 3, 3)
