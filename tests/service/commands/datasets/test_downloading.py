"""Downloads go on where they broke off, end where they should, and are what they were to be."""

import hashlib
import os
from pathlib import Path

import pytest

from service.client_parts.connection import Clock
from service.commands.datasets.addresses import AddressError, AddressRule
from service.commands.datasets.downloading import Download, DownloadError, UnreachableError, Wanted
from service.errors import ChecksumError
from tests.service.commands.datasets.stand_in_server import Answer, Respond, StandIn, serve, serve_ranges

CONTENT = os.urandom(900_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def download(server: StandIn, folder: Path, wanted: Wanted | None = None) -> str:
    """Return the SHA-256 of what was downloaded into `folder`/part."""
    wanted = wanted or Wanted(f"{server.url}/file", SHA256)
    rule = AddressRule(named=server.url)
    return Download(wanted, folder / "part", rule, lambda done, total: None, Clock(sleep=lambda seconds: None)).run()


def check_whole(respond: Respond, folder: Path) -> StandIn:
    """Download from a server and return it after comparing every byte."""
    with serve(respond) as server:
        assert download(server, folder) == SHA256
    assert (folder / "part").read_bytes() == CONTENT
    return server


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    """In one request, and its SHA-256 is said."""
    assert len(check_whole(serve_ranges(CONTENT), tmp_path).requests) == 1


def test_cut_connections_are_gone_on_with(tmp_path: Path) -> None:
    """Each next request asks for what is missing, and says of which file."""
    server = check_whole(serve_ranges(CONTENT, cuts=[300_000, 1, 0, 200_000]), tmp_path)
    ranges = [headers.get("range") for _, headers in server.requests]
    assert ranges[0] is None
    assert all(str(range_).startswith("bytes=") for range_ in ranges[1:])
    assert all(headers["if-range"] == '"one"' for _, headers in server.requests[1:])
    assert len(ranges) == 5


def test_a_later_run_goes_on(tmp_path: Path) -> None:
    """What one run has received another needs not."""
    with serve(serve_ranges(CONTENT, cuts=[500_000] + [0] * 50)) as server:
        with pytest.raises(UnreachableError, match="bytes are here"):
            download(server, tmp_path)
        url = server.url
    here = (tmp_path / "part").stat().st_size
    assert 0 < here <= 500_000
    note = tmp_path / "part.json"
    with serve(serve_ranges(CONTENT)) as server:
        note.write_text(note.read_text().replace(url, server.url))
        assert download(server, tmp_path) == SHA256
    assert server.requests[0][1]["range"] == f"bytes={here}-"


def test_a_whole_file_is_not_asked_for_again(tmp_path: Path) -> None:
    """A run that ended between download and unpacking needs no network."""
    with serve(serve_ranges(CONTENT)) as server:
        download(server, tmp_path)
        assert download(server, tmp_path) == SHA256
    assert len(server.requests) == 1


def test_a_file_that_changed_begins_anew(tmp_path: Path) -> None:
    """Two halves of two files are never put together."""
    old = serve_ranges(b"x" * 900_000, cuts=[400_000], mark='"zero"')
    new = serve_ranges(CONTENT)
    asked: list[int] = []

    def respond(path: str, headers: dict[str, str]) -> Answer:
        asked.append(1)
        return (old if len(asked) == 1 else new)(path, headers)

    check_whole(respond, tmp_path)


@pytest.mark.parametrize("wrong", ["bytes 0-899999/900000", "bytes 300001-899999/900000", "bytes 300000-1/7", "x", ""])
def test_wrong_ranges_begin_anew(tmp_path: Path, wrong: str) -> None:
    """A server that sends another part than was asked for gets another chance for the whole."""
    good = serve_ranges(CONTENT, cuts=[300_000])

    def respond(path: str, headers: dict[str, str]) -> Answer:
        if "range" not in headers:
            return good(path, headers)
        return Answer(206, {"Content-Range": wrong, "ETag": '"one"'}, CONTENT[:100])

    check_whole(respond, tmp_path)


def test_servers_that_never_go_on_are_given_up(tmp_path: Path) -> None:
    """A server that breaks off and answers ranges wrongly does not keep us for ever."""

    def respond(path: str, headers: dict[str, str]) -> Answer:
        if "range" in headers:
            return Answer(206, {"Content-Range": "bytes 0-9/10", "ETag": '"one"'}, b"0123456789")
        return Answer(200, {"ETag": '"one"'}, CONTENT, cut=300_000)

    with serve(respond) as server, pytest.raises(DownloadError, match="does not go on"):
        download(server, tmp_path)


def test_servers_without_ranges_send_all_again(tmp_path: Path) -> None:
    """A whole file in answer to a question for a part is taken from its beginning."""
    cuts: list[int | None] = [600_000]

    def respond(path: str, headers: dict[str, str]) -> Answer:
        return Answer(200, {}, CONTENT, cuts.pop() if cuts else None)

    check_whole(respond, tmp_path)


def test_packed_files_stay_packed(tmp_path: Path) -> None:
    """A server that calls a .tgz an encoding of something else does not have it unpacked on the way."""
    whole = serve_ranges(CONTENT)

    def respond(path: str, headers: dict[str, str]) -> Answer:
        answer = whole(path, headers)
        answer.headers["Content-Encoding"] = "gzip"
        return answer

    check_whole(respond, tmp_path)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(tmp_path: Path, status: int) -> None:
    """A few times."""
    busy = [Answer(status)] * 3
    good = serve_ranges(CONTENT)
    check_whole(lambda path, headers: busy.pop() if busy else good(path, headers), tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_said_at_once(tmp_path: Path, status: int) -> None:
    """With what can be done."""
    with serve(lambda path, headers: Answer(status)) as server:
        with pytest.raises(DownloadError, match=rf"answered {status}\..*--from"):
            download(server, tmp_path)
        assert len(server.requests) == 1


@pytest.mark.parametrize("announced", ["1000000", ""])
def test_too_large_files_are_refused_and_removed(tmp_path: Path, announced: str) -> None:
    """Whether the size is announced or found out on the way."""
    body = bytes(1_000_000)
    with serve(lambda path, headers: Answer(200, {"Content-Length": announced}, body)) as server:
        with pytest.raises(DownloadError, match="999,999 bytes"):
            download(server, tmp_path, Wanted(f"{server.url}/file", max_bytes=999_999))
    assert list(tmp_path.iterdir()) == []


def test_more_than_announced_is_not_taken(tmp_path: Path) -> None:
    """A part that is longer than the rest of the file is refused, even below the limit."""
    good = serve_ranges(CONTENT, cuts=[300_000])

    def respond(path: str, headers: dict[str, str]) -> Answer:
        if "range" not in headers:
            return good(path, headers)
        start = headers["range"].removeprefix("bytes=").removesuffix("-")
        told = {"Content-Range": f"bytes {start}-899999/900000", "ETag": '"one"', "Content-Length": ""}
        return Answer(206, told, CONTENT)

    with serve(respond) as server, pytest.raises(DownloadError, match="sends more than it announced"):
        download(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksums_are_refused_and_removed(tmp_path: Path) -> None:
    """What arrived is not kept, so that the next try begins anew."""
    with serve(serve_ranges(CONTENT)) as server:
        with pytest.raises(ChecksumError, match=f"have the SHA-256 {'0' * 12}.*but {SHA256[:12]}"):
            download(server, tmp_path, Wanted(f"{server.url}/file", "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_nobody_there_is_said_soon(tmp_path: Path) -> None:
    """Two tries, one sentence."""
    with serve(serve_ranges(CONTENT)) as server:
        pass
    with pytest.raises(UnreachableError, match="cannot be reached"):
        download(server, tmp_path)


def test_redirects_are_followed_and_each_is_checked(tmp_path: Path) -> None:
    """On the same server yes; to a neighbour on another port, or for ever, no."""
    good = serve_ranges(CONTENT)

    def respond(path: str, headers: dict[str, str]) -> Answer:
        moved = {"/file": "/there", "/loop": "/loop", "/out": "http://127.0.0.1:9/x", "/disk": "file:///etc/passwd"}
        return Answer(302, {"Location": moved[path]}) if path in moved else good(path, headers)

    with serve(respond) as server:
        assert download(server, tmp_path) == SHA256
        for path, error, reason in (
            ("loop", DownloadError, "more than 5 times"),
            ("out", AddressError, "leads to 127.0.0.1"),
            ("disk", AddressError, "begins with https"),
        ):
            with pytest.raises(error, match=reason):
                download(server, tmp_path, Wanted(f"{server.url}/{path}"))


def test_progress_ends_where_it_is_told_to(tmp_path: Path) -> None:
    """What the one who watches raises stops the download, and what has arrived stays."""

    def stop(done: int, total: int | None) -> None:
        assert total == len(CONTENT)
        raise KeyboardInterrupt

    with serve(serve_ranges(CONTENT)) as server, pytest.raises(KeyboardInterrupt):
        Download(Wanted(f"{server.url}/file"), tmp_path / "part", AddressRule(named=server.url), stop).run()
    assert (tmp_path / "part").stat().st_size > 0
