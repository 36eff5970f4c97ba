"""Submissions outlive crashes: whatever dies, and whatever answers get lost, each 202 is one job."""

from __future__ import annotations

import contextlib
import random
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from service.client import Client
from service.client_parts.connection import Patience
from service.client_parts.records import SearchRequest

if TYPE_CHECKING:
    from tests.service.serving.conftest import Serve, ServerProcess


def request(name: str) -> SearchRequest:
    """Return a small search."""
    return SearchRequest("digits", "tiny4", ["60%"], tasks=["left", "right"], preset="smoke", name=name)


def submit_all(address: str, token: str, names: list[str]) -> dict[str, str]:
    """Return {name: job id} after submitting every name with a key of its own, twice, from four threads."""

    def submit(name: str) -> tuple[str, str]:
        """Submit one."""
        with Client(address, token, patience=Patience(120.0, longest_pause=0.3)) as client:
            ids = {client.submit(request(name), idempotency_key=f"the-own-key-of-{name}").id for _ in range(2)}
        assert len(ids) == 1, "the same key gave two jobs"
        return name, ids.pop()

    with ThreadPoolExecutor(4) as pool:
        return dict(pool.map(submit, names))


def check_all_present_once(server: ServerProcess, accepted: dict[str, str]) -> None:
    """Check that each accepted job is there, under its id, exactly once."""
    with server.client() as client:
        jobs = list(client.iterate_jobs({"page_size": 200}))
    assert {job.name: job.id for job in jobs} == accepted
    assert set(Counter(job.name for job in jobs).values()) == {1}


def crash_while_submitting(server: ServerProcess, num_jobs: int, num_kills: int) -> None:
    """Kill and restart a server while jobs are submitted, then check them."""
    server.start()
    names = [f"job-{number}" for number in range(num_jobs)]
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(submit_all, server.address, server.token, names)
        for _ in range(num_kills):
            time.sleep(random.uniform(0.2, 0.6))
            server.end(signal.SIGKILL)
            server.start()
        check_all_present_once(server, accepted.result(timeout=300))


@pytest.fixture(params=["sqlite", "postgres"])
def crash_server(request: pytest.FixtureRequest, serve: Serve) -> ServerProcess:
    """Return a server on each kind of database, not started yet."""
    if request.param == "sqlite":
        return serve()
    return serve("--database", request.getfixturevalue("postgres_url"))


def test_every_202_outlives_a_killed_server(crash_server: ServerProcess) -> None:
    """While the server is killed again and again, no accepted search is lost and none comes twice (A3)."""
    crash_while_submitting(crash_server, num_jobs=60, num_kills=3)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_every_202_outlives_a_server_killed_for_minutes(crash_server: ServerProcess) -> None:
    """The long form of A3: hundreds of submissions over many kills."""
    crash_while_submitting(crash_server, num_jobs=600, num_kills=25)


class DroppingProxy:
    """Passes requests on and loses some answers, as a broken network does after the server has committed.

    Args:
        port: Of the server.
        loss: Share of the answers that are lost.
    """

    def __init__(self, port: int, loss: float) -> None:
        self._upstream = ("127.0.0.1", port)
        self._loss = loss
        self._random = random.Random(7)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.lost = 0
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Take connections until the proxy is closed."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _relay(self, near: socket.socket) -> None:
        """Pass bytes on between a client and the server until one of them closes or an answer is lost."""
        with near, socket.create_connection(self._upstream) as far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65_536)
                    if source is far and data and self._random.random() < self._loss:
                        self.lost += 1
                        return
                    if not data:
                        return
                    sink.sendall(data)


@pytest.fixture
def proxied(crash_server: ServerProcess) -> Iterator[tuple[ServerProcess, DroppingProxy]]:
    """Return a running server and a proxy before it that loses every fifth answer."""
    crash_server.start()
    proxy = DroppingProxy(crash_server.port, loss=0.2)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    yield crash_server, proxy
    proxy.close()
    thread.join(5.0)


def test_lost_answers_make_no_second_job(proxied: tuple[ServerProcess, DroppingProxy]) -> None:
    """An answer that is lost after the commit is asked for again under the same key (A4)."""
    server, proxy = proxied
    accepted = submit_all(proxy.address, server.token, [f"job-{number}" for number in range(40)])
    assert proxy.lost > 5
    check_all_present_once(server, accepted)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_lost_answers_make_no_second_job(proxied: tuple[ServerProcess, DroppingProxy]) -> None:
    """The long form of A4."""
    server, proxy = proxied
    accepted = submit_all(proxy.address, server.token, [f"job-{number}" for number in range(1500)])
    assert proxy.lost > 200
    check_all_present_once(server, accepted)
