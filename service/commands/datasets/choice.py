"""Which dataset a command means: a name, or a person's own dataset.yaml by its path; noted in the folder of a run.

A run's folder says in dataset.json where its dataset lay, so that `--resume`, `evaluate` and `predict` find it again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import DatasetError, StateFileError
from service.commands.shell import Shell

if TYPE_CHECKING:
    from search.data.shelf import DatasetShelf
    from search.ports import ArtifactStore

NOTE_NAME = "dataset.json"
_LEVELS_UP = 3
"""A candidate lies in candidates/NAME/ below its study."""


def choose_dataset(word: str, shell: Shell, resumed: Iterable[Path] = ()) -> tuple[str, Shell]:
    """Return the name of the dataset that a word means, and a shell whose datasets hold it.

    Args:
        word: A name, or the path of a dataset.yaml or of the folder that holds one.
        shell: Knows the datasets of this machine.
        resumed: Folders of runs that may be gone on with; a name that is unknown is looked up in their notes.

    Raises:
        DatasetError: The file is missing or not usable, or its name is taken by a built-in dataset.
    """
    from search.data.files.manifest import MANIFEST_NAME, load_manifest  # noqa: PLC0415 - keeps YAML out of --help

    if not is_path(word):
        found = shell if shell.datasets.place(word) else _recall_by_name(word, shell, resumed)
        # A name comes first; a folder here that is called like no dataset can only be meant as one.
        if _knows(found.datasets, word) or not (Path(word) / MANIFEST_NAME).is_file():
            return word, found
    path = Path(word).expanduser()
    file = (path / MANIFEST_NAME if path.is_dir() else path).absolute()
    name = load_manifest(file).document.name
    return name, _add_file(shell, name, file)


def is_path(word: str) -> bool:
    """Return whether a word is a path rather than a name: only paths hold a slash or end as YAML files do."""
    return "/" in word or word.lower().endswith((".yaml", ".yml"))


def recall_dataset(folder: Path, name: str, shell: Shell) -> Shell:
    """Return a shell that knows the dataset of a run, from the note in its folder or in one above it.

    Args:
        folder: Of a run, or of a network in it.
        name: What the run calls its dataset.
        shell: Knows the datasets of this machine.

    Raises:
        DatasetError: The dataset is not where the run left it, and not on this machine's shelf either.
        StateFileError: The note is corrupt.
    """
    absolute = folder.absolute()
    for place in (absolute, *absolute.parents[:_LEVELS_UP]):
        found = _read_note(place)
        if found is None or found[0] != name:
            continue
        if found[1].exists():
            return _add_file(shell, *found) if found[1].is_file() else shell
        if not _knows(shell.datasets, name):
            raise DatasetError(
                f"The run in {place} was made on dataset '{name}' in {found[1]}, and nothing is there any more. Put it "
                "back, or say by --dataset where its dataset.yaml lies now."
            )
    return shell


def note_dataset(store: ArtifactStore, name: str, shell: Shell) -> None:
    """Leave in the folder of a run where its dataset lies; built-in datasets lie nowhere."""
    place = shell.datasets.place(name)
    if place is not None:
        note = {"name": name, "file": str(place.absolute())}
        store.write(NOTE_NAME, json.dumps(note, ensure_ascii=False).encode() + b"\n")


def _recall_by_name(name: str, shell: Shell, folders: Iterable[Path]) -> Shell:
    """Return a shell that knows a name which one of several runs has noted, the same shell where none has."""
    if not _knows(shell.datasets, name):
        for folder in folders:
            found = _read_note(folder)
            if found is not None and found[0] == name:
                return recall_dataset(folder, name, shell)
    return shell


def _knows(shelf: DatasetShelf, name: str) -> bool:
    """Return whether a name stands for a dataset."""
    return any(info.name == name for info in shelf.list())


def _add_file(shell: Shell, name: str, file: Path) -> Shell:
    """Return a shell that knows the dataset of a file by its name, before all others."""
    with_file = dataclasses.replace(shell, dataset_files=(file, *shell.dataset_files))
    if with_file.datasets.place(name) != file:
        reasons = [reason for broken, reason in with_file.datasets.list_problems() if broken == file]
        raise DatasetError(reasons[0] if reasons else f"{file} does not hold dataset '{name}' any more. Look into it.")
    return with_file


def _read_note(folder: Path) -> tuple[str, Path] | None:
    """Return the name and the place that a folder notes, None where it notes none."""
    path = folder / NOTE_NAME
    if not path.is_file():
        return None
    try:
        note = json.loads(path.read_bytes())
        return str(note["name"]), Path(note["file"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise StateFileError(f"{path} is corrupt: it says where a dataset lies. Delete it and say --dataset.") from None
