"""Real `bmtas serve` processes on free ports, and clients of them; what a test leaves running is ended by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from service.client import Client
from service.client_parts.connection import Patience

START_SECONDS = 60.0  # a busy machine; alone it takes one


@dataclass
class ServerProcess:
    """`bmtas serve` on a data folder; it can be ended and started again on the same port.

    Attributes:
        data: Its data folder.
        options: Of the command, beside port and data folder.
        environment: Variables beside the test's own.
        port: It listens on.
        ready: What it announced last.
    """

    data: Path
    options: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    ready: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """Return its admin token."""
        return (self.data / "admin-token").read_text().strip()

    @property
    def log(self) -> str:
        """Return all that it wrote to stderr."""
        return (self.data.parent / f"{self.data.name}.log").read_text()

    def start(self) -> ServerProcess:
        """Start it and return once it answers."""
        words = ["serve", "--json", "--port", str(self.port), "--data", str(self.data), *self.options]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        self.ready = json.loads(line)
        return self

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Send it a signal; return its exit code and how many seconds it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code, time.monotonic() - began

    def client(self, seconds: float = 60.0) -> Client:
        """Return a client with the admin token."""
        return Client(self.address, self.token, patience=Patience(seconds, longest_pause=0.5))

    def run_to_end(self) -> tuple[int, str]:
        """Start it where it must be refused; return its exit code and what it said."""
        words = ["serve", "--port", str(self.port), "--data", str(self.data), *self.options]
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
            env={**os.environ, **self.environment},
        )
        assert done.stdout == ""
        return done.returncode, done.stderr


class Serve(Protocol):
    """Makes servers that are ended with the test."""

    def __call__(self, *options: str, data: Path | None = None, environment: Mapping[str, str] = ...) -> ServerProcess:
        """Return a server that is not started yet."""
        ...


@contextlib.contextmanager
def making_servers() -> Iterator[Serve]:
    """Yield a function that makes servers without a worker on free ports, and end them afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bm", dir="/tmp"))
    made: list[ServerProcess] = []

    def make(*options: str, data: Path | None = None, environment: Mapping[str, str] | None = None) -> ServerProcess:
        """Return a server that is not started yet."""
        given = options if "--executor" in options else ("--no-worker", *options)
        server = ServerProcess(data or folder / f"data{len(made)}", given, environment or {}, find_port())
        made.append(server)
        return server

    yield make
    for server in made:
        if server.process is not None:
            with contextlib.suppress(ProcessLookupError):
                server.end(signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that makes servers which end with the test."""
    with making_servers() as make:
        yield make


@pytest.fixture(scope="module")
def standing_server() -> Iterator[ServerProcess]:
    """Return a running server without a worker, shared by the tests of a file."""
    with making_servers() as make:
        yield make().start()


def find_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
