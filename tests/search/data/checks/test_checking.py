"""The check says all that is wrong with a dataset at once, and what its labels are."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.checks.checking import (
    check_source,
    compute_fingerprint,
    examine_sample,
    find_repeated_images,
    group_faults,
)
from search.data.checks.findings import Findings, find_findings, save_findings
from search.data.files.manifest_source import open_manifest
from search.data.reading.file_hashes import FileHashes
from tests.search.data.files.own_dataset import SIZE, write_own_dataset


def check(file: Path) -> Findings:
    """Return the findings on a dataset.yaml."""
    source = open_manifest(file)
    return check_source(source, source.info.tasks, "f00d")


def test_a_sound_dataset_has_no_faults(tmp_path: Path) -> None:
    """Labels that are missing are counted and are no faults."""
    found = check(write_own_dataset(tmp_path))
    assert (found.faults, found.num_faulty) == ((), 0)
    assert (found.num_samples, found.sizes) == ({"train": 4, "val": 2}, {"20x30": 6})
    labelled = {name: (task.num_labelled, task.num_missing) for name, task in found.tasks.items()}
    assert labelled["semseg"] == ({"train": 3, "val": 2}, {"train": 1, "val": 0})
    assert labelled["scene"] == ({"train": 2, "val": 2}, {"train": 2, "val": 0})


def test_statistics_are_those_of_the_labels(tmp_path: Path) -> None:
    """Shares of classes and of positive pixels, and the metres, are those that were written."""
    tasks = check(write_own_dataset(tmp_path)).tasks
    assert [entry.share for entry in tasks["semseg"].classes] == pytest.approx([0.4, 0.2, 0.4])
    assert [entry.num_samples for entry in tasks["semseg"].classes] == [2, 1, 2]
    assert tasks["semseg"].labelled_share == pytest.approx(19 / 20)
    assert tasks["edge"].positive_share == pytest.approx(1 / 30)
    assert tasks["normals"].labelled_share == pytest.approx(19 / 20)
    assert [entry.share for entry in tasks["scene"].classes] == [0.5, 0.5]
    metres = tasks["depth"].metres
    assert metres is not None
    assert (metres.smallest, metres.largest) == (1.5, 1.5)
    assert all(value == 1.5 for value in metres.quantiles.values())


def test_one_broken_label_does_not_hide_another(tmp_path: Path) -> None:
    """A sample names each of its faults, and its sound labels are counted."""
    file = write_own_dataset(tmp_path)
    Image.fromarray(np.zeros((3, 4), dtype=np.uint8)).save(tmp_path / "semseg/a.png")
    np.save(tmp_path / "depth/a.npy", np.full(SIZE, np.nan))
    source = open_manifest(file)
    report = examine_sample(source, source.info.tasks, "a")
    assert [part for part, _ in report.faults] == ["semseg", "depth"]
    assert set(report.counts) == {"parts", "normals", "edge", "sal", "scene"}
    assert report.size == SIZE


def test_faults_of_one_kind_stand_together(tmp_path: Path) -> None:
    """Two maps of wrong sizes are one kind, the broken image another; the most frequent comes first."""
    file = write_own_dataset(tmp_path)
    for number, sample in enumerate(("a", "c")):
        Image.fromarray(np.zeros((3, 4 + number), dtype=np.uint8)).save(tmp_path / f"semseg/{sample}.png")
    (tmp_path / "images/e.png").write_bytes(b"")
    found = check(file)
    assert [(group.part, group.samples) for group in found.faults] == [("semseg", ("a", "c")), ("image", ("e",))]
    assert "'semseg/a.png' is 3x4" in found.faults[0].example
    assert found.num_faulty == 3


def test_a_group_names_its_first_samples_only(tmp_path: Path) -> None:
    """With thousands of faults a person reads five names and the number."""
    file = write_own_dataset(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    source = open_manifest(file)
    reports = [examine_sample(source, source.info.tasks, sample) for sample in "abcdef"]
    (group,) = group_faults(reports)
    assert (group.num_samples, len(group.samples)) == (6, 5)


def test_a_task_without_any_label_in_a_split_is_a_fault(tmp_path: Path) -> None:
    """It could be neither trained nor measured."""
    file = write_own_dataset(tmp_path)
    for sample in "ef":
        (tmp_path / f"sal/{sample}.png").unlink()
    (group,) = check(file).faults
    assert (group.part, group.num_samples) == ("dataset", 0)
    assert "Task 'sal' cannot be measured: no sample of the val split" in group.example


def test_a_class_that_never_occurs_is_remarked(tmp_path: Path) -> None:
    """It may be meant so, so it is no fault."""
    file = write_own_dataset(tmp_path)
    for sample in "cf":
        (tmp_path / f"semseg/{sample}.png").unlink()
    found = check(file)
    assert found.faults == ()
    assert "Task 'semseg': 1 of 3 classes never occur (car)." in found.remarks


def test_several_processes_find_what_one_finds(tmp_path: Path) -> None:
    """The samples of a larger dataset come in their order."""
    file = write_own_dataset(tmp_path)
    names = [f"x{number:02d}" for number in range(26)]
    for name in names:
        (tmp_path / f"images/{name}.png").write_bytes((tmp_path / "images/a.png").read_bytes())
    (tmp_path / "splits/train.txt").write_text("\n".join(["a", "b", "c", "d", *names]))
    (tmp_path / "images/x07.png").write_bytes(b"")
    source, seen = open_manifest(file), []
    one = check_source(source, source.info.tasks, "f00d")
    two = check_source(source, source.info.tasks, "f00d", num_processes=2, on_sample=lambda: seen.append(1))
    assert one == two
    assert len(seen) == 32


def test_the_fingerprint_follows_every_file(tmp_path: Path) -> None:
    """Images, labels and tables count, and the place does not."""
    first = open_manifest(write_own_dataset(tmp_path / "here"))
    second = open_manifest(write_own_dataset(tmp_path / "there"))
    seen = {compute_fingerprint(source, first.info.tasks, FileHashes()) for source in (first, second)}
    assert len(seen) == 1
    for name in ("images/f.png", "depth/a.npy", "labels.csv"):
        path = tmp_path / "there" / name
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(compute_fingerprint(second, first.info.tasks, FileHashes()))
    assert len(seen) == 4


def test_findings_are_kept_by_content(tmp_path: Path) -> None:
    """Other content has none, and a damaged file is as good as none."""
    found = check(write_own_dataset(tmp_path / "robot"))
    save_findings(found, tmp_path / "cache")
    assert find_findings(tmp_path / "cache", "my-robot", "f00d") == found
    assert find_findings(tmp_path / "cache", "my-robot", "beef") is None
    for path in (tmp_path / "cache").rglob("*.json"):
        path.write_text(json.dumps({"damaged": True}))
    assert find_findings(tmp_path / "cache", "my-robot", "f00d") is None


def test_images_in_both_splits_are_remarked(tmp_path: Path) -> None:
    """The same bytes under another name are found; a broken image is not compared."""
    source = open_manifest(write_own_dataset(tmp_path))
    assert list(find_repeated_images(source, FileHashes())) == []
    (tmp_path / "images/e.png").write_bytes((tmp_path / "images/c.png").read_bytes())
    (tmp_path / "images/f.png").unlink()
    (remark,) = find_repeated_images(source, FileHashes())
    assert "1 validation images are training images, to the byte (e is c)" in remark
