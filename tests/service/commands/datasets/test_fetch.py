"""`bmtas dataset fetch` as a person meets it: a folder that can be searched on, or one sentence."""

from __future__ import annotations

import fcntl
import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from search.data.shelf import DatasetShelf
from service.commands.datasets.fetch import KNOWN_URLS
from tests.search.data.files.own_dataset import write_own_dataset
from tests.search.data.files.paper_trees import write_nyud, write_pascal
from tests.service.commands.datasets.stand_in_server import Answer, serve, serve_ranges

if TYPE_CHECKING:
    from tests.service.conftest import Run


def pack(folder: Path, name: str) -> bytes:
    """Return a .tar.gz of a folder under a name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.add(folder, name)
    return stream.getvalue()


@pytest.fixture
def pascal(tmp_path: Path) -> bytes:
    """Return the archive of a small PASCAL_MT."""
    write_pascal(tmp_path / "source")
    return pack(tmp_path / "source", "PASCAL_MT")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Return a folder of datasets that is not there yet."""
    return tmp_path / "datasets"


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_dataset_is_downloaded_and_put_in_its_place(run: Run, pascal: bytes, shelf: Path) -> None:
    """It broke off on the way, and afterwards networks can be trained on it and nothing else is left."""
    with serve(serve_ranges(pascal, cuts=[100, 50])) as server:
        source = f"{server.url}/PASCAL_MT.tgz"
        done = run("dataset", "fetch", "pascal_context", "--from", source, "--to", str(shelf))
    assert (done.code, names(shelf)) == (0, ["PASCAL_MT"])
    assert "2 training and 1 validation samples" in done.out
    assert hashlib.sha256(pascal).hexdigest() in done.out
    assert DatasetShelf(shelf).get_trainable("pascal_context").num_train == 2


def test_an_archive_that_was_brought_is_unpacked(run: Run, tmp_path: Path, shelf: Path) -> None:
    """It stays where it was; a second call has nothing to do."""
    write_nyud(tmp_path / "source", "B")
    (tmp_path / "NYUD_MT.tgz").write_bytes(pack(tmp_path / "source", "."))
    words = ("dataset", "fetch", "nyud", "--from", str(tmp_path / "NYUD_MT.tgz"), "--to", str(shelf))
    assert run(*words).code == 0
    assert names(shelf) == ["NYUD_MT"]
    assert (tmp_path / "NYUD_MT.tgz").exists()
    again = run(*words)
    assert again.code == 0
    assert again.out.startswith("Nothing to fetch. Dataset 'nyud' lies in")


def test_a_persons_own_dataset_is_fetched_by_its_name(run: Run, tmp_path: Path, shelf: Path) -> None:
    """An archive with a dataset.yaml goes to a folder of its name, and no other name will do."""
    write_own_dataset(tmp_path / "source")
    (tmp_path / "a.tar.gz").write_bytes(pack(tmp_path / "source", "whatever"))
    other = run("dataset", "fetch", "other", "--from", str(tmp_path / "a.tar.gz"), "--to", str(shelf))
    assert other.code == 2
    name = other.err.split("holds dataset '")[1].split("'")[0]
    assert run("dataset", "fetch", name, "--from", str(tmp_path / "a.tar.gz"), "--to", str(shelf)).code == 0
    assert DatasetShelf(shelf).get_trainable(name).name == name


@pytest.mark.parametrize("part", ["normals_distill", "ImageSets"])
def test_what_is_not_the_dataset_is_not_put_there(run: Run, tmp_path: Path, shelf: Path, part: str) -> None:
    """An archive without lists is none, and the sentence does not speak of folders that are gone."""
    write_pascal(tmp_path / "source")
    (tmp_path / "a.tgz").write_bytes(pack(tmp_path / "source" / part, "PASCAL_MT"))
    done = run("dataset", "fetch", "pascal_context", "--from", str(tmp_path / "a.tgz"), "--to", str(shelf))
    assert (done.code, names(shelf)) == (2, [])
    assert "does not hold dataset 'pascal_context'" in done.err
    assert "unpacking-" not in done.err


def test_hostile_archives_leave_nothing(run: Run, tmp_path: Path, shelf: Path) -> None:
    """A path out of the folder ends it before anything is in place."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../out"), io.BytesIO())
    (tmp_path / "a.tgz").write_bytes(stream.getvalue())
    done = run("dataset", "fetch", "nyud", "--from", str(tmp_path / "a.tgz"), "--to", str(shelf))
    assert (done.code, names(shelf), done.err.count("\n")) == (2, [], 1)
    assert "Nothing of it was kept" in done.err


def test_a_web_page_is_no_archive(run: Run, shelf: Path) -> None:
    """What a server sends instead of the file is said to be that."""
    with serve(lambda path, headers: Answer(200, {}, b"<!DOCTYPE html>" + b" " * 900)) as server:
        done = run("dataset", "fetch", "nyud", "--from", f"{server.url}/NYUD_MT.tgz", "--to", str(shelf))
    assert done.code == 2
    assert "may be a web page" in done.err


def test_without_a_network_it_says_what_to_bring(run: Run, shelf: Path) -> None:
    """One sentence with the file, the command and how the folder must look."""
    with serve(serve_ranges(b"")) as server:
        url = f"{server.url}/PASCAL_MT.tgz"
    done = run("dataset", "fetch", "pascal_context", "--from", url, "--to", str(shelf))
    assert done.code == 2
    for words in ("bring PASCAL_MT.tgz", "fetch pascal_context --from PATH", f"{shelf / 'PASCAL_MT'} holds JPEGImages"):
        assert words in done.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("digits",), "is built in"),
        (("coco",), "Name the URL or path of its archive by --from"),
        (("../x", "--from", "a.tgz"), "holds letters, digits"),
        (("nyud", "--sha256", "12"), "64 hexadecimal digits"),
        (("nyud", "--from", "missing.tgz"), "no file or folder missing.tgz"),
        (("nyud", "--from", "ftp://example.org/x"), "begins with https"),
    ],
)
def test_wrong_words_get_a_sentence(run: Run, shelf: Path, words: tuple[str, ...], sentence: str) -> None:
    """Before anything is downloaded."""
    done = run("dataset", "fetch", *words, "--to", str(shelf))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert sentence in done.err


def test_a_wrong_checksum_is_refused(run: Run, tmp_path: Path, pascal: bytes, shelf: Path) -> None:
    """Of an archive that was brought as of one that was downloaded."""
    (tmp_path / "a.tgz").write_bytes(pascal)
    with serve(serve_ranges(pascal)) as server:
        for source in (str(tmp_path / "a.tgz"), f"{server.url}/x"):
            words = ("pascal_context", "--from", source, "--to", str(shelf), "--sha256", "0" * 64)
            done = run("dataset", "fetch", *words)
            assert (done.code, names(shelf)) == (2, [])
            assert "was to have the SHA-256" in done.err


def test_two_at_once_do_not_meet(run: Run, tmp_path: Path, pascal: bytes, shelf: Path) -> None:
    """The second says that the first is at it."""
    (tmp_path / "a.tgz").write_bytes(pascal)
    (shelf / ".fetch").mkdir(parents=True)
    with (shelf / ".fetch" / "pascal_context.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("dataset", "fetch", "pascal_context", "--from", str(tmp_path / "a.tgz"), "--to", str(shelf))
    assert done.code == 2
    assert "Another process is fetching" in done.err


def test_known_urls_are_public_and_encrypted() -> None:
    """Both of the paper's datasets have one."""
    assert set(KNOWN_URLS) == {"pascal_context", "nyud"}
    assert all(url.startswith("https://") for url in KNOWN_URLS.values())
