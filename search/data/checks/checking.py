"""Reads every sample of a dataset once and says all that is wrong with it, and what its labels are.

`reading_processes` does it in several processes, `label_statistics` counts, `findings` is the document. No torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from search.data.catalogue import TaskInfo
from search.data.checks.findings import NUM_NAMED, FaultGroup, Findings, TaskFindings
from search.data.checks.label_statistics import LabelCounts, TaskTotals, count_label
from search.data.files.sources import Sample, SampleSource, Split
from search.data.reading.file_hashes import FileHashes
from search.data.reading.reading_processes import limit_processes, map_in_processes
from search.errors import SampleError

SPLITS: tuple[Split, ...] = ("train", "val")
IMAGE_PART = "image"
DATASET_PART = "dataset"
_MOST_SIZES = 8
_NUMBERED = re.compile(r"'[^']*'|-?\d[\d.,x]*")


@dataclass(frozen=True)
class SampleReport:
    """What one sample is.

    Attributes:
        sample_id: Its name.
        faults: (part, sentence) of each fault; the part is "image" or a task.
        size: (H, W) of its image; None where that cannot be read.
        counts: Of every label that could be read, None for a label that is missing.
    """

    sample_id: str
    faults: tuple[tuple[str, str], ...] = ()
    size: tuple[int, int] | None = None
    counts: Mapping[str, LabelCounts | None] = field(default_factory=dict)


def check_source(
    source: SampleSource,
    tasks: Sequence[TaskInfo],
    fingerprint: str,
    *,
    num_processes: int = 1,
    on_sample: Callable[[], None] = lambda: None,
) -> Findings:
    """Return what all samples of a dataset hold, with every fault of every one of them.

    Args:
        source: The dataset.
        tasks: Tasks whose labels are read.
        fingerprint: SHA-256 over the content of its files.
        num_processes: Processes that may read, 1 for this one alone.
        on_sample: Called after every sample; what it raises ends the check.

    Raises:
        DatasetError: A list of samples is not usable.
    """
    totals = {task.name: TaskTotals(task, SPLITS) for task in tasks}
    faulty: list[SampleReport] = []
    sizes: Counter[str] = Counter()
    for split in SPLITS:
        sample_ids, examine = source.ids(split), partial(examine_sample, source, tasks)
        for report in map_in_processes(examine, sample_ids, limit_processes(num_processes, len(sample_ids))):
            for name, counts in report.counts.items():
                totals[name].add(split, counts)
            if report.size is not None:
                sizes[f"{report.size[0]}x{report.size[1]}"] += 1
            if report.faults:
                faulty.append(report)
            on_sample()
    found = {name: total.describe() for name, total in totals.items()}
    return Findings(
        dataset=source.info.name,
        definition=source.info.definition,
        fingerprint=fingerprint,
        num_samples={split: len(source.ids(split)) for split in SPLITS},
        num_faulty=len(faulty),
        faults=(*group_faults(faulty), *_find_unlabelled(found)),
        remarks=tuple(_find_remarks(found)),
        sizes=_summarise_sizes(sizes),
        tasks=found,
    )


def compute_fingerprint(
    source: SampleSource,
    tasks: Sequence[TaskInfo],
    hashes: FileHashes,
    on_sample: Callable[[], None] = lambda: None,
) -> str:
    """Return the SHA-256 over the content of all files of a dataset, in hexadecimal.

    Args:
        source: The dataset.
        tasks: Tasks whose files count.
        hashes: Of its files, as far as they are known.
        on_sample: Called after every sample; what it raises ends this.

    Raises:
        DatasetError: A list of samples is not usable.
    """
    # Another version of this program may read the same files otherwise.
    head = [version("bmtas"), source.info.name, source.info.definition, *(task.name for task in tasks)]
    sha = hashlib.sha256(json.dumps(head).encode())
    for split in SPLITS:
        for sample_id in source.ids(split):
            try:
                found = [hashes.get(path) for path in source.files(sample_id, tasks)]
            except SampleError as error:  # which the check will say; here it is but another content
                found = [str(error)]
            sha.update(json.dumps([split, sample_id, *found]).encode())
            on_sample()
    hashes.save()
    return sha.hexdigest()


def find_repeated_images(source: SampleSource, hashes: FileHashes) -> Iterable[str]:
    """Yield a remark where images of the validation split are training images, which makes results too good."""
    places: dict[str, str] = {}
    repeated: list[tuple[str, str]] = []
    for split in SPLITS:
        for sample_id in source.ids(split):
            try:
                digest = "".join(hashes.get(path) for path in source.files(sample_id, ()))
            except SampleError:  # which the check will say
                continue
            if split == "val" and digest in places:
                repeated.append((sample_id, places[digest]))
            elif split == "train" and digest:
                places[digest] = sample_id
    if repeated:
        shown = ", ".join(f"{val} is {train}" for val, train in repeated[:NUM_NAMED])
        more = "" if len(repeated) <= NUM_NAMED else f" and {len(repeated) - NUM_NAMED} more"
        yield f"{len(repeated)} validation images are training images, to the byte ({shown}{more})."


def examine_sample(source: SampleSource, tasks: Sequence[TaskInfo], sample_id: str) -> SampleReport:
    """Return what a sample is; one broken label does not hide the others."""
    try:
        sample = source.read(sample_id, tasks)
    except SampleError as error:
        first = str(error)
    else:
        return _count_sample(sample_id, sample, tasks)
    try:
        image = source.read(sample_id, ())
    except SampleError as error:
        return SampleReport(sample_id, ((IMAGE_PART, _strip(str(error), sample_id)),))
    faults, labels = [], {}
    for task in tasks:
        try:
            labels[task.name] = source.read(sample_id, (task,)).labels[task.name]
        except SampleError as error:
            faults.append((task.name, _strip(str(error), sample_id)))
    readable = [task for task in tasks if task.name in labels]
    report = _count_sample(sample_id, Sample(image.image_HWC, labels), readable)
    # Labels may be sound one by one and not together, which no source of ours has; then the first sentence stays.
    found = tuple(faults) or ((IMAGE_PART, _strip(first, sample_id)),)
    return SampleReport(sample_id, found, report.size, report.counts)


def group_faults(reports: Iterable[SampleReport]) -> tuple[FaultGroup, ...]:
    """Return faults of one kind together, the kinds with most samples first.

    Of one kind are sentences on the same part that differ in names and numbers only.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for report in reports:
        for part, sentence in report.faults:
            groups.setdefault((part, _NUMBERED.sub("", sentence)), []).append((report.sample_id, sentence))
    found = [
        FaultGroup(
            part=part,
            example=members[0][1],
            num_samples=len(members),
            samples=tuple(sample_id for sample_id, _ in members[:NUM_NAMED]),
        )
        for (part, _), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: -group.num_samples))


def _strip(sentence: str, sample_id: str) -> str:
    """Return a sentence without the sample's name in front of it, which the group gives."""
    return sentence.removeprefix(f"Sample '{sample_id}': ")


def _count_sample(sample_id: str, sample: Sample, tasks: Sequence[TaskInfo]) -> SampleReport:
    """Return the counts of a sample that could be read."""
    height, width = sample.image_HWC.shape[:2]
    counts = {task.name: count_label(task, sample.labels[task.name]) for task in tasks}
    return SampleReport(sample_id, (), (height, width), counts)


def _find_unlabelled(tasks: Mapping[str, TaskFindings]) -> list[FaultGroup]:
    """Return the tasks that cannot be trained or measured, since no sample of a split has a label."""
    purposes = {"train": "trained", "val": "measured"}
    return [
        FaultGroup(
            part=DATASET_PART,
            example=f"Task '{name}' cannot be {purposes[split]}: no sample of the {split} split has a label of it. "
            "Check the path of its labels, or leave the task out.",
            num_samples=0,
            samples=(),
        )
        for name, task in tasks.items()
        for split, number in task.num_labelled.items()
        if number == 0
    ]


def _find_remarks(tasks: Mapping[str, TaskFindings]) -> Iterable[str]:
    """Yield what may be meant so, and may be a mistake."""
    for name, task in tasks.items():
        absent = [entry.name for entry in task.classes if entry.num_samples == 0]
        if absent and sum(task.num_labelled.values()):
            shown = ", ".join(absent[:NUM_NAMED]) + (
                "" if len(absent) <= NUM_NAMED else f" and {len(absent) - NUM_NAMED} more"
            )
            yield f"Task '{name}': {len(absent)} of {len(task.classes)} classes never occur ({shown})."
        if task.positive_share is not None and task.positive_share in (0.0, 1.0) and task.labelled_share:
            yield f"Task '{name}': its labels are {'positive' if task.positive_share else 'negative'} everywhere."


def _summarise_sizes(counted: Counter[str]) -> dict[str, int]:
    """Return how many images are of each size, the most frequent first."""
    sizes = dict(counted.most_common(_MOST_SIZES))
    other = counted.total() - sum(sizes.values())
    return sizes | ({"other": other} if other else {})
