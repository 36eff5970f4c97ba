"""What went wrong -> one sentence for the person and an exit code for the shell that called us.

2: the request cannot be carried out as it stands; 130: the run was stopped. Anything else is a fault of ours and keeps
its traceback.
"""

from __future__ import annotations

import errno

from db.errors import DbError
from models.errors import ModelsError
from search.errors import SearchError
from service.errors import ServiceError

EXIT_REFUSED = 2
EXIT_STOPPED = 130

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def find_sentence(error: BaseException) -> str | None:
    """Return the sentence for a mistake that the person can mend, or None for a fault of ours."""
    if isinstance(error, SearchError | ModelsError | ServiceError | DbError):
        return " ".join(str(error).split()) or str(type(error).__doc__)
    if isinstance(error, OSError):
        return _describe_disk(error)
    return None


def _describe_disk(error: OSError) -> str:
    """Return what the operating system refused and what to do about it."""
    name = str(error.filename or "a file")
    if error.errno in _FULL:
        return (
            f"The disk is full: {name} could not be written. Free some space or choose another place, then run the "
            f"command again (a run that had begun goes on with --resume)."
        )
    if error.errno in _FORBIDDEN:
        return f"You have no permission to use {name}. Choose another path or change its permissions."
    remedies = {
        errno.ENOENT: f"There is no file or folder {name}. Check the path.",
        errno.EISDIR: f"A file is needed, but {name} is a folder. Name a file.",
        errno.ENOTDIR: f"A folder is needed, but {name}, or something above it, is a file. Choose another path.",
        errno.EEXIST: f"A folder is needed, but {name}, or something above it, is a file. Choose another path.",
        errno.ENAMETOOLONG: f"The path is too long for this disk: {name[:60]}... Choose a shorter one.",
    }
    other = f"The operating system refused {name}: {error.strerror or error}. Check the path and the disk."
    return remedies.get(error.errno or 0, other)
