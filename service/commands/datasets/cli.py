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


@dataset.command(short_help="Download a dataset, unpack it and put it in its place.")
@click.argument("name")
@click.option("--from", "source", metavar="URL|PATH", help="Archive (.tar.gz, .tar, .zip); the known one without it.")
@click.option("--to", type=_PATH, metavar="DIR", help="Folder of datasets to put it in; BMTAS_DATASETS without it.")
@click.option("--sha256", metavar="HEX", help="What the SHA-256 of the archive must be.")
@click.pass_obj
def fetch(shell: Shell, name: str, source: str | None, to: Path | None, sha256: str | None) -> None:
    """Download pascal_context or nyud, or any dataset with a dataset.yaml whose archive --from names.

    A download that broke off goes on where it did. Nothing is in place before all of it is right.
    """
    from service.commands.datasets.fetch import FetchRequest, run_fetch

    run_fetch(FetchRequest(name, source, to, sha256), shell)


@dataset.command(short_help="Propose a dataset.yaml for a folder.")
@click.argument("folder", metavar="FOLDER", type=_PATH)
@click.option("--out", type=_PATH, metavar="FILE", help="File to write; dataset.yaml in the folder without it.")
@click.pass_obj
def init(shell: Shell, folder: Path, out: Path | None) -> None:
    """Look at a folder of images and labels and write a dataset.yaml for it, to be looked through.

    Where the folder has no lists of samples, they are drawn and written to splits/. No file is ever overwritten.
    """
    from service.commands.datasets.init import InitRequest, run_init

    run_init(InitRequest(folder, out), shell)
