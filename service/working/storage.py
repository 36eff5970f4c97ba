"""The storage root: where all files of trials lie, a local folder or anything that fsspec reaches.

Paths are relative to the root and checked; on a local disk a file is there whole or not at all, elsewhere the store of
objects sees to that.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from service.artifacts import write_whole
from service.errors import StorageError
from service.working.work_orders import StoredFile


class Storage:
    """Reads and writes files below a root.

    Args:
        root: Absolute path or fsspec URL.

    Raises:
        StorageError: Neither, or a kind of URL that this installation cannot reach.
    """

    def __init__(self, root: str) -> None:
        if "://" not in root and not Path(root).is_absolute():
            raise StorageError(f"The storage root must be an absolute path or an fsspec URL, got {root[:80]!r}.")
        try:
            self._fs, self._base = fsspec.core.url_to_fs(root)
        except (ValueError, ImportError) as error:
            raise StorageError(f"The storage root cannot be reached: {error}. Install what it needs.") from None
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def write(self, path: str, content: bytes) -> None:
        """Put a file below the root, replacing what was there."""
        target = self._resolve(path)
        if self._is_local:
            write_whole(Path(target), content)
            return
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(target, content)

    def read(self, file: StoredFile) -> bytes:
        """Return the content of a file, which is what its checksum says.

        Raises:
            FileNotFoundError: There is none.
            StorageError: It is another one.
        """
        content: bytes = self._fs.cat_file(self._resolve(file.path))
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise StorageError(f"The file '{file.name}' is damaged: its checksum is not the one that was noted.")
        return content

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._resolve(path))

    def _resolve(self, path: str) -> str:
        """Return a path as the file system knows it, or refuse one that leads out of the root."""
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\\" in path or "\0" in path or ".." in parts or "://" in path:
            raise StorageError(f"A path below the storage root is relative and without '..', got {path[:80]!r}.")
        return f"{self._base.rstrip('/')}/{path}"


class InputFiles(Mapping[str, bytes]):
    """The files of other trials that a trial reads, fetched when they are asked for.

    Args:
        storage: Where they lie.
        files: Which they are.
    """

    def __init__(self, storage: Storage, files: Sequence[StoredFile]) -> None:
        self._storage = storage
        self._files = {file.name: file for file in files}

    def __getitem__(self, name: str) -> bytes:
        """Return the content of a file, checked."""
        return self._storage.read(self._files[name])

    def __iter__(self) -> Iterator[str]:
        """Return the names of all files."""
        return iter(self._files)

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self._files)
