"""Temporary folders: kept while anybody uses them, removed when all have ended, and nobody else's touched."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.working.temporary_folders import TemporaryFolder, remove_leftovers

MAKE = "from service.working.temporary_folders import *; print(TemporaryFolder().path, flush=True)"
KEEP = "from service.working.temporary_folders import *; keep_current_folder(); print('kept', flush=True)"
WAIT = "; import sys; sys.stdin.read()"


def start(code: str, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a process whose temporary files go to a folder, and return it with the line that it printed."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def kill(child: subprocess.Popen[str]) -> None:
    """Kill a process and wait for it."""
    child.kill()
    child.communicate()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """As long as it lives nobody removes its folder; afterwards the next one to look does."""
    child, path = start(MAKE + WAIT, tmp_path)
    (Path(path) / "spill").write_text("much")
    assert remove_leftovers(tmp_path) == []
    kill(child)
    assert remove_leftovers(tmp_path) == [Path(path)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_outlives_its_maker_while_a_child_uses_it(tmp_path: Path) -> None:
    """A child that keeps its folder for temporary files may go on when whoever made that is killed."""
    maker, path = start(MAKE + WAIT, tmp_path)
    child, said = start(KEEP + WAIT, Path(path))
    assert said == "kept"
    kill(maker)
    assert remove_leftovers(tmp_path) == []
    kill(child)
    assert remove_leftovers(tmp_path) == [Path(path)]


def test_nobody_elses_folder_is_touched(tmp_path: Path) -> None:
    """Without the lock file a folder is not ours to judge, whatever its name; a link is not followed."""
    (tmp_path / "bmtas-other").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "in-use").touch()
    (tmp_path / "bmtas-link").symlink_to(tmp_path / "elsewhere")
    assert remove_leftovers(tmp_path, tmp_path / "missing") == []
    assert (tmp_path / "elsewhere" / "in-use").exists()


def test_a_folder_is_removed_once(tmp_path: Path) -> None:
    """Its maker removes it with all that is in it, and may do so again."""
    folder = TemporaryFolder(tmp_path)
    (folder.path / "deep").mkdir()
    assert folder.variables == {"TMPDIR": str(folder.path)}
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_the_machines_folder_is_looked_through_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names no folder means the one for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    child, path = start(MAKE, tmp_path)
    kill(child)
    assert remove_leftovers() == [Path(path)]
