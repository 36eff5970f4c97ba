"""Files from the server: whole or not at all, checked against their SHA-256, and gone on with where they broke off.

What has arrived stands beside the target under a name that holds the checksum, so that a later try goes on with it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.client_parts.connection import BUSY_STATUSES, Connection, Request
from service.errors import ChecksumError, ServiceProblem

_SILENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Promise:
    """What the server says a file is: its path on the server, its SHA-256 in hexadecimal and its size in bytes."""

    path: str
    sha256: str
    num_bytes: int


def download(connection: Connection, promise: Promise, target: Path) -> None:
    """Fetch a file; the target is replaced only by one whose checksum is right.

    Raises:
        ChecksumError: What arrived is not what was promised.
        ServiceProblem: The server refused.
        ServerAwayError: It did not answer in time.
        OSError: The disk refused.
    """
    partial = target.with_name(f".{target.name[:60]}.{promise.sha256[:12]}.part")
    clock, pauses = connection.clock, connection.patience.pauses()
    deadline = clock.now() + connection.patience.seconds
    while _size(partial) < promise.num_bytes or not partial.exists():
        before = _size(partial)
        try:
            _fetch_rest(connection, promise, partial)
        except httpx.TransportError as error:
            if clock.now() > deadline:
                raise connection.away(error) from None
        except ServiceProblem as problem:
            if problem.status not in BUSY_STATUSES or clock.now() > deadline:
                raise
        if _size(partial) > before:  # it moves: patience starts anew
            deadline, pauses = clock.now() + connection.patience.seconds, connection.patience.pauses()
        elif _size(partial) < promise.num_bytes and clock.now() > deadline:
            break
        else:
            clock.sleep(next(pauses))
    _check(partial, promise, target)
    os.replace(partial, target)


def _fetch_rest(connection: Connection, promise: Promise, partial: Path) -> None:
    """Append what is missing to the partial file; begin anew where the server does not know ranges."""
    offset = _size(partial)
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = Request("GET", promise.path, headers=headers)
    with connection.stream(request, _SILENCE_SECONDS) as response:
        goes_on = response.status_code == 206 and _starts_at(response, offset)
        with partial.open("ab" if goes_on else "wb") as stream:
            for chunk in response.iter_bytes():
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())


def _starts_at(response: httpx.Response, offset: int) -> bool:
    """Return whether a part of a file begins where it should."""
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _check(partial: Path, promise: Promise, target: Path) -> None:
    """Refuse a file that is not what was promised, and remove it so that the next try begins anew."""
    with partial.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != promise.sha256:
        partial.unlink()
        raise ChecksumError(
            f"{target} was to have the SHA-256 {promise.sha256[:12]}..., but {digest[:12]}... arrived. Fetch it again."
        )


def _size(path: Path) -> int:
    """Return the size of a file in bytes, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
