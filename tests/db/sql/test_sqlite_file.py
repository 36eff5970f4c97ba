"""The file of a SQLite database: local disks only, one server at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import ConflictError, DbError
from db.sql.sqlite_file import FileLock, find_file_system, refuse_network_file_system
from db.sql.store import open_store

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /mnt/share rw - nfs4 host:/export rw
31 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
32 22 0:31 / /mnt/with\\040space rw - cifs //host/share rw
33 22 0:32 / /sshfs rw shared:1 - fuse.sshfs host: rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/deep/er", "nfs4"),
        ("/mnt/share/local/x", "xfs"),
        ("/mnt/shared", "ext4"),
        ("/mnt/with space/x", "cifs"),
        ("/sshfs", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_counts(folder: str, kind: str) -> None:
    """A folder lies on the file system mounted closest above it."""
    assert find_file_system(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "refused"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False), ("overlay", False)]
)
def test_network_file_systems_are_refused(tmp_path: Path, kind: str, refused: bool) -> None:
    """A database on a network file system is refused with what to do; a local one is welcome."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 254:0 / / rw - {kind} somewhere rw\n")
    if not refused:
        refuse_network_file_system(tmp_path / "x.db", mounts)
        return
    with pytest.raises(DbError, match=rf"local disk.*{kind}.*PostgreSQL"):
        refuse_network_file_system(tmp_path / "x.db", mounts)


def test_a_machine_without_a_list_of_mounts_is_trusted(tmp_path: Path) -> None:
    """Where nothing tells the file system, nothing is refused."""
    refuse_network_file_system(tmp_path / "x.db", tmp_path / "nothing")


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """While one store has a file open exclusively another one is told which process it is; then it may."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    code = f"from db.sql.store import open_store; open_store({url!r}); print('open', flush=True); input()"
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        assert server.stdout.readline() == b"open\n"
        with pytest.raises(ConflictError, match=f"in use by process {server.pid}"):
            open_store(url)
        open_store(url, exclusive=False).close()
        server.kill()
    open_store(url).close()


def test_a_released_lock_is_free(tmp_path: Path) -> None:
    """The same process may take a lock again after it was released, and releasing twice is no error."""
    lock = FileLock(tmp_path / "x.db")
    with pytest.raises(ConflictError):
        FileLock(tmp_path / "x.db")
    lock.release()
    lock.release()
    FileLock(tmp_path / "x.db").release()
