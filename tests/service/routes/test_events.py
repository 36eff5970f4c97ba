"""Events as they come: every one once, in order, over lost connections, slow readers and the end of the server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete

from db.records.jobs import Progress
from db.sql.engine import Database, build_engine, parse_url
from db.sql.schema import event
from service.server_settings import EventLimits

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

DATABASES = ("sqlite", "postgres")


@dataclass
class Frame:
    """One server-sent event."""

    seq: int
    kind: str
    data: dict[str, Any]


def read_frames(response: httpx.Response) -> Iterator[Frame]:
    """Yield the events of a stream."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if not line and "id" in fields:
            yield Frame(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


@contextmanager
def follow(server: Server, job_id: str, *, after: int | None = None) -> Iterator[httpx.Response]:
    """Yield the open stream of a job."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with server.ask().stream("GET", f"/api/v1/searches/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield response


def test_a_stream_tells_the_whole_story_and_ends(start_server: StartServer, database_url: str) -> None:
    """From the first event to the end of the job, gapless, also what happened before the client came (C11)."""
    server = start_server(database_url)
    job_id = server.submit()["id"]
    claim = server.claim()
    frames: list[Frame] = []
    with follow(server, job_id) as response:
        thread = threading.Thread(target=lambda: frames.extend(read_frames(response)))
        thread.start()
        for claimed in claim["trials"]:
            server.call(claimed, "logs", {"lines": ["line\nwith an end", "ü"]})
            server.finish(claimed)
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    assert {frame.kind for frame in frames} == {"state", "trial", "log", "front"}
    assert [frame.data["state"] for frame in frames if frame.kind == "state"] == ["QUEUED", "RUNNING", "SUCCEEDED"]
    stored = server.store.list_events(job_id)
    assert [(event.seq, event.kind, dict(event.data)) for event in stored] == [
        (frame.seq, frame.kind, frame.data) for frame in frames
    ]


def test_a_client_goes_on_where_it_was(server: Server) -> None:
    """With Last-Event-ID, or with ?after=, only what follows is sent; the header wins (C11)."""
    job_id = server.run_search()
    with follow(server, job_id) as response:
        everything = list(read_frames(response))
    with follow(server, job_id, after=3) as response:
        assert list(read_frames(response)) == everything[3:]
    path = f"/api/v1/searches/{job_id}/events"
    with server.ask().stream("GET", path, params={"after": 5}) as response:
        assert list(read_frames(response)) == everything[5:]
    with server.ask().stream("GET", path, params={"after": 5}, headers={"Last-Event-ID": "2"}) as response:
        assert list(read_frames(response)) == everything[2:]


def test_a_client_that_has_everything_need_not_come_back(server: Server) -> None:
    """Once the job has ended and the last event is known, 204 keeps a browser from asking again."""
    job_id = server.run_search()
    _, newest = server.store.get_last_event(job_id)
    response = server.ask().get(f"/api/v1/searches/{job_id}/events", headers={"Last-Event-ID": str(newest)})
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("wanted", ["999999", "-1", "x", "1.5", "1e3", "9" * 30, "", "0x1", "¹"])
def test_ids_that_no_event_has_are_refused(server: Server, wanted: str) -> None:
    """Garbage and ids of the future get 400 (C11)."""
    path = f"/api/v1/searches/{server.submit()['id']}/events"
    response = server.ask().get(path, headers={b"Last-Event-ID": wanted.encode()})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_event_id")


def test_ids_older_than_what_is_kept_are_gone(server: Server) -> None:
    """A client that was away too long is told by 410 from where to start."""
    job_id = server.submit()["id"]
    server.ask().post(f"/api/v1/searches/{job_id}/cancel")
    database = Database(build_engine(parse_url(server.url)))
    database.write(lambda tx: tx.execute(delete(event).where(event.c.job_id == job_id, event.c.seq <= 2)))
    database.close()
    response = server.ask().get(f"/api/v1/searches/{job_id}/events", headers={"Last-Event-ID": "0"})
    assert (response.status_code, response.json()["code"]) == (410, "events_gone")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.soak)])
def test_two_hundred_clients_miss_nothing(start_server: StartServer, request: pytest.FixtureRequest, kind: str) -> None:
    """200 clients, one of which never reads, each get every event once while the store is looked at by one (C11)."""
    server = start_server(
        request.getfixturevalue(f"{kind}_url"), events=EventLimits(poll_seconds=0.05, ping_seconds=0.5, queue_size=20)
    )
    job_id = server.submit()["id"]
    with connect_many(server, job_id, 200) as connections:
        claim = server.claim()
        for claimed in claim["trials"]:
            for step in range(10):
                server.store.heartbeat(
                    claimed["attempt"]["id"], lease_seconds=90, progress=Progress("search", step, 10)
                )
                server.call(claimed, "logs", {"lines": [f"{step}"]})
            server.finish(claimed)
        newest = server.store.get_last_event(job_id)[1]
        for connection in connections[1:]:
            assert read_ids(connection) == list(range(1, newest + 1))
        assert read_ids(connections[0]) == list(range(1, newest + 1))


@contextmanager
def connect_many(server: Server, job_id: str, number: int) -> Iterator[list[socket.socket]]:
    """Yield raw connections that follow a job."""
    parts = urlsplit(server.address)
    request = f"GET /api/v1/searches/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request += f"Authorization: Bearer {server.tokens['viewer']}\r\n\r\n"
    connections = [socket.create_connection((parts.hostname, parts.port), timeout=20) for _ in range(number)]
    try:
        for connection in connections:
            connection.sendall(request.encode())
        yield connections
    finally:
        for connection in connections:
            connection.close()


def read_ids(connection: socket.socket) -> list[int]:
    """Return the ids of all events that a connection gets until it is closed."""
    content = b""
    while piece := connection.recv(65536):
        content += piece
    return [int(line[4:]) for line in content.split(b"\n") if line.startswith(b"id: ")]


def test_more_streams_than_allowed_are_refused(start_server: StartServer) -> None:
    """Beyond the limit a client is asked to come back later; when one leaves, there is room again."""
    server = start_server(events=EventLimits(poll_seconds=0.05, ping_seconds=0.2, max_streams=1))
    path = f"/api/v1/searches/{server.submit()['id']}/events"
    with server.ask().stream("GET", path):
        response = server.ask("viewer").get(path)
        assert (response.status_code, response.json()["code"]) == (429, "too_many_streams")
    deadline = time.monotonic() + 5
    while server.ask("viewer").get("/metrics").text.find("bmtas_event_streams 0.0") < 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_idle_stream_is_kept_open_by_comments(start_server: StartServer) -> None:
    """A quiet job sends a comment now and then, which no client takes for an event."""
    server = start_server(events=EventLimits(poll_seconds=0.05, ping_seconds=0.1))
    with follow(server, server.submit()["id"]) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": ping"


def test_the_end_of_the_server_ends_the_streams(start_server: StartServer) -> None:
    """When the server drains, streams end at once and new ones are refused; what was sent is whole (A13)."""
    server = start_server()
    job_id = server.submit()["id"]
    with follow(server, job_id) as response:
        frames = read_frames(response)
        assert next(frames).seq == 1
        started = time.monotonic()
        server.settings.draining.set()
        list(frames)
        assert time.monotonic() - started < 2
    refused = server.ask().get(f"/api/v1/searches/{job_id}/events")
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
