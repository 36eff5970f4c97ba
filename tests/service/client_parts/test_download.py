"""Files from a server: checked, whole or not at all, gone on with where they broke off."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.client_parts.connection import Clock, Connection, Patience
from service.client_parts.download import Promise, download
from service.errors import ChecksumError, ServerAwayError

CONTENT = bytes(range(256)) * 400
PROMISE = Promise("/file", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Tap(httpx.SyncByteStream):
    """A body that breaks off after so many bytes."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content = content
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._most]
        if self._most < len(self._content):
            raise httpx.ReadError("reset")


class FileServer:
    """Serves the content in pieces.

    Args:
        most: Bytes per answer, after which the connection breaks.
        ranges: Whether it knows ranges.
    """

    def __init__(self, most: int = 10**9, *, ranges: bool = True, content: bytes = CONTENT) -> None:
        self.most = most
        self.ranges = ranges
        self.content = content
        self.asked: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if wanted is None or not self.ranges:
            return httpx.Response(200, stream=Tap(self.content, self.most))
        first = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Range": f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"}
        return httpx.Response(206, headers=headers, stream=Tap(self.content[first:], self.most))


def connect(server: FileServer) -> Connection:
    """Return a connection to a file server, on a clock that only waiting moves."""
    seconds = [0.0]
    clock = Clock(lambda: seconds[0], lambda pause: seconds.__setitem__(0, seconds[0] + pause))
    transport = httpx.MockTransport(server)
    return Connection("http://127.0.0.1:1", "t", patience=Patience(5.0), transport=transport, clock=clock)


def test_a_file_arrives(tmp_path: Path) -> None:
    """The content is what was promised, and nothing else is left in the folder."""
    download(connect(FileServer()), PROMISE, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["x.onnx"]


def test_a_broken_download_goes_on_where_it_was(tmp_path: Path) -> None:
    """After a break only the rest is asked for."""
    server = FileServer(most=30_000)
    download(connect(server), PROMISE, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_later_command_goes_on_where_the_first_one_died(tmp_path: Path) -> None:
    """What a killed fetch left is used by the next one."""
    (tmp_path / f".x.onnx.{PROMISE.sha256[:12]}.part").write_bytes(CONTENT[:50_000])
    server = FileServer()
    download(connect(server), PROMISE, tmp_path / "x.onnx")
    assert server.asked == ["bytes=50000-"]
    assert (tmp_path / "x.onnx").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    """An answer that is no part replaces what was there."""
    (tmp_path / f".x.onnx.{PROMISE.sha256[:12]}.part").write_bytes(b"something")
    download(connect(FileServer(ranges=False)), PROMISE, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == CONTENT


def test_another_content_is_refused_and_forgotten(tmp_path: Path) -> None:
    """A wrong checksum leaves the old file alone and nothing to go on with."""
    (tmp_path / "x.onnx").write_bytes(b"old")
    forged = FileServer(content=b"x" * len(CONTENT))
    with pytest.raises(ChecksumError, match="Fetch it again"):
        download(connect(forged), PROMISE, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.onnx"]


def test_a_file_that_stops_short_ends(tmp_path: Path) -> None:
    """A server that has less than it promised is not asked for ever."""
    short = FileServer(content=CONTENT[:100])
    with pytest.raises(ChecksumError):
        download(connect(short), PROMISE, tmp_path / "x.onnx")


def test_a_server_that_never_moves_on_ends(tmp_path: Path) -> None:
    """Connections that break before the first byte end in a sentence."""
    with pytest.raises(ServerAwayError, match="does not answer"):
        download(connect(FileServer(most=0)), PROMISE, tmp_path / "x.onnx")


def test_an_empty_file_arrives(tmp_path: Path) -> None:
    """A file of no bytes is a file."""
    promise = Promise("/file", hashlib.sha256(b"").hexdigest(), 0)
    download(connect(FileServer(content=b"")), promise, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b""
