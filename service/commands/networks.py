"""`bmtas evaluate` and `bmtas export`: trained networks taken from a folder that a run wrote.

A folder is a candidate or a retrained network (architecture.json with weights.safetensors), or a whole study.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.architecture import Architecture
from search.ports import MemoryStore, Surroundings, never_cancelled
from search.results import Candidate, Evaluation, Results
from service.artifacts import write_whole
from service.commands.cost import load_architecture
from service.commands.datasets.choice import choose_dataset, recall_dataset
from service.commands.folders import SPEC_NAME
from service.commands.runs import Device, describe_metrics
from service.commands.shell import Shell
from service.commands.tables import build_metrics_table, print_table
from service.commands.terminal import build_reporter, choose_style
from service.errors import FolderContentError, TargetFileError

if TYPE_CHECKING:
    from search.export import Format

ARCHITECTURE_NAME = "architecture.json"
WEIGHTS_NAME = "weights.safetensors"
EVALUATION_NAME = "evaluation.json"
RESULTS_NAME = "results.json"


@dataclass(frozen=True)
class EvaluateRequest:
    """What to measure on what.

    Attributes:
        folder: A candidate, a retrained network or a study.
        dataset: A name or the path of a dataset.yaml; None for the dataset that the networks were searched on.
        device: Where to compute.
        as_json: Whether stdout gets JSON, and stderr no progress.
    """

    folder: Path
    dataset: str | None = None
    device: Device = "auto"
    as_json: bool = False


@dataclass(frozen=True)
class ExportRequest:
    """What to export from where to where.

    Attributes:
        folder: A candidate, a retrained network or a study.
        file_format: "json", "onnx" or "pt2".
        target: The file to write.
        tasks: Tasks whose branches to keep; None for all.
        force: Whether an existing file is replaced.
    """

    folder: Path
    file_format: Format
    target: Path
    tasks: tuple[str, ...] | None
    force: bool


@dataclass(frozen=True)
class StoredNetwork:
    """A network at rest.

    Attributes:
        folder: Where it lies; its last part is the network's name.
        architecture: Its tree.
    """

    folder: Path
    architecture: Architecture

    @property
    def has_weights(self) -> bool:
        """Return whether it was trained."""
        return (self.folder / WEIGHTS_NAME).is_file()

    def load_weights(self) -> bytes:
        """Return its weights as safetensors.

        Raises:
            FolderContentError: It was not trained.
        """
        if not self.has_weights:
            raise FolderContentError(
                f"A trained network is needed, but {self.folder} holds no {WEIGHTS_NAME}. Train it with "
                f"`bmtas retrain --architecture {self.folder / ARCHITECTURE_NAME}` first."
            )
        return (self.folder / WEIGHTS_NAME).read_bytes()

    def said_to_be_of(self, dataset: str) -> Architecture:
        """Return its tree as one of a dataset, which may be another than it was searched on."""
        origin = self.architecture.provenance.model_copy(update={"dataset": dataset})
        return self.architecture.model_copy(update={"provenance": origin})

    def load_preset(self) -> str:
        """Return the preset it was trained with, which says on how many samples it is measured."""
        path = self.folder / EVALUATION_NAME
        return Evaluation.from_json_bytes(path.read_bytes(), str(path)).preset if path.is_file() else "quick"


def evaluate_folder(request: EvaluateRequest, shell: Shell) -> None:
    """Measure every trained network in a folder and print their metrics.

    Raises:
        FolderContentError: The folder holds no trained network.
        SearchError: A file is corrupt, or the device is not there.
    """
    networks = [(network, network.load_weights(), network.load_preset()) for network in load_networks(request.folder)]
    name, shell = find_dataset_of(networks[0][0], request.dataset, shell) if networks else ("", shell)
    style = choose_style(as_json=request.as_json, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    engine = shell.load_engine()
    with build_reporter(style, sys.stderr) as reporter:
        surroundings = Surroundings(
            store=MemoryStore(),  # an evaluation leaves nothing behind
            reporter=reporter,
            cancelled=never_cancelled,
            device=request.device,
            cache_dir=shell.settings.cache_dir,
            cache_bytes=shell.settings.cache_bytes,
            now=lambda: datetime.now(UTC),
            datasets=shell.datasets,
        )
        rows = {
            network.folder.resolve().name: engine.evaluate_candidate(
                network.said_to_be_of(name), weights, preset, surroundings
            )
            for network, weights, preset in networks
        }
    if request.as_json:
        click.echo(json.dumps({name: describe_metrics(metrics) for name, metrics in rows.items()}, indent=2))
    else:
        print_table(build_metrics_table(rows), sys.stdout)


def find_dataset_of(network: StoredNetwork, word: str | None, shell: Shell) -> tuple[str, Shell]:
    """Return the dataset to take for a network: the one that a word means, or the one it was searched on.

    Raises:
        DatasetError: It is not where it was, or not usable.
    """
    if word is not None:
        return choose_dataset(word, shell)
    name = network.architecture.provenance.dataset
    return name, recall_dataset(network.folder, name, shell)


def export_folder(request: ExportRequest) -> None:
    """Write one trained network to a file and print its hash and its difference from torch.

    Raises:
        FolderContentError: The folder holds no trained network.
        TargetFileError: The file exists already and may not be replaced.
        SearchError: A file is corrupt, a task unknown, or the export differs from torch.
    """
    _check_target(request)
    network = choose_network(request.folder)
    needs_weights = request.file_format != "json" or network.has_weights
    weights = network.load_weights() if needs_weights else None

    # These import torch; everything above answers without it.
    from search.export import export_network  # noqa: PLC0415
    from search.networks import build_network, load_network  # noqa: PLC0415

    module = (
        build_network(network.architecture).eval()  # the tree alone is written, so any weights will do
        if weights is None
        else load_network(network.architecture, weights)
    )
    exported = export_network(module, network.architecture, fmt=request.file_format, tasks=request.tasks)
    _check_target(request)  # again: an export takes a while
    write_whole(request.target, exported.content)
    click.echo(
        f"Wrote {request.target} ({len(exported.content)} bytes, tasks {', '.join(exported.tasks)}).\n"
        f"Largest difference from torch: {exported.max_abs_difference:.3g} "
        f"({exported.max_relative_difference:.3g} of the largest output)\n"
        f"SHA-256: {exported.sha256}"
    )


def load_networks(folder: Path) -> tuple[StoredNetwork, ...]:
    """Return the networks in a folder: one, or all candidates of a study.

    Raises:
        FolderContentError: There is none.
        SearchError: A file is corrupt.
    """
    if (folder / ARCHITECTURE_NAME).is_file():
        return (_load_network(folder),)
    return tuple(_load_network(_candidate_folder(folder, candidate)) for candidate in _load_results(folder).candidates)


def choose_network(folder: Path) -> StoredNetwork:
    """Return the network in a folder; of a study the candidate with the best delta_m, said on stderr."""
    if (folder / ARCHITECTURE_NAME).is_file():
        return _load_network(folder)
    candidates = _load_results(folder).candidates
    if not candidates:
        raise FolderContentError(f"A candidate is needed, but {folder} holds none. Run the search again.")
    best = max(candidates, key=lambda found: (-math.inf if found.delta_m is None else found.delta_m, -found.madds))
    if len(candidates) > 1:
        reason = "untrained as all" if best.delta_m is None else f"the best with a delta_m of {best.delta_m:+.2f} %"
        click.echo(
            f"{folder} holds {len(candidates)} candidates; taking {best.name}, {reason}. "
            f"For another name its folder, such as {_candidate_folder(folder, candidates[0])}.",
            err=True,
        )
    return _load_network(_candidate_folder(folder, best))


def _load_results(folder: Path) -> Results:
    """Return the results of a study, or say what the folder is instead."""
    if not folder.is_dir():
        raise FolderContentError(f"A folder that a run wrote is needed, but there is none at {folder}. Check the path.")
    path = folder / RESULTS_NAME
    if path.is_file():
        return Results.from_json_bytes(path.read_bytes(), str(path))
    if (folder / SPEC_NAME).is_file():
        raise FolderContentError(f"The run in {folder} is not finished. Go on with it by --resume first.")
    raise FolderContentError(
        f"A candidate ({ARCHITECTURE_NAME} and {WEIGHTS_NAME}) or a study ({RESULTS_NAME}) is needed, but {folder} "
        f"holds neither. Name the --out folder of a run, or one of its candidates."
    )


def _candidate_folder(folder: Path, candidate: Candidate) -> Path:
    """Return the folder of a candidate of a study; a path that leads out of the study is refused."""
    path = folder / candidate.architecture
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FolderContentError(
            f"A study holds its own candidates, but {folder / RESULTS_NAME} points to {candidate.architecture}. "
            f"Run the search again."
        )
    return path.parent


def _load_network(folder: Path) -> StoredNetwork:
    """Return the network in a candidate's folder."""
    return StoredNetwork(folder, load_architecture(folder / ARCHITECTURE_NAME))


def _check_target(request: ExportRequest) -> None:
    """Refuse a folder, and a file that exists unless it may be replaced."""
    if request.target.is_dir():
        raise TargetFileError(f"--out names the file to write, but {request.target} is a folder. Name a file in it.")
    if request.target.exists() and not request.force:
        raise TargetFileError(f"{request.target} exists already. Add --force to replace it, or name another file.")
