"""Arrays of strangers: numbers come out as they were saved, promises are checked, and nothing is executed."""

import io
import os
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import savemat

from search.data.files.array_files import read_mat, read_npy
from search.errors import SampleError


class Canary:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


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


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">i4", "float16", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_arrays_come_back(tmp_path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    """Every kind of number and both orders of axes are read as NumPy does."""
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)


def test_object_arrays_are_refused_and_not_unpickled(tmp_path: Path) -> None:
    """The canary stays in its cage."""
    np.save(tmp_path / "a.npy", np.array([Canary(tmp_path / "escaped")], dtype=object), allow_pickle=True)
    with pytest.raises(SampleError, match=r"a\.npy.*holds objects"):
        read_npy(tmp_path / "a.npy")
    assert not (tmp_path / "escaped").exists()


def test_pickles_and_archives_under_the_name_are_refused(tmp_path: Path) -> None:
    """What numpy.load would unpickle or unzip by its first bytes is no array here."""
    np.array([Canary(tmp_path / "escaped")], dtype=object).dump(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(SampleError, match=name):
            read_npy(tmp_path / name)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("shape", ["(60000, 60000)", "(-1, 4)", "(2, True)", "(4,)", "(10**99,)", "()"])
def test_headers_that_promise_another_size_are_refused(tmp_path: Path, shape: str) -> None:
    """Neither more nor fewer bytes than announced may follow."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"0" * 9)
    with pytest.raises(SampleError, match=r"a\.npy"):
        read_npy(tmp_path / "a.npy")


def test_headers_of_any_length_are_refused(tmp_path: Path) -> None:
    """A header of megabytes is not parsed."""
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**20) + b"(" * 2**20)
    with pytest.raises(SampleError, match=r"is no readable \.npy array"):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("do_compression", [True, False])
def test_mat_variables_come_back(tmp_path: Path, do_compression: bool) -> None:
    """Numbers, texts, cells and structs are read as SciPy does."""
    part = {"part_name": "head", "mask": np.eye(3, dtype=np.uint8)}
    anno = {"objects": [{"class_ind": 15.0, "parts": [part, part]}]}
    path = write_mat(tmp_path / "a.mat", do_compression=do_compression, depth=np.eye(4), anno=anno, empty=np.zeros(0))
    np.testing.assert_array_equal(read_mat(path, "depth"), np.eye(4))
    mask = read_mat(path, "anno")[0, 0]["objects"][0, 0]["parts"][0, 0][0, 0]["mask"][0, 0]
    np.testing.assert_array_equal(mask, np.eye(3))
    assert read_mat(path, "empty").size == 0


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
    with pytest.raises(SampleError, match="announces the size"):
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


@given(st.integers(0, 400), st.binary(max_size=60), st.booleans())
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes, as_npy: bool
) -> None:
    """Whatever is in a file, an array or a SampleError comes out, never another exception."""
    stream = io.BytesIO()
    if as_npy:
        np.save(stream, np.eye(3))
    else:
        savemat(stream, {"x": np.eye(3), "c": {"a": [1, "b"]}}, do_compression=len(noise) % 2 == 0)
    whole = stream.getvalue()
    path = tmp_path_factory.getbasetemp() / ("a.npy" if as_npy else "a.mat")
    for content in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[: len(whole) - len(noise)]):
        path.write_bytes(content)
        with suppress(SampleError):
            np.asarray(read_npy(path) if as_npy else read_mat(path, "x"))
