"""From what went wrong to a reason and a sentence."""

from __future__ import annotations

import errno

import pytest

from db.records.states import Reason
from models.errors import ModelsError
from search.errors import (
    BudgetError,
    CrewLostError,
    DatasetError,
    DivergedError,
    StateFileError,
    UnknownNameError,
    UnschedulableError,
)
from service.errors import StorageError
from service.working.attempt_reasons import classify


class OutOfMemoryError(RuntimeError):
    """Stands for torch's class of that name."""


def caused_by(error: Exception, cause: BaseException) -> Exception:
    """Return an error that came from another."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), Reason.OUT_OF_MEMORY),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Reason.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), Reason.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Reason.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), Reason.DISK_FULL),
        (caused_by(DatasetError("no cache"), OSError(errno.EDQUOT, "quota")), Reason.DISK_FULL),
        (DivergedError("A loss must be finite."), Reason.DIVERGED),
        (DatasetError("It is gone."), Reason.BAD_DATASET),
        (UnknownNameError("No such dataset."), Reason.BAD_DATASET),
        (UnschedulableError("No machine."), Reason.UNSCHEDULABLE),
        (CrewLostError("Process 2 was ended."), Reason.INTERNAL),
        (BudgetError("Too low."), Reason.BAD_SPEC),
        (StateFileError("Corrupt."), Reason.BAD_SPEC),
        (ModelsError("No such backbone."), Reason.BAD_SPEC),
        (StorageError("Damaged."), Reason.INTERNAL),
        (RuntimeError("shapes differ"), Reason.INTERNAL),
        (ZeroDivisionError(), Reason.INTERNAL),
    ],
)
def test_every_failure_has_its_reason(error: Exception, reason: Reason) -> None:
    """The message is one short line in any case."""
    found, message = classify(error)
    assert found is reason
    assert message
    assert "\n" not in message
    assert len(message) <= 700


def test_a_fault_of_ours_is_named_without_its_traceback() -> None:
    """Its class and the first line are enough; the rest stands in the log."""
    assert classify(KeyError("x\nTraceback ...")) == (Reason.INTERNAL, "KeyError: 'x\\nTraceback ...'")
    assert classify(RuntimeError("one\ntwo")) == (Reason.INTERNAL, "RuntimeError: one")


def test_a_ring_of_causes_ends() -> None:
    """Two errors that caused each other are looked through once."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert classify(one)[0] is Reason.INTERNAL
