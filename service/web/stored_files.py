"""Files of trials, read from the storage root piece by piece, and never from outside of it.

Paths come from the database, where only workers put them; even so each is resolved and must stay below the root.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from service.errors import ArtifactNameError

_CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


@dataclass(frozen=True)
class ByteRange:
    """A stretch of a file: its first byte and how many."""

    start: int
    length: int


def open_stored(storage_root: str, path: str) -> Any:
    """Return a file below the storage root, opened for reading bytes.

    Raises:
        ArtifactNameError: The path is not a plain relative one, or leads out of the root.
        FileNotFoundError: It is not there.
    """
    check_relative(path)
    if "://" in storage_root:
        import fsspec  # noqa: PLC0415 - a tenth of the server's start

        filesystem, root = fsspec.core.url_to_fs(storage_root)
        return filesystem.open(f"{root.rstrip('/')}/{path}", "rb")
    root_path = Path(storage_root).resolve()
    resolved = (root_path / path).resolve()
    if not resolved.is_relative_to(root_path):
        raise ArtifactNameError("A stored file must lie below the storage root.")
    if not resolved.is_file():
        raise FileNotFoundError(str(resolved))
    return resolved.open("rb")


def check_relative(path: str) -> None:
    """Refuse a path that is not plain and relative: no "..", no scheme, no control characters.

    Raises:
        ArtifactNameError: It is not.
    """
    parts = PurePosixPath(path).parts
    odd = not path or len(path) > 1000 or path != "/".join(parts) or re.search(r"[^A-Za-z0-9._/+=@ -]", path)
    if odd or path.startswith("/") or ".." in parts or "." in parts:
        raise ArtifactNameError("The path of a stored file is a plain relative one.")


def read_pieces(stream: Any, wanted: ByteRange) -> Iterator[bytes]:
    """Yield a stretch of an open file piece by piece, and close the file."""
    with stream:
        stream.seek(wanted.start)
        left = wanted.length
        while left > 0:
            piece = stream.read(min(_CHUNK_BYTES, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the one stretch that a Range header asks for, or None for the whole file.

    A header that is malformed or asks for several stretches counts as none, as RFC 9110 allows.

    Raises:
        ValueError: The stretch lies outside the file.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        start, end = max(0, size - int(match[2])), size - 1
    else:
        start, end = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start > end:
        raise ValueError("The range lies outside the file.")
    return ByteRange(start, end - start + 1)


def describe_digest(sha256: str) -> str:
    """Return a SHA-256 in hexadecimal as the value of Repr-Digest (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
