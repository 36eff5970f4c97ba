"""Samples kept on disk between runs: one file per sample, whole or not at all, checked whenever it is read.

A file is named by what determines its content, so nothing in it can be out of date. Several processes may read and
write the same folder at once. Nothing is unpickled.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save

from search.data.cache_size import DEFAULT_CACHE_BYTES
from search.data.files.fitting import Arrays

_MAGIC = b"bmtas-sample 1 "
_HEADER_BYTES = len(_MAGIC) + 9
_SUFFIX = ".sample"
_PARTIAL_SUFFIX = ".partial"
_SECONDS_OF_A_WRITE = 3600.0
"""A partial file that is older was left by a process that died."""


@dataclass(frozen=True)
class SampleCache:
    """A folder of samples.

    Attributes:
        folder: Made when needed.
        max_bytes: What all its files may take; 0 keeps nothing.
    """

    folder: Path
    max_bytes: int = DEFAULT_CACHE_BYTES

    def contains(self, key: str) -> bool:
        """Return whether there is a file for a key, and note that it is in use."""
        try:
            os.utime(self._path(key))
        except FileNotFoundError:
            return False
        except OSError:  # of another user, who lets us read only
            return self._path(key).is_file()
        return True

    def find(self, key: str) -> Arrays | None:
        """Return what was kept under a key; None where there is nothing, or not what was written."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        header, body = content[:_HEADER_BYTES], memoryview(content)[_HEADER_BYTES:]
        if header != _head(body):
            return None
        with suppress(SafetensorError):
            return load(bytes(body))
        return None

    def store(self, key: str, arrays: Arrays) -> None:
        """Keep arrays under a key.

        Raises:
            OSError: The folder cannot be written.
        """
        path, body = self._path(key), save(arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}{_PARTIAL_SUFFIX}")
        try:
            with partial.open("wb") as file:
                file.write(_head(body))
                file.write(body)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def measure(self) -> int:
        """Return the bytes of all its files."""
        return sum(size for _, size, _ in self._files())

    def make_room(self, wanted_bytes: int, keep: Set[str]) -> int:
        """Return the bytes that may be added, after forgetting the samples longest not used, but none of `keep`.

        Args:
            wanted_bytes: Forgets no more than it takes for these.
            keep: Keys that are in use.
        """
        files = sorted(self._files())
        left_bytes = self.max_bytes - sum(size for _, size, _ in files)
        for _, size, path in files:
            if left_bytes >= wanted_bytes:
                break
            if path.stem in keep:
                continue
            with suppress(OSError):
                path.unlink()
                left_bytes += size
        return left_bytes

    def _path(self, key: str) -> Path:
        """Return where a key is kept; folders stay small."""
        return self.folder / key[:2] / f"{key}{_SUFFIX}"

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each file was last in use, its bytes and its path, after clearing what dead processes left."""
        for path in self.folder.glob("??/*"):
            try:
                facts = path.stat()
                if path.suffix == _PARTIAL_SUFFIX and time.time() - facts.st_mtime > _SECONDS_OF_A_WRITE:
                    path.unlink()
                    continue
            except OSError:  # another process was faster
                continue
            if path.suffix == _SUFFIX:
                yield facts.st_mtime, facts.st_size, path


def _head(body: bytes | memoryview) -> bytes:
    """Return the first line of a file: a sum over all that follows, to notice chance damage."""
    return _MAGIC + f"{zlib.crc32(body):08x}\n".encode()
