"""A real `bmtas serve --no-worker` process, and connections to it. Neighbour: `service_load.py`, which measures.

The standard library's HTTP client costs a tenth of what httpx does, so that the figures are the server's. Each
connection has an access token of its own, as every person and worker has: the rate limits stay as they are.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.005


class UnexpectedAnswerError(RuntimeError):
    """The server did not answer as it should: a figure of such an answer would mean nothing."""


@dataclass(frozen=True)
class Connection:
    """A kept connection with an access token.

    Attributes:
        port: Of the server.
        token: None for no token.
    """

    port: int
    token: str | None = None
    _http: list[HTTPConnection] = field(default_factory=list, repr=False)

    def get(self, path: str) -> Any:
        """Return the JSON document at a path."""
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON document that a POST is answered with, None for no content."""
        return self.ask("POST", path, body, {"Idempotency-Key": os.urandom(16).hex()})

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON document that a request is answered with.

        Raises:
            UnexpectedAnswerError: The status is no success.
        """
        response = self.open(method, path, body, headers)
        content = response.read()
        if response.status >= 300:
            raise UnexpectedAnswerError(f"{method} {path} was answered with {response.status}: {content[:500]!r}")
        return json.loads(content) if content else None

    def open(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """Return the answer to a request, its body still to be read."""
        if not self._http:
            self._http.append(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS))
        fields = {"Content-Type": "application/json", **(headers or {})}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        self._http[0].request(method, path, content, fields)
        return self._http[0].getresponse()

    def close(self) -> None:
        """Let go of the connection."""
        while self._http:
            self._http.pop().close()


@dataclass
class ServerProcess:
    """`bmtas serve --no-worker` on a data folder.

    Attributes:
        data: Its data folder.
        database: URL of its database; None for SQLite in the data folder.
        port: It listens on, once it runs.
    """

    data: Path
    database: str | None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def database_url(self) -> str:
        """Return the URL of its database."""
        return self.database or f"sqlite:///{self.data / 'bmtas.db'}"

    @property
    def resident_mb(self) -> float:
        """Return the memory that the process holds, in units of 10^6 bytes."""
        pages = int(self._read_proc("statm").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used."""
        fields = self._read_proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self) -> float:
        """Return how many seconds it took from nothing to the first answer."""
        words = ["serve", "--no-worker", "--port", "0", "--data", str(self.data)]
        words += [] if self.database is None else ["--database", self.database]
        address = self.data / "address"
        began = time.perf_counter()
        with (self.data.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words], stdout=subprocess.DEVNULL, stderr=log, cwd=ROOT
            )
        while not (address.exists() and self._answers(address)):
            if self._process.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
                raise UnexpectedAnswerError((self.data.parent / "server.log").read_text())
            time.sleep(_LOOK_SECONDS)
        return time.perf_counter() - began

    def stop(self) -> None:
        """Ask the process to end, and wait for it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def connect(self, role: str) -> Connection:
        """Return a connection with a new token of a role."""
        admin = Connection(self.port, (self.data / "admin-token").read_text().strip())
        made = admin.post("/api/v1/tokens", {"name": "benchmark", "role": role})
        admin.close()
        return Connection(self.port, made["token"])

    def _answers(self, address: Path) -> bool:
        """Return whether the server answers at the address that it wrote down."""
        self.port = int(address.read_text().strip().rpartition(":")[2] or 0)
        connection = Connection(self.port)
        try:
            connection.get("/healthz")
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _read_proc(self, name: str) -> str:
        """Return what the kernel says of the process."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/{name}").read_text()
