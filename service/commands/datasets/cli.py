"""`bmtas dataset COMMAND`: options are parsed here, the files beside this one do what they ask."""

# ruff: noqa: PLC0415 - imports inside commands keep numpy, pydantic and rich out of `bmtas --help`

from __future__ import annotations

from pathlib import Path

import click

from service.commands.shell import Shell

_PATH = click.Path(path_type=Path)


@click.group(short_help="Check, propose and fetch datasets made of files.")
def dataset() -> None:
    """Check, propose and fetch datasets made of files."""


@dataset.command(short_help="Read all samples once and report every fault.")
@click.argument("word", metavar="FILE|NAME")
@click.option("--tasks", metavar="A,B", help="Tasks to check, separated by commas; all of the dataset without it.")
@click.option("--sheet", type=_PATH, metavar="PNG", help="Also draw a few samples with their labels into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else there.")
@click.pass_obj
def check(shell: Shell, word: str, tasks: str | None, sheet: Path | None, as_json: bool) -> None:
    """Read all samples of a dataset.yaml once and report every fault with the names of its files.

    Statistics of the labels follow. The exit code is 2 where there are faults, and 0 where there are none.
    """
    from service.commands.datasets.check import CheckRequest, run_check

    names = None if tasks is None else tuple(name.strip() for name in tasks.split(",") if name.strip())
    if not run_check(CheckRequest(word, names, sheet, as_json), shell):
        raise click.exceptions.Exit(2)
