"""Hashes are kept as long as a file looks unchanged, and never when it might change unseen."""

import hashlib
import os
from pathlib import Path

import pytest

from search.data.reading.file_hashes import FileHashes, name_hashes
from search.errors import SampleError

LONG_AGO = 1_000_000_000


def write(path: Path, content: bytes, seconds: int = LONG_AGO) -> str:
    """Write a file that was changed at a time, and return the hash of its content."""
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once(tmp_path: Path) -> None:
    """What has the size and time of before has the hash of before, in another process, too."""
    place, file = name_hashes(tmp_path / "cache", "robot"), tmp_path / "a.png"
    digest = write(file, b"one")
    hashes = FileHashes(place)
    assert hashes.get(file) == digest
    hashes.save()
    write(file, b"two")  # same size and time: nobody can tell, and nobody reads
    assert FileHashes(place).get(file) == digest


@pytest.mark.parametrize(("content", "seconds"), [(b"two", LONG_AGO + 5), (b"three", LONG_AGO)])
def test_a_changed_file_is_read_again(tmp_path: Path, content: bytes, seconds: int) -> None:
    """Another time or another size is another file."""
    hashes, file = FileHashes(), tmp_path / "a.png"
    write(file, b"one")
    hashes.get(file)
    assert hashes.get(file) != write(file, content, seconds)
    assert hashes.get(file) == hashlib.sha256(content).hexdigest()


def test_a_file_of_this_moment_is_not_trusted(tmp_path: Path) -> None:
    """It may change again within the resolution of its time."""
    place, file = name_hashes(tmp_path / "cache", "robot"), tmp_path / "a.png"
    file.write_bytes(b"one")
    hashes = FileHashes(place)
    hashes.get(file)
    hashes.save()
    assert not place.exists()


def test_damaged_hashes_are_forgotten(tmp_path: Path) -> None:
    """They are found again."""
    place, file = tmp_path / "hashes.json", tmp_path / "a.png"
    digest = write(file, b"one")
    for content in ("{", "[1]", '{"a": 1}'):
        place.write_text(content)
        assert FileHashes(place).get(file) == digest


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(SampleError, match=r"'lost\.png' gave: No such file"):
        FileHashes().get(tmp_path / "lost.png")
