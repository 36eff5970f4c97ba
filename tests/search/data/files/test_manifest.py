"""dataset.yaml is read as data, whole or refused with a sentence that says where and what."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.files.manifest import load_manifest, read_document
from search.data.reading.plain_yaml import read_plain_yaml
from search.errors import DatasetError
from tests.search.data.files.own_dataset import CLASSES, TRAIN, VAL, manifest_values, write_own_dataset

AS_DOCUMENTED = """
name: my-robot
root: .                      # relative to this file
splits: {train: splits/train.txt, val: splits/val.txt}   # one sample id a line
image: images/{id}.jpg
tasks:
  semseg:  {kind: segmentation, path: "labels/{id}.png", classes: [road, car, person], ignore: 255}
  depth:   {kind: depth, path: "depth/{id}.npy", scale: 0.001, invalid: 0}
  normals: {kind: normals, path: "normals/{id}.png"}
  edge:    {kind: edge, path: "edges/{id}.png", positive_weight: 0.9}
  sal:     {kind: saliency, path: "sal/{id}.png"}
  scene:   {kind: classification, table: labels.csv, column: scene, classes: [kitchen, office]}   # csv: id,scene
input_size: [480, 640]
"""


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    """The manifest of the documentation says six tasks in its order."""
    file = tmp_path / "dataset.yaml"
    file.write_text(AS_DOCUMENTED)
    document = read_document(file)
    assert list(document.tasks) == ["semseg", "depth", "normals", "edge", "sal", "scene"]
    assert document.input_size == (480, 640)


def test_facts_follow_from_the_manifest(tmp_path: Path) -> None:
    """Channels, classes and weights of tasks, and the numbers of samples, are those of the file and its lists."""
    manifest = load_manifest(write_own_dataset(tmp_path))
    info = manifest.info
    assert (manifest.train, manifest.val) == (TRAIN, VAL)
    assert (info.num_train, info.num_val, info.image_channels, info.embedded) == (4, 2, 3, False)
    assert [task.channels for task in info.tasks] == [3, 2, 1, 3, 1, 1, 2]
    assert info.task("semseg").class_names == CLASSES
    assert (info.task("edge").positive_weight, info.task("edge").edge_tolerance) == (0.9, 0.0075)


def test_the_definition_is_what_a_dataset_is(tmp_path: Path) -> None:
    """Its root and what people are told of it do not count; classes, the order of tasks and the lists do."""
    plain = load_manifest(write_own_dataset(tmp_path)).definition
    assert load_manifest(write_own_dataset(tmp_path, summary="of our robot")).definition == plain
    tasks = manifest_values()["tasks"]
    backwards = dict(reversed(tasks.items()))
    wider = tasks | {"semseg": tasks["semseg"] | {"classes": [*CLASSES, "bus"]}}
    others = {load_manifest(write_own_dataset(tmp_path, tasks=other)).definition for other in (backwards, wider)}
    file = write_own_dataset(tmp_path)
    (tmp_path / "splits/val.txt").write_text("f\ne\n")
    others.add(load_manifest(file).definition)
    assert len({plain, *others}) == 4


def edge(**changes: Any) -> dict[str, Any]:
    """Return the tasks of a manifest, its edge task changed; None takes a key out."""
    tasks = manifest_values()["tasks"]
    changed = {name: value for name, value in (tasks["edge"] | changes).items() if value is not None}
    return {"tasks": tasks | {"edge": changed}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "my robot"}, "'name' may hold letters, digits, - and _"),
        ({"name": None}, "the key 'name' is missing"),
        ({"taks": {}}, "the key 'taks' is unknown"),
        ({"tasks": {"semseg": manifest_values()["tasks"]["semseg"]}}, "at least two tasks"),
        ({"image": "images/a.png"}, "a path of samples holds {id}"),
        ({"image": "images/{id}-{side}.png"}, "no other braces"),
        ({"image": "../{id}.png"}, "stays below the root"),
        ({"image": "/data/{id}.png"}, "stays below the root"),
        ({"splits": {"train": "../train.txt", "val": "val.txt"}}, "stays below the root"),
        ({"input_size": [480]}, "input_size"),
        ({"input_size": [480, 5000]}, "less than or equal to 2048"),
        (edge(kind="edges"), "'tasks.edge': Input tag 'edges'"),
        (edge(positive_weight=1.5), "less than 1"),
        (edge(positive_weight="0.9"), "valid number"),
        (edge(classes=["a", "b"]), "the key 'tasks.edge.classes' is unknown"),
        (edge(kind="segmentation", positive_weight=None, classes=["a", "a"]), "'a' stands twice"),
        (edge(kind="segmentation", classes=[True, "b"]), "put it in quotes"),
    ],
)
def test_faults_get_a_sentence_with_their_place(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    """What cannot be meant is refused; the sentence names the file and the key."""
    with pytest.raises(DatasetError) as caught:
        load_manifest(write_own_dataset(tmp_path, **changes))
    assert sentence in str(caught.value)
    assert str(tmp_path / "dataset.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"- 1\n- 2", "holds a list"),
        (b"name: \xff", "not UTF-8"),
        (b"name: [", "no usable dataset.yaml"),
        (b"[" * 100_000, "nested too deeply"),
        (b"a: &x [1]\nb: *x", "aliases"),
        (b"a: 1\na: 2", "'a' stands twice"),
        (b"yes: 1", "keys must be words"),
        (b"a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        (b"a: !!python/name:os.system x", "could not determine a constructor"),
        (b"a: 2001-99-99", "no usable dataset.yaml"),
        (b"a: " + b"9" * 5000, "no usable dataset.yaml"),
        (b"# " + b"x" * (1 << 18), "longer than"),
        (b"a: \x01", "no usable dataset.yaml"),
        (b"? [1, 2]\n: 3", "keys must be words"),
    ],
)
def test_hostile_yaml_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Nothing in a file is executed, unfolded or guessed."""
    file = tmp_path / "dataset.yaml"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"dataset\.yaml") as caught:
        read_plain_yaml(file)
    assert sentence in str(caught.value)


@given(content=st.binary(max_size=200) | st.text(alphabet="ab:{}[]&*!-|>?,'\"#%@` \n\t0.", max_size=80).map(str.encode))
def test_any_bytes_are_a_mapping_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, reading it ends with values or with a DatasetError."""
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    with contextlib.suppress(DatasetError):
        assert isinstance(read_plain_yaml(file), dict)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ("", "is empty"),
        ("\n \n", "at least one sample"),
        ("a\na\n", "'a' twice"),
        ("../a\n", "without / and"),
        ("day/a\n", "without / and"),
        ("..\n", "without / and"),
        ("a\\b\n", "without / and"),
        ("a\x00b\n", "without / and"),
        ("a" * 300 + "\n", "at most 200 signs"),
    ],
)
def test_lists_hold_ids_that_can_be_part_of_a_name(tmp_path: Path, ids: str, sentence: str) -> None:
    """What leads elsewhere, stands twice or is no id is refused."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "splits/train.txt").write_text(ids)
    with pytest.raises(DatasetError) as caught:
        load_manifest(file)
    assert sentence in str(caught.value)


def test_a_sample_belongs_to_one_split(tmp_path: Path) -> None:
    """One that stands in both lists is named."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "splits/val.txt").write_text("e\nb\n")
    with pytest.raises(DatasetError, match=r"'b' of dataset 'my-robot' stand in both splits/train.txt"):
        load_manifest(file)


def test_a_list_that_is_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    """A list outside the root is not read."""
    file = write_own_dataset(tmp_path / "robot")
    (tmp_path / "secret.txt").write_text("a\n")
    (tmp_path / "robot/splits/train.txt").unlink()
    (tmp_path / "robot/splits/train.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DatasetError, match="must lie in its folder"):
        load_manifest(file)


def test_lists_may_have_been_written_on_windows(tmp_path: Path) -> None:
    """A byte order mark and carriage returns are no part of an id."""
    file = write_own_dataset(tmp_path)
    (tmp_path / "splits/train.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert load_manifest(file).train == ("a", "b")


def test_reading_facts_loads_neither_numpy_nor_pillow() -> None:
    """The web process reads manifests."""
    code = "import sys, search.data.shelf; print(json.dumps([m in sys.modules for m in ('numpy', 'PIL', 'torch')]))"
    done = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [False, False, False]
