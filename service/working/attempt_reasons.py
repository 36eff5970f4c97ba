"""Why a trial ended badly, as a reason from the closed set and a sentence for the person; never a traceback.

The reason decides whether the trial gets another attempt (`db.records.states.RETRIED`).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from db.records.states import Reason
from models.errors import ModelsError
from search.errors import (
    CrewLostError,
    DatasetError,
    DivergedError,
    SearchError,
    UnknownNameError,
    UnschedulableError,
)
from service.errors import StorageError

MAX_MESSAGE = 500
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Reason], ...] = (
    (DivergedError, Reason.DIVERGED),
    ((DatasetError, UnknownNameError), Reason.BAD_DATASET),
    (UnschedulableError, Reason.UNSCHEDULABLE),
    (CrewLostError, Reason.INTERNAL),  # another attempt goes on from what was saved
    ((SearchError, ModelsError), Reason.BAD_SPEC),
    (StorageError, Reason.INTERNAL),
)
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def classify(error: BaseException) -> tuple[Reason, str]:
    """Return the reason that an exception stands for, and one sentence about it."""
    if any(isinstance(cause, OSError) and cause.errno in _FULL for cause in _causes(error)):
        return Reason.DISK_FULL, "The disk is full. Free some space; the trial goes on from its last checkpoint."
    if any(_is_memory_error(cause) for cause in _causes(error)):
        return (
            Reason.OUT_OF_MEMORY,
            f"The memory was not enough: {_first_line(error)}. Ask for a smaller input size or for more memory.",
        )
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason, _first_line(error)
    return Reason.INTERNAL, f"{type(error).__name__}: {_first_line(error)}"[:MAX_MESSAGE]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those it came from."""
    seen: BaseException | None = error
    for _ in range(10):  # a chain may be a ring
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_memory_error(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out; torch has its own class on a GPU, and none on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, short, without a path's worth of detail behind it."""
    lines = str(error).strip().splitlines()
    return " ".join((lines[0] if lines else str(type(error).__doc__ or type(error).__name__)).split())[:MAX_MESSAGE]
