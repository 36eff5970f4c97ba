"""Large files from strangers' servers: gone on with where they broke off, bounded, and checked against a SHA-256.

What has arrived lies in a .part file with a note beside it of what it is a part of, so that a later run goes on with
it. Compare `service.client_parts.download`, for files of our own server, which promises sizes and checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin

import httpx

from service.client_parts.connection import BUSY_STATUSES, Clock
from service.commands.datasets.addresses import AddressRule
from service.errors import ChecksumError, ServiceError

Progress = Callable[[int, int | None], None]
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_FIRST_PAUSE_SECONDS = 0.1
_MAX_REDIRECTS = 5
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class DownloadError(ServiceError):
    """The file could not be downloaded."""


class UnreachableError(DownloadError):
    """There is no network, or the server does not answer."""


class _BrokeOffError(Exception):
    """A try ended early; another one may go on."""


@dataclass(frozen=True)
class Wanted:
    """What to download.

    Attributes:
        url: Where from.
        sha256: Of the file, in hexadecimal; None where nobody has published it.
        max_bytes: Refused is what is larger.
        num_tries: Tries in a row that bring nothing new, after which it is given up.
    """

    url: str
    sha256: str | None = None
    max_bytes: int = 32 << 30
    num_tries: int = 5


@dataclass(frozen=True)
class _Note:
    """What a .part file is a part of: the URL, the mark that a server changes with the content, the whole size."""

    url: str
    mark: str | None = None
    total: int | None = None


@dataclass
class Download:
    """One download into a .part file.

    Attributes:
        wanted: What to download.
        part: The file that it arrives in; beside it lies a note.
        rule: Where it may go.
        progress: Called with the bytes that are here and all of them, None where unknown; what it raises ends it.
        clock: How pauses pass.
        num_restarts: How often the server would not go on where it broke off.
    """

    wanted: Wanted
    part: Path
    rule: AddressRule
    progress: Progress
    clock: Clock = field(default_factory=Clock)
    num_restarts: int = 0

    def run(self) -> str:
        """Download the file, going on with what is here already, and return its SHA-256 in hexadecimal.

        Raises:
            AddressError: The URL or one that it leads to is not allowed.
            UnreachableError: There is no network, or the server does not answer.
            DownloadError: The server refused, or what it sends is too large or changes all the time.
            ChecksumError: What arrived is not what was wanted; it is removed.
        """
        fruitless, pause = 0, _FIRST_PAUSE_SECONDS
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client:
            while True:
                before = _size(self.part)
                try:
                    self._fetch_rest(client)
                    return self._check()
                except (httpx.TransportError, _BrokeOffError, OSError) as error:
                    if isinstance(error, OSError) and error.filename is not None:
                        raise  # the disk, not the network
                    moved = _size(self.part) > before
                    fruitless, pause = (0, _FIRST_PAUSE_SECONDS) if moved else (fruitless + 1, pause * 4)
                    if fruitless >= self._patience(error):
                        raise self._give_up(error) from error
                    self.clock.sleep(pause)

    def _patience(self, error: Exception) -> int:
        """Return after how many fruitless tries it is given up: soon where there seems to be no network at all."""
        nobody_there = isinstance(error, OSError | httpx.ConnectError) and not _size(self.part)
        return min(2, self.wanted.num_tries) if nobody_there else self.wanted.num_tries

    def _fetch_rest(self, client: httpx.Client) -> None:
        """Append what is missing to the .part file; begin anew where the server cannot go on or has another file."""
        note, have = self._read_note(), _size(self.part)
        if note is None or (note.total is not None and have > note.total):
            note, have = _Note(self.wanted.url), 0
        if have and note.total == have:
            return
        headers = {"Accept-Encoding": "identity"}  # packed on the way, sizes and places would mean something else
        if have:
            headers["Range"] = f"bytes={have}-"
            headers |= {"If-Range": note.mark} if note.mark else {}
        with self._open(client, headers) as response:
            goes_on = response.status_code == 206
            if response.status_code == 416 or (goes_on and not self._continues(response, note, have)):
                self._begin_anew()
            if not goes_on:
                have, note = 0, _Note(self.wanted.url, _mark(response), _length(response))
                self._check_size(note.total or 0)
                self._write_note(note)
            self._receive(response, note.total, have)

    def _receive(self, response: httpx.Response, total: int | None, have: int) -> None:
        """Write what a response brings, behind the bytes that are here."""
        with self.part.open("r+b" if have else "wb") as file:
            file.seek(have)
            file.truncate()
            # As it comes: nothing is lost when it breaks off, and a .tgz that a server calls encoded stays packed.
            for chunk in response.iter_raw():
                have += len(chunk)
                self._check_size(have if total is None or have <= total else self.wanted.max_bytes + 1)
                file.write(chunk)
                file.flush()
                self.progress(have, total)
            os.fsync(file.fileno())
        if total is not None and have < total:
            raise _BrokeOffError(f"{have:,} of {total:,} bytes arrived")
        self._write_note(_Note(self.wanted.url, _mark(response), have))

    def _open(self, client: httpx.Client, headers: Mapping[str, str]) -> _Response:
        """Return the response to the request after all redirects, each address checked."""
        url = self.wanted.url
        for _ in range(_MAX_REDIRECTS + 1):
            self.rule.check(url)
            response = client.send(client.build_request("GET", url, headers=headers), stream=True)
            opened = _Response(response)
            try:
                self._check_peer(response, url)
                if not response.is_redirect:
                    self._check_status(response)
                    return opened
            except BaseException:
                response.close()
                raise
            response.close()
            url = urljoin(url, response.headers.get("Location", ""))
        raise DownloadError(f"{self.wanted.url} leads on more than {_MAX_REDIRECTS} times. Name another by --from.")

    def _check_peer(self, response: httpx.Response, url: str) -> None:
        """Refuse a connection that was led elsewhere than the name said when it was looked up."""
        stream = response.extensions.get("network_stream")
        peer = stream.get_extra_info("server_addr") if stream is not None else None
        if peer is not None:
            self.rule.check_peer(url, str(peer[0]))

    def _check_status(self, response: httpx.Response) -> None:
        """Raise where the server refuses; later tries may help where it is busy."""
        if response.status_code in BUSY_STATUSES or response.status_code >= 500:
            raise _BrokeOffError(f"the server answered {response.status_code}")
        if response.status_code not in (200, 206, 416):
            raise DownloadError(
                f"The server has no file for us: {self.wanted.url} answered {response.status_code}. "
                f"Look at it in a browser, then name the right URL, or the file that you brought, by --from."
            )

    def _continues(self, response: httpx.Response, note: _Note, have: int) -> bool:
        """Return whether a part of a file is the one that was asked for, of the same file as what is here."""
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same_file = _mark(response) in (note.mark, None)
        return (
            have > 0
            and found is not None
            and int(found[1]) == have
            and same_file
            and (found[3] == "*" or note.total in (None, int(found[3])))
        )

    def _begin_anew(self) -> NoReturn:
        """Remove what is here, since the server does not go on with it; not without end."""
        self._forget()
        self.num_restarts += 1
        if self.num_restarts > self.wanted.num_tries:
            raise DownloadError(
                f"{self.wanted.url} breaks off and does not go on where it did. Try another server by --from."
            )
        raise _BrokeOffError("the server sent another part than was asked for")

    def _check_size(self, num_bytes: int) -> None:
        """Refuse what is larger than wanted, and remove it."""
        if num_bytes > self.wanted.max_bytes:
            self._forget()
            raise DownloadError(
                f"{self.wanted.url} sends more than it announced, or more than the {self.wanted.max_bytes:,} bytes "
                f"that are allowed. It was removed."
            )

    def _check(self) -> str:
        """Return the SHA-256 of what arrived, or remove it where another one was wanted."""
        with self.part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self.wanted.sha256 is not None and digest != self.wanted.sha256.lower():
            self._forget()
            raise ChecksumError(
                f"{self.wanted.url} was to have the SHA-256 {self.wanted.sha256[:12]}..., but {digest[:12]}... "
                f"arrived. It was removed; try again, or look whether the file was published anew."
            )
        return digest

    def _give_up(self, error: Exception) -> DownloadError:
        """Return the error for a download that does not move any more."""
        here = f" {_size(self.part):,} bytes are here; the same command goes on with them." if _size(self.part) else ""
        return UnreachableError(
            f"{self.wanted.url} cannot be reached ({str(error)[:160] or type(error).__name__}).{here}"
        )

    def _read_note(self) -> _Note | None:
        """Return what the .part file is a part of; None where that is not known or not wanted."""
        try:
            note = _Note(**json.loads(self._note_path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return note if note.url == self.wanted.url else None

    def _write_note(self, note: _Note) -> None:
        """Note what the .part file is a part of."""
        self._note_path.write_text(json.dumps(asdict(note)))

    def _forget(self) -> None:
        """Remove what has arrived."""
        for path in (self.part, self._note_path):
            with suppress(FileNotFoundError):
                path.unlink()

    @property
    def _note_path(self) -> Path:
        """Return where the note lies."""
        return self.part.with_name(f"{self.part.name}.json")


class _Response:
    """A response that is closed at the end of a block."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __enter__(self) -> httpx.Response:
        return self._response

    def __exit__(self, *details: object) -> None:
        self._response.close()


def _mark(response: httpx.Response) -> str | None:
    """Return what a server changes when the content of a file changes."""
    tag, modified = (str(response.headers.get(name, "")) for name in ("ETag", "Last-Modified"))
    return (tag if tag and not tag.startswith("W/") else modified) or None


def _length(response: httpx.Response) -> int | None:
    """Return how many bytes a response announces."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def _size(path: Path) -> int:
    """Return the size of a file in bytes, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
