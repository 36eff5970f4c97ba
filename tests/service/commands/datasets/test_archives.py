"""Archives of strangers: good ones come out whole, hostile ones not at all, and never anything outside."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import DatasetError
from service.commands.datasets.archives import UnpackLimits, find_root, unpacked

FILES = {"SET/a.txt": b"one", "SET/sub/b.bin": os.urandom(3000), "SET/empty": b""}
KINDS = pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
Change = Callable[[tarfile.TarInfo], None]


def pack_tar(files: dict[str, bytes], change: Change = lambda entry: None, *, pax: bool = False) -> bytes:
    """Return a .tar of files, each entry changed before it is written."""
    stream = io.BytesIO()
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            change(entry)
            archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return stream.getvalue()


def pack_zip(files: dict[str, bytes], mode: int = 0) -> bytes:
    """Return a .zip of files with a mode of their own."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.external_attr = name, mode << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def pack(kind: str, files: dict[str, bytes]) -> bytes:
    """Return an archive of a kind."""
    packed = pack_zip(files) if kind == "zip" else pack_tar(files)
    return gzip.compress(packed) if kind == "tar.gz" else packed


def unpack(folder: Path, content: bytes, limits: UnpackLimits | None = None) -> dict[str, bytes]:
    """Return what comes out of an archive; the folder has nothing else in it afterwards."""
    (folder / "in").mkdir(exist_ok=True)
    archive = folder / "archive"
    archive.write_bytes(content)
    try:
        with unpacked(archive, folder / "in", limits=limits or UnpackLimits()) as found:
            return {
                str(path.relative_to(found)): path.read_bytes() for path in sorted(found.rglob("*")) if path.is_file()
            }
    finally:
        assert list((folder / "in").iterdir()) == []
        assert {path.name for path in folder.iterdir()} <= {"in", "archive"}


@KINDS
def test_archives_come_out_whole(tmp_path: Path, kind: str) -> None:
    """Every file has its content, and nothing is left of the folder afterwards."""
    assert unpack(tmp_path, pack(kind, FILES)) == FILES


def test_what_is_moved_away_stays(tmp_path: Path) -> None:
    """The content can be moved into place in one step."""
    (tmp_path / "a").write_bytes(pack("tar.gz", FILES))
    with unpacked(tmp_path / "a", tmp_path) as folder:
        assert find_root(folder).name == "SET"
        find_root(folder).rename(tmp_path / "SET")
    assert (tmp_path / "SET" / "a.txt").read_bytes() == b"one"


@KINDS
@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/tmp/out", "..", "a\\..\\out", "a\nb", "x" * 300, "d/" * 2500 + "f"]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    """Nothing is written beside or above the folder."""
    with pytest.raises(DatasetError, match="Nothing of it was kept"):
        unpack(tmp_path, pack(kind, {"good": b"1", name: b"2"}))
    assert not Path("/tmp/out").exists()


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    """A name that cannot be shown is no name."""
    with pytest.raises(DatasetError, match="is not UTF-8"):
        unpack(tmp_path, pack_tar({"na\udce9": b"1"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_tars_are_refused(tmp_path: Path, kind: bytes) -> None:
    """Links of both kinds, devices of both kinds and pipes."""

    def change(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 0

    with pytest.raises(DatasetError, match="is a link or a device"):
        unpack(tmp_path, gzip.compress(pack_tar({"x": b""}, change)))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_of_zips_are_refused(tmp_path: Path, kind: int) -> None:
    """The mode of an entry says what it is."""
    with pytest.raises(DatasetError, match="is a link or a device"):
        unpack(tmp_path, pack_zip({"x": b"/etc/passwd"}, kind | 0o777))


def test_modes_of_an_archive_do_not_count(tmp_path: Path) -> None:
    """A file that an archive calls executable and owned by root is a plain file."""

    def change(entry: tarfile.TarInfo) -> None:
        entry.mode = 0o6777

    (tmp_path / "a").write_bytes(pack_tar({"x": b"1"}, change))
    with unpacked(tmp_path / "a", tmp_path) as folder:
        assert (folder / "x").stat().st_mode & 0o7111 == 0


@KINDS
def test_too_many_files_are_refused(tmp_path: Path, kind: str) -> None:
    """One more than allowed, and none is kept."""
    files = {f"f{number}": b"" for number in range(1_001)}
    with pytest.raises(DatasetError, match="more than 1,000 files"):
        unpack(tmp_path, pack(kind, files), UnpackLimits(num_entries=1_000))


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_bombs_stop_at_the_ratio(tmp_path: Path, kind: str) -> None:
    """A thousand bytes out of one are written up to the limit only."""
    written: list[int] = []
    (tmp_path / "bomb").write_bytes(pack(kind, {"x": bytes(50_000_000)}))
    limits = UnpackLimits(free_bytes=1 << 20)
    with pytest.raises(DatasetError, match="unpacks to more than"):
        with unpacked(tmp_path / "bomb", tmp_path, limits=limits, progress=written.append):
            pass
    allowed = (tmp_path / "bomb").stat().st_size * limits.ratio
    assert max(written, default=0) <= max(allowed, limits.free_bytes)


@KINDS
def test_more_bytes_than_allowed_are_refused(tmp_path: Path, kind: str) -> None:
    """The limit counts over all files."""
    with pytest.raises(DatasetError, match="more than 3,000 bytes"):
        unpack(tmp_path, pack(kind, FILES), UnpackLimits(bytes=3000))


def test_headers_of_megabytes_are_refused(tmp_path: Path) -> None:
    """A text in a header does not fill the memory."""

    def change(entry: tarfile.TarInfo) -> None:
        entry.pax_headers = {"comment": "x" * (4 << 20)}

    with pytest.raises(DatasetError, match="header of several megabytes"):
        unpack(tmp_path, gzip.compress(pack_tar({"x": b"1"}, change, pax=True)))


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    """A sparse file may be larger than any disk."""

    def change(entry: tarfile.TarInfo) -> None:
        entry.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 50), "GNU.sparse.name": "x"}

    with pytest.raises(DatasetError, match="link or a device"):
        unpack(tmp_path, pack_tar({"x": b"1"}, change, pax=True))


@KINDS
def test_wrong_checksums_are_refused(tmp_path: Path, kind: str) -> None:
    """A byte that was flipped in the content is found by the checksum of .zip and .gz."""
    packed = bytearray(pack(kind, {"x": bytes(range(256)) * 4}))
    if kind == "zip":
        packed[14] ^= 1  # of the local header, and the same in the directory
        packed[packed.index(b"PK\x01\x02") + 16] ^= 1
    elif kind == "tar.gz":
        packed[-8] ^= 1
    else:
        packed[150] ^= 1  # the checksum of the header
    with pytest.raises(DatasetError, match=r"is broken|broken header"):
        unpack(tmp_path, bytes(packed))


@KINDS
def test_truncated_archives_are_refused(tmp_path: Path, kind: str) -> None:
    """Cut anywhere, nothing of an archive is kept."""
    packed = pack(kind, FILES)
    for length in range(1, len(packed) - (9000 if kind == "tar" else 1), 101):
        with pytest.raises(DatasetError, match="archive"):
            unpack(tmp_path, packed[:length])


def test_broken_headers_in_the_middle_are_no_end(tmp_path: Path) -> None:
    """What follows a broken header is not lost without a word."""
    packed = bytearray(pack_tar({"a": b"1" * 512, "b": b"2" * 512}))
    packed[1024 + 150] ^= 1
    with pytest.raises(DatasetError, match="broken header"):
        unpack(tmp_path, bytes(packed))


@KINDS
def test_one_place_is_written_once(tmp_path: Path, kind: str) -> None:
    """A second file of a name, or a file where a folder is, is refused rather than written over the first."""
    for second in ("SET/a.txt", "SET/a.txt/b", "SET"):
        files = [("SET/a.txt", b"1"), (second, b"2")]
        stream = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(stream, "w") as archive, suppress(UserWarning):
                for name, content in files:
                    entry = zipfile.ZipInfo(f"{len(stream.getvalue())}")
                    entry.filename = name
                    archive.NameToInfo.pop(name, None)
                    archive.writestr(entry, content)
        else:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                for name, content in files:
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        packed = gzip.compress(stream.getvalue()) if kind == "tar.gz" else stream.getvalue()
        with pytest.raises(DatasetError, match="twice, or as a file and a folder"):
            unpack(tmp_path, packed)


def test_encrypted_zips_are_refused(tmp_path: Path) -> None:
    """There is nobody to ask for a password."""
    packed = bytearray(pack_zip({"x": b"1"}))
    for start in (6, packed.index(b"PK\x01\x02") + 8):
        packed[start] |= 1
    with pytest.raises(DatasetError, match="encrypted"):
        unpack(tmp_path, bytes(packed))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><title>Sign in</title>", b"\x7fELF", b"BZh91AY"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """A web page that was saved under the name of an archive is said to be one."""
    with pytest.raises(DatasetError, match="may be a web page"):
        unpack(tmp_path, content)


def test_overlapping_entries_of_a_zip_stop_at_the_limit(tmp_path: Path) -> None:
    """Many entries that share the same few packed bytes are counted each."""
    packed = pack_zip({"x": bytes(100_000)})
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    entry = packed[start:end]
    directory = b"".join(entry[:-1] + bytes([65 + number]) for number in range(26))
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 26, 26, len(directory), start, 0)
    with pytest.raises(DatasetError, match="archive"):
        unpack(tmp_path, packed[:start] + directory + tail, UnpackLimits(free_bytes=300_000, ratio=1))


@given(st.sampled_from(["tar", "tar.gz", "zip"]), st.integers(0, 4000), st.binary(max_size=40))
def test_random_bytes_are_refused_in_one_way(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, noise: bytes
) -> None:
    """Whatever is in an archive, files inside the folder or a DatasetError come out."""
    packed = pack(kind, FILES)
    folder = tmp_path_factory.mktemp("noise")
    for content in (packed[:place] + noise + packed[place + len(noise) :], packed[:32] + noise):
        with suppress(DatasetError):
            unpack(folder, content)
