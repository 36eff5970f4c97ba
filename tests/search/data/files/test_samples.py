import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from search.data.catalogue import DatasetInfo, TaskInfo
from search.data.files.filling import SampleMaker, compute_digests, fill
from search.data.files.fitting import InputForm, count_bytes
from search.data.files.sample_cache import SampleCache
from search.data.files.samples import CACHE_FOLDER, FileDataset, SplitRequest, open_files
from search.data.files.sources import Label, MemorySource, Sample
from search.data.reading.file_hashes import FileHashes
from search.errors import DatasetError, SampleError

TASKS = (
    TaskInfo("semseg", "segmentation", 5),
    TaskInfo("parts", "parts", 3),
    TaskInfo("sal", "saliency", 1),
    TaskInfo("normals", "normals", 3),
    TaskInfo("depth", "depth", 1),
    TaskInfo("edge", "edge", 1, positive_weight=0.9),
    TaskInfo("scene", "classification", 4),
)
SIZE = (6, 8)
SMALL, LARGE = InputForm(SIZE), InputForm((64, 64))


def _labels(rng: np.random.Generator, height: int, width: int) -> dict[str, Label]:
    """Return random labels of every kind, a tenth of each map ignored."""
    shape = (height, width)
    normals = rng.normal(size=(*shape, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    maps: dict[str, NDArray[Any]] = {
        "semseg": rng.integers(0, 5, shape).astype(np.uint8),
        "parts": rng.integers(0, 3, shape).astype(np.uint8),
        "sal": rng.integers(0, 2, shape).astype(np.uint8),
        "normals": normals,
        "depth": rng.uniform(0.5, 9, shape).astype(np.float32),
        "edge": rng.integers(0, 2, shape).astype(np.uint8),
    }
    for label in maps.values():
        label[rng.uniform(size=shape) < 0.1] = 255
    return {**maps, "scene": int(rng.integers(4))}


def _sample(seed: int, *, missing: frozenset[str] = frozenset(), size: tuple[int, int] = SIZE) -> Sample:
    """Return a random sample without the labels that are missing."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    labels = _labels(rng, *size)
    return Sample(image, {name: None if name in missing else label for name, label in labels.items()})


def _source(*samples: Sample, paths: dict[str, list[Path]] | None = None) -> MemorySource:
    """Return a dataset with these training samples."""
    named = {f"s{position:03}": sample for position, sample in enumerate(samples)}
    info = DatasetInfo("mine", TASKS, 3, SIZE, (4, 64), len(named), 0, "made by hand", embedded=False)
    return MemorySource(info, {"train": named}, paths or {})


def _open(source: MemorySource, folder: Path, form: InputForm = SMALL, *, max_bytes: int = 10**8) -> FileDataset:
    """Return all training samples of a source."""
    request = SplitRequest("train", TASKS, len(source.ids("train")), form)
    return open_files(source, request, cache_dir=folder, cache_bytes=max_bytes)


def _plain_label(label: Label, task: TaskInfo) -> Tensor:
    """Return what a batch of one holds for a label in the input's size; the plain twin."""
    if task.kind == "classification":
        return torch.tensor([255 if label is None else label])
    if label is None:
        shape = {"segmentation": (1,), "parts": (1,), "normals": (1, 3)}.get(task.kind, (1, 1))
        dtype = torch.int64 if task.kind in ("segmentation", "parts") else torch.float32
        return torch.full((*shape, *SIZE), 255, dtype=dtype)
    assert isinstance(label, np.ndarray)
    array = torch.from_numpy(label)
    if task.kind in ("segmentation", "parts"):
        return array.long()[None]
    return array.permute(2, 0, 1)[None] if task.kind == "normals" else array.float()[None, None]


def test_a_batch_holds_what_the_files_hold(tmp_path: Path) -> None:
    """Every value of every kind in the promised form; directions to a few hundredths of a degree."""
    samples = [_sample(0), _sample(1)]
    batch = _open(_source(*samples), tmp_path).batch([1, 0])
    assert list(batch) == ["image", *(task.name for task in TASKS)]
    for position, sample in enumerate(reversed(samples)):
        image = torch.from_numpy(sample.image_HWC).permute(2, 0, 1).float() / 127.5 - 1
        assert torch.equal(batch["image"][position], image)
        for task in TASKS:
            found, wanted = batch[task.name][position : position + 1], _plain_label(sample.labels[task.name], task)
            assert found.dtype == wanted.dtype
            assert torch.allclose(found, wanted, rtol=0, atol=1e-3 if task.kind == "normals" else 0), task.name


tasks_missing = st.lists(st.frozensets(st.sampled_from([task.name for task in TASKS])), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(missing=tasks_missing)
def test_any_label_may_be_missing_of_any_sample(missing: list[frozenset[str]], tmp_path: Path) -> None:
    """A missing label is all 255 in the shape of its kind; the others of the batch do not change."""
    samples = [_sample(seed, missing=names) for seed, names in enumerate(missing)]
    whole = _open(_source(*(_sample(seed) for seed in range(len(missing)))), tmp_path / "whole")
    source = _source(*samples)
    # The definition stands for the content of the files, of which samples in memory have none.
    source = replace(source, info=replace(source.info, definition=repr(missing)))
    found, full = (data.batch(range(len(missing))) for data in (_open(source, tmp_path), whole))
    for task in TASKS:
        for position, names in enumerate(missing):
            wanted = (
                torch.full_like(full[task.name][position], 255) if task.name in names else full[task.name][position]
            )
            assert torch.equal(found[task.name][position], wanted)
        assert found[task.name].dtype == full[task.name].dtype


def test_the_second_time_nothing_is_read(tmp_path: Path) -> None:
    """A source that has lost its samples still gives the batches that were made before."""
    source = _source(_sample(0), _sample(1))
    first = _open(source, tmp_path).batch([0, 1])
    empty = {name: replace(sample, image_HWC=sample.image_HWC[:0]) for name, sample in source.samples["train"].items()}
    again = _open(replace(source, samples={"train": empty}), tmp_path).batch([0, 1])
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    """The name and time of a file do not matter, its content does; the digest changes with it."""
    label = tmp_path / "label.png"
    label.write_bytes(b"one")
    paths = {"s000": [label]}
    first = _open(_source(_sample(0), paths=paths), tmp_path)
    same = _open(_source(_sample(0), paths=paths), tmp_path)
    label.write_bytes(b"two")
    changed = _open(_source(_sample(7), paths=paths), tmp_path)
    assert first.digest == same.digest != changed.digest
    assert not torch.equal(first.batch([0])["image"], changed.batch([0])["image"])


def test_forms_and_tasks_have_samples_of_their_own(tmp_path: Path) -> None:
    """The digest names the data and is the same for all of them, the arrays are not."""
    source = _source(_sample(0, size=(12, 12)))
    forms = [SMALL, InputForm(SIZE, "pad"), InputForm(SIZE, "resize", 0.5)]
    datasets = [_open(source, tmp_path, form) for form in forms]
    assert [tuple(data.batch([0])["semseg"].shape[1:]) for data in datasets] == [(6, 8), (6, 8), (3, 4)]
    assert len({data.digest for data in datasets}) == 1
    assert len({data.keys for data in datasets}) == 3
    one_task = open_files(source, SplitRequest("train", TASKS[:1], 1, SMALL), cache_dir=tmp_path)
    assert list(one_task.batch([0])) == ["image", "semseg"]


@pytest.mark.parametrize("damage", ["truncate", "change", "remove"])
def test_a_damaged_sample_is_made_anew(damage: str, tmp_path: Path) -> None:
    """Even one that is damaged during training; a damaged file is whole again afterwards."""
    source = _source(_sample(0))
    dataset = _open(source, tmp_path)
    expected = dataset.batch([0])
    (path,) = tmp_path.rglob("*.sample")
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "truncate" else content[:-9] + b"rubbish!!")
    found = dataset.batch([0])
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert damage == "remove" or path.read_bytes() == content


@pytest.mark.parametrize("max_samples", [0, 2, 9])
def test_samples_without_room_are_read_for_every_batch(max_samples: int, tmp_path: Path) -> None:
    """The bound on the cache is kept, and the batches are the same with and without it."""
    source = _source(*(_sample(seed) for seed in range(5)))
    max_bytes = max_samples * count_bytes(TASKS, LARGE)
    expected = _open(source, tmp_path / "large", LARGE).batch(range(5))
    found = _open(source, tmp_path / "small", LARGE, max_bytes=max_bytes).batch(range(5))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    stored = list((tmp_path / "small").rglob("*.sample"))
    assert sum(path.stat().st_size for path in stored) <= max_bytes
    assert len(stored) == min(5, max_samples)


def test_new_samples_take_the_room_of_old_ones(tmp_path: Path) -> None:
    """Of another dataset, not of the one being opened."""
    first, second = _source(_sample(0), _sample(1)), _source(_sample(2), _sample(3))
    second = replace(second, info=replace(second.info, name="other"))
    opened = [_open(source, tmp_path, LARGE, max_bytes=2 * count_bytes(TASKS, LARGE)) for source in (first, second)]
    assert {path.stem for path in tmp_path.rglob("*.sample")} == set(opened[1].keys)


def test_several_processes_make_what_one_makes(tmp_path: Path) -> None:
    """In any case every sample is there and reported once."""
    source, seen = _source(*(_sample(seed, size=(9, 7)) for seed in range(30))), list[None]()
    single, several = (SampleMaker(source, TASKS, SMALL, SampleCache(tmp_path / name)) for name in ("one", "two"))
    wanted = compute_digests(single, source.ids("train"), 2, FileHashes())
    fill(single, wanted, num_processes=1, on_sample=lambda: seen.append(None))
    fill(several, wanted, num_processes=2, on_sample=lambda: seen.append(None), seconds_alone=0.01)
    assert len(seen) == 60
    for sample in wanted:
        made, found = (maker.cache.find(maker.key(sample.digest)) for maker in (single, several))
        assert made is not None
        assert found is not None
        assert all(np.array_equal(made[name], found[name]) for name in made)


class _StopError(Exception):
    """Raised by a person who stops."""


@pytest.mark.parametrize("num_processes", [1, 2])
def test_stopping_keeps_what_is_done(num_processes: int, tmp_path: Path) -> None:
    """The exception comes through, nothing is left running, and the next start has less to do."""
    left = iter(range(2, -1, -1))

    def stop() -> None:
        if next(left) == 0:
            raise _StopError

    source = _source(*(_sample(seed) for seed in range(40)))
    maker = SampleMaker(source, TASKS, SMALL, SampleCache(tmp_path / CACHE_FOLDER))
    wanted = compute_digests(maker, source.ids("train"), 1, FileHashes())
    with pytest.raises(_StopError):
        fill(maker, wanted, num_processes=num_processes, on_sample=stop, seconds_alone=0)
    assert not multiprocessing.active_children()
    assert 3 <= len(list(tmp_path.rglob("*.sample"))) < 40
    assert not list(tmp_path.rglob("*.partial"))
    assert len(_open(source, tmp_path).batch([0])["image"]) == 1


def test_a_broken_sample_ends_the_opening(tmp_path: Path) -> None:
    """Before training, and its sentence names the file and the sample."""
    source = _source(_sample(0))
    with pytest.raises(SampleError, match=r"^Sample 's000': .*'lost.png' gave"):
        _open(replace(source, paths={"s000": [tmp_path / "lost.png"]}), tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The message says which folder and what the system said."""
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DatasetError, match=r"taken.*Free some space"):
        _open(_source(_sample(0)), tmp_path / "taken")


def test_a_sample_in_its_own_size_and_its_place(tmp_path: Path) -> None:
    """What the network sees can be undone: the label at full size says what was shrunk."""
    sample = _sample(3, size=(12, 10))
    dataset = _open(_source(sample), tmp_path, InputForm(SIZE, "pad"))
    placement = dataset.placement(0)
    assert (placement.native_size, placement.size) == ((12, 10), (6, 5))
    assert placement.scale == (0.5, 0.5)
    native = dataset.native(0)
    assert np.array_equal(native.image_HWC, sample.image_HWC)
    assert native.labels["scene"] == sample.labels["scene"]
    assert (dataset.batch([0])["semseg"][0, :, 5:] == 255).all()


def test_augmentation_needs_both_the_setting_and_a_generator(tmp_path: Path) -> None:
    """Without either the samples come as they are; with both they change and repeat by seed."""
    source = _source(_sample(0), _sample(1))
    plain = _open(source, tmp_path)
    request = SplitRequest("train", TASKS, 2, SMALL, augmented=True)
    augmented = open_files(source, request, cache_dir=tmp_path)
    reference = plain.batch([0, 1])["image"]
    assert torch.equal(plain.batch([0, 1], torch.Generator().manual_seed(1))["image"], reference)
    assert torch.equal(augmented.batch(torch.tensor([0, 1]))["image"], reference)
    changed = [augmented.batch([0, 1], torch.Generator().manual_seed(1)) for _ in range(2)]
    assert not torch.equal(changed[0]["image"], reference)
    assert all(torch.equal(changed[0][name], changed[1][name]) for name in changed[0])


def test_all_broken_samples_are_named_together(tmp_path: Path) -> None:
    """Whoever has to mend them wants to know of all at once."""
    source = _source(*(_sample(seed) for seed in range(5)))
    lost = {sample_id: [tmp_path / f"{sample_id}.png"] for sample_id in ("s001", "s003")}
    with pytest.raises(SampleError, match=r"^2 samples of .* cannot be used\. Sample 's001'.*Sample 's003'"):
        _open(replace(source, paths=lost), tmp_path)
