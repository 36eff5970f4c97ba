"""`bmtas dataset check` on small datasets: words, JSON, exit codes, a picture, and no second reading."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.search.data.files.own_dataset import write_own_dataset

if TYPE_CHECKING:
    from tests.service.conftest import Run


def test_a_sound_dataset_is_described(run: Run, tmp_path: Path) -> None:
    """Counts, sizes, shares of classes and metres are printed, and the exit code is 0."""
    outcome = run("dataset", "check", str(write_own_dataset(tmp_path / "robot")))
    assert outcome.code == 0
    for words in ("4 train, 2 val samples", "6 of 20x30", "No faults.", "Classes of semseg", "road", "Metres of depth"):
        assert words in outcome.out


def test_faults_are_named_together_and_end_with_two(run: Run, tmp_path: Path) -> None:
    """Each kind has its samples, the file and what to do; the other samples are still counted."""
    file = write_own_dataset(tmp_path / "robot")
    (file.parent / "images/a.png").write_bytes(b"")
    (file.parent / "labels.csv").write_text("id,scene\na,in\nb,garden\nf,out\n")
    outcome = run("dataset", "check", str(file))
    assert outcome.code == 2
    for words in (
        "2 of 6 samples have faults",
        "image, sample a:",
        "'images/a.png' is empty",
        "scene, sample b:",
        "garden",
    ):
        assert words in outcome.out


def test_json_stands_alone_on_stdout(run: Run, tmp_path: Path) -> None:
    """A program reads the findings, and stderr holds no progress."""
    file = write_own_dataset(tmp_path / "robot")
    outcome = run("dataset", "check", str(file), "--json", "--tasks", "depth,scene")
    document = json.loads(outcome.out)
    assert (document["dataset"], list(document["tasks"]), document["faults"]) == ("my-robot", ["depth", "scene"], [])
    assert outcome.err == ""


def test_an_unchanged_dataset_is_not_read_again(run: Run, tmp_path: Path) -> None:
    """The second check says so and has the same findings; a changed file is read."""
    file = write_own_dataset(tmp_path / "robot")
    first, second = run("dataset", "check", str(file)), run("dataset", "check", str(file))
    assert second.out == first.out
    assert "Nothing has changed" in second.err
    (file.parent / "images/a.png").write_bytes(b"")
    assert run("dataset", "check", str(file)).code == 2


def test_a_contact_sheet_shows_sound_samples(run: Run, tmp_path: Path) -> None:
    """A picture is written, broken samples left out."""
    file = write_own_dataset(tmp_path / "robot")
    (file.parent / "images/a.png").write_bytes(b"")
    outcome = run("dataset", "check", str(file), "--sheet", "sheet.png")
    assert (outcome.code, "Contact sheet: sheet.png" in outcome.out) == (2, True)
    with Image.open(io.BytesIO(Path("sheet.png").read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("digits", "'digits' is built in"),
        ("nowhere/dataset.yaml", "cannot be read"),
        ("pascal_context", "files of 'pascal_context' are not here"),
        ("cifar", "Unknown dataset 'cifar'"),
    ],
)
def test_what_cannot_be_checked_gets_a_sentence(run: Run, word: str, sentence: str) -> None:
    """Only datasets made of files can be checked."""
    run("dataset", "check", word).assert_refused(sentence)


def test_a_file_that_is_no_manifest_gets_a_sentence(run: Run) -> None:
    """The place of the fault is named."""
    Path("dataset.yaml").write_text("name: x\ntasks: 3\n")
    run("dataset", "check", "dataset.yaml").assert_refused("is no usable dataset.yaml")
    run("dataset", "check", "./").assert_refused("is no usable dataset.yaml")


def test_a_sheet_without_a_sound_sample_is_refused(run: Run, tmp_path: Path) -> None:
    """There is nothing to draw."""
    file = write_own_dataset(tmp_path / "robot")
    for path in (file.parent / "images").iterdir():
        path.write_bytes(b"")
    outcome = run("dataset", "check", str(file), "--sheet", "sheet.png")
    assert outcome.code == 2
    assert "none of 'my-robot' is" in outcome.err
