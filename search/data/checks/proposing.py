"""Looks at a folder of images and labels and proposes a dataset.yaml for it, with a reason beside every line.

`file_families` finds what belongs together, `label_guessing` what it may be, `proposal_text` writes it down.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.data.checks.file_families import IMAGE_SUFFIXES, Family, find_families, list_files
from search.data.checks.label_guessing import (
    MOST_CLASSES,
    FileSummary,
    Guess,
    guess_task,
    is_photograph,
    summarise_file,
)
from search.data.files.class_tables import ID_COLUMN
from search.data.files.manifest import SIZES
from search.data.reading.reading_processes import limit_processes, map_in_processes
from search.errors import DatasetError

_IMAGE_WORDS = ("image", "img", "rgb", "photo", "color", "colour", "jpeg", "picture", "frame", "left")
_NAMES = {
    "segmentation": "semseg",
    "parts": "parts",
    "depth": "depth",
    "normals": "normals",
    "edge": "edge",
    "saliency": "sal",
}
_NUM_PROBED = 6
_LONGEST_SIDE = 512
_MOST_TABLE_BYTES = 16 << 20
_VAL_SHARE = 0.2


@dataclass(frozen=True)
class ProposedTask:
    """One task of a proposal; `guess` holds what its manifest says beside `place`, the pattern or the table."""

    name: str
    place: str
    guess: Guess
    num_samples: int


@dataclass(frozen=True)
class ProposedSplit:
    """One list of samples: where it lies, and its samples where it has still to be written, else None."""

    path: str
    num_samples: int
    samples: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Proposal:
    """A dataset.yaml that was found for a folder.

    Attributes:
        name: For the dataset.
        image: Pattern of the images.
        num_images: How many there are.
        tasks: In the order of the manifest.
        train: The training samples.
        val: The validation samples.
        input_size: (H, W) in pixels.
        native_size: (H, W) of an image in the middle of all.
        remarks: What was seen and not used, and why.
    """

    name: str
    image: str
    num_images: int
    tasks: tuple[ProposedTask, ...]
    train: ProposedSplit
    val: ProposedSplit
    input_size: tuple[int, int]
    native_size: tuple[int, int]
    remarks: tuple[str, ...]


def propose(
    root: Path, *, num_processes: int = 1, on_files: Callable[[int, int], None] = lambda done, total: None
) -> Proposal:
    """Return a dataset.yaml for a folder; every file of a label is read, nothing is written.

    Args:
        root: The folder.
        num_processes: Processes that may read, 1 for this one alone.
        on_files: Called with (files read, files in all).

    Raises:
        DatasetError: The folder holds no images, or labels for fewer than two tasks.
    """
    files = list_files(root)
    families = find_families(files)
    images, size = _choose_images(root, families)
    labels = [family for family in families if family != images and set(family.sample_ids) & set(images.sample_ids)]
    tasks, remarks = _guess_tasks(root, labels, num_processes, on_files)
    tasks += _find_tables(root, files, images)
    if len(tasks) < 2:
        seen = " ".join(remarks) or f"Beside {images.pattern} nothing bears the names of its samples."
        raise DatasetError(
            f"A dataset needs labels of at least two tasks, and {root} shows {len(tasks)}. {seen} Write a dataset.yaml "
            "by hand, or bring the labels into one file per sample and task."
        )
    train, val = _find_splits(root, files, images)
    return Proposal(
        name=_name_dataset(root),
        image=images.pattern,
        num_images=len(images.sample_ids),
        tasks=tuple(_with_distinct_names(tasks)),
        train=train,
        val=val,
        input_size=_fit_size(size),
        native_size=size,
        remarks=tuple(remarks),
    )


def _choose_images(root: Path, families: Sequence[Family]) -> tuple[Family, tuple[int, int]]:
    """Return the family of the photographs with the size of one of them."""
    found = []
    for family in families:
        if not family.pattern.lower().endswith(IMAGE_SUFFIXES):
            continue
        probes = [summarise_file(root / family.path(sample_id)) for sample_id in _probe(family.sample_ids)]
        readable = [probe for probe in probes if probe is not None]
        named = any(word in family.words for word in _IMAGE_WORDS)
        grey = named and bool(readable) and all(summary.bits == 8 for summary in readable)
        if is_photograph(readable) or grey:
            found.append((named, is_photograph(readable), len(family.sample_ids), family, readable))
    if not found:
        raise DatasetError(f"A dataset needs JPEG or PNG photographs, and {root} shows none. Check the folder.")
    found.sort(key=lambda entry: entry[:3], reverse=True)
    sizes = sorted((summary.size for summary in found[0][4]), key=lambda size: size[0] * size[1])
    return found[0][3], sizes[len(sizes) // 2]


def _probe(sample_ids: Sequence[str]) -> list[str]:
    """Return a few samples spread over all."""
    step = max(1, len(sample_ids) // _NUM_PROBED)
    return list(sample_ids[::step][:_NUM_PROBED])


def _guess_tasks(
    root: Path, labels: Sequence[Family], num_processes: int, on_files: Callable[[int, int], None]
) -> tuple[list[ProposedTask], list[str]]:
    """Return the tasks of the labels, and a sentence for each family that is none."""
    paths = [root / family.path(sample_id) for family in labels for sample_id in family.sample_ids]
    summaries = []
    for summary in map_in_processes(summarise_file, paths, limit_processes(num_processes, len(paths))):
        summaries.append(summary)
        on_files(len(summaries), len(paths))
    tasks, remarks, first = [], [], 0
    for family in labels:
        number = len(family.sample_ids)
        readable = [summary for summary in summaries[first : first + number] if summary is not None]
        first += number
        guess = _guess_family(family, readable)
        if isinstance(guess, Guess):
            tasks.append(ProposedTask(_NAMES[guess.kind], family.pattern, guess, number))
        else:
            remarks.append(f"Left out {family.pattern} ({number} files): {guess}.")
    return tasks, remarks


def _guess_family(family: Family, readable: Sequence[FileSummary]) -> Guess | str:
    """Return the task of a family, or why it has none."""
    if not readable:
        return "none of them can be read"
    guess = guess_task(family.words, readable)
    if isinstance(guess, Guess) and guess.kind != "normals" and not family.pattern.lower().endswith((".png", ".npy")):
        return "JPEG changes the numbers of labels; save them as PNG"
    return guess


def _find_tables(root: Path, files: Sequence[str], images: Family) -> list[ProposedTask]:
    """Return a task for every column of a CSV table whose ids are samples and whose words are few."""
    found = []
    for path in files:
        if not path.lower().endswith(".csv") or (root / path).stat().st_size > _MOST_TABLE_BYTES:
            continue
        try:
            rows = list(csv.DictReader(io.StringIO((root / path).read_text(encoding="utf-8-sig"), newline="")))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        known = {row[ID_COLUMN]: row for row in rows if row.get(ID_COLUMN) in set(images.sample_ids)}
        for column in rows[0] if known else ():
            words = sorted({(row.get(column) or "").strip() for row in known.values()} - {""})
            few = 2 <= len(words) <= min(MOST_CLASSES, max(2, len(known) // 2))
            if column and column != ID_COLUMN and few:
                settings = {"column": column, "classes": words}
                guess = Guess("classification", settings, f"{len(words)} words in column {column}")
                labelled = sum(bool((row.get(column) or "").strip()) for row in known.values())
                found.append(ProposedTask(_plain_name(column), path, guess, labelled))
    return found


def _find_splits(root: Path, files: Sequence[str], images: Family) -> tuple[ProposedSplit, ProposedSplit]:
    """Return the lists of samples that lie in the folder, or ones to be written."""
    known, lists = set(images.sample_ids), dict[str, tuple[str, tuple[str, ...]]]()
    for path in files:
        name = Path(path).stem.lower()
        role = next((role for role, words in _ROLES.items() if any(word in name for word in words)), None)
        if role is None or role in lists or not path.lower().endswith((".txt", ".lst")):
            continue
        lines = _read_lines(root / path)
        if lines and len(set(lines)) == len(lines) and set(lines) <= known:
            lists[role] = (path, lines)
    if "train" in lists and "val" in lists and not set(lists["train"][1]) & set(lists["val"][1]):
        (train, train_ids), (val, val_ids) = lists["train"], lists["val"]
        return ProposedSplit(train, len(train_ids)), ProposedSplit(val, len(val_ids))
    train_ids, val_ids = _divide(images.sample_ids)
    return (
        ProposedSplit(_free_name(files, "train"), len(train_ids), train_ids),
        ProposedSplit(_free_name(files, "val"), len(val_ids), val_ids),
    )


_ROLES: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "test")}


def _read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a small text file that are not empty; none where it is no text."""
    try:
        text = path.read_bytes()[:_MOST_TABLE_BYTES].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def _divide(sample_ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return samples in two parts, the same for the same samples whatever order they come in."""
    if len(sample_ids) < 3:
        raise DatasetError(
            f"A dataset needs at least two training samples and one to validate, and there are {len(sample_ids)}."
        )
    drawn = sorted(sample_ids, key=lambda sample_id: hashlib.sha256(sample_id.encode()).digest())
    num_val = min(max(1, round(len(drawn) * _VAL_SHARE)), len(drawn) - 2)
    return tuple(sorted(drawn[num_val:])), tuple(sorted(drawn[:num_val]))


def _free_name(files: Sequence[str], role: str) -> str:
    """Return a path for a list that takes no file's place."""
    taken, number, path = set(files), 1, f"splits/{role}.txt"
    while path in taken:
        number += 1
        path = f"splits/{role}-{number}.txt"
    return path


def _with_distinct_names(tasks: Sequence[ProposedTask]) -> list[ProposedTask]:
    """Return tasks of which no two are called the same."""
    seen, named = dict[str, int](), []
    for task in tasks:
        seen[task.name] = seen.get(task.name, 0) + 1
        name = task.name if seen[task.name] == 1 else f"{task.name}_{seen[task.name]}"
        named.append(ProposedTask(name, task.place, task.guess, task.num_samples))
    return named


def _name_dataset(root: Path) -> str:
    """Return a name for the dataset of a folder."""
    return _plain_name(root.resolve().name) or "my-dataset"


def _plain_name(text: str) -> str:
    """Return words as a name of letters, digits, - and _."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:64] or "labels"


def _fit_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) for networks: the image's own, at most 512 pixels a side, in steps of 32."""
    shrunk = min(1.0, _LONGEST_SIDE / max(size))
    height, width = (max(SIZES[0], round(side * shrunk / 32) * 32) for side in size)
    return height, width
