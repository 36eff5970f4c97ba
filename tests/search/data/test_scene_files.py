import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from search.data.catalogue import DATASETS
from search.data.scene_files import ScenesDataset, SceneSplit, load_arrays
from search.data.scenes import draw_scene, render_scene
from search.errors import DatasetError

TASKS = DATASETS["scenes"].tasks
WANTED = SceneSplit("train", (32, 48), 2)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache that already holds the split."""
    load_arrays(WANTED, TASKS, tmp_path)
    return tmp_path


def _folder(cache: Path) -> Path:
    """Return where the split lies."""
    return cache / "scenes" / WANTED.key


def test_arrays_from_the_cache_are_those_of_the_renderer(cache: Path) -> None:
    """Bytes and metres come back exactly, normals to half precision."""
    arrays = load_arrays(WANTED, TASKS, cache)
    for index in range(2):
        scene = render_scene(draw_scene("train", index), WANTED.size)
        for name in ("image", "surface", "salient", "edge", "depth"):
            assert np.array_equal(arrays[name][index], getattr(scene, name)), name
        assert np.allclose(arrays["normals"][index], scene.normals, atol=1e-3)


def test_what_is_cached_is_not_rendered_again(cache: Path) -> None:
    """A second call renders nothing, the first reported each scene."""
    seen: list[int] = []
    load_arrays(WANTED, TASKS, cache, seen.append)
    assert seen == []
    load_arrays(SceneSplit("val", (32, 48), 2), TASKS, cache, seen.append)
    assert seen == [1, 2]


def test_only_the_arrays_of_the_tasks_are_loaded(cache: Path) -> None:
    """Two labels that are read off one map need it once."""
    assert set(load_arrays(WANTED, TASKS[:2], cache)) == {"image", "surface"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "checksums", "no checksums", "list", "file", "dtype"])
def test_a_broken_cache_is_rendered_again(cache: Path, damage: str) -> None:
    """Whatever happened to the files, the arrays are right in the end and stay."""
    folder = _folder(cache)
    image = folder / "image.npy"
    content = bytearray(image.read_bytes())
    expected = np.array(load_arrays(WANTED, TASKS, cache)["image"])
    if damage == "flip":
        content[-7] ^= 1
        image.write_bytes(content)
    elif damage == "truncate":
        image.write_bytes(content[:-100])
    elif damage == "remove":
        image.unlink()
    elif damage == "checksums":
        (folder / "checksums.json").write_bytes(b'{"image": \xff')
    elif damage == "no checksums":
        (folder / "checksums.json").unlink()
    elif damage == "list":
        (folder / "checksums.json").write_text("[1, 2]")
    elif damage == "file":
        folder.rename(cache / "elsewhere")
        folder.write_text("not a folder")
    else:
        _replace_with_other_dtype(folder)
    seen: list[int] = []
    assert np.array_equal(load_arrays(WANTED, TASKS, cache, seen.append)["image"], expected)
    assert seen == [1, 2]
    assert np.array_equal(load_arrays(WANTED, TASKS, cache, seen.append)["image"], expected)
    assert seen == [1, 2]


def _replace_with_other_dtype(folder: Path) -> None:
    """Store images as floats, with a checksum that fits."""
    np.save(folder / "image.npy", np.zeros(WANTED.shape("image"), dtype=np.float32))
    checksums = json.loads((folder / "checksums.json").read_text())
    checksums["image"] = hashlib.sha256((folder / "image.npy").read_bytes()).hexdigest()
    (folder / "checksums.json").write_text(json.dumps(checksums))


def test_an_interrupted_rendering_leaves_nothing_and_is_done_again(tmp_path: Path) -> None:
    """An interruption in the middle leaves no arrays behind, neither whole nor half."""

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_arrays(WANTED, TASKS, tmp_path, interrupt)
    assert [path.suffix for path in (tmp_path / "scenes").iterdir()] == [".lock"]
    # A process that was killed could not clean up; what it left must not disturb the next one.
    partial = _folder(tmp_path).with_suffix(".partial")
    partial.mkdir()
    (partial / "image.npy").write_bytes(b"half")
    assert len(load_arrays(WANTED, TASKS, tmp_path)["image"]) == 2
    assert not partial.exists()


def test_two_runs_that_want_the_same_both_get_it(tmp_path: Path) -> None:
    """One renders while the other waits and then finds it done."""
    seen: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: load_arrays(WANTED, TASKS, tmp_path, seen.append), range(2)))
    assert seen == [1, 2]
    assert np.array_equal(both[0]["image"], both[1]["image"])
    assert sorted(path.suffix for path in (tmp_path / "scenes").iterdir()) == ["", ".lock"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The message says which folder and what the system said."""
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DatasetError, match=r"taken.*Free some space"):
        load_arrays(WANTED, TASKS, tmp_path / "taken")


def test_batches_have_the_promised_form(cache: Path) -> None:
    """Shapes, types and ranges of all six tasks, with 255 in the sky and nowhere else in depth and normals."""
    batch = ScenesDataset(load_arrays(WANTED, TASKS, cache), TASKS).batch([1, 0, 1])
    assert list(batch) == ["image", *(task.name for task in TASKS)]
    shapes = {name: tuple(value.shape[1:]) for name, value in batch.items()}
    assert shapes["image"] == shapes["normals"] == (3, 32, 48)
    assert shapes["semseg"] == shapes["parts"] == (32, 48)
    assert shapes["sal"] == shapes["depth"] == shapes["edge"] == (1, 32, 48)
    assert batch["semseg"].dtype == batch["parts"].dtype == torch.int64
    assert all(batch[name].dtype == torch.float32 for name in ("image", "sal", "normals", "depth", "edge"))
    assert batch["image"].abs().max() <= 1
    assert set(batch["sal"].unique().tolist()) == set(batch["edge"].unique().tolist()) == {0.0, 1.0}
    sky = batch["semseg"] == 0
    assert torch.equal((batch["depth"] == 255)[:, 0], sky)
    assert torch.equal((batch["normals"] == 255).all(1), sky)
    lengths = batch["normals"].norm(dim=1)[~sky]
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-6)


def test_augmentation_needs_both_the_setting_and_a_generator(cache: Path) -> None:
    """Without either the samples come as they are; with both they change and repeat by seed."""
    arrays = load_arrays(WANTED, TASKS, cache)
    plain, augmented = (ScenesDataset(arrays, TASKS, augmented=augmented) for augmented in (False, True))
    reference = plain.batch([0, 1])["image"]
    assert torch.equal(plain.batch([0, 1], torch.Generator().manual_seed(1))["image"], reference)
    assert torch.equal(augmented.batch(torch.tensor([0, 1]))["image"], reference)
    changed = [augmented.batch([0, 1], torch.Generator().manual_seed(1)) for _ in range(2)]
    assert not torch.equal(changed[0]["image"], reference)
    assert all(torch.equal(changed[0][name], changed[1][name]) for name in changed[0])


def test_lower_resolution_shrinks_image_and_labels_alike(cache: Path) -> None:
    """Every map comes in the rounded size, and no new label value arises."""
    arrays = load_arrays(WANTED, TASKS, cache)
    full, small = (ScenesDataset(arrays, TASKS, resolution_scale=scale).batch([0]) for scale in (1.0, 2 / 3))
    assert {tuple(value.shape[-2:]) for value in small.values()} == {(21, 32)}
    for name in ("semseg", "parts", "sal", "edge", "depth"):
        assert set(small[name].unique().tolist()) <= set(full[name].unique().tolist())
