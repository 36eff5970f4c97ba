"""Requests to the server: one bearer token, patience with lost connections, problems as exceptions.

`service.client` says what is asked; here it is sent, again where that is harmless, until the server answers or the
patience ends.
"""

from __future__ import annotations

import ipaddress
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from service.errors import ServerAwayError, ServiceError, ServiceProblem

BUSY_STATUSES = {429, 502, 503, 504}
_BUSY_CODES = {"idempotency_busy", "idempotency_key_busy"}
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
Params = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Patience:
    """How long a request is repeated while the server is away or busy.

    Attributes:
        seconds: In all.
        first_pause: Seconds before the first repetition; doubles from there.
        longest_pause: Seconds at most.
    """

    seconds: float = 20.0
    first_pause: float = 0.1
    longest_pause: float = 5.0

    def pauses(self) -> Iterator[float]:
        """Yield the pauses in seconds, without end, each spread by a fifth so that clients do not return together."""
        pause = self.first_pause
        while True:
            yield pause * random.uniform(0.8, 1.2)
            pause = min(2 * pause, self.longest_pause)


@dataclass(frozen=True)
class Clock:
    """Where the seconds come from, and how they pass."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Request:
    """What is asked of the server.

    Attributes:
        method: HTTP method.
        path: From the root of the server on.
        body: JSON value; None for no body.
        params: Query parameters.
        headers: Beside those that every request has.
        repeatable: Whether asking twice is as good as asking once.
    """

    method: str
    path: str
    body: Any = None
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


class Connection:
    """Sends requests to one server with one token.

    Args:
        server: Its address, e.g. "http://127.0.0.1:8642".
        token: Bearer token.
        patience: How long to go on trying.
        transport: Carries the requests; the network when None.
        clock: Tells the time and waits.

    Raises:
        ServiceError: The address is none.
    """

    def __init__(
        self,
        server: str,
        token: str,
        *,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.server = check_address(server)
        self.patience = patience or Patience()
        self.clock = clock or Clock()
        self._http = httpx.Client(
            base_url=self.server,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json, application/problem+json"},
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=not is_loopback(self.server),  # a proxy of the environment does not reach this machine
        )

    def close(self) -> None:
        """Let go of all connections."""
        self._http.close()

    def ask(self, request: Request) -> httpx.Response:
        """Return the answer to a request, read whole.

        Raises:
            ServiceProblem: The server refused it.
            ServerAwayError: Nobody answered in time.
        """
        deadline = self.clock.now() + self.patience.seconds
        for pause in self.patience.pauses():
            try:
                response = self._http.send(self._build(request))
            except httpx.TransportError as error:
                # A connection that was never made carried nothing, so trying again is harmless whatever was asked.
                harmless = request.repeatable or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not harmless or self.clock.now() + pause > deadline:
                    raise self.away(error) from None
                self.clock.sleep(pause)
                continue
            if response.is_success or response.status_code == 304:
                return response
            problem = read_problem(response)
            wait = max(pause, _retry_after(response))
            if not _is_passing(problem) or self.clock.now() + wait > deadline:
                raise problem
            self.clock.sleep(wait)
        raise AssertionError("pauses never end")

    @contextmanager
    def stream(self, request: Request, timeout_seconds: float) -> Iterator[httpx.Response]:
        """Yield the answer to a request whose body is read piece by piece; one try.

        Args:
            request: What is asked.
            timeout_seconds: Longest silence in the body.

        Raises:
            ServiceProblem: The server refused it.
            httpx.TransportError: The connection was lost.
        """
        built = self._build(request)
        built.extensions["timeout"] = httpx.Timeout(timeout_seconds, connect=5.0).as_dict()
        response = self._http.send(built, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise read_problem(response)
            yield response
        finally:
            response.close()

    def away(self, error: Exception) -> ServerAwayError:
        """Return the sentence for a server that did not answer."""
        why = str(error) or type(error).__name__
        return ServerAwayError(
            f"The server at {self.server} does not answer ({why}). Start it with `bmtas serve`, or name another with "
            "--server or BMTAS_SERVER."
        )

    def _build(self, request: Request) -> httpx.Request:
        """Return a request as HTTP."""
        headers = dict(request.headers)
        content = None
        if request.body is not None:
            content = json.dumps(request.body, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        return self._http.build_request(
            request.method, request.path, content=content, params=dict(request.params) or None, headers=headers
        )


def check_address(server: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        ServiceError: It is not of the form http://host:port.
    """
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ServiceError(f"A server is named as http://HOST:PORT or https://HOST, got {server[:80]!r}.")
    return server.rstrip("/")


def is_loopback(server: str) -> bool:
    """Return whether an address names this machine itself."""
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_problem(response: httpx.Response) -> ServiceProblem:
    """Return the problem that an answer describes; of one that is no problem document, what its status says."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    code = str(document.get("code") or str(document.get("type", "")).rpartition("/")[2])
    sentence = str(document.get("detail") or document.get("title") or f"The server answered {response.status_code}.")
    errors = [entry for entry in document.get("errors") or [] if isinstance(entry, dict)]
    for entry in errors:
        if str(entry.get("message", "")) not in sentence:
            sentence += f" {entry.get('pointer', '')}: {entry.get('message', '')}"
    return ServiceProblem(
        sentence,
        status=response.status_code,
        code=code,
        errors=errors,
        request_id=str(document.get("request_id", "")),
    )


def _is_passing(problem: ServiceProblem) -> bool:
    """Return whether the same request may be accepted in a moment."""
    return problem.status in BUSY_STATUSES or (problem.status == 409 and problem.code in _BUSY_CODES)


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the server asks to wait, 0 where it names none."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0
