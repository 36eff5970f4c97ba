"""HEAD: the status and the headers of a GET, and no body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server

SAME = ("content-type", "content-length", "etag", "cache-control", "location", "content-security-policy")


@pytest.mark.parametrize(
    "path", ["/healthz", "/version", "/metrics", "/api/v1/searches", "/api/v1/searches/JOB", "/api/v1/nothing"]
)
def test_head_answers_as_get_does(server: Server, path: str) -> None:
    """Status and headers are the same, also of an error, and nothing follows them."""
    place = path.replace("JOB", server.submit()["id"])
    role = "admin" if path == "/metrics" else "operator"
    got, head = (server.ask(role).request(method, place) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"content-length"} if path in ("/metrics", "/api/v1/nothing") else set()
    for name in set(SAME) - changing:
        assert head.headers.get(name) == got.headers.get(name), name


def test_head_needs_a_token_where_get_does(server: Server) -> None:
    """It is no way around the guard."""
    assert server.ask(None).head("/api/v1/searches").status_code == 401


def test_head_of_a_stream_ends_at_once(server: Server) -> None:
    """The events of an unfinished search would go on for ever; their headers come, and the connection serves on."""
    place = f"/api/v1/searches/{server.submit()['id']}/events"
    head = server.ask().head(place, timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert server.ask().get("/version").status_code == 200


def test_head_where_there_is_no_get_names_what_there_is(server: Server) -> None:
    """A route that only takes POST refuses HEAD as it refuses GET."""
    refused = server.ask().head("/api/v1/searches/validate")
    assert (refused.status_code, refused.content) in ((405, b""), (404, b""))
