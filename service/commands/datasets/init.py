"""`bmtas dataset init`: a dataset.yaml proposed for a folder, with lists of samples; no file is ever overwritten."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from search.data.checks.proposal_text import write_proposal
from search.data.checks.proposing import Proposal, propose
from search.data.reading.reading_processes import count_processors
from search.errors import RunCancelledError
from search.ports import Message, StageFinished, StageProgress, StageStarted
from service.commands.interruption import stop_requests
from service.commands.shell import Shell
from service.commands.terminal import build_reporter, choose_style
from service.errors import TargetFileError


@dataclass(frozen=True)
class InitRequest:
    """Which folder to look at, and where to write the dataset.yaml; None for the folder itself."""

    folder: Path
    out: Path | None = None


def run_init(request: InitRequest, shell: Shell) -> None:
    """Write a dataset.yaml for a folder, and lists of samples where it has none.

    Raises:
        DatasetError: The folder does not look like a dataset.
        TargetFileError: The file exists already.
        RunCancelledError: The person stopped it; nothing was written.
    """
    target = request.out or request.folder / "dataset.yaml"
    _check_free(target)
    proposal = _look(request.folder, shell)
    for split in (proposal.train, proposal.val):
        if split.samples is not None:
            _write_new(request.folder / split.path, "".join(f"{sample_id}\n" for sample_id in split.samples))
    root = os.path.relpath(request.folder.resolve(), target.absolute().parent.resolve())
    _write_new(target, write_proposal(proposal, root))
    click.echo(f"Wrote {target}: {len(proposal.tasks)} tasks, {proposal.num_images} images.")
    for remark in proposal.remarks:
        click.echo(remark)
    click.echo(f"Look through its lines, then run: bmtas dataset check {target}")


def _look(folder: Path, shell: Shell) -> Proposal:
    """Return the proposal for a folder, with a progress bar while its files are read."""
    style = choose_style(as_json=False, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    stage = f"look through {folder}"
    with (
        build_reporter(style, sys.stderr) as reporter,
        stop_requests(lambda sentence: reporter.emit(Message(sentence))) as cancelled,
    ):

        def report(done: int, total: int) -> None:
            """Report, and stop where asked to."""
            if cancelled():
                raise RunCancelledError("Stopped; nothing was written.")
            reporter.emit(StageStarted(stage, 0, total) if done == 1 else StageProgress(stage, done, total))

        proposal = propose(folder, num_processes=count_processors(), on_files=report)
        reporter.emit(StageFinished(stage))
    return proposal


def _check_free(path: Path) -> None:
    """Refuse a path that is taken."""
    if path.exists() or path.is_symlink():
        raise TargetFileError(f"{path} exists already and stays as it is. Name another file with --out.")


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _check_free(path)
        raise
