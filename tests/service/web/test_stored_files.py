"""Files below the storage root: read from a folder or any other file system, never from outside."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from service.errors import ArtifactNameError
from service.web.stored_files import ByteRange, check_relative, describe_digest, open_stored, parse_range, read_pieces

OUTSIDE = [
    "../canary",
    "/etc/passwd",
    "a/../../canary",
    "..",
    ".",
    "",
    "a//b",
    "a/./b",
    "a\\b",
    "a\0b",
    "a#b",
    "a?b",
    "%2e%2e/x",
    "file:///etc/passwd",
    "~/x",
    "x" * 2000,
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_odd_paths_are_refused(tmp_path: Path, path: str) -> None:
    """No path but a plain relative one is looked at, on disk or elsewhere (E1)."""
    (tmp_path / "canary").write_text("x")
    (tmp_path / "root").mkdir()
    for root in (str(tmp_path / "root"), "memory://bmtas"):
        with pytest.raises(ArtifactNameError):
            open_stored(root, path)


def test_links_may_not_lead_out(tmp_path: Path) -> None:
    """A link to a file outside, or through a folder outside, is refused; one that stays inside is not."""
    (tmp_path / "root").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "canary").write_text("x")
    (tmp_path / "root" / "inside").write_text("y")
    for name, target in (("file", tmp_path / "out" / "canary"), ("folder", tmp_path / "out")):
        (tmp_path / "root" / name).symlink_to(target)
    (tmp_path / "root" / "fine").symlink_to(tmp_path / "root" / "inside")
    for path in ("file", "folder/canary"):
        with pytest.raises(ArtifactNameError):
            open_stored(str(tmp_path / "root"), path)
    with open_stored(str(tmp_path / "root"), "fine") as stream:
        assert stream.read() == b"y"


def test_pieces_come_from_any_file_system(tmp_path: Path) -> None:
    """A stretch of a large file is read piece by piece, from a folder and from another file system."""
    content = bytes(range(256)) * 4096
    (tmp_path / "a").write_bytes(content)
    with fsspec.open("memory://bmtas/a", "wb") as stream:
        stream.write(content)
    for root in (str(tmp_path), "memory://bmtas"):
        pieces = list(read_pieces(open_stored(root, "a"), ByteRange(100, 600_000)))
        assert b"".join(pieces) == content[100:600_100]
        assert max(map(len, pieces)) <= 256 * 1024
    with pytest.raises(FileNotFoundError):
        open_stored(str(tmp_path), "b")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=5-", ByteRange(5, 95)),
        ("bytes=-10", ByteRange(90, 10)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes=50-1000", ByteRange(50, 50)),
        ("bytes=1-0", None),
        ("bytes=0-1,3-4", None),
        ("pages=1-2", None),
    ],
)
def test_ranges(header: str | None, expected: ByteRange | None) -> None:
    """One stretch is understood, anything else is the whole file."""
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_outside(header: str) -> None:
    """A stretch without a byte in the file is refused."""
    with pytest.raises(ValueError, match="outside"):
        parse_range(header, 100)


def test_plain_paths_pass() -> None:
    """Paths as trial processes make them are fine."""
    check_relative("trials/tria_1/2/checkpoints/search.pt.0123456789ab")
    assert describe_digest("00" * 32).startswith("sha-256=:AAAA")
