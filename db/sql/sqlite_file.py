"""The file of a SQLite database: whether it may be used at all, and the lock that keeps a second server away.

WAL needs shared memory, which network file systems do not give; there SQLite corrupts silently, so they are refused.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from db.errors import ConflictError, DbError

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "ocfs2"}
)
_NETWORK_PREFIX = "fuse."
_LOCAL_FUSE = frozenset({"fuse.overlayfs", "fuse.fuse-overlayfs", "fuseblk"})
_MOUNTS = Path("/proc/self/mountinfo")


def refuse_network_file_system(path: Path, mounts_file: Path = _MOUNTS) -> None:
    """Return when the file system of a database file is a local one, as far as this machine tells.

    Raises:
        DbError: It is a network file system.
    """
    try:
        mounts = mounts_file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # Not Linux: nothing to go by.
        return
    kind = find_file_system(path.parent.resolve(), mounts)
    if kind in _NETWORK_FILE_SYSTEMS or (kind.startswith(_NETWORK_PREFIX) and kind not in _LOCAL_FUSE):
        raise DbError(
            f"A SQLite database must lie on a local disk, but {path} is on a file system of type {kind}. "
            f"Choose a local folder, or use PostgreSQL."
        )


def find_file_system(folder: Path, mounts: str) -> str:
    """Return the type of the file system that holds a folder, "" when it is not among the mounts.

    Args:
        folder: Absolute and resolved.
        mounts: Content of /proc/self/mountinfo.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(fields[4].encode("latin-1", "replace").decode("unicode_escape"))
        # A later mount on the same point covers an earlier one.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


class FileLock:
    """Holds the right to be the only server on a database file, until released or until the process ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock beside a database file.

        Raises:
            ConflictError: Another process holds it.
        """
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise ConflictError(
                f"A SQLite database serves one server at a time, but {path} is in use by process {holder}. "
                f"Stop that server, choose another file, or use PostgreSQL."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another server have the file; the lock file stays, since removing it would race with that server."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
