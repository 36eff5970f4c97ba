"""`bmtas weights`, and the file that a command's --weights means: what networks can start from on this machine."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from models.foreign import check_backbone_name
from search.errors import WeightsError
from search.spec import WeightsSpec
from search.weights_shelf import SUFFIXES, WeightsFile, WeightsShelf, hash_file, shelf_with
from service.commands.shell import Shell
from service.commands.tables import build_table, print_table


def find_weights(words: str, backbone: str, shell: Shell) -> tuple[WeightsSpec | None, WeightsShelf]:
    """Return the file that a person's words mean, None for random weights, and the shelf that holds it.

    Args:
        words: "imagenet", "none", a path, or the name of a file in the weights folder.
        backbone: What is to start from it.
        shell: Knows the weights folder.

    Raises:
        UnknownBackboneError: No such backbone.
        WeightsError: There is no such file, or it is not what its name says.
    """
    check_backbone_name(backbone)
    shelf, name = shelf_with(words, shell.settings.weights_dir)
    return shelf.choose(name, backbone), shelf


def show_weights(shell: Shell, *, as_json: bool) -> None:
    """Print the files of the weights folder; where there are none, how to bring some."""
    folder = shell.settings.weights_dir
    shelf = WeightsShelf(folder)
    files = shelf.list()
    if as_json:
        rows = [dataclasses.asdict(file) | {"sha256": hash_file(shelf.path(file.name))} for file in files]
        click.echo(json.dumps({"folder": None if folder is None else str(folder), "files": rows}, indent=2))
        return
    table = build_table(f"Weight files in {folder}", "File", "ImageNet weights of", "MB")
    for file in files:
        table.add_row(file.name, _describe_origin(file, shelf), f"{file.num_bytes / 1e6:.1f}")
    if files:
        print_table(table, sys.stdout)
    else:
        click.echo(f"The weights folder {folder} holds no {', '.join(SUFFIXES)} file.")
    missing = {
        backbone: names[0]
        for backbone, names in shelf.published.items()
        if backbone not in {file.backbone for file in files}
    }
    if missing:
        names = ", ".join(f"{name} for {backbone}" for backbone, name in missing.items())
        click.echo(f"For --weights imagenet, put torchvision's files there: {names}.")


def _describe_origin(file: WeightsFile, shelf: WeightsShelf) -> str:
    """Return the backbone whose ImageNet weights a file is by name and content."""
    if file.backbone is None:
        return ""
    try:
        shelf.choose(file.name, file.backbone)
    except WeightsError:
        return f"none: not what torchvision published for {file.backbone}"
    return file.backbone
