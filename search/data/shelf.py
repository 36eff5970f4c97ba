"""What datasets this process can name: the embedded ones, the paper's, and people's own, found where they lie.

Names are resolved here and nowhere else. Only lists and manifests are read; no torch, no numpy, no images.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.data.catalogue import DATASETS, DatasetInfo
from search.data.files.manifest import MANIFEST_NAME, load_manifest
from search.data.files.paper_layouts import PAPER_CONTENTS, PAPER_FOLDERS, describe_paper_dataset
from search.errors import DatasetError, UnknownNameError

_RACY_SECONDS = 2.0
_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class _Known:
    """A dataset.yaml that was read, with the files it was read from as they looked then."""

    files: tuple[Path, ...]
    stamp: _Stamp
    info: DatasetInfo

    def is_fresh(self, now: float) -> bool:
        """Return whether a file is so new that it may have changed, or change again, and look the same."""
        return any(look is None or now - look[0] / 1e9 < _RACY_SECONDS for look in self.stamp)


class DatasetShelf:
    """The datasets by name; files that come and go are seen at the next question.

    Args:
        folder: Holds the paper's datasets (`PASCAL_MT`, `NYUD_MT`), a `dataset.yaml` in any other folder of it, and
            files `*.yaml`; None for none of these.
        files: Further files of one dataset each; they come before those of the folder.
    """

    def __init__(self, folder: Path | None = None, files: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.files = tuple(files)
        self._known: dict[Path, _Known] = {}

    def list(self) -> tuple[DatasetInfo, ...]:
        """Return the facts of all datasets: built-in ones, then people's own; files that are broken are left out."""
        return (*(self.get(name) for name in DATASETS), *(info for info, _ in self._list_own().values()))

    def list_trainable(self) -> tuple[DatasetInfo, ...]:
        """Return the facts of the datasets on which networks can be searched and trained here."""
        return tuple(info for info in self.list() if self.is_trainable(info.name))

    def list_problems(self) -> tuple[tuple[Path, str], ...]:
        """Return the files that look like datasets and are none, each with a sentence that says why."""
        own = tuple((file, reason) for file, reason in self._read_files() if isinstance(reason, str))
        return (*self._list_paper_problems(), *own)

    def get(self, name: str) -> DatasetInfo:
        """Return the facts of a dataset; of the paper's as they lie here, as published where they do not.

        Raises:
            UnknownNameError: No such dataset here.
        """
        if name in DATASETS:
            with suppress(DatasetError):
                return self._get_built_in(name)
            return DATASETS[name]
        own = self._list_own()
        if name not in own:
            known = ", ".join(info.name for info in self.list())
            broken = "".join(f" Not usable: {reason}" for _, reason in self.list_problems()[:1])
            raise UnknownNameError(f"Unknown dataset '{name}'. Choose one of: {known}.{broken}")
        return own[name][0]

    def get_trainable(self, name: str) -> DatasetInfo:
        """Return the facts of a dataset on which networks can be searched and trained here.

        Raises:
            UnknownNameError: No such dataset here.
            DatasetError: Only its costs are known here, since its files are missing or not usable.
        """
        info = self._get_built_in(name) if name in DATASETS else self.get(name)
        if not self.is_trainable(name):
            folder = (self.folder or Path("the datasets folder")) / PAPER_FOLDERS[name]
            raise DatasetError(
                f"The files of '{name}' are not here: there is no folder {folder}. It must hold "
                f"{PAPER_CONTENTS[name]}; `bmtas dataset fetch {name}` downloads it where a network is. "
                f"Until then its costs are known: bmtas cost --dataset {name}."
            )
        return info

    def is_trainable(self, name: str) -> bool:
        """Return whether networks can be searched and trained on a dataset that is known."""
        return name not in PAPER_FOLDERS or self.place(name) is not None

    def place(self, name: str) -> Path | None:
        """Return where a dataset lies: the folder of one of the paper's, the file of a person's own; None elsewhere."""
        if name in PAPER_FOLDERS:
            folder = None if self.folder is None else self.folder / PAPER_FOLDERS[name]
            return folder if folder is not None and folder.is_dir() else None
        if name in DATASETS:
            return None
        return self._list_own().get(name, (None, None))[1]

    def _get_built_in(self, name: str) -> DatasetInfo:
        """Return the facts of a dataset of the catalogue, or raise DatasetError where its folder is not usable."""
        place = self.place(name)
        return DATASETS[name] if place is None else describe_paper_dataset(name, place)

    def _list_paper_problems(self) -> Iterator[tuple[Path, str]]:
        """Yield the folders of the paper's datasets that cannot be used, each with a sentence that says why."""
        for name in PAPER_FOLDERS:
            place = self.place(name)
            try:
                self._get_built_in(name)
            except DatasetError as error:
                assert place is not None  # what is not here has no faults
                yield place, str(error)

    def _list_own(self) -> dict[str, tuple[DatasetInfo, Path]]:
        """Return people's own datasets by name, with the file of each."""
        return {found.name: (found, file) for file, found in self._read_files() if isinstance(found, DatasetInfo)}

    def _read_files(self) -> Iterator[tuple[Path, DatasetInfo | str]]:
        """Yield every file with the dataset in it, or the sentence that says why it is none."""
        seen = dict[str, Path]()
        for file in self._find_files():
            try:
                info = self._load(file)
                _check_free(info.name, file, seen)
            except DatasetError as error:
                yield file, str(error)
            else:
                seen[info.name] = file
                yield file, info

    def _load(self, file: Path) -> DatasetInfo:
        """Return the facts of a dataset.yaml, read again where it or one of its lists looks changed."""
        known = self._known.get(file)
        if known is None or known.stamp != _stamp(known.files):
            manifest = load_manifest(file)
            splits = manifest.document.splits
            files = (file, manifest.root / splits.train, manifest.root / splits.val)
            known = _Known(files, _stamp(files), manifest.info)
            if not known.is_fresh(time.time()):
                self._known[file] = known
        return known.info

    def _find_files(self) -> Iterator[Path]:
        """Yield the files that may be datasets, each once."""
        seen = set[Path]()
        inside: Sequence[Path] = ()
        if self.folder is not None and self.folder.is_dir():
            inside = (*sorted(self.folder.glob(f"*/{MANIFEST_NAME}")), *sorted(self.folder.glob("*.yaml")))
        for file in (*self.files, *inside):
            real = Path(os.path.realpath(file))  # which takes links in a circle, too
            if real not in seen:
                seen.add(real)
                yield file


def _stamp(files: Sequence[Path]) -> _Stamp:
    """Return how files look from outside: their times, sizes and inodes; None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((facts.st_mtime_ns, facts.st_size, facts.st_ino))
    return tuple(found)


def _check_free(name: str, file: Path, seen: dict[str, Path]) -> None:
    """Refuse a name that another dataset has."""
    if name in DATASETS:
        raise DatasetError(f"{file} is called '{name}' as a built-in dataset is. Give it another name.")
    if name in seen:
        raise DatasetError(f"{file} is called '{name}' as {seen[name]} is. Give one of them another name.")


BUILT_IN = DatasetShelf()
"""The datasets that need no files; of the paper's the costs only."""
