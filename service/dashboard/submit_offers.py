"""What the form of a search has to choose from, and what is said of the dataset that is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from search.data.catalogue import DatasetInfo
from search.data.checks.findings import DepthRange, Findings, TaskFindings
from search.weights_shelf import NO_WEIGHTS, PUBLISHED
from service.dashboard import formats
from service.pages.durations import format_bytes
from service.web.planning.backbone_offers import OfferedBackbone
from service.web.planning.dataset_checks import CheckState, find_check
from service.web.server_parts import ServerParts

_MOST_CLASSES = 6
Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OfferedDataset:
    """A dataset to choose: its name, a line about it, and the names of its tasks."""

    name: str
    summary: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class FormOffers:
    """What may be chosen; backbones and weights as (value, words)."""

    datasets: tuple[OfferedDataset, ...]
    backbones: Choices
    weights: Choices


@dataclass(frozen=True)
class DatasetView:
    """What is said of a person's own dataset.

    Attributes:
        name: Of it.
        samples: How many it has, in words.
        state: Of its check.
        checked_at: When its samples were read.
        message: Why they could not be read.
        faults: (part, what is wrong, which samples) of each group of faults.
        remarks: What may be a mistake.
        statistics: (task, words about its labels).
    """

    name: str
    samples: str
    state: CheckState
    checked_at: datetime | None
    message: str
    faults: tuple[tuple[str, str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    statistics: tuple[tuple[str, str], ...] = ()


def list_offers(parts: ServerParts) -> FormOffers:
    """Return what this server offers now."""
    datasets = (
        OfferedDataset(info.name, info.summary, tuple(task.name for task in info.tasks))
        for info in parts.offers.datasets.list_trainable()
    )
    files = ((file.name, f"{file.name} ({format_bytes(file.num_bytes)})") for file in parts.offers.weights.list())
    return FormOffers(
        tuple(datasets),
        tuple((row.name, _name_backbone(row)) for row in parts.offers.backbones.list()),
        ((NO_WEIGHTS, "none: from random weights"), (PUBLISHED, "imagenet: torchvision's ImageNet weights"), *files),
    )


def describe_dataset(parts: ServerParts, name: str) -> DatasetView | None:
    """Return what is said of a person's own dataset, None for a built-in one and for what is none."""
    info = next((info for info in parts.offers.datasets.list_trainable() if info.name == name), None)
    check = None if info is None else find_check(parts.store, info)
    if info is None or check is None:
        return None
    found = check.findings
    return DatasetView(
        name=name,
        samples=f"{formats.count(info.num_train)} training and {formats.count(info.num_val)} validation samples",
        state=check.state,
        checked_at=check.checked_at,
        message=check.message,
        faults=() if found is None else tuple(_list_faults(found)),
        remarks=() if found is None else found.remarks,
        statistics=() if found is None else tuple(describe_labels(info, found)),
    )


def describe_labels(info: DatasetInfo, findings: Findings) -> list[tuple[str, str]]:
    """Return (task, words about its labels) of every task that was checked."""
    return [
        (task.name, _describe_task(findings.tasks[task.name])) for task in info.tasks if task.name in findings.tasks
    ]


def _describe_task(found: TaskFindings) -> str:
    """Return what the labels of a task are, in a line."""
    words = []
    largest = sorted(found.classes, key=lambda entry: -entry.share)
    if largest:
        shown = ", ".join(f"{entry.name} {formats.percent(entry.share, 1)}" for entry in largest[:_MOST_CLASSES])
        words.append(shown + (f", {len(largest) - _MOST_CLASSES} more" if len(largest) > _MOST_CLASSES else ""))
    if found.positive_share is not None:
        words.append(f"{formats.percent(found.positive_share, 1)} positive")
    if found.metres is not None:
        words.append(_describe_metres(found.metres))
    missing = sum(found.num_missing.values())
    if missing:
        words.append(f"{formats.count(missing)} without a label")
    return "; ".join(words) or f"{formats.count(sum(found.num_labelled.values()))} labelled"


def _describe_metres(metres: DepthRange) -> str:
    """Return the range of a depth task."""
    median = metres.quantiles.get("50%")
    middle = "" if median is None else f", median {median:.3g}"
    return f"{metres.smallest:.3g} to {metres.largest:.3g} m{middle}"


def _list_faults(found: Findings) -> list[tuple[str, str, str]]:
    """Return the groups of faults in words."""
    rows = []
    for fault in found.faults:
        named = ", ".join(fault.samples)
        more = fault.num_samples - len(fault.samples)
        rows.append((fault.part, fault.example, f"{named} and {more} more" if more > 0 else named))
    return rows


def _name_backbone(row: OfferedBackbone) -> str:
    """Return the words of a backbone in the list."""
    if row.problem:
        return f"{row.name}: cannot be used"
    of_package = "" if row.package is None else f" (of {row.package})"
    return f"{row.name}: {row.info.summary}{of_package}" if row.info is not None else f"{row.name}{of_package}"
