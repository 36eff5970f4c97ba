"""The weight files of a machine: found by name, hashed, and refused where they are not what they are called."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from search.errors import WeightsError
from search.spec import WeightsSpec
from search.weights_shelf import PUBLISHED_WEIGHTS, WeightsShelf, list_weights, shelf_with

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OWN_NAME = f"net-{DIGEST[:8]}.pth"
PUBLISHED = {"resnet18": ("resnet18-00000000.pth", OWN_NAME)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a weights folder with one file that is what its name says, and things that are no weight files."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / OWN_NAME).write_bytes(CONTENT)
    (tmp_path / "weights" / "notes.txt").write_text("not weights")
    (tmp_path / "weights" / ".hidden.pth").write_bytes(CONTENT)
    (tmp_path / "weights" / "folder.pth").mkdir()
    (tmp_path / "secret.pth").write_bytes(CONTENT)
    (tmp_path / "weights" / "link.pth").symlink_to(tmp_path / "secret.pth")
    os.mkfifo(tmp_path / "weights" / "pipe.pth")
    return tmp_path / "weights"


def test_only_weight_files_are_listed(folder: Path) -> None:
    """Links, pipes, folders, hidden and other files are not on the shelf; a missing folder holds nothing."""
    assert [(file.name, file.num_bytes, file.backbone) for file in list_weights(folder)] == [(OWN_NAME, 7, None)]
    assert list_weights(folder / "missing") == list_weights(None) == ()
    assert WeightsShelf(folder, published=PUBLISHED).list()[0].backbone == "resnet18"


def test_words_become_a_name_and_a_hash(folder: Path) -> None:
    """A job that says "imagenet" is the same as one that names the file; "none" is no file."""
    shelf = WeightsShelf(folder, published=PUBLISHED)
    wanted = WeightsSpec(file=OWN_NAME, sha256=DIGEST)
    assert shelf.choose("imagenet", "resnet18") == shelf.choose(OWN_NAME, "mobilenet_v2") == wanted
    assert shelf.choose("none", "resnet18") is None
    assert shelf.locate(wanted) == folder / OWN_NAME


def test_a_missing_published_file_is_named_with_its_address(folder: Path) -> None:
    """The sentence names torchvision's file with its eight digits, where to fetch it and where to put it."""
    with pytest.raises(WeightsError) as caught:
        WeightsShelf(folder).choose("imagenet", "mobilenet_v2")
    for words in ("mobilenet_v2-b0353104.pth", "https://download.pytorch.org/models/", str(folder), "none"):
        assert words in str(caught.value)
    with pytest.raises(WeightsError, match=r"published for mobilenet_v2, .*, not for 'tiny4'"):
        WeightsShelf(folder).choose("imagenet", "tiny4")


def test_published_names_carry_the_start_of_their_hash() -> None:
    """Every name of the table ends in eight hexadecimal digits and begins with its backbone."""
    for backbone, names in PUBLISHED_WEIGHTS.items():
        for name in names:
            stem, _, digits = name.removesuffix(".pth").rpartition("-")
            assert (stem, len(bytes.fromhex(digits))) == (backbone, 4)


def test_a_broken_download_is_refused(folder: Path) -> None:
    """A file under torchvision's name whose hash does not begin as the name says is not used."""
    (folder / OWN_NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"SHA-256 begins {DIGEST[:8]}, but it has .*Fetch it again"):
        WeightsShelf(folder, published=PUBLISHED).choose("imagenet", "resnet18")


def test_another_file_under_the_same_name_is_not_taken(folder: Path) -> None:
    """A job goes on with the very file that it was started with."""
    wanted = WeightsShelf(folder).choose(OWN_NAME, "resnet18")
    assert wanted is not None
    (folder / OWN_NAME).write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=f"begins {DIGEST[:12]}, but .*Put the file back"):
        WeightsShelf(folder).locate(wanted)


@pytest.mark.parametrize("words", ["nothing.pth", "../secret.pth", "link.pth", "pipe.pth", ".hidden.pth", ""])
def test_names_that_are_not_on_the_shelf_are_refused(folder: Path, words: str) -> None:
    """A name never leads out of the folder, through a link or to what is no plain file."""
    with pytest.raises(WeightsError, match="is no"):
        WeightsShelf(folder).choose(words, "resnet18")


@pytest.mark.parametrize("file", ["a/b.pth", "..\\b.pth", "", "a\x00.pth"])
def test_jobs_name_files_without_folders(file: str) -> None:
    """A path in a job is refused before any file is looked for."""
    with pytest.raises(ValidationError):
        WeightsSpec(file=file, sha256=DIGEST)


def test_a_path_stands_for_the_file_there(folder: Path) -> None:
    """A person's own path joins the shelf under its name; a link that a person names is followed."""
    shelf, name = shelf_with(str(folder / "link.pth"), folder)
    assert shelf.choose(name, "resnet18") == WeightsSpec(file="link.pth", sha256=DIGEST)
    assert shelf_with(OWN_NAME, folder)[1] == OWN_NAME
    assert shelf_with("imagenet", folder)[1] == "imagenet"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("folder.pth", None, "takes a file"),
        ("pipe.pth", None, "takes a file"),
        ("missing.pth", None, "there is no"),
        ("notes.txt", None, "ends in"),
        ("empty.pth", b"", "is empty"),
    ],
)
def test_paths_that_lead_to_no_weight_file_are_refused(
    folder: Path, name: str, content: bytes | None, words: str
) -> None:
    """Folders, pipes, nothing, other and empty files: a sentence each, and nothing is read."""
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        choose_path(folder / name)


def choose_path(path: Path) -> WeightsSpec | None:
    """Return what a command makes of a path."""
    shelf, word = shelf_with(str(path), None)
    return shelf.choose(word, "resnet18")
