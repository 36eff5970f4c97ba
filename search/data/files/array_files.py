"""Arrays from .npy and .mat files that nobody has looked at: sizes are judged by the header, and nothing is executed.

An .npy file is read without NumPy's loader, which would unpickle objects when told to; a .mat file is unpacked within
a limit and its structure walked before SciPy reads it, since a few bytes of it can announce an array of any size.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import io as scipy_io

from search.data.files.places import quote, read_bounded, refusing
from search.errors import SampleError

MAX_HEADER_BYTES = 4096
MAX_MAT_BYTES = 256 * 2**20
MAX_MAT_DEPTH = 12

_MAT_COMPRESSED, _MAT_MATRIX = 15, 14
_MAT_CELL, _MAT_STRUCT = 1, 2
_MAT_PLAIN_CLASSES = (4, *range(6, 16))  # characters and numbers; not objects, functions or sparse matrices


def read_npy(path: Path) -> NDArray[np.generic]:
    """Return the array of numbers or truth values in an .npy file; it cannot be written to.

    Raises:
        SampleError: The file is missing, broken, of another size than its header says, or holds objects.
    """
    data = read_bounded(path)
    with refusing(path, ".npy array"):
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version[0]}.{version[1]} of the format, where 1.0 or 2.0 is known")
        shape, is_fortran, dtype = read_header(stream, max_header_size=MAX_HEADER_BYTES)
    if dtype.hasobject or dtype.kind not in "buif" or dtype.subdtype is not None:
        raise SampleError(
            f"Arrays must hold numbers, but {quote(path)} holds {'objects' if dtype.hasobject else dtype}. "
            f"Save it with numpy.save as an array of numbers; objects are never loaded, since that can run code."
        )
    num_bytes = math.prod(shape) * dtype.itemsize
    start = stream.tell()
    if min(shape, default=0) < 0 or num_bytes != len(data) - start:
        raise SampleError(
            f"{quote(path)} announces an array {shape} of {dtype} ({num_bytes:,} bytes), but {len(data) - start:,} "
            f"bytes follow. Copy the file again."
        )
    with refusing(path, ".npy array"):
        flat = np.frombuffer(data, dtype, offset=start)
        array: NDArray[np.generic] = flat.reshape(shape, order="F" if is_fortran else "C")
    return array


def read_mat(path: Path, key: str, *, max_bytes: int = MAX_MAT_BYTES) -> Any:
    """Return one variable of a MATLAB file of version 5 (saved with -v6 or -v7), as `scipy.io.loadmat` gives it.

    Args:
        path: The file.
        key: Name of the variable.
        max_bytes: How much all its variables may have, unpacked.

    Raises:
        SampleError: The file is missing, broken, of another version or too large, or has no such variable.
    """
    data = read_bounded(path)
    with refusing(path, "MATLAB file"):
        plain = _unpack_mat(path, data, max_bytes)
        content = scipy_io.loadmat(io.BytesIO(plain), variable_names=[key])
    if key not in content:
        raise SampleError(f"{quote(path)} must have a variable '{key}', but has none. Save it under that name.")
    return content[key]


def _unpack_mat(path: Path, data: bytes, max_bytes: int) -> bytes:
    """Return a MATLAB file with its compressed variables unpacked, every announced size found true."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or len(data) < 128 or struct.unpack(f"{order}H", data[124:126])[0] != 0x0100:
        raise SampleError(
            f"MATLAB files must be of version 5, but {quote(path)} is another file. Save it with -v7 in MATLAB."
        )
    plain, place = [data[:128]], 128
    size = 128
    while place < len(data):
        kind, num_bytes = struct.unpack_from(f"{order}II", data, place)
        content = data[place + 8 : place + 8 + num_bytes]
        if len(content) != num_bytes:
            raise ValueError("it is truncated")
        if kind == _MAT_COMPRESSED:
            element = zlib.decompressobj().decompress(content, max_bytes - size + 1)
        else:
            element = data[place : place + 8 + num_bytes]
        size += len(element)
        if size > max_bytes:
            raise SampleError(f"{quote(path)} unpacks to more than {max_bytes:,} bytes. Make it smaller.")
        _check_mat_element(element, order, depth=0)
        plain.append(element)
        place += 8 + num_bytes
    return b"".join(plain)


def _check_mat_element(element: bytes, order: str, depth: int) -> None:
    """Raise ValueError unless a matrix and all within it hold as much as they announce.

    Args:
        element: Tag and content of one element.
        order: Of its bytes, "<" or ">".
        depth: How many cells and structs it lies in.
    """
    if depth > MAX_MAT_DEPTH:
        raise ValueError(f"nested more than {MAX_MAT_DEPTH} deep")
    parts = _split_mat(element, order)
    if len(parts) != 1 or parts[0][0] != _MAT_MATRIX:
        raise ValueError("a variable is no matrix")
    content = parts[0][1]
    inner = _split_mat(content, order)
    if not inner:
        return  # an empty matrix, as in unset fields
    if len(inner) < 3:
        raise ValueError("a matrix without size or name")
    matrix_class = inner[0][1][0 if order == "<" else 3]
    sizes = struct.unpack(f"{order}{len(inner[1][1]) // 4}i", inner[1][1])
    if min(sizes, default=-1) < 0 or math.prod(sizes) > len(content):
        raise ValueError(f"a matrix of {len(content)} bytes announces the size {sizes}")
    if matrix_class in (_MAT_CELL, _MAT_STRUCT):
        for kind, child in inner[3:]:
            if kind == _MAT_MATRIX:
                _check_mat_element(struct.pack(f"{order}II", kind, len(child)) + child, order, depth + 1)
    elif matrix_class not in _MAT_PLAIN_CLASSES:
        raise ValueError("it holds objects, functions or sparse matrices")


def _split_mat(content: bytes, order: str) -> list[tuple[int, bytes]]:
    """Return the (type, bytes) of the elements that stand one after the other."""
    parts, place = [], 0
    while place < len(content):
        kind, num_bytes = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:  # the small form: size and type share four bytes, four bytes of content follow
            kind, num_bytes = kind & 0xFFFF, kind >> 16
            start, end = place + 4, place + 8
            if num_bytes > 4:
                raise ValueError("a small element of more than four bytes")
        else:
            start = place + 8
            end = start + num_bytes + (-num_bytes % 8)
        if start + num_bytes > len(content):
            raise ValueError("it is truncated")
        parts.append((kind, content[start : start + num_bytes]))
        place = end
    return parts
