"""The folder of a run: who may write into it, and which job it belongs to.

A run takes an empty folder, notes its job in spec.json before anything else and holds a lock while it lives. A refused
run gives the folder back as it was; a stopped one leaves it for `--resume`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.errors import OutputFolderError, ResumeError, StateFileError
from search.ports import SAMPLES_NAME
from service.artifacts import FolderStore
from service.commands.datasets.choice import NOTE_NAME
from service.commands.failures import find_sentence

Job = Mapping[str, Any]
SPEC_NAME = "spec.json"
_LOCK_NAME = ".lock"
_MOST_DIFFERENCES = 5


@contextmanager
def claimed_folder(folder: Path, job: Job, *, resume: bool) -> Iterator[FolderStore]:
    """Yield the store of a run that owns `folder`, and give the folder back if the run is refused.

    Args:
        folder: Where the run writes.
        job: What is asked, as JSON values; a folder belongs to one job for good.
        resume: Whether to go on with a run that the folder holds, or to begin one in an empty folder.

    Raises:
        OutputFolderError: The folder is not empty, is a file, or another run is writing into it.
        ResumeError: Nothing to go on with, or a run of another job.
        StateFileError: The folder's spec.json cannot be read.
    """
    if resume:
        check_resumable(folder, job)
    else:
        _check_vacant(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            yield from _owned_store(folder, job, resume=resume)
    except Exception:
        for path in made:  # innermost first; a folder that holds something stays
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _owned_store(folder: Path, job: Job, *, resume: bool) -> Iterator[FolderStore]:
    """Yield the store of a folder whose lock is held; empty the folder again if the run is refused."""
    store = FolderStore(folder)
    store.remove_leftovers()
    if resume:
        yield store
        return
    _check_vacant(folder)  # again: another run may have come and gone before the lock was ours
    try:
        store.write(SPEC_NAME, _canonical(job))
        yield store
    except Exception as error:
        held = {entry.name for entry in folder.iterdir()}
        if find_sentence(error) is not None and held <= {SPEC_NAME, NOTE_NAME, SAMPLES_NAME, _LOCK_NAME}:
            for name in held:
                (folder / name).unlink(missing_ok=True)
        raise


def check_resumable(folder: Path, job: Job) -> None:
    """Refuse a folder that holds no run of this job.

    Raises:
        ResumeError: Nothing to go on with, or a run of another job; the message names what differs.
        StateFileError: The folder's spec.json cannot be read.
    """
    if not (folder / SPEC_NAME).is_file():
        held = "holds no run" if folder.is_dir() and not _is_vacant(folder) else "is empty or missing"
        raise ResumeError(f"--resume goes on with a run, but {folder} {held}. Start it without --resume.")
    stored = load_job(folder)
    if stored == json.loads(_canonical(job)):
        return
    lines = [_describe_difference(*difference) for difference in _differences(stored, job)]
    more = "" if len(lines) <= _MOST_DIFFERENCES else f", and {len(lines) - _MOST_DIFFERENCES} more"
    raise ResumeError(
        f"--resume needs the job that {folder} was started with, but {'; '.join(lines[:_MOST_DIFFERENCES])}{more}. "
        f"Repeat the first command's options, or choose another --out."
    )


def load_job(folder: Path) -> dict[str, Any]:
    """Return the job that a folder belongs to.

    Raises:
        StateFileError: Its spec.json is corrupt.
    """
    path = folder / SPEC_NAME
    try:
        job = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        job = None
    if not isinstance(job, dict):
        raise StateFileError(f"{path} is corrupt: it must hold one JSON object. Start anew in another folder.")
    return job


def choose_new_folder(base: Path) -> Path:
    """Return `base`, or the first of base-2, base-3, ... that does not exist yet."""
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def find_resumable_folder(base: Path, job: Job) -> Path:
    """Return the newest of base, base-2, ... that holds a run of this job.

    Raises:
        ResumeError: There is none.
    """
    folder, number, found = base, 1, None
    while folder.exists():
        with contextlib.suppress(ResumeError, StateFileError):
            check_resumable(folder, job)
            found = folder
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    if found is None:
        raise ResumeError(
            f"--resume goes on with a run, but {base} and its numbered sisters hold none of this job. "
            f"Name its folder with --out, or start it without --resume."
        )
    return found


def _canonical(job: Job) -> bytes:
    """Return the one JSON text of a job."""
    return json.dumps(job, sort_keys=True, separators=(",", ":")).encode()


def _is_vacant(folder: Path) -> bool:
    """Return whether a folder holds nothing but what a run leaves that never began."""
    return all(entry.name == _LOCK_NAME for entry in folder.iterdir())


def _check_vacant(folder: Path) -> None:
    """Refuse a folder that holds something, or a path that is no folder."""
    if folder.exists() and not folder.is_dir():
        raise OutputFolderError(f"The output must be a folder, but {folder} is a file. Choose another --out.")
    if folder.is_dir() and not _is_vacant(folder):
        raise OutputFolderError(
            f"The output folder must be empty, but {folder} is not. Choose another --out, or go on with the "
            f"run it holds by --resume."
        )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it when the process dies, however that happens."""
    with (folder / _LOCK_NAME).open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputFolderError(
                f"A folder takes one run at a time, and another is writing into {folder}. Wait for it, or choose "
                f"another --out."
            ) from None
        yield


def _describe_difference(name: str, old: str, new: str) -> str:
    """Return the words for one field in which two jobs differ."""
    if name.rpartition(".")[2] == "definition":  # hashes would tell a person nothing
        return "the dataset.yaml or its lists of samples have changed since"
    return f"{name} is {old} there and {new} here"


def _differences(stored: Job, asked: Job, prefix: str = "") -> list[tuple[str, str, str]]:
    """Return (dotted field, value there, value here) of every field in which two jobs differ."""
    found = []
    asked = json.loads(_canonical(asked))
    for key in sorted({*stored, *asked}):
        old, new = stored.get(key, "absent"), asked.get(key, "absent")
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append((f"{prefix}{key}", json.dumps(old)[:60], json.dumps(new)[:60]))
    return found
