"""Bodies and requests that are no good: refused quickly, as problem documents, without an echo."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

DATABASES = ("sqlite", "postgres")
URL = "/api/v1/searches"
JSON = {"Content-Type": "application/json"}
SEARCH = '{"dataset":"digits","backbone":"tiny4","budgets":["60%%"],"preset":"smoke"%s}'
CANARY = "canary-7c1f"
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", '"1"', "null", "true", "[]", "{}", "1.5", "9" * 5000]
FIELDS = ["seeds", "priority", "max_attempts", "deadline_seconds", "resources", "input_size", "budgets"]
WRAPPED = {"seeds": "[%s]", "resources": '{"cpus":%s}', "input_size": "[%s,%s]", "budgets": "[%s]"}
# What is right after all: no deadline, text as a budget, and fractions of seconds and cores.
ACCEPTED = {("deadline_seconds", "null"), ("budgets", '"1"'), ("deadline_seconds", "1.5"), ("resources", "1.5")}


def post(server: Server, body: str | bytes, **headers: str) -> Any:
    """Return the answer to a raw body, which must be a problem document of the 4xx kind that holds no canary."""
    started = time.process_time()  # the server runs in this process; others may be busy meanwhile
    content = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    response = server.ask().post(URL, content=content, headers={**JSON, **headers})
    assert time.process_time() - started < 1.0
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert CANARY not in response.text
    return response


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:10])
def test_no_number_is_taken_for_another(server: Server, field: str, number: str) -> None:
    """What is no finite number of the right kind is refused in every numeric field, never a fault of ours (C2)."""
    if (field, number) in ACCEPTED:
        return
    value = WRAPPED.get(field, "%s").replace("%s", number)
    response = post(server, SEARCH % f',"{field}":{value}' if field != "budgets" else f'{{"budgets":{value}}}')
    assert response.status_code == (400 if len(number) > 1000 else 422)


@pytest.mark.parametrize("number", [-0.0, 2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("field", ["priority", "max_attempts"])
def test_extreme_numbers_are_bounded(server: Server, field: str, number: float) -> None:
    """Numbers beyond what a database holds are refused by their bounds; minus nought is a float."""
    assert post(server, SEARCH % f',"{field}":{json.dumps(number)}').status_code == 422


HOSTILE = {
    "nested brackets": ("[" * 100_000, 400),
    "nested objects": ('{"a":' * 50_000, 400),
    "closed nest": ("[" * 100_000 + "]" * 100_000, 400),
    "moderate nest": (SEARCH % (',"labels":' + '{"a":' * 200 + "1" + "}" * 200), 400),
    "a megabyte of key": ('{"' + CANARY * 80_000 + '":1}', 422),
    "ten thousand unknown keys": ("{" + ",".join(f'"k{n}":1' for n in range(10_000)) + "}", 422),
    "duplicate keys": (SEARCH % ',"priority":1,"priority":2', 400),
    "duplicate keys inside": (SEARCH % ',"labels":{"a":"1","a":"2"}', 400),
    "lone surrogate": (SEARCH % ',"name":"\\ud800"', 422),
    "lone surrogate in a key": (SEARCH % ',"labels":{"\\udfff":"x"}', 422),
    "nul": (SEARCH % ',"name":"a\\u0000b"', 422),
    "raw surrogate": (SEARCH % ',"name":"\ud800"', 400),
    "empty": ("", 400),
    "not json": (f"dataset={CANARY}", 400),
    "a list": (f'["{CANARY}"]', 422),
    "a string": (f'"{CANARY}"', 422),
    "null": ("null", 422),
    "echo": (SEARCH % f',"objective":"{CANARY}","x":"{CANARY}","{CANARY} ":1', 422),
    "echo in lists": (f'{{"dataset":"{CANARY}","backbone":"{CANARY}","budgets":["{CANARY}"]}}', 422),
    "two documents": ("{}{}", 400),
    "comment": ("{} // no", 400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused_at_once(server: Server, name: str) -> None:
    """Nests, floods of keys, duplicates and half characters end in a problem within a second of work (C4, C5)."""
    body, status = HOSTILE[name]
    assert post(server, body).status_code == status


def test_bodies_over_the_limit_are_refused(server: Server) -> None:
    """One byte too many is 413, declared or in chunks; the byte before it is not (C3)."""
    limit = server.settings.max_body_bytes

    def chunks() -> Iterator[bytes]:
        for _ in range(limit // 65536):
            yield b" " * 65536
        yield b" "

    assert post(server, b" " * (limit + 1)).status_code == 413
    assert post(server, b" " * limit).status_code == 400
    response = server.ask().post(URL, content=chunks(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_lie_about_the_length_is_not_believed(server: Server) -> None:
    """A body that is announced as huge is refused before it is read; one that never comes keeps nobody waiting."""
    parts = urlsplit(server.address)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall((head + f"Authorization: Bearer {server.tokens['operator']}\r\n").encode())
        connection.sendall(b"Content-Length: 99999999999\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_compressed_bodies_are_refused(server: Server) -> None:
    """A small body that would unfold into a large one is not unfolded (C3)."""
    assert post(server, SEARCH % "", **{"Content-Encoding": "gzip"}).status_code == 415


REFUSED_REQUESTS = [
    ("GET", "/nope", {}, 404),
    ("GET", f"{URL}/", {}, 404),
    ("GET", "/api/v2/searches", {}, 404),
    ("GET", f"{URL}/srch_nothing", {}, 404),
    ("GET", "/api/v1/architectures/arch_nothing", {}, 404),
    ("PUT", URL, {}, 405),
    ("DELETE", URL, {}, 405),
    ("OPTIONS", URL, {}, 405),
    ("TRACE", URL, {}, 405),
    ("GET", URL, {"Accept": "text/html"}, 406),
    ("GET", URL, {"Accept": "application/json;q=0"}, 406),
    ("GET", f"{URL}/x/events", {"Accept": "application/json"}, 406),
    ("POST", URL, {"Content-Type": "text/plain"}, 415),
    ("POST", URL, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("GET", f"{URL}?nope=1", {}, 400),
    ("GET", f"{URL}?sort=owner", {}, 400),
    ("GET", f"{URL}?page_size=-1", {}, 400),
    ("GET", f"{URL}?page_size=x", {}, 400),
    ("GET", f"{URL}?page_token=forged", {}, 400),
    ("GET", f"{URL}?state=RUNNING,NOPE", {}, 400),
    ("GET", f"{URL}?task=left&task=right", {}, 400),
    ("GET", f"{URL}?created_after=yesterday", {}, 400),
    ("GET", f"{URL}?name=a%00b", {}, 400),
    ("GET", f"{URL}?name=%ff%fe", {}, 200),
    ("GET", "/api/v1/pareto", {}, 400),
    ("GET", "/api/v1/pareto?search=a&study=b", {}, 400),
    ("GET", "/healthz", {"Host": "evil.example"}, 400),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSED_REQUESTS)
def test_wrong_requests_get_a_problem(
    server: Server, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Unknown addresses, methods, media types and parameters each get their status and a problem document (C10)."""
    response = server.ask().request(method, path, headers=headers, content=b"{}" if method == "POST" else None)
    assert response.status_code == status
    if status >= 400:
        document = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert (document["status"], document["type"]) == (status, f"/problems/{document['code']}")
        assert document["instance"] == path.partition("?")[0]
        assert document["request_id"] == response.headers["x-request-id"]
        described = server.ask(None).get(document["type"]).json()
        assert (described["status"], described["title"]) == (status, document["title"])


def test_what_is_accepted_may_be_said_in_many_ways(server: Server) -> None:
    """Wild cards, lists and weights of media types let an answer through."""
    for accepted in ("*/*", "application/*", "text/html, application/json;q=0.5", "application/json;charset=utf-8"):
        assert server.ask().get(URL, headers={"Accept": accepted}).status_code == 200


def test_the_request_id_of_a_client_is_kept_if_it_is_plain(server: Server) -> None:
    """A plain X-Request-Id comes back; one that could forge a line of the log does not."""
    assert server.ask().get(URL, headers={"X-Request-Id": "abc-12345"}).headers["x-request-id"] == "abc-12345"
    assert server.ask().get(URL, headers={"X-Request-Id": "a b\tc"}).headers["x-request-id"].startswith("req_")


def test_every_answer_has_the_security_headers(server: Server) -> None:
    """Answers of all kinds forbid to be framed, sniffed and scripted (D5)."""
    for path in ("/healthz", "/nope", URL, f"{URL}?nope=1"):
        headers = server.ask().get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "access-control-allow-origin" not in headers
