"""A folder of images and labels gets a dataset.yaml that passes the check, with a reason for every line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search.data.checks.checking import check_source
from search.data.checks.file_families import find_families
from search.data.checks.proposal_text import quote_word, write_proposal
from search.data.checks.proposing import Proposal, propose
from search.data.files.manifest import read_document
from search.data.files.manifest_source import open_manifest
from search.errors import DatasetError
from tests.search.data.files.own_dataset import SIZE, write_own_dataset


def bare_folder(folder: Path) -> Path:
    """Return a folder of images and labels without a manifest and without lists."""
    write_own_dataset(folder).unlink()
    shutil.rmtree(folder / "splits")
    return folder


def write(proposal: Proposal, root: Path) -> Path:
    """Return the dataset.yaml of a proposal, written with its lists."""
    for split in (proposal.train, proposal.val):
        if split.samples is not None:
            (root / split.path).parent.mkdir(exist_ok=True)
            (root / split.path).write_text("\n".join(split.samples))
    file = root / "dataset.yaml"
    file.write_text(write_proposal(proposal, "."))
    return file


def kinds(proposal: Proposal) -> dict[str, str]:
    """Return the kind of the task at each place."""
    return {task.place: task.guess.kind for task in proposal.tasks}


def test_every_kind_of_label_is_found(tmp_path: Path) -> None:
    """Names and contents tell what is what; numbers of columns are classes where they repeat."""
    proposal = propose(bare_folder(tmp_path / "robot"))
    assert (proposal.name, proposal.image, proposal.num_images) == ("robot", "images/{id}.png", 6)
    assert kinds(proposal) == {
        "semseg/{id}.png": "segmentation",
        "parts/{id}.npy": "parts",
        "depth/{id}.npy": "depth",
        "normals/{id}.png": "normals",
        "edges/{id}.png": "edge",
        "sal/{id}.png": "saliency",
        "labels.csv": "classification",
    }


def test_a_proposal_passes_the_check(tmp_path: Path) -> None:
    """Without a line changed, all samples of all tasks can be read."""
    root = bare_folder(tmp_path / "robot")
    source = open_manifest(write(propose(root), root))
    found = check_source(source, source.info.tasks, "f00d")
    assert found.num_faulty == 0
    assert [group.example for group in found.faults if "val split" not in group.example] == []
    assert sum(found.num_samples.values()) == 6


def test_lists_that_are_there_are_taken(tmp_path: Path) -> None:
    """They stay as they are; a list that names other things is none."""
    root = tmp_path / "robot"
    write_own_dataset(root).unlink()
    (root / "training_notes.txt").write_text("many words\nthat are no samples")
    proposal = propose(root)
    assert (proposal.train.path, proposal.train.samples, proposal.train.num_samples) == ("splits/train.txt", None, 4)
    assert (proposal.val.path, proposal.val.num_samples) == ("splits/val.txt", 2)


def test_lists_are_drawn_the_same_every_time_and_take_no_files_place(tmp_path: Path) -> None:
    """A list of other samples that lies in the way keeps its name."""
    root = bare_folder(tmp_path / "robot")
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("x\ny\n")
    first, second = propose(root), propose(root)
    assert first == second
    assert first.train.path == "splits/train-2.txt"
    assert first.train.samples is not None
    assert first.val.samples is not None
    assert sorted((*first.train.samples, *first.val.samples)) == list("abcdef")


def test_files_side_by_side_are_told_apart_by_their_tails(tmp_path: Path) -> None:
    """One folder with 01_rgb.jpg, 01_depth.png and 01_mask.png is a dataset, too."""
    for number in range(4):
        noise_HWC = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise_HWC).save(tmp_path / f"{number:02d}_rgb.jpg")
        depth_HW = np.arange(600, dtype=np.uint16).reshape(SIZE) + 500
        Image.fromarray(depth_HW).save(tmp_path / f"{number:02d}_depth.png")
        Image.fromarray(np.eye(*SIZE, dtype=np.uint8) * 3).save(tmp_path / f"{number:02d}_mask.png")
    proposal = propose(tmp_path)
    assert proposal.image == "{id}_rgb.jpg"
    assert kinds(proposal) == {"{id}_depth.png": "depth", "{id}_mask.png": "segmentation"}
    assert proposal.tasks[0].guess.settings == {"scale": 0.001, "invalid": 0}


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    """Maps in colour and distances with gaps stay out, with the reason."""
    root = bare_folder(tmp_path / "robot")
    for sample in "abcdef":
        shutil.copy(root / f"images/{sample}.png", root / f"semseg/{sample}.png")
        np.save(root / f"depth/{sample}.npy", np.full(SIZE, np.nan))
    proposal = propose(root)
    assert any("semseg/{id}.png (6 files): colour images" in remark for remark in proposal.remarks)
    assert any("depth/{id}.npy (6 files): distances with NaN" in remark for remark in proposal.remarks)
    assert "semseg/{id}.png" not in kinds(proposal)


@pytest.mark.parametrize(("kept", "sentence"), [((), "shows none"), (("images",), "shows 0"), (("semseg",), "none")])
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, kept: tuple[str, ...], sentence: str) -> None:
    """It needs photographs and labels for two tasks."""
    root = bare_folder(tmp_path / "robot")
    for path in list(root.iterdir()):
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()
    with pytest.raises(DatasetError, match=sentence):
        propose(root)


@given(st.lists(st.text(min_size=1, max_size=12).filter(str.isprintable), min_size=2, max_size=5, unique=True))
def test_words_come_back_as_they_were(words: list[str]) -> None:
    """Whatever classes are called, YAML reads them as these words."""
    for word in (*words, "no", "1", "2001-01-01", "1e3", "~", "null", "a: b", "- a", "#", "{id}"):
        assert yaml.safe_load(f"key: {quote_word(word)}") == {"key": word}
        assert yaml.safe_load(f"key: [{quote_word(word)}]") == {"key": [word]}


def test_tails_that_few_files_have_are_part_of_their_names() -> None:
    """A photograph called 07_last is one of the others; a folder of depth maps called so is a family."""
    names = [f"images/{number:02d}.jpg" for number in range(9)]
    families = find_families([*names, "images/09_last.jpg", *(f"d/{number:02d}_depth.png" for number in range(9))])
    assert {family.pattern for family in families} == {"images/{id}.jpg", "d/{id}_depth.png"}


def test_the_text_is_a_manifest(tmp_path: Path) -> None:
    """Comments and all, it is read back with what was proposed."""
    root = bare_folder(tmp_path / "robot")
    proposal = propose(root)
    document = read_document(write(proposal, root))
    assert document.name == proposal.name
    assert {name: task.kind for name, task in document.tasks.items()} == {
        task.name: task.guess.kind for task in proposal.tasks
    }
