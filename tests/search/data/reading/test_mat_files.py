"""MATLAB files of strangers: what SciPy writes is read, promises are checked, and nothing is executed."""

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
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from search.data.reading.mat_files import read_mat
from search.errors import SampleError


def write_mat(path: Path, *, do_compression: bool = True, **variables: object) -> Path:
    """Return the MATLAB file that variables were saved in."""
    savemat(path, variables, do_compression=do_compression)
    return path


def pack_matrix(matrix_class: int, sizes: tuple[int, ...], body: bytes) -> bytes:
    """Return a MATLAB variable 'x' that announces a size."""
    parts = [
        (6, struct.pack("<II", matrix_class, 0)),
        (5, struct.pack(f"<{len(sizes)}i", *sizes)),
        (1, b"x"),
        (9, body),
    ]
    content = b"".join(struct.pack("<II", kind, len(part)) + part + b"\0" * (-len(part) % 8) for kind, part in parts)
    return struct.pack("<II", 14, len(content)) + content


def pack_file(*elements: bytes) -> bytes:
    """Return a MATLAB file of version 5."""
    return b"MATLAB".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(elements)


@pytest.mark.parametrize("do_compression", [True, False])
def test_variables_come_back(tmp_path: Path, do_compression: bool) -> None:
    """Numbers, truth values, texts, cells and structs; other variables are not looked at."""
    part = {"part_name": "head", "mask": np.eye(3, dtype=np.uint8)}
    cells = np.array([["one", np.arange(6.0).reshape(2, 3)]], dtype=object)
    variables: dict[str, Any] = {"depth": np.eye(4), "parts": part, "cells": cells, "none": np.zeros((0, 0))}
    path = write_mat(tmp_path / "a.mat", do_compression=do_compression, **variables)
    np.testing.assert_array_equal(np.asarray(read_mat(path, "depth")), np.eye(4))
    found: Any = read_mat(path, "parts")
    (entry,) = found
    assert list(entry) == ["part_name", "mask"]
    assert entry["part_name"] == "head"
    np.testing.assert_array_equal(entry["mask"], np.eye(3))
    found = read_mat(path, "cells")
    text, numbers = found
    assert text == "one"
    np.testing.assert_array_equal(numbers, [[0, 1, 2], [3, 4, 5]])
    assert np.asarray(read_mat(path, "none")).shape == (0, 0)


DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


@given(
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=2, max_dims=3))), st.booleans()
)
def test_numbers_are_those_that_scipy_reads(
    tmp_path_factory: pytest.TempPathFactory, array: NDArray[Any], do_compression: bool
) -> None:
    """Every kind of number, in any size, with its own dtype."""
    path = write_mat(tmp_path_factory.getbasetemp() / "a.mat", do_compression=do_compression, x=array)
    ours = np.asarray(read_mat(path, "x"))
    theirs = loadmat(path)["x"]
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == (bool if array.dtype == bool else theirs.dtype)


@given(st.text(st.characters(codec="utf-16", min_codepoint=33, max_codepoint=0xFFFF), min_size=1, max_size=20))
def test_texts_come_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """In any script."""
    assert read_mat(write_mat(tmp_path_factory.getbasetemp() / "a.mat", x=text), "x") == text


def test_bytes_in_the_other_order_are_read(tmp_path: Path) -> None:
    """A file from a big-endian machine says so."""
    head = b"MATLAB".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    parts = [(6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 1, 2)), (1, b"x"), (9, struct.pack(">dd", 1.5, -2))]
    content = b"".join(struct.pack(">II", kind, len(part)) + part + b"\0" * (-len(part) % 8) for kind, part in parts)
    (tmp_path / "a.mat").write_bytes(head + struct.pack(">II", 14, len(content)) + content)
    np.testing.assert_array_equal(np.asarray(read_mat(tmp_path / "a.mat", "x")), [[1.5, -2]])


@pytest.mark.parametrize("value", [np.eye(3) * 1j, csc_matrix(np.eye(3))], ids=["complex", "sparse"])
def test_numbers_of_other_kinds_are_refused(tmp_path: Path, value: object) -> None:
    """No label is complex or sparse."""
    with pytest.raises(SampleError, match="sparse or complex"):
        read_mat(write_mat(tmp_path / "a.mat", x=value), "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pack_file(struct.pack("<II", 9, 8) + bytes(8)), "no matrix"),
        (pack_file(struct.pack("<II", 15, 20) + zlib.compress(struct.pack("<II", 9, 8) + bytes(8))[:20]), "MATLAB"),
        (pack_file(struct.pack("<II", 14, 16) + struct.pack("<II", 6, 8) + bytes(8)), "without flags"),
        (pack_file(struct.pack("<HHI", 14, 9, 0)), "announces more"),
        (pack_file(pack_matrix(2, (1, 1), b"")), "MATLAB"),
        (pack_file(pack_matrix(6, (1,), bytes(8))), "announces the size"),
    ],
)
def test_broken_structure_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """Elements of other kinds, matrices without a head, sizes beyond the end."""
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(SampleError, match=reason):
        read_mat(tmp_path / "a.mat", "x")


def test_missing_variables_are_named(tmp_path: Path) -> None:
    """The sentence says which variable the file should have."""
    with pytest.raises(SampleError, match="must have a variable 'depth'"):
        read_mat(write_mat(tmp_path / "a.mat", other=1), "depth")


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n" * 40, b"\0" * 200, pack_file(pack_matrix(17, (1, 1), b"x"))])
def test_other_versions_and_objects_are_refused(tmp_path: Path, content: bytes) -> None:
    """HDF5 files, files of version 4 and MATLAB's objects never reach SciPy."""
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(SampleError, match=r"a\.mat"):
        read_mat(tmp_path / "a.mat", "x")


@pytest.mark.parametrize("matrix_class", [1, 2, 4, 6])
@pytest.mark.parametrize("sizes", [(60_000, 60_000), (2**31 - 1, 2**31 - 1, 2**31 - 1), (-1, 5)])
def test_announced_arrays_do_not_make_memory(tmp_path: Path, matrix_class: int, sizes: tuple[int, ...]) -> None:
    """A variable of a few bytes that announces a huge array is refused before SciPy sees it."""
    (tmp_path / "a.mat").write_bytes(pack_file(pack_matrix(matrix_class, sizes, b"0" * 8)))
    tracemalloc.start()
    with pytest.raises(SampleError, match="announce"):
        read_mat(tmp_path / "a.mat", "x")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_compressed_bombs_are_refused(tmp_path: Path) -> None:
    """A variable that unpacks to more than the limit is not unpacked further."""
    bomb = zlib.compress(b"\0" * 2**26, 9)
    (tmp_path / "a.mat").write_bytes(pack_file(struct.pack("<II", 15, len(bomb)) + bomb))
    tracemalloc.start()
    with pytest.raises(SampleError, match="unpacks to more than"):
        read_mat(tmp_path / "a.mat", "x", max_bytes=2**20)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    """Cells in cells in cells end at a depth that no label has."""
    nested: NDArray[Any] = np.zeros(1)
    for _ in range(20):
        outer = np.empty((1, 1), dtype=object)
        outer[0, 0] = nested
        nested = outer
    with pytest.raises(SampleError, match="nested more than"):
        read_mat(write_mat(tmp_path / "a.mat", x=nested), "x")


@given(st.integers(100, 700), st.binary(max_size=60), st.booleans())
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes, do_compression: bool
) -> None:
    """Whatever is in a file, a value or a SampleError comes out, never another exception."""
    stream = io.BytesIO()
    savemat(stream, {"c": {"a": [1, "b"]}, "x": np.eye(3)}, do_compression=do_compression)
    whole = stream.getvalue()
    path = tmp_path_factory.getbasetemp() / "a.mat"
    for content in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[: len(whole) - len(noise)]):
        path.write_bytes(content)
        for key in ("c", "x"):
            with suppress(SampleError):
                assert read_mat(path, key) is not None
