"""`bmtas search` and `bmtas retrain`: a run in a folder of its own, from the claim to the report.

The request is checked and the folder claimed before torch is imported; a refused run gives the folder back.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import click

from search.architecture import Architecture, check_fits_dataset
from search.errors import RunCancelledError
from search.ports import ArtifactStore, Message, Precision, Surroundings
from search.results import MetricValue, Results
from search.spec import JobSpec
from search.weights_shelf import EMPTY_SHELF, WeightsShelf
from service.commands.cost import load_architecture
from service.commands.datasets.choice import note_dataset
from service.commands.folders import Job, choose_new_folder, claimed_folder, find_resumable_folder
from service.commands.interruption import stop_requests
from service.commands.shell import Shell
from service.commands.tables import build_metrics_table, build_results_table, print_table
from service.commands.terminal import build_reporter, choose_style
from service.commands.weights import find_weights
from service.pages.report import Picture, render_report

Device = Literal["auto", "cpu", "cuda"]
REPORT_NAME = "report.html"
PICTURE_NAME = "predictions.png"
_RUNS = Path("runs")


@dataclass(frozen=True)
class RunRequest:
    """How and where a run takes place.

    Attributes:
        out: Its folder; None for a fresh one in runs/, or with `resume` the newest there of the same job.
        device: Where to compute.
        resume: Whether to go on with the run in the folder; how it computes may differ from before.
        as_json: Whether stdout gets JSON, and stderr no progress.
        weights: Holds the file that encoders start from.
        precision: Format of convolutions in training.
        gpus: How many GPUs train one network together.
        compiled: Whether networks are compiled before they are trained.
    """

    out: Path | None
    device: Device
    resume: bool
    as_json: bool = False
    weights: WeightsShelf = EMPTY_SHELF
    precision: Precision = "auto"
    gpus: int = 1
    compiled: bool = False


@dataclass(frozen=True)
class RetrainRequest:
    """Which network to train, on what, how, and from which weights ("none", "imagenet" or a file)."""

    architecture: Path
    dataset: str
    preset: str
    seed: int
    weights: str = "none"


def run_search(spec: JobSpec, request: RunRequest, shell: Shell) -> None:
    """Run a job and print its results.

    Raises:
        SearchError: The job or the folder is refused.
        RunCancelledError: The run was stopped; the message says how to go on.
    """
    job = spec.model_dump(mode="json")
    folder = _choose_folder(_RUNS / f"{spec.dataset}-{spec.backbone}-seed{spec.seed}", job, request)
    results = _run_study(spec, folder, request, shell)
    if request.as_json:
        click.echo(results.to_json_bytes(), nl=False)
        return
    print_table(build_results_table(results), sys.stdout)
    click.echo(f"Report: {folder / REPORT_NAME}")


def run_retrain(retrain: RetrainRequest, request: RunRequest, shell: Shell) -> None:
    """Train an architecture and print its metrics.

    Raises:
        SearchError: The architecture does not fit the dataset, or the folder is refused.
        RunCancelledError: The run was stopped; the message says how to go on.
    """
    architecture = load_architecture(retrain.architecture)
    info = shell.datasets.get_trainable(retrain.dataset)
    check_fits_dataset(architecture, info)
    job = {
        "retrain": architecture.model_dump(mode="json"),
        "dataset": retrain.dataset,
        "preset": retrain.preset,
        "seed": retrain.seed,
    }
    if info.definition is not None:
        job["definition"] = info.definition
    weights, shelf = find_weights(retrain.weights, architecture.backbone, shell)
    if weights is not None:
        job["weights"] = weights.model_dump(mode="json")
        request = replace(request, weights=shelf)
    base = _RUNS / f"retrain-{retrain.dataset}-{architecture.backbone}-seed{retrain.seed}"
    folder = _choose_folder(base, job, request)
    with _surroundings(folder, job, request, shell) as surroundings:
        metrics = shell.load_engine().retrain_architecture(
            architecture, retrain.dataset, retrain.preset, retrain.seed, surroundings, weights
        )
    if request.as_json:
        click.echo(json.dumps(describe_metrics(metrics), indent=2))
        return
    print_table(build_metrics_table({folder.name: metrics}), sys.stdout)
    click.echo(f"Network: {folder}")


def describe_metrics(metrics: Mapping[str, MetricValue]) -> dict[str, object]:
    """Return metrics as JSON values, a dict per task."""
    return {task: measured.model_dump(mode="json") for task, measured in metrics.items()}


def list_resumable(out: Path | None, *, resume: bool) -> tuple[Path, ...]:
    """Return the folders of runs that a command may go on with: the one it names, or all in runs/."""
    if not resume:
        return ()
    return tuple(sorted(_RUNS.iterdir())) if out is None and _RUNS.is_dir() else () if out is None else (out,)


def _choose_folder(base: Path, job: Job, request: RunRequest) -> Path:
    """Return the folder that was asked for, or the one that fits the request among the numbered ones of `base`."""
    if request.out is not None:
        return request.out
    return find_resumable_folder(base, job) if request.resume else choose_new_folder(base)


def _run_study(spec: JobSpec, folder: Path, request: RunRequest, shell: Shell) -> Results:
    """Return the results of a job after it ran in its folder; the report stands beside them."""
    with _surroundings(folder, spec.model_dump(mode="json"), request, shell) as surroundings:
        results = shell.load_engine().run_job(spec, surroundings)
        write_report(results, surroundings.store)
    return results


def write_report(results: Results, store: ArtifactStore) -> None:
    """Write the report of a study beside its results, with the candidates' pictures where the run left some."""
    architectures, pictures = {}, []
    for candidate in results.candidates:
        content = store.read(candidate.architecture)
        architectures[candidate.name] = Architecture.from_json_bytes(content, candidate.architecture)
        picture = str(PurePosixPath(candidate.architecture).with_name(PICTURE_NAME))
        if store.exists(picture):
            pictures.append(Picture(f"{candidate.name}: labels and predictions", store.read(picture)))
    store.write(REPORT_NAME, render_report(results, architectures, pictures).encode())


@contextmanager
def _surroundings(folder: Path, job: Job, request: RunRequest, shell: Shell) -> Iterator[Surroundings]:
    """Yield what a run needs, in a folder that is claimed for it, until it is done, refused or stopped."""
    style = choose_style(as_json=request.as_json, is_terminal=sys.stderr.isatty(), plain=shell.settings.plain_progress)
    with (
        claimed_folder(folder, job, resume=request.resume) as store,
        build_reporter(style, sys.stderr) as reporter,
        stop_requests(lambda sentence: reporter.emit(Message(sentence))) as cancelled,
    ):
        note_dataset(store, job["dataset"], shell)
        try:
            yield Surroundings(
                store=store,
                reporter=reporter,
                cancelled=cancelled,
                device=request.device,
                cache_dir=shell.settings.cache_dir,
                cache_bytes=shell.settings.cache_bytes,
                now=_now,
                datasets=shell.datasets,
                weights=request.weights,
                precision=request.precision,
                gpus=request.gpus,
                compiled=request.compiled,
            )
        except RunCancelledError:
            raise RunCancelledError(
                f"Stopped; the state is saved. To go on, repeat the command and continue with --out {folder} --resume."
            ) from None


def _now() -> datetime:
    """Return the present time with its zone."""
    return datetime.now(UTC)
