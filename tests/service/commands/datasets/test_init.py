"""`bmtas dataset init` writes a manifest that can be used at once, and overwrites nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from search.data.files.manifest import load_manifest
from tests.search.data.files.own_dataset import write_own_dataset

if TYPE_CHECKING:
    from tests.service.conftest import Run


def test_a_folder_becomes_a_dataset(run: Run, tmp_path: Path) -> None:
    """The manifest lies in the folder, its lists beside it, and the next command is named."""
    folder = tmp_path / "work" / "robot"
    write_own_dataset(folder).unlink()
    shutil.rmtree(folder / "splits")
    outcome = run("dataset", "init", "robot")
    assert outcome.code == 0
    assert "Wrote robot/dataset.yaml: 7 tasks, 6 images." in outcome.out
    assert "bmtas dataset check robot/dataset.yaml" in outcome.out
    assert len(load_manifest(folder / "dataset.yaml").train) == 5
    assert "5 train, 1 val samples" in run("dataset", "check", "robot").out


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    """A manifest that is there stays, and so does any file that --out names."""
    file = write_own_dataset(tmp_path / "robot")
    before = file.read_text()
    run("dataset", "init", str(tmp_path / "robot")).assert_refused("exists already", "--out")
    assert file.read_text() == before


def test_the_manifest_may_lie_elsewhere(run: Run, tmp_path: Path) -> None:
    """Its root leads to the folder."""
    write_own_dataset(tmp_path / "robot").unlink()
    assert run("dataset", "init", str(tmp_path / "robot"), "--out", "mine/robot.yaml").code == 0
    manifest = load_manifest(Path("mine/robot.yaml"))
    assert manifest.document.root == "../../robot"
    assert manifest.root.resolve() == (tmp_path / "robot").resolve()


def test_what_is_no_dataset_gets_a_sentence(run: Run) -> None:
    """A folder that is not there, and one that holds nothing."""
    run("dataset", "init", "nowhere").assert_refused("nowhere is none")
    Path("empty").mkdir()
    run("dataset", "init", "empty").assert_refused("JPEG or PNG photographs")
    assert list(Path("empty").iterdir()) == []
