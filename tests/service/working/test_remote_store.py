"""The files of an attempt: bytes under the root and a row each, nothing without the lease, nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.errors import AttemptLostError, StorageError
from service.working.lease import Lease
from service.working.remote_store import RemoteStore
from service.working.storage import InputFiles, Storage
from service.working.work_orders import StoredFile

if TYPE_CHECKING:
    from tests.service.working.conftest import FakeTrial, Workplace


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def open_store(
    workplace: Workplace, root: str | None = None, clock: Callable[[], float] | None = None
) -> tuple[RemoteStore, FakeTrial]:
    """Return the store of a fresh attempt and its trial."""
    if not workplace.server.trials:
        workplace.add("shared")
    order = workplace.attempt_order()
    trial = order.claimed.trial
    lease = Lease(10.0, clock or Clock())
    store = RemoteStore(
        workplace.open_client(order),
        Storage(root or order.storage_root),
        folder=f"trials/{trial.id}/{order.claimed.attempt.number}",
        files=order.claimed.files,
        check_held=lease.check_held,
    )
    return store, workplace.server.trials[0]


def files_below(root: Path) -> set[str]:
    """Return the paths of all files below a folder."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_file_lies_where_its_row_says(workplace: Workplace) -> None:
    """The path names trial, attempt and content, and the version that was replaced is gone."""
    store, trial = open_store(workplace)
    store.write("a/b.state", b"old")
    store.write("a/b.state", b"new")
    row = trial.files["a/b.state"]
    assert row["path"] == f"trials/{trial.id}/1/a/b.state.{row['sha256'][:12]}"
    assert files_below(workplace.server.storage_root) == {row["path"]}
    assert (store.read("a/b.state"), store.exists("a/b.state")) == (b"new", True)
    assert store.path_of("a/b.state") == row["path"]


def test_what_was_written_is_deleted_with_its_row(workplace: Workplace) -> None:
    """Twice is no error, and reading it then is."""
    store, trial = open_store(workplace)
    store.write("x", b"1")
    store.delete("x")
    store.delete("x")
    assert (trial.files, files_below(workplace.server.storage_root)) == ({}, set())
    with pytest.raises(FileNotFoundError):
        store.read("x")


def test_the_next_attempt_reads_what_the_last_one_left(workplace: Workplace) -> None:
    """And its own version replaces that, bytes too."""
    store, trial = open_store(workplace)
    store.write("x", b"1")
    trial.attempts[-1].lease_until = 0.0
    newer, _ = open_store(workplace)
    assert newer.read("x") == b"1"
    newer.write("x", b"1")
    assert trial.files["x"]["path"].startswith(f"trials/{trial.id}/2/")
    assert files_below(workplace.server.storage_root) == {trial.files["x"]["path"]}


def test_a_zombie_changes_nothing(workplace: Workplace) -> None:
    """A2: an attempt that was fenced off leaves row and bytes of the newer one as they are, and none of its own."""
    zombie, trial = open_store(workplace)
    zombie.write("x", b"1")
    trial.attempts[-1].lease_until = 0.0
    newer, _ = open_store(workplace)
    newer.write("x", b"2")
    before = (dict(trial.files), files_below(workplace.server.storage_root))
    with pytest.raises(AttemptLostError):
        zombie.write("x", b"3")
    with pytest.raises(AttemptLostError):
        zombie.delete("x")
    assert (trial.files, files_below(workplace.server.storage_root)) == before


def test_without_a_lease_nothing_is_even_tried(workplace: Workplace) -> None:
    """The attempt knows by its own clock that its lease is over, before it asks anybody."""
    clock = Clock()
    store, trial = open_store(workplace, clock=clock)
    clock.seconds = 11.0
    with pytest.raises(AttemptLostError):
        store.write("x", b"1")
    assert (trial.files, files_below(workplace.server.storage_root)) == ({}, set())


def test_damage_is_found_and_everything_dropped(workplace: Workplace) -> None:
    """One file that is not what its row says makes the trial begin anew; sound ones are kept."""
    store, trial = open_store(workplace)
    store.write("x", b"1")
    store.write("y", b"2")
    assert store.drop_damaged() == []
    (workplace.server.storage_root / trial.files["y"]["path"]).write_bytes(b"?")
    with pytest.raises(StorageError, match="damaged"):
        store.read("y")
    assert store.drop_damaged() == ["y"]
    assert (trial.files, store.exists("x")) == ({}, False)


def test_any_fsspec_root_does(workplace: Workplace) -> None:
    """Files may lie in a store of objects instead of a folder."""
    store, trial = open_store(workplace, root="memory://bmtas-test")
    store.write("x", b"1")
    store.write("x", b"2")
    assert store.read("x") == b"2"
    file = StoredFile.model_validate(trial.files["x"])
    assert dict(InputFiles(Storage("memory://bmtas-test"), [file])) == {"x": b"2"}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "a\0b", "file:///etc/passwd"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    """Whatever a row says, nothing outside the root is touched."""
    storage = Storage(str(tmp_path))
    with pytest.raises(StorageError, match="without"):
        storage.write(path, b"1")
    with pytest.raises(StorageError):
        storage.read(StoredFile(name="x", path=path, sha256="0" * 64, num_bytes=1))


@pytest.mark.parametrize("root", ["relative/folder", "nosuchthing://x"])
def test_a_root_that_cannot_be_is_refused(root: str) -> None:
    """A relative root would mean another folder in every process."""
    with pytest.raises(StorageError, match="storage root"):
        Storage(root)
