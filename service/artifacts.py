"""Files at rest: whole or not at all, on a folder.

`FolderStore` is `search.ports.ArtifactStore` on a folder. A file is written beside its name, flushed to the disk and
renamed, so that a reader, or a run that was killed, never meets half a file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path, PurePosixPath

from service.errors import ArtifactNameError

_TEMPORARY_SUFFIX = ".bmtas-tmp"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, replacing what was there; missing folders are made.

    Raises:
        OSError: The disk refused; it names `path`, what stood there before is untouched and nothing else is left.
    """
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
    try:
        _make_folder(path.parent)
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        # The person knows the file by its name, not by that of the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


class FolderStore:
    """An artifact store on a folder; the folder is made with the first file.

    Args:
        root: The folder that holds the artifacts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, content: bytes) -> None:
        """Store content under a name, whole or not at all, replacing what was there.

        Raises:
            ArtifactNameError: The name leaves the folder.
            OSError: The disk refused; what stood there before is untouched.
        """
        write_whole(self._path(name), content)

    def read(self, name: str) -> bytes:
        """Return the content of a name.

        Raises:
            ArtifactNameError: The name leaves the folder.
            FileNotFoundError: Nothing is stored under that name.
        """
        return self._path(name).read_bytes()

    def exists(self, name: str) -> bool:
        """Return whether something is stored under a name."""
        return self._path(name).is_file()

    def delete(self, name: str) -> None:
        """Forget a name; a name that holds nothing is no error."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            _flush_folder(path.parent)

    def remove_leftovers(self) -> int:
        """Remove what killed writers left behind and return how many files that were.

        Only for the one who holds the folder's lock: a living writer's file looks the same.
        """
        leftovers = [path for path in self.root.rglob(f".*{_TEMPORARY_SUFFIX}") if path.is_file()]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def _path(self, name: str) -> Path:
        """Return the path of a name, or refuse a name that is no plain relative one or leads out through a link."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or "\0" in name or ".." in parts:
            raise ArtifactNameError(f"The name of an artifact is a relative path without '..', got {name[:80]!r}.")
        path = self.root.joinpath(*parts)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise ArtifactNameError(f"The artifact {name[:80]!r} leads out of {self.root}. Remove the link.")
        return path


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, and flush the entry of each new one to the disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries: a rename survives a power cut only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
