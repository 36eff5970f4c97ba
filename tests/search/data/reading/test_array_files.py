"""Arrays of strangers: numbers come out as they were saved, promises are checked, and nothing is executed."""

import io
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.reading.array_files import read_npy
from search.errors import SampleError


class Canary:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


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


@given(st.integers(0, 200), st.binary(max_size=60))
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes
) -> None:
    """Whatever is in a file, an array or a SampleError comes out, never another exception."""
    stream = io.BytesIO()
    np.save(stream, np.eye(3))
    whole = stream.getvalue()
    path = tmp_path_factory.getbasetemp() / "a.npy"
    for content in (noise, whole[:place] + noise + whole[place + len(noise) :], whole[: len(whole) - len(noise)]):
        path.write_bytes(content)
        with suppress(SampleError):
            assert read_npy(path).size >= 0
