"""Artifacts on a folder: whole or not at all, never outside it, and the same promises as the in-memory store."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.ports import ArtifactStore, MemoryStore
from service.artifacts import FolderStore, write_whole
from service.errors import ArtifactNameError


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """Return each of the stores that must keep the same promises."""
    return MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "run")


@pytest.fixture
def small_files_only() -> Iterator[int]:
    """Let no file of this process grow beyond the yielded number of bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    yield 1024
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_reads_back_what_was_written_last(store: ArtifactStore) -> None:
    """A second write under a name replaces the first."""
    store.write("candidates/60pct/architecture.json", b"first")
    store.write("candidates/60pct/architecture.json", b"second")
    assert store.read("candidates/60pct/architecture.json") == b"second"
    assert store.exists("candidates/60pct/architecture.json")


def test_unknown_name_is_not_there(store: ArtifactStore) -> None:
    """Reading an unknown name raises FileNotFoundError, a folder is no artifact, forgetting one is no error."""
    store.write("state/search.safetensors", b"")
    store.delete("nothing")
    assert not store.exists("state")
    assert not store.exists("nothing")
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


def test_deleted_name_is_gone(store: ArtifactStore) -> None:
    """A deleted artifact does not exist any more."""
    store.write("a/b", b"content")
    store.delete("a/b")
    assert not store.exists("a/b")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=200), name=st.from_regex(r"[a-z0-9 .%_-]{0,20}[a-z0-9]", fullmatch=True))
def test_any_content_survives_under_any_plain_name(tmp_path: Path, content: bytes, name: str) -> None:
    """Bytes come back as they went in, and the folder holds nothing else."""
    store = FolderStore(tmp_path / "run")
    store.write(name, content)
    assert store.read(name) == content
    assert sorted(os.listdir(store.root)) == [name]
    store.delete(name)


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../out", "a/../../out", "a\\b", "a\0b", "..", "a/.."])
def test_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Absolute names, parents and foreign separators raise before anything is touched."""
    store = FolderStore(tmp_path / "run")
    actions: tuple[Callable[[], object], ...] = (
        lambda: store.write(name, b""),
        lambda: store.read(name),
        lambda: store.exists(name),
        lambda: store.delete(name),
    )
    for action in actions:
        with pytest.raises(ArtifactNameError, match="artifact"):
            action()
    assert os.listdir(tmp_path) == []


def test_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    """A symbolic link inside the folder cannot make a write land elsewhere."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    with pytest.raises(ArtifactNameError, match="leads out"):
        FolderStore(tmp_path / "run").write("link/escaped", b"x")
    assert not (tmp_path / "escaped").exists()


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, small_files_only: int) -> None:
    """A write that the disk refuses names the file, keeps the old content and leaves no temporary file."""
    store = FolderStore(tmp_path)
    store.write("state", b"old")
    with pytest.raises(OSError, match="state") as caught:
        store.write("state", b"x" * (small_files_only + 1))
    assert caught.value.filename == str(tmp_path / "state")
    assert store.read("state") == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_writing_through_a_file_names_the_path(tmp_path: Path) -> None:
    """A folder that is a file is refused with the name that was asked for."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError) as caught:
        write_whole(tmp_path / "file" / "below", b"")
    assert caught.value.filename == str(tmp_path / "file" / "below")


def test_leftovers_are_removed_and_artifacts_kept(tmp_path: Path) -> None:
    """Only what a killed writer left is removed, however deep it lies."""
    store = FolderStore(tmp_path)
    store.write("deep/down/state", b"kept")
    (tmp_path / "deep" / "down" / ".state.0badcafe.bmtas-tmp").write_bytes(b"half")
    assert store.remove_leftovers() == 1
    assert os.listdir(tmp_path / "deep" / "down") == ["state"]


def test_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    """A reader beside a writer that is killed sees one of the whole contents only."""
    code = (
        "import sys; from pathlib import Path; from service.artifacts import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1])); store.write('state', b'0' * 500_000); print('on', flush=True)\n"
        "while True:\n    for digit in b'0123456789': store.write('state', bytes([digit]) * 500_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    for _ in range(20):
        content = (tmp_path / "state").read_bytes()
        assert content == content[:1] * 500_000
        time.sleep(0.005)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    content = (tmp_path / "state").read_bytes()
    assert content == content[:1] * 500_000
