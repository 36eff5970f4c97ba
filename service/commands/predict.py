"""`bmtas predict`: a trained network on a person's own photographs, as pictures beside them.

Photographs that cannot be used are named and left out, the others still done; then the command ends as refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search.architecture import Architecture, check_fits_dataset
from search.data.catalogue import DatasetInfo, TaskInfo
from search.errors import SampleError, SearchError
from service.artifacts import write_whole
from service.commands.networks import StoredNetwork, choose_network, find_dataset_of
from service.commands.runs import Device
from service.commands.shell import Shell
from service.errors import PredictionError, TargetFileError

if TYPE_CHECKING:
    from search.pictures.predicting import Predictor

_MOST_CLASSES_SHOWN = 3


@dataclass(frozen=True)
class PredictRequest:
    """What to predict, and where pictures go.

    Attributes:
        folder: A candidate, a retrained network or a study.
        images: Photographs.
        out: Folder of the pictures; None for that of each photograph.
        dataset: The dataset that says what classes are called; None for the one that the network was searched on.
        device: Where to compute.
        raw: Whether the numbers are written too.
        force: Whether files that exist are replaced.
        as_json: Whether stdout gets JSON.
    """

    folder: Path
    images: tuple[Path, ...]
    out: Path | None
    dataset: str | None
    device: Device
    raw: bool
    force: bool
    as_json: bool


@dataclass(frozen=True)
class _Targets:
    """Where the files of one photograph go, by task: the picture or the text, and the numbers where they are wanted."""

    image: Path
    pictures: Mapping[str, Path]
    raw: Mapping[str, Path]

    def __iter__(self) -> Iterator[Path]:
        """Yield all files."""
        yield from self.pictures.values()
        yield from self.raw.values()


def predict_images(request: PredictRequest, shell: Shell) -> None:
    """Write what a network makes of photographs beside them, and print it.

    Raises:
        FolderContentError: The folder holds no trained network.
        TargetFileError: A file exists already and may not be replaced, or two photographs share a name.
        PredictionError: Some photographs could not be used; the others are done.
        SearchError: The network is corrupt, or the device is not there.
    """
    network = choose_network(request.folder)
    weights = network.load_weights()
    info = _find_info(network, request, shell)
    targets = _plan_files(network.architecture, request)
    predictor = _load(network.architecture, weights, info, request.device)
    done, refused = [], []
    for each in targets:
        try:
            row = _predict_one(predictor, each)
        except (SampleError, MemoryError) as error:
            reason = str(error) or f"There is not enough memory for {each.image}. Make it smaller."
            refused.append({"image": str(each.image), "reason": reason})
            click.echo(f"Left out: {reason}", err=True)
        else:
            done.append(row)
            if not request.as_json:
                _print(row)
    if request.as_json:
        document = {"network": str(network.folder), "images": done, "refused": refused}
        click.echo(json.dumps(document, indent=2))
    sys.stdout.flush()
    if refused:
        raise PredictionError(f"{len(refused)} of {len(targets)} photographs could not be used; see above.")


def _find_info(network: StoredNetwork, request: PredictRequest, shell: Shell) -> DatasetInfo | None:
    """Return the facts of the network's dataset; None where it is not known here and nobody named one."""
    try:
        name, shell = find_dataset_of(network, request.dataset, shell)
        info = shell.datasets.get(name)
        check_fits_dataset(network.architecture, info)
    except SearchError:
        if request.dataset is not None:
            raise
        origin = network.architecture.provenance.dataset
        click.echo(
            f"Dataset '{origin}' is not known here as it was, so classes have numbers and photographs are resized to "
            "the network's input. Name its dataset.yaml with --dataset.",
            err=True,
        )
        return None
    return info


def _load(architecture: Architecture, weights: bytes, info: DatasetInfo | None, device: Device) -> Predictor:
    """Return the network ready to predict."""
    from search.data.files.fitting import InputForm  # noqa: PLC0415 - imports torch, which no refusal needs
    from search.networks import choose_device, load_network  # noqa: PLC0415
    from search.pictures.predicting import Predictor  # noqa: PLC0415

    place = choose_device(device)
    tasks = tuple(
        TaskInfo(name, shape.kind, shape.channels) if info is None else info.task(name)
        for name, shape in architecture.heads.items()
    )
    form = InputForm(architecture.input_size, "resize" if info is None else info.fit)
    return Predictor(load_network(architecture, weights).to(place), place, tasks, form, architecture.image_channels)


def _plan_files(architecture: Architecture, request: PredictRequest) -> list[_Targets]:
    """Return where all files go; refuse to replace what exists, and to write one file twice."""
    if request.out is not None and request.out.exists() and not request.out.is_dir():
        raise TargetFileError(f"--out names a folder, but {request.out} is a file. Name another.")
    targets, owners = [], dict[Path, Path]()
    for image in dict.fromkeys(request.images):
        found = _plan_one(image, request.out or image.parent, architecture, raw=request.raw)
        targets.append(found)
        for path in found:
            if path in owners:
                raise TargetFileError(
                    f"{owners[path]} and {image} would both be written to {path}. Give them names of their own, or "
                    "predict them into different folders."
                )
            owners[path] = image
    existing = [path for path in owners if path.exists()]
    if existing and not request.force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise TargetFileError(
            f"{existing[0]}{more} exist{'s' if len(existing) == 1 else ''} already. Add --force to replace, or name "
            "another folder with --out."
        )
    folders = [path for path in owners if path.is_dir()]
    if folders:
        raise TargetFileError(f"A picture would be written to {folders[0]}, which is a folder. Name another --out.")
    return targets


def _plan_one(image: Path, folder: Path, architecture: Architecture, *, raw: bool) -> _Targets:
    """Return where the files of one photograph go."""
    pictures, numbers = {}, {}
    for task, shape in architecture.heads.items():
        labels_image = shape.kind == "classification"
        pictures[task] = folder / f"{image.stem}-{task}{'.txt' if labels_image else '.png'}"
        if raw and not labels_image:
            has_classes = shape.kind in ("segmentation", "parts")
            numbers[task] = folder / f"{image.stem}-{task}-raw{'.png' if has_classes else '.npy'}"
    return _Targets(image, pictures, numbers)


def _predict_one(predictor: Predictor, targets: _Targets) -> dict[str, Any]:
    """Write what the network makes of one photograph and return what there is to say of it."""
    from search.data.reading.image_files import read_image  # noqa: PLC0415 - as above
    from search.pictures.predicting import draw_prediction, write_raw  # noqa: PLC0415

    image_HWC = read_image(targets.image)
    rows = {}
    for prediction in predictor.predict(image_HWC):
        name, figures = prediction.task.name, prediction.describe()
        picture, numbers = targets.pictures[name], targets.raw.get(name)
        picture.parent.mkdir(parents=True, exist_ok=True)
        is_text = prediction.task.kind == "classification"
        write_whole(picture, _write_text(figures) if is_text else draw_prediction(prediction))
        if numbers is not None:
            write_whole(numbers, write_raw(prediction)[0])
        rows[name] = {
            "kind": prediction.task.kind,
            "picture": str(picture),
            "raw": None if numbers is None else str(numbers),
            "figures": figures,
        }
    return {"image": str(targets.image), "size": list(image_HWC.shape[:2]), "tasks": rows}


def _write_text(figures: Mapping[str, float]) -> bytes:
    """Return the classes of an image with their probabilities, the likeliest first."""
    return "".join(f"{name}\t{share:.4f}\n" for name, share in figures.items()).encode()


def _print(row: Mapping[str, Any]) -> None:
    """Print what was found in one photograph, a line per task."""
    height, width = row["size"]
    click.echo(f"{row['image']} ({height}x{width})")
    for name, task in row["tasks"].items():
        click.echo(f"  {name}: {_describe(task['kind'], task['figures'])} -> {task['picture']}")


def _describe(kind: str, figures: Mapping[str, float]) -> str:
    """Return the figures of a task in a few words."""
    match kind:
        case "depth":
            return f"{figures['nearest']:.2f} to {figures['farthest']:.2f} m"
        case "normals":
            return "mean direction " + ", ".join(f"{axis} {value:+.2f}" for axis, value in figures.items())
        case "saliency" | "edge":
            return f"{100 * figures['above one half']:.1f} % of the pixels"
    shown = list(figures.items())[:_MOST_CLASSES_SHOWN]
    more = f" and {len(figures) - len(shown)} more" if len(figures) > len(shown) else ""
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shown) + more
