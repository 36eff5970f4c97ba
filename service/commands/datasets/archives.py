"""Archives of strangers, unpacked whole or not at all: nothing outside the folder, no links, no end without a limit.

Only plain files and folders are written, byte by byte and by this process itself, so that no rule of an archive about
owners, modes, links or places ever counts.
"""

from __future__ import annotations

import gzip
import io
import os
import secrets
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from search.data.reading.places import find_path_fault, quote
from search.errors import DatasetError

CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 2 << 20
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1

Progress = Callable[[int], None]


class _Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes, none at the end."""
        ...


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may hold.

    Attributes:
        num_entries: Files and folders.
        bytes: Of all files, unpacked.
        ratio: Bytes unpacked per byte of the archive.
        free_bytes: Up to which the ratio does not count, since little text may shrink a lot.
    """

    num_entries: int = 500_000
    bytes: int = 64 << 30
    ratio: float = 200.0
    free_bytes: int = 64 << 20


DEFAULT_LIMITS = UnpackLimits()


@contextmanager
def unpacked(
    archive: Path, beside: Path, *, limits: UnpackLimits = DEFAULT_LIMITS, progress: Progress | None = None
) -> Iterator[Path]:
    """Yield a folder with the content of an archive, which is removed at the end unless it was moved away.

    Args:
        archive: A .tar.gz, .tar or .zip, whatever its name.
        beside: Folder to unpack in, on the disk where the content is to stay.
        limits: What the archive may hold.
        progress: Called with the number of bytes written so far; what it raises ends the work.

    Raises:
        DatasetError: The archive is broken, of another kind, or holds what is not allowed; the sentence names it.
    """
    folder = beside / f"unpacking-{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        _unpack(archive, _Sink(folder, archive, limits, progress))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(archive: Path, sink: _Sink) -> None:
    """Write the content of an archive into a sink."""
    with archive.open("rb") as stream:
        begin = stream.read(512)
        stream.seek(0)
        try:
            if begin.startswith(_ZIP):
                _unpack_zip(stream, sink)
            elif begin.startswith(_GZIP):
                with gzip.GzipFile(fileobj=stream) as inner:
                    _unpack_tar(inner, sink)
            elif begin[257:262] == b"ustar":
                _unpack_tar(stream, sink)
            else:
                raise DatasetError(
                    f"Archives are .tar.gz, .tar or .zip, but {quote(archive)} begins with {begin[:16]!r}. "
                    f"Look into it; it may be a web page that says why there is no file."
                )
        except DatasetError:
            raise
        except OSError as error:
            if error.errno is not None:  # the disk, not the archive
                raise
            raise sink.refuse(f"is broken ({error})") from error
        except Exception as error:  # over hostile bytes a reader may raise anything
            raise sink.refuse(f"is broken ({str(error)[:160] or type(error).__name__})") from error


class _Sink:
    """The folder that an archive is written to, which refuses what goes beyond the limits."""

    def __init__(self, folder: Path, archive: Path, limits: UnpackLimits, progress: Progress | None) -> None:
        self._folder, self._archive, self._limits, self._progress = folder, archive, limits, progress
        allowed = max(limits.free_bytes, int(archive.stat().st_size * limits.ratio))
        self.max_bytes = min(limits.bytes, allowed)
        self._num_entries = self._num_bytes = 0

    def refuse(self, fault: str) -> DatasetError:
        """Return the error for a fault of the archive."""
        return DatasetError(f"The archive {quote(self._archive)} {fault}. Nothing of it was kept; fetch it anew.")

    def enter(self, name: str) -> Path:
        """Return where an entry goes, or raise DatasetError for one too many or one that leads elsewhere."""
        self._num_entries += 1
        if self._num_entries > self._limits.num_entries:
            raise self.refuse(f"holds more than {self._limits.num_entries:,} files and folders")
        fault = find_path_fault(name)
        if fault is None and ".." in PurePosixPath(name).parts:
            fault = "leads out of its folder"
        if fault is not None:
            raise self.refuse(f"holds {quote(name)}, which {fault}")
        return self._folder.joinpath(*PurePosixPath(name).parts)

    def make_folder(self, name: str) -> None:
        """Make a folder."""
        if PurePosixPath(name).parts:  # "./" is the folder itself
            with self._naming(name):
                self.enter(name).mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: IO[bytes]) -> None:
        """Write a file."""
        with self._naming(name):
            path = self.enter(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                while chunk := content.read(CHUNK_BYTES):
                    self.count(len(chunk))
                    file.write(chunk)

    def count(self, num_bytes: int) -> None:
        """Take note of bytes that came out of the archive, or raise DatasetError for too many."""
        self._num_bytes += num_bytes
        if self._num_bytes > self.max_bytes:
            raise self.refuse(f"unpacks to more than {self.max_bytes:,} bytes, which is more than it may")
        if self._progress is not None:
            self._progress(self._num_bytes)

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Refuse an entry that another one stands in the way of."""
        try:
            yield
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self.refuse(f"holds {quote(name)} twice, or as a file and a folder") from error


def _unpack_zip(stream: IO[bytes], sink: _Sink) -> None:
    """Write the content of a .zip; its checksums are compared as it is read."""
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            name, mode = entry.orig_filename, entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise sink.refuse(f"holds {quote(name)}, which is a link or a device")
            if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _ZIP_METHODS:
                raise sink.refuse(f"holds {quote(name)}, which is encrypted or packed in a rare way")
            if entry.is_dir():
                sink.make_folder(name)
                continue
            with archive.open(entry) as content:
                sink.write(name, content)


def _unpack_tar(stream: _Readable, sink: _Sink) -> None:
    """Write the content of a .tar; a checksum around it is compared at its end."""
    ration = _Ration(stream, sink)
    with tarfile.open(fileobj=ration, mode="r:") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]
            if entry.isdir():
                sink.make_folder(entry.name)
            elif entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.issparse():
                ration.allow(entry.size)
                content = archive.extractfile(entry)
                assert content is not None  # it is a plain file
                sink.write(entry.name, content)
            else:
                raise sink.refuse(f"holds {quote(entry.name)}, which is a link or a device")
            ration.allow(0)
    if not ration.last_block or any(ration.last_block):  # its reader takes a broken header for the end
        raise sink.refuse("is truncated or has a broken header")
    while chunk := stream.read(CHUNK_BYTES):  # what follows the end, up to the checksum
        sink.count(len(chunk))


class _Ration(io.RawIOBase):
    """A stream that goes forward only and gives what headers may take; more when the size of a file was seen.

    Headers of a .tar may announce texts of any length, which its reader takes into memory as a whole.
    """

    def __init__(self, stream: _Readable, sink: _Sink) -> None:
        super().__init__()
        self._stream, self._sink, self._left, self._place = stream, sink, _HEADER_BYTES, 0
        self.last_block = b""

    def allow(self, num_bytes: int) -> None:
        """Let a file of so many bytes pass, and the headers after it."""
        self._left = num_bytes + _HEADER_BYTES

    def readable(self) -> bool:
        """Return that this can be read."""
        return True

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._place

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        """Go forward."""
        if whence != os.SEEK_SET or place < self._place:
            raise self._sink.refuse("has a header that leads backwards")
        while self._place < place and self.read(min(CHUNK_BYTES, place - self._place)):
            pass
        return self._place

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        if size < 0 or size > self._left:
            raise self._sink.refuse("has a header of several megabytes")
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        self._place += len(chunk)
        if size == tarfile.BLOCKSIZE:
            self.last_block = chunk
        return chunk


def find_root(folder: Path) -> Path:
    """Return the folder within which the content of an unpacked archive begins: its only folder, or itself."""
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir(follow_symlinks=False):
        return Path(entries[0].path)
    return folder
