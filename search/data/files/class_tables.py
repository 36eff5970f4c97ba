"""Classes of whole images from a CSV table: one row per sample, its id in the column `id`. No numpy."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from search.data.reading.places import quote, read_bounded, resolve_inside
from search.errors import DatasetError, SampleError

ID_COLUMN = "id"
_MAX_BYTES = 64 << 20


def read_class_table(root: Path, name: str, column: str) -> dict[str, str]:
    """Return what a column of a table holds for each sample that has a row, without white space around it.

    Args:
        root: Folder of the dataset.
        name: Path of the table below it.
        column: The column wanted.

    Raises:
        DatasetError: The table is missing or no CSV with these columns, or a sample has two rows.
    """
    try:
        text = read_bounded(resolve_inside(root, name), _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"A table of classes is UTF-8 text, and {quote(name)} is not. Save it as UTF-8.") from None
    except SampleError as error:
        raise DatasetError(f"A table of classes is a CSV file with a header: {error}") from None
    found = dict[str, str]()
    for row in _read_rows(text, name, column):
        sample = row[ID_COLUMN].strip()
        if sample in found:
            raise DatasetError(f"A sample has one row, but {quote(name)} holds {quote(sample)} twice. Take one out.")
        found[sample] = row[column].strip()
    return found


def _read_rows(text: str, name: str, column: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV text, in each the two columns that count; empty cells are empty words."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
        for wanted in (ID_COLUMN, column):
            if list(columns).count(wanted) != 1:
                shown = ", ".join(str(other) for other in columns)[:200]
                raise DatasetError(
                    f"A table of classes has one column {wanted!r}, but {quote(name)} has: {shown}. Name its columns "
                    "in the first line."
                )
        for row in reader:
            if len(row) > len(columns):
                raise DatasetError(f"Line {reader.line_num} of {quote(name)} has more cells than columns. Mend it.")
            yield {wanted: row[wanted] or "" for wanted in (ID_COLUMN, column)}
    except csv.Error as error:
        raise DatasetError(f"{quote(name)} is no CSV table: line {reader.line_num}, {error}. Save it again.") from None
