"""Hashes of files, kept by path, size and time of change, so that gigabytes are read once and not before every job."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from search.errors import SampleError

HASHES_FOLDER = "file-hashes"
_RACY_SECONDS = 2.0
"""A file that changed this short a time ago may change again without a new time; its hash is not kept."""


class FileHashes:
    """The hashes of the files of one dataset.

    Args:
        file: Where they are kept; None keeps nothing. What cannot be read is forgotten.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known = {} if file is None else _load(file)
        self._changed = False

    def get(self, path: Path) -> str:
        """Return the SHA-256 of a file's content, in hexadecimal.

        Raises:
            SampleError: The file cannot be read.
        """
        try:
            facts = path.stat()
            stamp = [facts.st_size, facts.st_mtime_ns]
            found = self._known.get(str(path))
            if found is not None and found[:2] == stamp:
                return str(found[2])
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SampleError(
                f"Every file of a sample must be readable, but '{path.name}' gave: {error.strerror or error}. Mend the "
                "file or its rights."
            ) from error
        if time.time() - facts.st_mtime > _RACY_SECONDS:
            self._known[str(path)] = [*stamp, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        """Keep what was found since; whoever writes last wins, and what is lost is hashed again."""
        if self._file is None or not self._changed:
            return
        partial = self._file.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.partial")
        with suppress(OSError):  # a cache that cannot be written costs time, nothing else
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._known), encoding="utf-8", errors="surrogateescape")
            partial.replace(self._file)
        self._changed = False


def name_hashes(cache_dir: Path, dataset: str) -> Path:
    """Return where the hashes of a dataset's files are kept; their paths are absolute, so its place plays no role."""
    return cache_dir / HASHES_FOLDER / f"{dataset}.json"


def _load(file: Path) -> dict[str, list[int | str]]:
    """Return the hashes that were kept, none where the file is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {path: entry for path, entry in found.items() if isinstance(entry, list) and len(entry) == 3}
