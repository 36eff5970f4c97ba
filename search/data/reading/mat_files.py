"""MATLAB files of version 5 (saved with -v6 or -v7) from people that nobody knows, read without SciPy.

SciPy 1.17's reader is compiled, trusts what a file announces and ended this process by a segmentation fault within a
minute of mutated files. Here sizes must equal what is there, and NumPy only ever looks at bytes that are there.
Format: MathWorks, "MAT-File Format", level 5. Objects, functions, sparse and complex matrices are refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.data.reading.places import quote, read_bounded, refusing
from search.errors import SampleError

MatValue = NDArray[np.generic] | str | tuple[Any, ...]
"""Numbers and truth values (axes as in MATLAB), a text, or the entries of a cell or struct array in MATLAB's order; an
entry of a struct array is a dict from the names of its fields, in their order, to their values."""

MAX_MAT_BYTES = 256 * 2**20
MAX_DEPTH = 12

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _TEXT = 1, 2, 4
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


@dataclass(frozen=True)
class _Matrix:
    """A variable, field or cell: its class, flags, size and name, and the elements that follow them."""

    matrix_class: int
    flags: int
    sizes: tuple[int, ...]
    name: str
    parts: list[tuple[int, memoryview]]


def read_mat(path: Path, key: str, *, max_bytes: int = MAX_MAT_BYTES) -> MatValue:
    """Return one variable of a MATLAB file.

    Args:
        path: The file.
        key: Name of the variable.
        max_bytes: How much all its variables may have, unpacked.

    Raises:
        SampleError: The file is missing, broken, of another version or too large, or has no such variable.
    """
    data = read_bounded(path)
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or data[124:126] != struct.pack(f"{order}H", 0x0100):
        raise SampleError(
            f"MATLAB files must be of version 5, but {quote(path)} is another file. Save it with -v7 in MATLAB."
        )
    with refusing(path, "MATLAB file"):
        size = _HEADER_BYTES
        for kind, content in _split(memoryview(data)[_HEADER_BYTES:], order, padded=False):
            element = content
            if kind == _COMPRESSED:
                element = memoryview(zlib.decompressobj().decompress(content, max_bytes - size + 1))
            size += len(element)
            if size > max_bytes:
                raise SampleError(f"{quote(path)} unpacks to more than {max_bytes:,} bytes. Make it smaller.")
            if kind == _COMPRESSED:
                kind, element = _split(element, order)[0]  # noqa: PLW2901 - what was packed stands in its place
            if kind != _MATRIX:
                raise ValueError("a variable is no matrix")
            matrix = _open(element, order)
            if matrix.name == key:
                return _decode(matrix, order, depth=0)
    raise SampleError(f"{quote(path)} must have a variable '{key}', but has none. Save it under that name.")


def _split(content: memoryview, order: str, *, padded: bool = True) -> list[tuple[int, memoryview]]:
    """Return the (type, content) of elements that stand one after the other, filled up to eight bytes each."""
    parts, place = [], 0
    while place < len(content):
        kind, num_bytes = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if kind >> 16:  # the small form: size and type share four bytes, and four bytes of content follow
            kind, num_bytes, start = kind & 0xFFFF, kind >> 16, place + 4
        if start + num_bytes > len(content) or (start == place + 4 and num_bytes > 4):
            raise ValueError("it is truncated, or an element announces more than there is")
        parts.append((kind, content[start : start + num_bytes]))
        filling = -num_bytes % 8 if padded or kind != _COMPRESSED else 0
        place = place + 8 if start == place + 4 else start + num_bytes + filling
    return parts


def _open(content: memoryview, order: str) -> _Matrix:
    """Return a matrix with its head read; an empty one has nothing else."""
    parts = _split(content, order)
    if not parts:
        return _Matrix(6, 0, (0, 0), "", [(9, content)])
    if len(parts) < 3 or len(parts[0][1]) != 8:
        raise ValueError("a matrix without flags, size or name")
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    sizes = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    if len(sizes) < 2 or min(sizes) < 0:
        raise ValueError(f"a matrix announces the size {sizes}")
    return _Matrix(flags & 0xFF, flags, sizes, bytes(parts[2][1]).decode("latin-1"), parts[3:])


def _decode(matrix: _Matrix, order: str, depth: int) -> MatValue:
    """Return the value of a matrix, whose size must equal what follows.

    Args:
        matrix: The matrix.
        order: Of its bytes, "<" or ">".
        depth: In how many cells and structs it lies.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if matrix.matrix_class == _CELL:
        return tuple(_decode_children(matrix.parts, math.prod(matrix.sizes), order, depth))
    if matrix.matrix_class == _STRUCT:
        return _decode_struct(matrix, order, depth)
    if matrix.matrix_class == _TEXT:
        return _decode_text(matrix, order)
    if matrix.matrix_class not in _CLASSES or matrix.flags & _COMPLEX:
        raise ValueError("it holds objects, functions, sparse or complex matrices")
    kind, content = matrix.parts[0]
    if kind not in _STORED:
        raise ValueError(f"numbers are stored in an unknown way ({kind})")
    stored = np.frombuffer(content, f"{order}{_STORED[kind]}")
    if stored.size != math.prod(matrix.sizes):
        raise ValueError(f"a matrix of {stored.size} numbers announces the size {matrix.sizes}")
    with np.errstate(all="ignore"):
        numbers = stored.astype(bool if matrix.flags & _LOGICAL else _CLASSES[matrix.matrix_class])
    return numbers.reshape(matrix.sizes, order="F")


def _decode_children(parts: list[tuple[int, memoryview]], num_wanted: int, order: str, depth: int) -> list[MatValue]:
    """Return the values of matrices within a cell or struct array, as many as it announces."""
    if len(parts) != num_wanted or any(kind != _MATRIX for kind, _ in parts):
        raise ValueError(f"an array of {len(parts)} matrices announces the size {num_wanted}")
    return [_decode(_open(content, order), order, depth + 1) for _, content in parts]


def _decode_struct(matrix: _Matrix, order: str, depth: int) -> tuple[dict[str, MatValue], ...]:
    """Return the entries of a struct array, each with all fields."""
    width = struct.unpack(f"{order}i", matrix.parts[0][1])[0]
    packed = bytes(matrix.parts[1][1])
    if width < 1 or len(packed) % width:
        raise ValueError("a struct without names of fields")
    starts = range(0, len(packed), width)
    fields = [packed[start : start + width].split(b"\0")[0].decode("latin-1") for start in starts]
    num_entries = math.prod(matrix.sizes)
    if len(set(fields)) != len(fields) or (not fields and num_entries > 1):
        raise ValueError("a struct with a field twice, or without fields")
    values = _decode_children(matrix.parts[2:], num_entries * len(fields), order, depth)
    return tuple(
        dict(zip(fields, values[entry * len(fields) : (entry + 1) * len(fields)], strict=True))
        for entry in range(num_entries)
    )


def _decode_text(matrix: _Matrix, order: str) -> str:
    """Return a text; several rows come one after the other, column by column, as MATLAB keeps them."""
    kind, content = matrix.parts[0] if matrix.parts else (1, b"")
    encoding = _ENCODINGS[kind]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    return bytes(content).decode(encoding)
