"""Temporary folders that outlive nobody: their users lock them, and one that nobody locks any more may be removed.

The lock of a process ends with it, however that ends; so what somebody else uses is never taken for a leftover, not
even where process ids are used again or a folder is shared between containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path

_LOG = logging.getLogger(__name__)
_PREFIX = "bmtas-"
_LOCK_NAME = "in-use"


class TemporaryFolder:
    """A folder of its own for this process and its children.

    Args:
        parent: Where to make it; the machine's folder for temporary files when None.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Locked before it gets its name: a folder without a lock file is nobody's to judge.
        unnamed = self.path / f"{_LOCK_NAME}.new"
        self._lock = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        unnamed.rename(self.path / _LOCK_NAME)

    @property
    def variables(self) -> dict[str, str]:
        """Return what has a child make its temporary files here."""
        return {"TMPDIR": str(self.path)}

    def remove(self) -> None:
        """Remove the folder with all that is in it; a second time does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            shutil.rmtree(self.path, ignore_errors=True)


def keep_current_folder() -> None:
    """Lock the folder for temporary files as long as this process lives, if it is one that a parent made for it."""
    with contextlib.suppress(OSError):  # the machine's own folder has no such file
        lock = os.open(Path(tempfile.gettempdir()) / _LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def remove_leftovers(*parents: Path) -> list[Path]:
    """Remove this user's folders whose processes are all gone, and return them.

    Args:
        parents: Where to look; the machine's folder for temporary files when there are none.
    """
    removed: list[Path] = []
    for parent in dict.fromkeys(parents or (Path(tempfile.gettempdir()),)):
        with contextlib.suppress(OSError):
            removed += [folder for folder in parent.glob(f"{_PREFIX}*") if _remove_if_left(folder)]
    if removed:
        _LOG.info("Removed what ended processes had left: %s.", ", ".join(map(str, removed)))
    return removed


def _remove_if_left(folder: Path) -> bool:
    """Remove a folder if it is this user's and nobody uses it; return whether it was."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
