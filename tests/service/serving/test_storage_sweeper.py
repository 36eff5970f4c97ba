"""The sweeper of the storage root: old files without a row go, everything else stays."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from service.serving.storage_sweeper import StorageSweeper

NOW = datetime.now(UTC)
TWO_DAYS = timedelta(days=2)


class Known:
    """Files that rows point at."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)

    def list_paths(self) -> set[str]:
        """Return them."""
        return self.paths


def put(root: Path, name: str, age: timedelta) -> None:
    """Leave a file of an age."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, times=((NOW - age).timestamp(),) * 2)


def test_only_old_files_without_a_row_go(tmp_path: Path) -> None:
    """What is young may belong to a running attempt; what lies elsewhere is not the sweeper's."""
    put(tmp_path, "trials/trl_1/1/known.state.abc", TWO_DAYS)
    put(tmp_path, "trials/trl_1/1/orphan.state.abc", TWO_DAYS)
    put(tmp_path, "trials/trl_1/2/young.state.abc", timedelta(hours=23))
    put(tmp_path, "notes.txt", TWO_DAYS)
    sweeper = StorageSweeper(str(tmp_path), Known("trials/trl_1/1/known.state.abc"))
    assert sweeper.sweep(NOW) == 1
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"known.state.abc", "young.state.abc", "notes.txt"}


def test_a_root_that_is_not_there_yet_is_clean(tmp_path: Path) -> None:
    """Before the first trial there is nothing to sweep."""
    assert StorageSweeper(str(tmp_path / "storage"), Known()).sweep(NOW) == 0


def test_other_file_systems_are_swept_too() -> None:
    """Any fsspec URL will do."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/sweep/trials/trl_1/1/orphan", b"x")
    memory.pipe_file("/sweep/trials/trl_1/1/known", b"x")
    sweeper = StorageSweeper("memory://sweep", Known("trials/trl_1/1/known"))
    assert sweeper.sweep(NOW) == 0
    assert sweeper.sweep(NOW + TWO_DAYS) == 1
    assert memory.exists("/sweep/trials/trl_1/1/known")


@pytest.mark.timeout(10)
def test_a_server_that_ends_does_not_wait_for_the_sweeper(tmp_path: Path) -> None:
    """The end of the server ends the pause."""
    ended = threading.Event()
    ended.set()
    StorageSweeper(str(tmp_path), Known()).run(ended)
