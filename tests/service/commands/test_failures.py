"""Failures: whatever a person can mend becomes one sentence, a fault of ours does not."""

from __future__ import annotations

import errno

import pytest

from models.errors import UnknownBackboneError
from search.errors import BudgetError
from service.commands.failures import find_sentence
from service.errors import TargetFileError


@pytest.mark.parametrize("kind", [BudgetError, UnknownBackboneError, TargetFileError])
def test_mistakes_of_every_room_keep_their_sentence(kind: type[ValueError]) -> None:
    """The message comes out on one line; an empty one falls back to the class's own."""
    assert find_sentence(kind("Too\n  low.")) == "Too low."
    assert find_sentence(kind()) == kind.__doc__


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.ENOENT, "no file or folder"),
        (errno.EISDIR, "is a folder"),
        (errno.ENOTDIR, "is a file"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_the_disk_gets_a_sentence_that_names_the_path(number: int, words: str) -> None:
    """What the system refused is said with the path and what to do."""
    sentence = find_sentence(OSError(number, "Input/output error", "/some/path"))
    assert sentence is not None
    assert words in sentence
    assert "/some/path" in sentence


def test_an_error_of_the_system_without_a_name_still_reads() -> None:
    """Errors that carry neither number nor path become a sentence too."""
    assert "a file" in str(find_sentence(OSError("odd")))


def test_a_fault_of_ours_has_no_sentence() -> None:
    """A programming error keeps its traceback."""
    assert find_sentence(KeyError("x")) is None
    assert find_sentence(ValueError("x")) is None
