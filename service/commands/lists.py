"""`bmtas datasets` and `bmtas backbones`: the two tables of names, for people or as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from models.catalogue import BACKBONES
from models.foreign import list_foreign
from service.commands.shell import Shell
from service.commands.tables import build_backbones_table, build_datasets_table, print_table


def list_datasets(shell: Shell, *, as_json: bool) -> None:
    """Print every dataset with its tasks and where it lies; on stderr the files that are broken."""
    shelf = shell.datasets
    rows = [(info, shelf.is_trainable(info.name), shelf.place(info.name)) for info in shelf.list()]
    if as_json:
        documents = [
            {**dataclasses.asdict(info), "trainable": trainable, "place": None if place is None else str(place)}
            for info, trainable, place in rows
        ]
        click.echo(json.dumps(documents, indent=2))
    else:
        print_table(build_datasets_table(rows), sys.stdout)
    for _, reason in shelf.list_problems():
        click.echo(f"Left out: {reason}", err=True)


def list_backbones(*, as_json: bool) -> None:
    """Print every backbone; those of other packages by name only, since facts would run their code."""
    foreign = list_foreign()
    if as_json:
        built_in = [dataclasses.asdict(info) for info in BACKBONES.values()]
        brought = [{**dataclasses.asdict(backbone), "family": "custom"} for backbone in foreign]
        click.echo(json.dumps([*built_in, *brought], indent=2))
    else:
        print_table(build_backbones_table(list(BACKBONES.values()), foreign), sys.stdout)
