"""Requests to a server: patience with lost connections and busy servers, problems as exceptions with a sentence."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from service.client_parts.connection import Clock, Connection, Patience, Request, check_address, is_loopback
from service.errors import ServerAwayError, ServiceError, ServiceProblem

Answer = httpx.Response | Exception


class FakeClock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def now(self) -> float:
        """Return the seconds so far."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.seconds += seconds


class Script:
    """A server that gives prepared answers, the last one again and again, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


Connect = Callable[..., Connection]


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that only waiting moves."""
    return FakeClock()


@pytest.fixture
def connect(clock: FakeClock) -> Connect:
    """Return a function that connects to a scripted server."""

    def build(script: Script, seconds: float = 20.0) -> Connection:
        """Return the connection."""
        return Connection(
            "http://127.0.0.1:1/",
            "nas_token",
            patience=Patience(seconds),
            transport=httpx.MockTransport(script),
            clock=Clock(clock.now, clock.sleep),
        )

    return build


GET = Request("GET", "/api/v1/searches")
POST = Request("POST", "/api/v1/worker/claims", {"max_trials": 1}, repeatable=False)


def problem(status: int, **fields: object) -> httpx.Response:
    """Return a problem document."""
    return httpx.Response(status, json={"status": status, **fields})


def test_every_request_carries_the_token(connect: Connect) -> None:
    """The token travels as bearer token, the body as JSON."""
    script = Script(httpx.Response(200, json={}))
    connect(script).ask(Request("POST", "/x", {"a": 1}, headers={"Idempotency-Key": "k"}))
    (request,) = script.requests
    assert request.headers["Authorization"] == "Bearer nas_token"
    assert (request.headers["Content-Type"], request.headers["Idempotency-Key"]) == ("application/json", "k")
    assert request.content == b'{"a": 1}'


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("disconnected"),
        problem(503),
        problem(429),
        problem(502),
        problem(409, code="idempotency_busy"),
    ],
)
def test_passing_trouble_is_waited_out(connect: Connect, clock: FakeClock, trouble: Answer) -> None:
    """A lost connection and a busy server are asked again after growing pauses."""
    script = Script(trouble, trouble, trouble, httpx.Response(200, json={"ok": True}))
    assert connect(script).ask(GET).json() == {"ok": True}
    assert len(script.requests) == 4
    assert clock.pauses == sorted(clock.pauses)


def test_the_server_says_how_long_to_wait(connect: Connect, clock: FakeClock) -> None:
    """Retry-After is obeyed."""
    busy = httpx.Response(429, headers={"Retry-After": "7"}, json={})
    connect(Script(busy, httpx.Response(200, json={}))).ask(GET)
    assert clock.pauses == [7.0]


def test_patience_ends(connect: Connect, clock: FakeClock) -> None:
    """A server that stays away ends in one sentence that names its address and what to do."""
    with pytest.raises(ServerAwayError, match=r"http://127\.0\.0\.1:1 does not answer.*bmtas serve.*--server"):
        connect(Script(httpx.ConnectError("refused")), seconds=5.0).ask(GET)
    assert clock.seconds <= 5.0


def test_what_must_not_happen_twice_is_sent_once(connect: Connect) -> None:
    """Once a request that may not be repeated could have arrived, it is not sent again."""
    script = Script(httpx.ReadError("reset"), httpx.Response(200, json={}))
    with pytest.raises(ServerAwayError):
        connect(script).ask(POST)
    assert len(script.requests) == 1


def test_what_never_arrived_is_sent_again(connect: Connect) -> None:
    """A connection that was refused carried nothing."""
    script = Script(httpx.ConnectError("refused"), httpx.Response(200, json={}))
    connect(script).ask(POST)
    assert len(script.requests) == 2


def test_a_problem_becomes_a_sentence(connect: Connect) -> None:
    """Status, code and fields are kept; the message is the detail, with the fields it does not mention."""
    errors = [{"pointer": "/budgets/0", "code": "infeasible_budget", "message": "Ask for at least 155600."}]
    refusal = problem(422, detail="Too small.", code="infeasible_budget", errors=errors, request_id="req_1")
    with pytest.raises(ServiceProblem, match=r"Too small\. /budgets/0: Ask for at least 155600\.") as caught:
        connect(Script(refusal)).ask(GET)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (422, "infeasible_budget", "req_1")
    assert caught.value.errors[0]["pointer"] == "/budgets/0"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"x"', b'{"errors": ["x"]}'])
def test_an_answer_that_is_no_problem_document_is_a_problem_all_the_same(connect: Connect, body: bytes) -> None:
    """A proxy's error page becomes a sentence with its status."""
    with pytest.raises(ServiceProblem, match="answered 418"):
        connect(Script(httpx.Response(418, content=body))).ask(GET)


@pytest.mark.parametrize(
    "server", ["", "localhost:8642", "ftp://x", "http://", "http://a:b:c", "http://u@x", "http://x?q"]
)
def test_an_address_that_is_none_is_refused(server: str) -> None:
    """A server is named by scheme and host, and the sentence says so."""
    with pytest.raises(ServiceError, match="http://HOST:PORT"):
        check_address(server)


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:2", True),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_this_machine_is_recognised(server: str, own: bool) -> None:
    """Only loopback addresses are this machine's own."""
    assert is_loopback(server) is own
