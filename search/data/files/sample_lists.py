"""Which samples a dataset has and where they may lie: lists of ids, and paths that stay below one folder.

Nothing that comes from a list or a pattern leads out of the root, neither by its words nor by a link.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from search.data.reading.places import read_bounded, resolve_inside
from search.errors import DatasetError, SampleError

_MAX_BYTES = 64 << 20
_MAX_ID = 200


def check_inside(path: str) -> None:
    """Refuse a path that is not written as one below a folder.

    Raises:
        ValueError: It is absolute, holds "..", a backslash or a sign that cannot be printed.
    """
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path or not path.isprintable():
        raise ValueError(f"a path stays below the root and is written with /, without .., got {path[:60]!r}")


def read_sample_list(root: Path, name: str) -> tuple[str, ...]:
    """Return the ids of a list of samples, in its order; empty lines do not count.

    Raises:
        DatasetError: The list is missing, empty, not text, or holds what can be no id or an id twice.
    """
    try:
        text = read_bounded(resolve_inside(root, name), _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"A list of samples is UTF-8 text, and {root / name} is not. Save it as UTF-8.") from None
    except SampleError as error:
        raise DatasetError(f"A split is a list of samples, one id a line: {error}") from None
    ids = [line.strip() for line in text.split("\n") if line.strip()]
    if not ids:
        raise DatasetError(f"A split needs at least one sample, and {root / name} names none. Write one id a line.")
    return _check_ids(ids, root / name)


def can_be_id(text: str) -> bool:
    """Return whether a list of samples can hold this id."""
    plain = text.isprintable() and text.strip() == text and not {"/", "\\"} & set(text)
    return plain and text not in ("", ".", "..") and len(text) <= _MAX_ID


def _check_ids(ids: list[str], name: Path) -> tuple[str, ...]:
    """Return ids that can be part of a file's name and stand once."""
    seen = set[str]()
    for sample in ids:
        if "/" in sample or "\\" in sample or sample in (".", "..") or not sample.isprintable():
            raise DatasetError(
                f"An id is part of a file's name, without / and \\, but {name} holds {sample[:60]!r}. Write the folder "
                "into the pattern, such as images/{id}.jpg."
            )
        if len(sample) > _MAX_ID:
            raise DatasetError(f"An id has at most {_MAX_ID} signs, but {name} holds {sample[:60]!r}... Rename it.")
        if sample in seen:
            raise DatasetError(f"A sample stands once in a list, but {name} holds {sample!r} twice. Take one out.")
        seen.add(sample)
    return tuple(ids)
