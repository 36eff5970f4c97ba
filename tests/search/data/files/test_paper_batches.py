"""The paper's datasets as a network sees them: label values after padding, resizing, flipping, scaling, cropping."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from search.data.catalogue import DatasetInfo
from search.data.loading import TaskDataset, load_data
from search.data.shelf import DatasetShelf
from search.data.transforms import Augmentation, draw_augmentations
from search.spec import DataSpec, Fit
from tests.search.data.files.paper_trees import SIZE, TILT, write_nyud, write_pascal

INPUT = (40, 48)
UNIT = (TILT / 255 * 2 - 1) / np.linalg.norm(TILT / 255 * 2 - 1)
CASES = pytest.mark.parametrize("name", ["pascal_context", "nyud A", "nyud B"])
Plain = dict[str, NDArray[Any]]


def load(folder: Path, name: str, *, fit: Fit = "pad", scale: float = 1.0) -> tuple[DatasetInfo, TaskDataset]:
    """Return one of the paper's datasets in small and its training samples."""
    dataset, *layout = name.split()
    if dataset == "nyud":
        write_nyud(folder / "NYUD_MT", layout[0])
    else:
        write_pascal(folder / "PASCAL_MT")
    shelf = DatasetShelf(folder)
    info = shelf.get_trainable(dataset)
    spec = DataSpec(input_size=INPUT, fit=fit, augment=True, definition=info.definition)
    place = shelf.place(dataset)
    loaded = load_data(info, info.tasks, spec, resolution_scale=scale, place=place, cache_dir=folder / "cache")
    return info, loaded.train


def expect(name: str) -> Plain:
    """Return the labels of the first sample in its own size, built from what was written; normals (H, W, 3)."""
    right = np.arange(SIZE[1]) >= 15

    def split(left: float, other: float) -> NDArray[Any]:
        return np.broadcast_to(np.where(right, other, left), SIZE).copy()

    if name.startswith("nyud"):
        labels = {"semseg": split(0, 40) if name == "nyud A" else split(255, 39), "depth": split(255, 1.5)}
        return labels | {"edge": split(0, 0), "normals": np.broadcast_to(UNIT, (*SIZE, 3)).copy()}
    labels = {"semseg": split(15, 255), "sal": split(0, 1), "parts": split(0, 0), "normals": np.full((*SIZE, 3), 255.0)}
    labels["parts"][0:4, 0:5], labels["parts"][10:12, 20:24] = 1, 6
    labels["normals"][:, 15:], labels["normals"][5] = UNIT, 255
    return labels


def plain(label: Tensor) -> NDArray[Any]:
    """Return the label of the first sample as (H, W) or (H, W, 3)."""
    array = label[0].numpy()
    return (
        array.transpose(1, 2, 0).squeeze(-1)
        if len(label.shape) == 4 and array.shape[0] == 1
        else (array.transpose(1, 2, 0) if array.ndim == 3 else array)
    )


def check(batch: dict[str, Tensor], expected: Plain, name: str) -> None:
    """Compare all labels but edges, which another test looks at; JPEG blurs normals of layout A, the cache rounds."""
    for task, values in expected.items():
        if task != "edge":
            loose = 0.02 if (task, name) == ("normals", "nyud A") else 5e-4 if task == "normals" else 0
            np.testing.assert_allclose(plain(batch[task]), values, atol=loose, err_msg=task)


@CASES
def test_padding_keeps_every_value_and_ignores_the_rest(tmp_path: Path, name: str) -> None:
    """The image lies at the top left as it is; around it labels say nothing."""
    _, data = load(tmp_path, name)
    inside = expect(name)
    padded = {task: np.full((*INPUT, *values.shape[2:]), 255.0) for task, values in inside.items()}
    for task, values in inside.items():
        padded[task][: SIZE[0], : SIZE[1]] = values
    batch = data.batch([0])
    assert batch["image"].shape == (1, 3, *INPUT)
    assert -1 <= float(batch["image"].min()) <= float(batch["image"].max()) <= 1
    check(batch, padded, name)


@CASES
@pytest.mark.parametrize("scale", [0.5, 2 / 3, 1.0])
def test_resizing_takes_the_nearest_pixel(tmp_path: Path, name: str, scale: float) -> None:
    """Stretched to any resolution of the search, a pixel has the label of the pixel below its centre; metres stay."""
    _, data = load(tmp_path, name, fit="resize", scale=scale)
    size = tuple(round(side * scale) for side in INPUT)
    rows, cols = (np.floor((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, SIZE, strict=True))
    check(data.batch([0]), {task: values[rows][:, cols] for task, values in expect(name).items()}, name)


@CASES
def test_the_search_pads_what_it_has_shrunk(tmp_path: Path, name: str) -> None:
    """At half the side every second pixel counts, and as much is padding as before."""
    _, data = load(tmp_path, name, scale=0.5)
    shrunk = {}
    for task, values in expect(name).items():
        shrunk[task] = np.full((20, 24, *values.shape[2:]), 255.0)
        shrunk[task][:10, :15] = values[1::2, 1::2]
    check(data.batch([0]), shrunk, name)


def _falls_into(edges_HW: NDArray[Any], scaled: list[int], place: tuple[int, int]) -> bool:
    """Return whether any edge falls into a pixel of a smaller map."""
    rows, cols = np.nonzero(edges_HW == 1)
    return bool(((rows * scaled[0] // INPUT[0] == place[0]) & (cols * scaled[1] // INPUT[1] == place[1])).any())


def see(values: NDArray[Any], task: str, augmentation: Augmentation) -> NDArray[Any]:
    """Return what a label (H, W) or (H, W, 3) of the input's size should be after an augmentation, pixel by pixel."""
    scaled = [round(side * augmentation.scale) for side in INPUT]
    seen = np.full(values.shape, 255.0)
    for row, col in np.ndindex(*INPUT):
        place = row + augmentation.top, (INPUT[1] - 1 - col if augmentation.flip else col) + augmentation.left
        if all(0 <= at < side for at, side in zip(place, scaled, strict=True)):
            own = tuple(int((at + 0.5) * side / new) for at, side, new in zip(place, INPUT, scaled, strict=True))
            fallen = task == "edge" and augmentation.scale < 1 and _falls_into(values, scaled, place)
            seen[row, col] = 1 if fallen else values[own]
    known = seen != 255
    if task == "depth":
        return np.where(known, seen / augmentation.scale, seen)
    return np.where(known, seen * [-1, 1, 1], seen) if task == "normals" and augmentation.flip else seen


@CASES
@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_augmentation_changes_values_as_the_view_changes(tmp_path: Path, name: str, fit: Fit) -> None:
    """Mirrored, scaled, cropped or padded: x of normals is negated, depth divided, edges stay lines."""
    info, data = load(tmp_path, name, fit=fit)
    still = data.batch([0])
    seen = set()
    for seed in range(12):
        batch = data.batch([0], torch.Generator().manual_seed(seed))
        drawn = draw_augmentations(1, INPUT, torch.Generator().manual_seed(seed))[0]
        seen.add((drawn.flip, drawn.scale > 1, drawn.scale < 1))
        for task in info.tasks:
            expected, actual = see(plain(still[task.name]), task.name, drawn), plain(batch[task.name])
            if task.name == "edge" and drawn.scale < 1:  # thin lines outlive shrinking, where single pixels would not
                np.testing.assert_array_equal(actual == 255, expected == 255)
                expected = np.where(actual == 1, 1, expected)
            np.testing.assert_allclose(actual, expected, atol=1e-4, err_msg=f"{task.name} {drawn}")
    assert len(seen) >= 4


@CASES
def test_edges_stay_one_or_none_in_every_form(tmp_path: Path, name: str) -> None:
    """Whatever is done to it, an edge map holds 0, 1 and 255 only, and the boundary of the two halves is in it."""
    for number, (fit, scale) in enumerate((("pad", 1.0), ("pad", 0.5), ("resize", 1.0), ("resize", 2 / 3))):
        _, data = load(tmp_path / str(number), name, fit=fit, scale=scale)  # type: ignore[arg-type]
        edge_HW = plain(data.batch([0])["edge"])
        assert set(np.unique(edge_HW)) <= {0, 1, 255}
        if scale == 1:
            assert (edge_HW == 1).any(1)[2:18].all()


def test_images_without_people_do_not_train_parts(tmp_path: Path) -> None:
    """The second sample has no label of parts at all."""
    _, data = load(tmp_path, "pascal_context")
    assert bool((data.batch([1])["parts"] == 255).all())


def test_both_layouts_are_two_datasets(tmp_path: Path) -> None:
    """Layout B has one class less, so that results of the two are never taken for comparable."""
    one, _ = load(tmp_path / "a", "nyud A")
    other, _ = load(tmp_path / "b", "nyud B")
    assert one.definition != other.definition
    assert one.task("semseg").channels == other.task("semseg").channels + 1
