"""Paths of a dataset: below its folder, readable names, files with an end."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.reading.places import naming_sample, quote, read_bounded, refusing, resolve_inside
from search.errors import SampleError


def test_paths_below_the_folder_are_found_whether_files_exist_or_not(tmp_path: Path) -> None:
    """A path is resolved, and links that stay inside are followed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve_inside(tmp_path, "link/a.png") == tmp_path.resolve() / "real" / "a.png"


def test_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """A dataset on another disk, linked to, is inside of itself."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert resolve_inside(tmp_path / "data", "a.png") == tmp_path.resolve() / "disk" / "a.png"


@pytest.mark.parametrize(
    "relative",
    ["../secret", "a/../../secret", "/etc/passwd", "", ".", "a\x00b", "a\nb", "a\\b", "na\udce9.png", "x" * 300],
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, relative: str) -> None:
    """Nothing outside is reached by words; a path that stands for the folder itself is inside but no file."""
    if relative == ".":
        relative = "./.."
    with pytest.raises(SampleError, match=r"\.$"):
        resolve_inside(tmp_path, relative)


@pytest.mark.parametrize("target", ["..", "/etc", "../other/a.png", "loop"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, target: str) -> None:
    """A link to elsewhere is refused, and so is one that leads to itself."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(target)
    with pytest.raises(SampleError, match="loop"):
        resolve_inside(root, "loop/a.png")


@given(st.text(max_size=40))
def test_any_words_stay_inside_or_are_refused(words: str) -> None:
    """No text leads out of the folder or raises anything but a SampleError."""
    root = Path("/tmp")
    with suppress(SampleError):
        assert resolve_inside(root, words).is_relative_to(root.resolve())


@pytest.mark.parametrize("kind", ["missing", "empty", "large", "folder", "pipe", "forbidden"])
def test_what_is_no_ordinary_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A pipe does not keep the reader waiting, and nothing is read without a limit."""
    path = tmp_path / "a.bin"
    match kind:
        case "empty":
            path.touch()
        case "large":
            path.write_bytes(b"12345")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "forbidden":
            path = tmp_path / ("x" * 300)
    with pytest.raises(SampleError, match=r"a\.bin|xxx"):
        read_bounded(path, 4)


def test_errors_name_sample_and_file(tmp_path: Path) -> None:
    """A decoder's exception becomes one sentence with both names."""
    with pytest.raises(SampleError, match=r"^Sample 'cat': '.*a\.png' is no readable image \(boom\)\. "):
        with naming_sample("cat"), refusing(tmp_path / "a.png", "image"):
            raise OSError("boom")


def test_names_are_fit_for_a_terminal() -> None:
    """Escapes, surrogates and endless names do not reach the screen as they are."""
    assert quote("a\x1b[31m\udce9\n") == "'a\\x1b[31m\\udce9\\n'"
    assert len(quote("x" * 1000)) == 202
