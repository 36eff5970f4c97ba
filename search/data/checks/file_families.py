"""Which files of a folder belong together: families that differ in the name of the sample only. No numpy.

A family is a pattern with {id}, such as depth/{id}.npy or frames/{id}_rgb.png, and the samples it has.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from search.data.files.sample_lists import can_be_id
from search.errors import DatasetError

LABEL_SUFFIXES = (".png", ".npy")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_MAX_FILES = 1_000_000
_MAX_DEPTH = 4
_TAIL = re.compile(r"[_.-][A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z][A-Za-z0-9]*)*$")
"""What follows the name of a sample in 0001_depth or 0001.label."""


@dataclass(frozen=True)
class Family:
    """Files that differ in the name of the sample only.

    Attributes:
        pattern: Path below the root, with {id}.
        sample_ids: The samples that have such a file, sorted.
    """

    pattern: str
    sample_ids: tuple[str, ...]

    @property
    def words(self) -> str:
        """Return what its path says beside the sample, in lower case."""
        return self.pattern.replace("{id}", " ").lower()

    def path(self, sample_id: str) -> str:
        """Return the path of a sample's file below the root."""
        return self.pattern.replace("{id}", sample_id)


def list_files(root: Path) -> list[str]:
    """Return the files below a folder as paths from it, hidden ones left out, sorted.

    Raises:
        DatasetError: It is no folder, or holds too much to be a dataset.
    """
    if not root.is_dir():
        raise DatasetError(f"A folder with images and labels is needed, but {root} is none. Check the path.")
    found: list[str] = []
    for path in _walk(root, 0):
        found.append(path.relative_to(root).as_posix())
        if len(found) > _MAX_FILES:
            raise DatasetError(f"A dataset has at most {_MAX_FILES} files, and {root} holds more. Name its folder.")
    return sorted(found)


def find_families(files: Iterable[str]) -> list[Family]:
    """Return the families among paths of images and labels, the largest first."""
    stems: dict[tuple[str, str], list[str]] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in {*LABEL_SUFFIXES, *IMAGE_SUFFIXES} and "{" not in path and "}" not in path:
            stems.setdefault((folder, suffix), []).append(stem)
    families = [family for (folder, suffix), names in stems.items() for family in _split(folder, suffix, names)]
    return sorted(families, key=lambda family: (-len(family.sample_ids), family.pattern))


def _split(folder: str, suffix: str, stems: list[str]) -> Iterator[Family]:
    """Yield the families among the files of one folder with one suffix."""
    tails = Counter(match[0] if (match := _TAIL.search(stem)) else "" for stem in stems)
    # A tail that most files have is a rule; one that few have is part of a name.
    common = {tail for tail, number in tails.items() if number > 1 and number * 4 >= len(stems) / max(len(tails), 1)}
    grouped: dict[str, list[str]] = {}
    for stem in stems:
        match = _TAIL.search(stem)
        tail = match[0] if match and match[0] in common else ""
        sample_id = stem.removesuffix(tail)
        if can_be_id(sample_id):
            grouped.setdefault(tail, []).append(sample_id)
    prefix = f"{folder}/" if folder else ""
    for tail, sample_ids in grouped.items():
        yield Family(f"{prefix}{{id}}{tail}{suffix}", tuple(sorted(sample_ids)))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files below a folder, without following links to folders."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.name.isprintable():
            continue
        if entry.is_dir() and not entry.is_symlink():
            if depth < _MAX_DEPTH:
                yield from _walk(entry, depth + 1)
        elif entry.is_file():
            yield entry
