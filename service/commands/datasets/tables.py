"""The findings of a check -> what a person reads: faults first, then the labels of every task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from search.data.checks.findings import FaultGroup, Findings, TaskFindings
from service.commands.tables import build_table, print_table

_MOST_CLASSES = 40


def describe_findings(found: Findings, place: Path, stream: TextIO) -> None:
    """Print findings."""
    counts = ", ".join(f"{number} {split}" for split, number in found.num_samples.items())
    sizes = ", ".join(f"{number} of {size}" for size, number in found.sizes.items())
    stream.write(f"Dataset '{found.dataset}' ({place}): {counts} samples; images (height x width): {sizes or 'none'}\n")
    _write_faults(found, stream)
    for remark in found.remarks:
        stream.write(f"Remark: {remark}\n")
    stream.write("\n")
    _print_labels(found.tasks, stream)
    _print_classes(found.tasks, stream)
    _print_depth(found.tasks, stream)


def _write_faults(found: Findings, stream: TextIO) -> None:
    """Write the faults, a paragraph per kind."""
    if not found.faults:
        stream.write("No faults.\n")
        return
    total = sum(found.num_samples.values())
    stream.write(f"\n{found.num_faulty} of {total} samples have faults, of {len(found.faults)} kinds:\n\n")
    for group in found.faults:
        stream.write(f"{_describe_group(group)}\n    {group.example}\n")
    stream.write("\n")


def _describe_group(group: FaultGroup) -> str:
    """Return the heading of a kind of faults: what it concerns, and which samples."""
    if not group.num_samples:
        return f"  {group.part}:"
    if group.num_samples == 1:
        return f"  {group.part}, sample {group.samples[0]}:"
    left = group.num_samples - len(group.samples)
    more = f" and {left} more" if left else ""
    return f"  {group.part}, {group.num_samples} samples: {', '.join(group.samples)}{more}. For example:"


def _print_labels(tasks: Mapping[str, TaskFindings], stream: TextIO) -> None:
    """Print which samples have labels, and of how much of their pixels."""
    table = build_table(
        "Labels",
        "task",
        "kind",
        "train",
        "train without",
        "val",
        "val without",
        "labelled %",
        "positive %",
        counts_from=2,
    )
    for name, task in tasks.items():
        cells = [
            str(counts.get(split, 0)) for split in task.num_labelled for counts in (task.num_labelled, task.num_missing)
        ]
        table.add_row(name, task.kind, *cells, _percent(task.labelled_share), _percent(task.positive_share))
    print_table(table, stream)


def _print_classes(tasks: Mapping[str, TaskFindings], stream: TextIO) -> None:
    """Print how often every class occurs."""
    for name, task in tasks.items():
        if not task.classes:
            continue
        unit = "samples" if task.kind == "classification" else "labelled pixels"
        table = build_table(f"Classes of {name}", "number", "class", f"% of {unit}", "samples", counts_from=2)
        for number, entry in enumerate(task.classes[:_MOST_CLASSES]):
            table.add_row(str(number), entry.name, _percent(entry.share), str(entry.num_samples))
        if len(task.classes) > _MOST_CLASSES:
            table.add_row("...", f"{len(task.classes) - _MOST_CLASSES} more; --json has all", "", "")
        print_table(table, stream)


def _print_depth(tasks: Mapping[str, TaskFindings], stream: TextIO) -> None:
    """Print the range of every depth task."""
    for name, task in tasks.items():
        if task.metres is not None:
            columns = ["smallest", *task.metres.quantiles, "largest"]
            table = build_table(f"Metres of {name}", *columns, counts_from=0)
            values = (task.metres.smallest, *task.metres.quantiles.values(), task.metres.largest)
            table.add_row(*(f"{value:.3g}" for value in values))
            print_table(table, stream)


def _percent(share: float | None) -> str:
    """Return a share in percent; empty where there is none."""
    return "" if share is None else f"{100 * share:.2f}"
