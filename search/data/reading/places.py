"""Where the files of a sample lie, and their bytes: nothing outside the dataset's folder, nothing without an end.

Every fault is a SampleError whose sentence names the file; `naming_sample` puts the sample in front. No numpy, no PIL.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from search.errors import SampleError

MAX_FILE_BYTES = 256 * 2**20
MAX_SHOWN_LENGTH = 200
MAX_NAME_BYTES = 255


def quote(text: object) -> str:
    """Return a name in quotes, fit for a terminal: what cannot be shown is escaped, what is long is cut."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))
    return f"'{shown if len(shown) <= MAX_SHOWN_LENGTH else shown[: MAX_SHOWN_LENGTH - 3] + '...'}'"


@contextmanager
def naming_sample(sample_id: str) -> Iterator[None]:
    """Put the name of a sample in front of every SampleError from within."""
    try:
        yield
    except SampleError as error:
        raise SampleError(f"Sample {quote(sample_id)}: {error}") from error


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a decoder raises over a broken file into one SampleError.

    Args:
        path: The file.
        what: What it should have been, such as "PNG image".
    """
    try:
        yield
    except SampleError:
        raise
    except Exception as error:  # over hostile bytes a decoder may raise anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SampleError(
            f"{quote(path)} is no readable {what} ({reason}). Replace the file, or take the sample out of the list."
        ) from error


def resolve_inside(root: Path, relative: str) -> Path:
    """Return where a file of a dataset really lies, whether it exists or not.

    Args:
        root: Folder of the dataset; may itself be reached over a link.
        relative: Path below it with forward slashes.

    Raises:
        SampleError: The path is absolute, is not UTF-8, or leads out of the folder by `..` or by a link.
    """
    fault = find_path_fault(relative)
    if fault is not None:
        raise SampleError(f"The path {quote(relative)} {fault}. Write a path below {quote(root)} instead.")
    try:
        base = root.resolve()
        found = (base / relative).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle, or names no file system takes
        raise SampleError(f"The path {quote(relative)} leads nowhere below {quote(root)}. Mend its links.") from error
    if not found.is_relative_to(base):
        raise SampleError(
            f"Files of a dataset must lie in its folder {quote(base)}, but {quote(relative)} leads to {quote(found)}. "
            f"Copy the file into the folder, or move `root` up."
        )
    return found


def find_path_fault(relative: str) -> str | None:
    """Return what is wrong with a relative path before any look at the disk, as the end of a sentence, or None."""
    if not _is_utf8(relative):
        return "is not UTF-8"
    if not relative.isprintable():
        return "contains a character that cannot be printed"
    if "\\" in relative:
        return "contains a backslash"
    parts = PurePosixPath(relative).parts
    if not parts or PurePosixPath(relative).is_absolute():
        return "is not relative" if parts else "is empty"
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts) or len(relative) > 4000:
        return "is too long"
    return None


def _is_utf8(name: str) -> bool:
    """Return whether a name can be written as UTF-8; bytes that could not be read so stand in it as surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def read_bounded(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a file.

    Raises:
        SampleError: It is missing, empty, larger than allowed, no ordinary file, or may not be read.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe or a device would never end
            raise SampleError(f"{quote(path)} is no ordinary file. Put a file there.")
        if facts.st_size == 0:
            raise SampleError(f"{quote(path)} is empty (zero bytes). Copy it again, or take it out.")
        if facts.st_size > max_bytes:
            raise SampleError(
                f"{quote(path)} may have {max_bytes:,} bytes at most, but has {facts.st_size:,}. Make it smaller."
            )
        with path.open("rb") as file:
            content = file.read(facts.st_size + 1)
    except SampleError:
        raise
    except FileNotFoundError as error:
        raise SampleError(f"{quote(path)} is missing. Put it there, or take the sample out of the list.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SampleError(f"{quote(path)} cannot be read ({reason}). Mend it or its permissions.") from error
    if len(content) != facts.st_size:
        raise SampleError(f"{quote(path)} changed while it was read. Wait until it is written, then try again.")
    return content
