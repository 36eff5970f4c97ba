"""A person's own samples are read label by label as their dataset.yaml says, and what does not fit is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from search.data.files.manifest_source import ManifestSource, open_manifest
from search.data.files.sources import Sample
from search.errors import DatasetError, SampleError
from tests.search.data.files.own_dataset import SIZE, manifest_values, write_own_dataset


def read(source: ManifestSource, sample_id: str) -> Sample:
    """Return a sample with all its labels."""
    return source.read(sample_id, source.info.tasks)


def array(sample: Sample, task: str) -> NDArray[Any]:
    """Return a dense label that is there."""
    label = sample.labels[task]
    assert isinstance(label, np.ndarray)
    return label


def test_every_kind_of_label_is_read(tmp_path: Path) -> None:
    """Classes, metres, unit vectors, and 0 and 1 come as written; what is ignored is 255."""
    sample = read(open_manifest(write_own_dataset(tmp_path)), "a")
    assert sample.image_HWC.shape == (*SIZE, 3)
    assert array(sample, "semseg")[:2, 0].tolist() == [255, 0]
    assert array(sample, "parts")[0, :2].tolist() == [255, 1]
    assert array(sample, "depth")[:2, 0].tolist() == [1.5, 255.0]
    assert array(sample, "normals")[0, 0] == pytest.approx([0, 0, 1], abs=0.01)
    assert array(sample, "normals")[2, 0].tolist() == [255, 255, 255]
    assert array(sample, "edge")[0, 4:6].tolist() == [0, 1]
    assert array(sample, "sal")[0, 4:6].tolist() == [0, 1]
    assert sample.labels["scene"] == 0


def test_labels_may_be_missing(tmp_path: Path) -> None:
    """A file that is not there, an empty cell and a row that is not there all mean: no label."""
    source = open_manifest(write_own_dataset(tmp_path))
    assert read(source, "b").labels["semseg"] is None
    assert read(source, "e").labels["depth"] is None
    assert [read(source, sample).labels["scene"] for sample in ("b", "c", "d", "e")] == [1, None, None, 1]


def test_only_the_tasks_asked_for_are_read(tmp_path: Path) -> None:
    """A broken label of another task does no harm."""
    source = open_manifest(write_own_dataset(tmp_path))
    (tmp_path / "normals/a.png").write_bytes(b"")
    task = source.info.task("semseg")
    assert list(source.read("a", [task]).labels) == ["semseg"]
    assert [path.name for path in source.files("a", [task])] == ["a.png", "a.png"]


def test_files_are_those_that_determine_a_sample(tmp_path: Path) -> None:
    """Missing labels have none, and a table counts as a file."""
    source = open_manifest(write_own_dataset(tmp_path))
    names = [path.relative_to(tmp_path).as_posix() for path in source.files("b", source.info.tasks)]
    assert names == [
        "images/b.png",
        *("parts/b.npy", "depth/b.npy", "normals/b.png", "edges/b.png", "sal/b.png", "labels.csv"),
    ]


def break_label(folder: Path, path: str, content: NDArray[Any] | bytes) -> None:
    """Write an array or bytes over a file."""
    target = folder / path
    if isinstance(content, bytes):
        target.write_bytes(content)
    elif target.suffix == ".npy":
        np.save(target, content, allow_pickle=content.dtype.hasobject)
    else:
        Image.fromarray(content).save(target)


NAN_DEPTH = np.full(SIZE, np.nan, dtype=np.float32)


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("images/a.png", b"", "'images/a.png' is empty"),
        ("images/a.png", b"\x89PNG\r\n\x1a\nrubbish", "no readable PNG image"),
        ("semseg/a.png", np.zeros((5, 5), dtype=np.uint8), "is 5x5"),
        ("semseg/a.png", np.full(SIZE, 7, dtype=np.uint8), "must lie in 0 to 2"),
        ("depth/a.npy", NAN_DEPTH, "must be finite"),
        ("depth/a.npy", np.array([{}], dtype=object), "holds objects"),
        ("normals/a.png", np.zeros(SIZE, dtype=np.uint8), "must be an 8-bit RGB image"),
        ("labels.csv", b"id,scene\na,garden\n", "must be among in, out, but 'labels.csv' says 'garden'"),
    ],
)
def test_a_broken_file_is_refused_with_sample_and_file(
    tmp_path: Path, path: str, content: NDArray[Any] | bytes, sentence: str
) -> None:
    """The sentence names the sample, and the file as it is seen from the root."""
    file = write_own_dataset(tmp_path)
    break_label(tmp_path, path, content)
    with pytest.raises(SampleError, match=r"^Sample 'a': ") as caught:
        read(open_manifest(file), "a")
    assert sentence in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    """Labels may be missing, an image may not."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(SampleError, match=r"^Sample 'a': 'images/a.png' is missing"):
        read(open_manifest(file), "a")


@pytest.mark.parametrize("target", ["../secret.png", "nowhere.png"])
def test_links_out_of_the_root_and_into_nowhere_are_refused(tmp_path: Path, target: str) -> None:
    """A link to a file outside is not followed; one to nothing is no missing label."""
    file = write_own_dataset(tmp_path / "robot")
    link = tmp_path / "robot/semseg/a.png"
    link.rename(tmp_path / "secret.png")
    link.symlink_to(Path("..") / target)
    source = open_manifest(file)
    with pytest.raises(SampleError, match=r"^Sample 'a': "):
        read(source, "a")


def test_the_root_may_be_a_link_and_lie_elsewhere(tmp_path: Path) -> None:
    """The owner of the file says where the root is, and from there on nothing leads out."""
    write_own_dataset(tmp_path / "data")
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    file = tmp_path / "robot.yaml"
    file.write_text(write_own_dataset(tmp_path / "data", root="linked").read_text())
    assert read(open_manifest(file), "a").labels["scene"] == 0


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"sample,scene\na,in\n", "has one column 'id'"),
        (b"id,place\na,in\n", "has one column 'scene'"),
        (b"id,scene,scene\na,in,out\n", "has one column 'scene'"),
        (b"id,scene\na,in\na,out\n", "holds 'a' twice"),
        (b"id,scene\na,in,more\n", "more cells than columns"),
        (b'id,scene\n"a,in\n', "no CSV table"),
        (b"id,scene\n\xff,in\n", "UTF-8"),
        (b"", "is empty"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, table: bytes, sentence: str) -> None:
    """A table without its columns, with two rows of a sample or with stray cells cannot be meant."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(DatasetError) as caught:
        open_manifest(file)
    assert sentence in str(caught.value)


def test_an_ignored_value_of_edges_can_be_named(tmp_path: Path) -> None:
    """With `ignore`, 255 says nothing and 1 is an edge."""
    tasks = manifest_values()["tasks"]
    file = write_own_dataset(tmp_path, tasks=tasks | {"edge": tasks["edge"] | {"ignore": 255}})
    edge_HW = np.zeros(SIZE, dtype=np.uint8)
    edge_HW[0, 1:3] = (1, 255)
    break_label(tmp_path, "edges/a.png", edge_HW)
    assert array(read(open_manifest(file), "a"), "edge")[0, :3].tolist() == [0, 1, 255]
