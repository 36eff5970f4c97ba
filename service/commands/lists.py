"""`bmtas datasets` and `bmtas backbones`: the two tables of names, for people or as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from models.catalogue import BACKBONES
from search.data.catalogue import DATASETS
from service.commands.tables import build_backbones_table, build_datasets_table, print_table


def list_datasets(*, as_json: bool) -> None:
    """Print every dataset with its tasks."""
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(info) for info in DATASETS.values()], indent=2))
    else:
        print_table(build_datasets_table(list(DATASETS.values())), sys.stdout)


def list_backbones(*, as_json: bool) -> None:
    """Print every backbone."""
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(info) for info in BACKBONES.values()], indent=2))
    else:
        print_table(build_backbones_table(list(BACKBONES.values())), sys.stdout)
