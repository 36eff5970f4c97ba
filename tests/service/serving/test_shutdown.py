"""The end of a server: in order, soon, and without those who follow a job missing anything."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx
import pytest

from db.records.jobs import Progress
from service.client_parts.connection import Connection, Patience
from service.client_parts.records import SearchRequest
from service.working.worker_client import AttemptClient, Hello, WorkerClient

if TYPE_CHECKING:
    from tests.service.serving.conftest import Serve, ServerProcess

NUM_FOLLOWERS = 20
PATIENCE = Patience(60.0, longest_pause=0.3)


@contextmanager
def busy_attempt(server: ServerProcess) -> Iterator[str]:
    """Yield the id of a job one of whose trials tells something ten times a second, over restarts of the server."""
    with server.client() as client:
        job = client.submit(SearchRequest("digits", "tiny4", ["60%"], preset="smoke"))
    token = (server.data / "worker-token").read_text().strip()
    hello = Hello("wrk_test", "test", version("bmtas"), 1.0, 0.0)
    with closing(WorkerClient(Connection(server.address, token, patience=PATIENCE))) as worker:
        claim = worker.claim(hello, 1)
    assert claim is not None
    held = claim.trials[0].attempt
    attempt = AttemptClient(Connection(server.address, held.token, patience=PATIENCE), held.id)
    ended = threading.Event()

    def tell() -> None:
        """Tell until told to stop."""
        step = 0
        while not ended.wait(0.1):
            step += 1
            attempt.heartbeat(Progress("train", step, 10_000))
            attempt.add_logs([f"line {step}"])

    with closing(attempt), ThreadPoolExecutor(1) as pool:
        told = pool.submit(tell)
        try:
            yield job.id
        finally:
            ended.set()
            told.result(60)


def test_followers_miss_nothing_when_the_server_restarts(serve: Serve, database_url: str) -> None:
    """SIGTERM with twenty open streams: exit code 0 within ten seconds; each client comes back for the rest (A13)."""
    server = serve("--database", database_url).start()

    def follow(job_id: str) -> list[int]:
        """Return the numbers of all events that a client saw."""
        with server.client() as client:
            return [event.seq for event in client.follow(job_id)]

    with ThreadPoolExecutor(NUM_FOLLOWERS) as pool:
        with busy_attempt(server) as job_id:
            followers = [pool.submit(follow, job_id) for _ in range(NUM_FOLLOWERS)]
            time.sleep(1.5)
            code, seconds = server.end(signal.SIGTERM)
            assert (code, seconds < 10) == (0, True)
            server.start()
            time.sleep(1.5)
        with server.client() as client:
            client.kill(job_id)
        seen = [follower.result(60) for follower in followers]
    longest = max(seen, key=len)
    assert len(longest) > 10
    assert all(numbers == list(range(1, len(longest) + 1)) for numbers in seen)


def test_a_server_that_ends_says_so_first(serve: Serve) -> None:
    """While the last worker saves its work the server still answers, but is not ready any more."""
    server = serve("--executor", "local").start()
    time.sleep(2.0)  # the worker is there
    states: list[int] = []

    def watch() -> None:
        """Ask whether the server is ready until it is gone."""
        with httpx.Client(base_url=server.address, trust_env=False) as client:
            while True:
                try:
                    states.append(client.get("/readyz").status_code)
                except httpx.TransportError:
                    return
                time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.3)
    code, seconds = server.end(signal.SIGTERM)
    watcher.join(10)
    assert (code, seconds < 10) == (0, True)
    assert set(states) <= {200, 503}
    assert states[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(serve: Serve, number: signal.Signals) -> None:
    """Without work and clients there is nothing to wait for."""
    code, seconds = serve().start().end(number)
    assert (code, seconds < 5) == (0, True)
