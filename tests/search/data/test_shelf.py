"""The shelf names what is there: built-in datasets always, those made of files where their files lie."""

import os
from pathlib import Path

import pytest

from search.data.catalogue import DATASETS
from search.data.shelf import BUILT_IN, DatasetShelf
from search.errors import DatasetError, UnknownNameError
from tests.search.data.files.paper_trees import write_nyud, write_pascal

MANIFEST = """
name: {name}
splits: {{train: train.txt, val: val.txt}}
image: images/{{id}}.png
tasks:
  semseg: {{kind: segmentation, path: "labels/{{id}}.png", classes: [road, car]}}
  depth: {{kind: depth, path: "depth/{{id}}.npy"}}
input_size: [64, 96]
"""


def write_dataset(folder: Path, name: str = "my-robot", file: str = "dataset.yaml") -> Path:
    """Return the dataset.yaml of a dataset of three samples, whose images are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("a\nb\n")
    (folder / "val.txt").write_text("c\n")
    (folder / file).write_text(MANIFEST.format(name=name))
    return folder / file


def test_built_in_datasets_are_always_there() -> None:
    """Without a folder there are the embedded datasets, and of the paper's the facts."""
    assert [info.name for info in BUILT_IN.list()] == list(DATASETS)
    assert [info.name for info in BUILT_IN.list_trainable()] == ["digits", "scenes"]
    assert BUILT_IN.place("digits") is None


def test_datasets_of_the_folder_are_found_by_their_names(tmp_path: Path) -> None:
    """A dataset.yaml in a folder of the datasets folder counts, and so does a *.yaml beside them."""
    below, beside = write_dataset(tmp_path / "robot"), write_dataset(tmp_path, "other", "other.yaml")
    shelf = DatasetShelf(tmp_path)
    assert shelf.place("my-robot") == below
    assert shelf.place("other") == beside
    info = shelf.get_trainable("my-robot")
    assert (info.num_train, info.num_val, info.default_size, info.embedded) == (2, 1, (64, 96), False)
    assert [task.name for task in info.tasks] == ["semseg", "depth"]


def test_a_file_that_is_named_comes_before_the_folder(tmp_path: Path) -> None:
    """Of two datasets of one name the named file is taken, and the other is told of."""
    inside, named = write_dataset(tmp_path / "all" / "robot"), write_dataset(tmp_path / "here")
    shelf = DatasetShelf(tmp_path / "all", [named])
    assert shelf.place("my-robot") == named
    assert [file for file, _ in shelf.list_problems()] == [inside]


def test_a_dataset_cannot_take_the_name_of_a_built_in_one(tmp_path: Path) -> None:
    """It is told of as a problem, and the built-in one stays."""
    write_dataset(tmp_path / "mine", "digits")
    shelf = DatasetShelf(tmp_path)
    assert shelf.get("digits") == DATASETS["digits"]
    assert "'digits' as a built-in dataset is" in shelf.list_problems()[0][1]


def test_a_broken_file_hides_no_other(tmp_path: Path) -> None:
    """The sound datasets are listed, the broken one is named with its fault."""
    write_dataset(tmp_path / "robot")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset.yaml").write_text("name: [")
    shelf = DatasetShelf(tmp_path)
    assert "my-robot" in [info.name for info in shelf.list()]
    with pytest.raises(UnknownNameError, match=r"'broken'.*my-robot.*Not usable: .*broken/dataset.yaml"):
        shelf.get("broken")


def test_files_that_come_and_go_are_seen(tmp_path: Path) -> None:
    """A list that grew is read again, a dataset that was taken away is unknown."""
    shelf, file = DatasetShelf(tmp_path), write_dataset(tmp_path / "robot")
    before = shelf.get("my-robot")
    (file.parent / "train.txt").write_text("a\nb\nd\n")
    after = shelf.get("my-robot")
    assert (before.num_train, after.num_train) == (2, 3)
    assert before.definition != after.definition
    file.unlink()
    with pytest.raises(UnknownNameError):
        shelf.get("my-robot")


def test_where_a_dataset_lies_is_no_part_of_what_it_is(tmp_path: Path) -> None:
    """The same files elsewhere are the same dataset."""
    here, there = write_dataset(tmp_path / "here"), write_dataset(tmp_path / "there")
    definitions = {DatasetShelf(files=[file]).get("my-robot").definition for file in (here, there)}
    assert len(definitions) == 1


@pytest.mark.parametrize(("name", "folder"), [("pascal_context", "PASCAL_MT"), ("nyud", "NYUD_MT")])
def test_the_papers_datasets_are_trained_on_where_they_lie(tmp_path: Path, name: str, folder: str) -> None:
    """Without the folder there are costs, and the message says what must lie where; with it there is a place."""
    shelf = DatasetShelf(tmp_path)
    with pytest.raises(DatasetError, match=rf"{folder}\. It must hold .*bmtas dataset fetch {name}"):
        shelf.get_trainable(name)
    (tmp_path / folder).mkdir()
    with pytest.raises(DatasetError, match=r"train\.txt' is missing"):
        shelf.get_trainable(name)
    assert shelf.get(name) == DATASETS[name]
    assert [place for place, _ in shelf.list_problems()] == [tmp_path / folder]
    write_pascal(tmp_path / folder) if name == "pascal_context" else write_nyud(tmp_path / folder, "A")
    assert shelf.get_trainable(name).tasks == DATASETS[name].tasks
    assert (shelf.get(name).num_train, shelf.place(name)) == (2, tmp_path / folder)


def test_old_files_are_read_once(tmp_path: Path) -> None:
    """Lists of datasets are asked for with every page; what looks unchanged is not read again."""
    file = write_dataset(tmp_path / "robot")
    for path in file.parent.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    shelf = DatasetShelf(tmp_path)
    first = shelf.get("my-robot")
    assert shelf.get("my-robot") is first
    os.utime(file.parent / "val.txt", (1_000_000_001, 1_000_000_001))
    assert shelf.get("my-robot") is not first
    assert shelf.get("my-robot") == first


def test_what_is_no_file_does_no_harm(tmp_path: Path) -> None:
    """Pipes, folders and links in a circle under such names are told of, and read by nobody."""
    write_dataset(tmp_path / "robot")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    shelf = DatasetShelf(tmp_path)
    assert shelf.get("my-robot").num_train == 2
    assert sorted(file.name for file, _ in shelf.list_problems()) == ["circle.yaml", "folder.yaml", "pipe.yaml"]
