"""The commands that work on this machine: options are parsed here, the other modules of this room do what they ask."""

# ruff: noqa: PLC0415 - imports inside commands keep torch, pydantic and rich out of `bmtas --help`
# ruff: noqa: PLR0913, PLR0917 - click hands every option over by name

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.commands.shell import Shell

if TYPE_CHECKING:
    from search.export import Format
    from search.ports import Precision
    from search.spec import Objective
    from service.commands.runs import Device

_PATH = click.Path(path_type=Path)
_dataset = click.option(
    "--dataset",
    required=True,
    metavar="NAME|FILE",
    help="Dataset; `bmtas datasets` lists them. A dataset of your own: the path of its dataset.yaml.",
)


def _admit_code(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """Return the name of a backbone; one that says module:callable may run in this process from now on."""
    from models.foreign import admit_code, is_code_name

    if name is not None and is_code_name(name):
        admit_code(name, Path.cwd())
    return name


_backbone = click.option(
    "--backbone",
    required=True,
    metavar="NAME|MODULE:CALLABLE",
    callback=_admit_code,
    help="Backbone; `bmtas backbones` lists them. A network of your own: the code that builds it.",
)
_code = click.option(
    "--backbone",
    metavar="MODULE:CALLABLE",
    callback=_admit_code,
    expose_value=False,
    help="Code of your own that the network stands on, where it does.",
)
_tasks = click.option("--tasks", metavar="A,B", help="Tasks, separated by commas; all of the dataset without it.")
_architecture = click.option("--architecture", required=True, type=_PATH, help="An architecture.json.")
_seed = click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed.")
_preset = click.option(
    "--preset",
    type=click.Choice(["smoke", "quick", "paper"]),
    default="quick",
    show_default=True,
    help="How long to train: to see that it runs, for a result in minutes, or as in the paper.",
)
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
_precision = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Format of convolutions in training; auto takes bf16 where a GPU has it, and fp32 on a CPU.",
)
_gpus = click.option(
    "--gpus",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="GPUs that train one network together; a search takes one.",
)
_compile = click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile networks before they are trained: up to minutes at each start, for faster steps.",
)
_weights = click.option(
    "--weights",
    default="none",
    show_default=True,
    metavar="imagenet|none|FILE",
    help="What encoders start from; `bmtas weights` lists the files there are.",
)
_out = click.option("--out", type=_PATH, help="Empty or new folder for the results; a fresh one in runs/ without it.")
_resume = click.option("--resume", is_flag=True, help="Go on with the run that the folder holds.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else there.")


@click.command()
@_json
@click.pass_obj
def datasets(shell: Shell, as_json: bool) -> None:
    """List the datasets, their tasks and where they lie."""
    from service.commands.lists import list_datasets

    list_datasets(shell, as_json=as_json)


@click.command()
@_json
def backbones(as_json: bool) -> None:
    """List the backbones."""
    from service.commands.lists import list_backbones

    list_backbones(as_json=as_json)


@click.command()
@_json
@click.pass_obj
def weights(shell: Shell, as_json: bool) -> None:
    """List the weight files that networks can start from."""
    from service.commands.weights import show_weights

    show_weights(shell, as_json=as_json)


@click.command(short_help="Count multiply-adds and parameters.")
@_dataset
@_backbone
@click.option("--size", metavar="HxW", help="Input height and width in pixels; the dataset's own without it.")
@_tasks
@click.option("--architecture", type=_PATH, help="Also count the network of this architecture.json.")
@_json
@click.pass_obj
def cost(
    shell: Shell,
    dataset: str,
    backbone: str,
    size: str | None,
    tasks: str | None,
    architecture: Path | None,
    as_json: bool,
) -> None:
    """Count multiply-adds and parameters; no data is needed."""
    from service.commands.cost import CostRequest, show_costs
    from service.commands.datasets.choice import choose_dataset

    dataset, shell = choose_dataset(dataset, shell)
    request = CostRequest(dataset, backbone, size, split_names(tasks), architecture)
    show_costs(request, shell, as_json=as_json)


@click.command(short_help="Search a network for every budget and train it.")
@_dataset
@_backbone
@_tasks
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    required=True,
    metavar="9.1G|550M|60%",
    help="Most MAdds of the network, as a number or as a share of the single-task total; may be repeated.",
)
@_seed
@_preset
@click.option(
    "--objective",
    type=click.Choice(["exact", "paper", "sampled"]),
    default="exact",
    show_default=True,
    help="How the expected cost is computed; 'sampled' is for many tasks.",
)
@click.option("--no-retrain", is_flag=True, help="Stop after the search: no training, no baselines, no metrics.")
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Take each batch in N micro batches, to save memory. Batch norm sees one at a time, so results differ.",
)
@_weights
@_device
@_precision
@_gpus
@_compile
@_out
@_resume
@_json
@click.pass_obj
def search(
    shell: Shell,
    dataset: str,
    backbone: str,
    tasks: str | None,
    budgets: tuple[str, ...],
    seed: int,
    preset: str,
    objective: Objective,
    no_retrain: bool,
    accumulate: int,
    weights: str,
    device: Device,
    precision: Precision,
    gpus: int,
    compiled: bool,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Search a network for every budget, train it and compare it with the baselines."""
    from search.presets import build_spec
    from search.spec import parse_budget
    from service.commands.datasets.choice import choose_dataset
    from service.commands.runs import RunRequest, list_resumable, run_search
    from service.commands.weights import find_weights

    dataset, shell = choose_dataset(dataset, shell, list_resumable(out, resume=resume))
    start, shelf = find_weights(weights, backbone, shell)
    spec = build_spec(
        dataset=dataset,
        tasks=split_names(tasks),
        backbone=backbone,
        budgets=tuple(dict.fromkeys(parse_budget(budget) for budget in budgets)),
        seed=seed,
        preset=preset,
        objective=objective,
        with_retrain=not no_retrain,
        weights=start,
        datasets=shell.datasets,
    )
    run_search(
        spec.in_micro_batches(accumulate),
        RunRequest(out, device, resume, as_json, shelf, precision=precision, gpus=gpus, compiled=compiled),
        shell,
    )


@click.command(short_help="Train the network of an architecture.json.")
@_architecture
@_code
@_dataset
@_seed
@_preset
@_weights
@_device
@_precision
@_gpus
@_compile
@_out
@_resume
@_json
@click.pass_obj
def retrain(
    shell: Shell,
    architecture: Path,
    dataset: str,
    seed: int,
    preset: str,
    weights: str,
    device: Device,
    precision: Precision,
    gpus: int,
    compiled: bool,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train the network of an architecture.json and evaluate it."""
    from service.commands.datasets.choice import choose_dataset
    from service.commands.runs import RetrainRequest, RunRequest, list_resumable, run_retrain

    dataset, shell = choose_dataset(dataset, shell, list_resumable(out, resume=resume))
    request = RetrainRequest(architecture, dataset, preset, seed, weights)
    computing = RunRequest(out, device, resume, as_json, precision=precision, gpus=gpus, compiled=compiled)
    run_retrain(request, computing, shell)


@click.command(short_help="Measure trained networks.")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option(
    "--dataset", metavar="NAME|FILE", help="Dataset to measure on; the one that the networks were searched on without."
)
@_code
@_device
@_json
@click.pass_obj
def evaluate(shell: Shell, folder: Path, dataset: str | None, device: Device, as_json: bool) -> None:
    """Measure the trained networks in DIR: a study, one of its candidates, or a retrained network."""
    from service.commands.networks import EvaluateRequest, evaluate_folder

    evaluate_folder(EvaluateRequest(folder, dataset, device, as_json), shell)


@click.command(short_help="Write a trained network as JSON, ONNX or pt2.")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--format", "file_format", required=True, type=click.Choice(["json", "onnx", "pt2"]), help="File format.")
@click.option("--out", "target", required=True, type=_PATH, metavar="FILE", help="File to write.")
@click.option("--tasks", metavar="A,B", help="Only the branches that these tasks need; all without it.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@_code
def export(folder: Path, file_format: Format, target: Path, tasks: str | None, force: bool) -> None:
    """Write the trained network in DIR to FILE and check it against torch."""
    from service.commands.networks import ExportRequest, export_folder

    export_folder(ExportRequest(folder, file_format, target, split_names(tasks), force))


@click.command(short_help="Show what a trained network makes of photographs.")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.argument("images", metavar="IMAGE...", type=_PATH, nargs=-1, required=True)
@click.option("--out", type=_PATH, metavar="FOLDER", help="Folder for the pictures; beside each photograph without it.")
@click.option(
    "--dataset", metavar="NAME|FILE", help="Names classes and says how images are fitted; that of the network without."
)
@click.option("--raw", is_flag=True, help="Also write the numbers: classes as PNG, everything else as .npy.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@_code
@_device
@_json
@click.pass_obj
def predict(
    shell: Shell,
    folder: Path,
    images: tuple[Path, ...],
    out: Path | None,
    dataset: str | None,
    raw: bool,
    force: bool,
    device: Device,
    as_json: bool,
) -> None:
    """Write a picture per task beside each IMAGE, in its own size, by the trained network in DIR."""
    from service.commands.predict import PredictRequest, predict_images

    predict_images(PredictRequest(folder, images, out, dataset, device, raw, force, as_json), shell)


@click.command(short_help="Search three budgets on real handwriting.")
@_device
@click.option("--out", type=_PATH, default=Path("runs/demo"), show_default=True, help="Folder for the results.")
@click.option("--once", is_flag=True, help="End when all is found; without it the service stays until Ctrl-C.")
@click.pass_obj
def demo(shell: Shell, out: Path, device: Device, once: bool) -> None:
    """Search three budgets on real handwriting through a service of its own; goes on where it was stopped.

    When all is found it names the study's page in the dashboard, and the service stays until Ctrl-C (or SIGTERM, where
    no terminal is); scripts say --once.
    """
    from service.commands.demo import DemoPlace, run_demo

    run_demo(DemoPlace(out, device, once=once), shell)


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names of a comma-separated list, or None where none was given."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


LOCAL_COMMANDS = (datasets, backbones, weights, cost, search, retrain, evaluate, export, predict, demo)
