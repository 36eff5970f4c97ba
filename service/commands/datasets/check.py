"""`bmtas dataset check`: every sample read once, all faults together, statistics of the labels, a contact sheet.

What was found is kept by the content of the files, so that a dataset which did not change is not read again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from search.data.catalogue import TaskInfo
from search.data.checks.checking import SPLITS, check_source, compute_fingerprint, find_repeated_images
from search.data.checks.findings import Findings, find_findings, save_findings
from search.data.files.opening import open_source
from search.data.files.sources import SampleSource
from search.data.reading.file_hashes import FileHashes, name_hashes
from search.data.reading.reading_processes import count_processors
from search.errors import DatasetError, RunCancelledError
from search.ports import Message, Reporter, StageFinished, StageProgress, StageStarted
from service.artifacts import write_whole
from service.commands.datasets.choice import choose_dataset
from service.commands.datasets.tables import describe_findings
from service.commands.interruption import stop_requests
from service.commands.shell import Shell
from service.commands.terminal import build_reporter, choose_style


@dataclass(frozen=True)
class CheckRequest:
    """What to check.

    Attributes:
        word: A dataset.yaml or the name of a dataset made of files.
        tasks: Names of the tasks to check; None for all.
        sheet: Where to draw a few samples; None for nowhere.
        as_json: Whether stdout gets JSON, and stderr no progress.
    """

    word: str
    tasks: tuple[str, ...] | None = None
    sheet: Path | None = None
    as_json: bool = False


def run_check(request: CheckRequest, shell: Shell) -> bool:
    """Check a dataset, print what was found, and return whether it is sound.

    Raises:
        SearchError: It is no dataset made of files, or cannot be read at all.
        RunCancelledError: The person stopped it.
    """
    name, shell = choose_dataset(request.word, shell)
    info, place = shell.datasets.get_trainable(name), shell.datasets.place(name)
    if place is None:
        raise DatasetError(f"Dataset '{name}' is built in, so there is nothing to check. Name a dataset.yaml.")
    source = open_source(info, place)
    tasks = info.tasks if request.tasks is None else tuple(info.task(task) for task in dict.fromkeys(request.tasks))
    style = choose_style(as_json=request.as_json, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    with (
        build_reporter(style, sys.stderr) as reporter,
        stop_requests(lambda sentence: reporter.emit(Message(sentence))) as cancelled,
    ):
        found = _find(source, tasks, _Watch(reporter, cancelled, shell.settings.cache_dir))
    if request.as_json:
        click.echo(found.to_json_bytes(), nl=False)
    else:
        describe_findings(found, place, sys.stdout)
    if request.sheet is not None:
        _draw(source, tasks, found, request.sheet, shell.settings.cache_dir)
        click.echo(f"Contact sheet: {request.sheet}", err=request.as_json)
    return not found.faults


@dataclass(frozen=True)
class _Watch:
    """Where progress goes, and where what was found is kept."""

    reporter: Reporter
    cancelled: Callable[[], bool]
    cache_dir: Path

    def follow(self, stage: str, total: int) -> Callable[[], None]:
        """Return what to call after every sample of a stage; it stops where asked to."""
        self.reporter.emit(StageStarted(stage, 0, total))
        done = 0

        def count() -> None:
            """Report one sample more."""
            nonlocal done
            done += 1
            if self.cancelled():
                raise RunCancelledError("Stopped; nothing was kept.")
            self.reporter.emit(StageProgress(stage, done, total))

        return count


def _find(source: SampleSource, tasks: tuple[TaskInfo, ...], watch: _Watch) -> Findings:
    """Return the findings that were kept for the files as they are, or those of a check now."""
    total = sum(len(source.ids(split)) for split in SPLITS)
    name = source.info.name
    hashes = FileHashes(name_hashes(watch.cache_dir, name))
    stage = f"compare {name}"
    fingerprint = compute_fingerprint(source, tasks, hashes, watch.follow(stage, total))
    watch.reporter.emit(StageFinished(stage))
    found = find_findings(watch.cache_dir, name, fingerprint)
    if found is not None:
        watch.reporter.emit(Message("Nothing has changed since the last check; these are its findings."))
        return found
    stage = f"check {name}"
    found = check_source(
        source, tasks, fingerprint, num_processes=count_processors(), on_sample=watch.follow(stage, total)
    )
    found = found.model_copy(update={"remarks": (*found.remarks, *find_repeated_images(source, hashes))})
    watch.reporter.emit(StageFinished(stage))
    if len(tasks) == len(source.info.tasks):
        save_findings(found, watch.cache_dir)
    return found


def _draw(source: SampleSource, tasks: tuple[TaskInfo, ...], found: Findings, target: Path, cache_dir: Path) -> None:
    """Draw some sound samples into a file, with their labels of sound tasks."""
    # Imports torch, which the check itself does without.
    from search.data.checks.checking import examine_sample  # noqa: PLC0415
    from search.pictures.contact_sheet import choose_samples, draw_contact_sheet  # noqa: PLC0415

    every = [sample_id for split in SPLITS for sample_id in source.ids(split)]
    sound = [
        sample_id for sample_id in choose_samples(every, 30) if not examine_sample(source, tasks, sample_id).faults
    ]
    if not sound:
        raise DatasetError(f"A contact sheet shows sound samples, and none of '{found.dataset}' is. Mend some first.")
    write_whole(target, draw_contact_sheet(source, tasks, choose_samples(sound), cache_dir))
