"""What happens to all jobs, as one stream for the lists."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from service.server_settings import EventLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.routes.conftest import Server, StartServer


@contextmanager
def watch(server: Server) -> Iterator[Iterator[str]]:
    """Yield the lines of the stream, its greeting read: from then on nothing is missed."""
    with server.ask().stream("GET", "/api/v1/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "retry: 2000"
        yield lines


def read_until(lines: Iterator[str], state: str) -> list[tuple[str, dict[str, Any]]]:
    """Return (kind, data) of the events up to the one that tells of a state of a job."""
    told: list[tuple[str, dict[str, Any]]] = []
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        assert name != "id"
        if name == "event":
            kind = value
        elif name == "data":
            told.append((kind, json.loads(value)))
            if kind == "state" and told[-1][1]["state"] == state:
                return told
    raise AssertionError(told)


def test_changes_of_all_jobs_are_told_once(server: Server) -> None:
    """States and trials of every job, with its id, each once; figures and lines are left to the job's own stream."""
    with watch(server) as lines:
        first, second = server.submit()["id"], server.submit(seeds=[1])["id"]
        for claimed in (*server.claim(100)["trials"], *server.claim(100)["trials"]):
            server.call(claimed, "logs", {"lines": ["x"]})
            server.finish(claimed)
        told = read_until(lines, "SUCCEEDED") + read_until(lines, "SUCCEEDED")
    states = {
        job: [data["state"] for kind, data in told if kind == "state" and data["job_id"] == job]
        for job in (first, second)
    }
    assert states == {key: ["QUEUED", "RUNNING", "SUCCEEDED"] for key in (first, second)}
    assert {kind for kind, _ in told} <= {"state", "trial", "progress"}
    ends = [data["trial_id"] for kind, data in told if kind == "trial" and data["state"] == "SUCCEEDED"]
    assert len(ends) == len(set(ends))


def test_a_slow_reader_is_told_to_read_again(start_server: StartServer) -> None:
    """Who cannot keep up gets `reset` in place of what was dropped."""
    server = start_server(events=EventLimits(poll_seconds=0.05, ping_seconds=0.5, queue_size=1))
    with watch(server) as lines:
        job = server.submit()
        for claimed in server.claim(100)["trials"]:
            server.finish(claimed)
        assert job["id"]
        assert any(line == "event: reset" for line in lines)


def test_the_stream_ends_with_the_server(start_server: StartServer) -> None:
    """It needs a token, and is cut in good order when the server is about to end; then none is opened."""
    server = start_server()
    assert server.ask(None).get("/api/v1/events").status_code == 401
    with watch(server) as lines:
        threading.Timer(0.2, server.settings.draining.set).start()
        assert [line for line in lines if line.startswith("data")] == []
    assert server.ask().get("/api/v1/events").status_code == 503


def test_streams_are_counted_together(start_server: StartServer) -> None:
    """It takes one of the streams that there may be."""
    server = start_server(events=EventLimits(poll_seconds=0.05, ping_seconds=0.5, max_streams=1))
    with watch(server):
        with httpx.Client(base_url=server.address, headers=server.ask().headers, trust_env=False) as other:
            assert other.get("/api/v1/events").status_code == 429
