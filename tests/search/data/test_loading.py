from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search.data.catalogue import DATASETS
from search.data.loading import LoadedData, load_data
from search.data.shelf import DatasetShelf
from search.errors import DatasetError, InputSizeError, SettingError, UnknownNameError
from search.spec import DataSpec
from tests.search.data.files.own_dataset import write_own_dataset

SMALL = {"digits": DataSpec(input_size=(24, 24), num_train=12, num_val=8)} | {
    "scenes": DataSpec(input_size=(64, 80), num_train=2, num_val=1)
}
EMBEDDED = sorted(name for name, info in DATASETS.items() if info.embedded)


def _load(name: str, cache_dir: Path, spec: DataSpec | None = None, resolution_scale: float = 1.0) -> LoadedData:
    """Return a small share of a dataset with all its tasks."""
    info = DATASETS[name]
    spec = SMALL[name] if spec is None else spec
    return load_data(info, info.tasks, spec, resolution_scale=resolution_scale, cache_dir=cache_dir)


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_dataset_of_the_catalogue_loads_as_it_is_described(name: str, tmp_path: Path) -> None:
    """Numbers of samples, channels, sizes and label values are those the catalogue and the spec name."""
    info, data = DATASETS[name], _load(name, tmp_path)
    assert (len(data.train), len(data.val)) == (SMALL[name].num_train, SMALL[name].num_val)
    batch = data.val.batch([0])
    assert batch["image"].shape == (1, info.image_channels, *SMALL[name].input_size)
    assert list(batch) == ["image", *(task.name for task in info.tasks)]
    for task in info.tasks:
        assert len(task.class_names) in (0, task.channels)
        if task.class_names:
            assert 0 <= int(batch[task.name].min()) <= int(batch[task.name].max()) < task.channels


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_fingerprint_names_the_data_and_nothing_else(name: str, tmp_path: Path) -> None:
    """Other samples are other data; the search's resolution and augmentation are not."""
    spec = SMALL[name]
    reference = _load(name, tmp_path).fingerprint
    assert len(reference) == 64
    assert _load(name, tmp_path, resolution_scale=0.5).fingerprint == reference
    assert _load(name, tmp_path, spec.model_copy(update={"augment": True})).fingerprint == reference
    info = DATASETS[name]
    fewer = load_data(info, info.tasks[:2], spec, cache_dir=tmp_path)
    more = _load(name, tmp_path, spec.model_copy(update={"num_train": 13}))
    other = _load(name, tmp_path, spec.model_copy(update={"num_val": 3}))
    assert len({reference, fewer.fingerprint, more.fingerprint, other.fingerprint}) == 4


@pytest.mark.parametrize("name", EMBEDDED)
def test_only_training_is_augmented(name: str, tmp_path: Path) -> None:
    """A generator changes training images when the spec says so, and never validation images."""
    data = _load(name, tmp_path, SMALL[name].model_copy(update={"augment": True}))
    generator = torch.Generator().manual_seed(0)
    everything = range(len(data.train))
    assert not torch.equal(data.train.batch(everything, generator)["image"], data.train.batch(everything)["image"])
    assert torch.equal(data.val.batch([0], generator)["image"], data.val.batch([0])["image"])


def test_without_numbers_all_samples_are_used(tmp_path: Path) -> None:
    """None means the whole split."""
    data = _load("digits", tmp_path, DataSpec(input_size=(24, 24)))
    assert (len(data.train), len(data.val)) == (3000, 2000)


def test_training_and_validation_differ(tmp_path: Path) -> None:
    """No image stands in both splits."""
    data = _load("digits", tmp_path, DataSpec(input_size=(24, 24), num_train=300, num_val=300))
    train, val = (
        {image.numpy().tobytes() for image in split.batch(range(300))["image"]} for split in (data.train, data.val)
    )
    assert not train & val


def test_progress_counts_both_splits_together(tmp_path: Path) -> None:
    """Each rendered scene is reported once, and the last report is complete."""
    info, seen = DATASETS["scenes"], list[tuple[int, int]]()
    load_data(
        info, info.tasks, SMALL["scenes"], cache_dir=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("name", "size"), [("digits", (25, 24)), ("scenes", (63, 64)), ("scenes", (64, 513))])
def test_a_size_the_dataset_does_not_come_in_is_refused(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    """The message names the sizes there are and the one that was asked for."""
    with pytest.raises(InputSizeError, match=rf"{size[0]}x{size[1]}.*{DATASETS[name].default_size[0]}"):
        _load(name, tmp_path, DataSpec(input_size=size))


@pytest.mark.parametrize("split", ["num_train", "num_val"])
def test_more_samples_than_there_are_are_refused(split: str, tmp_path: Path) -> None:
    """The message says how many there are."""
    with pytest.raises(SettingError, match=r"has \d+ (training|validation) samples"):
        _load("digits", tmp_path, SMALL["digits"].model_copy(update={split: 5000}))


@pytest.mark.parametrize("scale", [0.0, 1.5])
def test_a_scale_outside_of_its_range_is_refused(scale: float, tmp_path: Path) -> None:
    """The search may run smaller than the networks, never larger."""
    with pytest.raises(SettingError, match="resolution_scale"):
        _load("digits", tmp_path, resolution_scale=scale)


def test_a_dataset_without_a_loader_is_refused(tmp_path: Path) -> None:
    """The message names those there are."""
    letters = replace(DATASETS["digits"], name="letters")
    for info in (letters, DATASETS["nyud"]):
        with pytest.raises(UnknownNameError, match="digits, scenes"):
            load_data(info, info.tasks, SMALL["digits"], cache_dir=tmp_path)


def _load_own(file: Path, cache_dir: Path, **changes: Any) -> LoadedData:
    """Return the data of a dataset.yaml."""
    info = DatasetShelf(files=[file]).get("my-robot")
    spec = DataSpec(**({"input_size": (32, 48), "definition": info.definition} | changes))
    return load_data(info, info.tasks, spec, place=file, cache_dir=cache_dir)


def test_a_dataset_of_files_is_loaded_like_any_other(tmp_path: Path) -> None:
    """Batches have the shapes and kinds of all datasets, and labels that are missing are ignored."""
    data = _load_own(write_own_dataset(tmp_path / "robot"), tmp_path / "cache")
    assert (len(data.train), len(data.val)) == (4, 2)
    batch = data.train.batch([0, 1, 2])
    assert batch["image"].shape == (3, 3, 32, 48)
    assert (batch["semseg"][1] == 255).all()
    assert batch["scene"].tolist() == [0, 1, 255]
    assert batch["depth"][0, 0].unique().tolist() == [1.5, 255]


def test_the_fingerprint_follows_the_content_of_the_files(tmp_path: Path) -> None:
    """It is that of the same files elsewhere, at any resolution, and another once a label changes."""
    file, copy = write_own_dataset(tmp_path / "here"), write_own_dataset(tmp_path / "there")
    cache = tmp_path / "cache"
    here = _load_own(file, cache).fingerprint
    assert _load_own(copy, cache).fingerprint == here
    assert _load_own(file, cache, input_size=(40, 40)).fingerprint == here
    (tmp_path / "there/semseg/a.png").write_bytes((tmp_path / "there/semseg/c.png").read_bytes())
    assert _load_own(copy, cache).fingerprint != here


def test_a_dataset_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """Facts that were read before and files that are read now must be of one definition."""
    file = write_own_dataset(tmp_path / "robot")
    info = DatasetShelf(files=[file]).get("my-robot")
    (file.parent / "splits/val.txt").write_text("f\n")
    with pytest.raises(DatasetError, match="changed while a job on it began"):
        load_data(info, info.tasks, DataSpec(input_size=(32, 32)), place=file, cache_dir=tmp_path / "cache")


def test_padding_without_an_effect_is_refused(tmp_path: Path) -> None:
    """Rendered samples come in the size asked for."""
    with pytest.raises(SettingError, match="fit 'pad' has no effect"):
        _load("digits", tmp_path, SMALL["digits"].model_copy(update={"fit": "pad"}))
