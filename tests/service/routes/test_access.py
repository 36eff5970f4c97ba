"""Who may do what: every route against every kind of token, by a table that new routes must join."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from db.sql.schema import metadata
from service.app import create_app
from service.server_settings import RateLimits
from service.web.token_format import make_token, read_token, sign_token

if TYPE_CHECKING:
    from tests.service.routes.conftest import Server, StartServer

DATABASES = ("sqlite", "postgres")
READ, WRITE, FILES, WORK = "searches:read", "searches:write", "artifacts:read", "workers"
CALLERS = (
    "none",
    "malformed",
    "unknown",
    "wrong secret",
    "expired",
    "revoked",
    "viewer",
    "operator",
    "admin",
    "worker",
)
ALLOWED = {
    "": set(CALLERS),
    READ: {"viewer", "operator", "admin"},
    FILES: {"viewer", "operator", "admin"},
    WRITE: {"operator", "admin"},
    WORK: {"admin", "worker"},
}
KNOWN_CALLERS = {"viewer", "operator", "admin", "worker"}

JOB_ROUTES = {
    "get {}": READ,
    "get {}/{job_id}": READ,
    "patch {}/{job_id}": WRITE,
    "delete {}/{job_id}": WRITE,
    "post {}/{job_id}/cancel": WRITE,
    "post {}/{job_id}/kill": WRITE,
    "post {}/{job_id}/resume": WRITE,
    "post {}/{job_id}/retry": WRITE,
    "get {}/{job_id}/trials": READ,
    "get {}/{job_id}/trials/{trial_id}": READ,
    "get {}/{job_id}/trials/{trial_id}/attempts": READ,
    "get {}/{job_id}/trials/{trial_id}/files": FILES,
    "get {}/{job_id}/trials/{trial_id}/files/{name}": FILES,
    "get {}/{job_id}/metrics": READ,
    "get {}/{job_id}/logs": READ,
    "get {}/{job_id}/events": READ,
}
TABLE = {
    route.replace("{}", f"/api/v1/{name}", 1): scope
    for name in ("searches", "retrains", "exports")
    for route, scope in JOB_ROUTES.items()
} | {
    "post /api/v1/searches": WRITE,
    "post /api/v1/searches/validate": WRITE,
    "get /api/v1/searches/{job_id}/front": READ,
    "get /api/v1/pareto": READ,
    "get /api/v1/exports/{job_id}/content": FILES,
    "get /api/v1/architectures": READ,
    "get /api/v1/architectures/{architecture_id}": READ,
    "get /api/v1/architectures/{architecture_id}/architecture.json": FILES,
    "get /api/v1/architectures/{architecture_id}/files": FILES,
    "get /api/v1/architectures/{architecture_id}/files/{name}": FILES,
    "get /api/v1/architectures/{architecture_id}/tree.svg": READ,
    "post /api/v1/architectures/{architecture_id}/retrains": WRITE,
    "post /api/v1/architectures/{architecture_id}/exports": WRITE,
    "get /api/v1/events": READ,
    "get /api/v1/datasets": READ,
    "get /api/v1/datasets/{name}": READ,
    "post /api/v1/datasets/{name}/check": WRITE,
    "get /api/v1/tasks": READ,
    "get /api/v1/backbones": READ,
    "get /api/v1/weights": READ,
    "post /api/v1/tokens": WRITE,
    "get /api/v1/tokens": READ,
    "get /api/v1/tokens/{token_id}": READ,
    "delete /api/v1/tokens/{token_id}": READ,
    "post /api/v1/worker/claims": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/heartbeat": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/metrics": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/logs": WORK,
    "put /api/v1/worker/attempts/{attempt_id}/files": WORK,
    "delete /api/v1/worker/attempts/{attempt_id}/files/{name}": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/complete": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/fail": WORK,
    "post /api/v1/worker/attempts/{attempt_id}/release": WORK,
    "get /metrics": READ,
    "get /healthz": "",
    "get /readyz": "",
    "get /version": "",
    "get /problems/{code}": "",
    "get /openapi.json": "",
}


@pytest.fixture(scope="module")
def headers(server: Server) -> dict[str, dict[str, str]]:
    """Return the Authorization header of every kind of caller."""
    now = server.store.now()
    old = make_token(name="t", owner="o", role="admin", created_at=now, expires_at=now - timedelta(seconds=1))
    revoked = make_token(name="t", owner="o", role="admin", created_at=now)
    unknown = make_token(name="t", owner="o", role="admin", created_at=now)
    other = make_token(name="t", owner="o", role="admin", created_at=now)
    server.store.add_token(old.record)
    server.store.add_token(revoked.record)
    server.store.revoke_token(revoked.record.id)
    texts = {
        "malformed": "nas_nonsense",
        "unknown": unknown.text,
        "wrong secret": with_id_of(other.text, server.tokens["admin"]),
        "expired": old.text,
        "revoked": revoked.text,
    }
    everybody = {**texts, **{role: server.tokens[role] for role in KNOWN_CALLERS}}
    return {"none": {}} | {name: {"Authorization": f"Bearer {text}"} for name, text in everybody.items()}


def with_id_of(secret_of: str, id_of: str) -> str:
    """Return a well-formed token with the id of one and the secret of another."""
    token_id, secret = id_of.split("_")[1], secret_of.split("_")[2][:-6]
    return sign_token(token_id, secret)


def test_every_route_is_in_the_table(server: Server) -> None:
    """The description of the API and the table name the same routes and scopes: a new one fails until listed (D1)."""
    document = create_app(server.settings, server.store).openapi()
    described = {
        f"{method} {path}": operation.get("security", [{"token": [""]}])[0]["token"][0]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described == TABLE


@pytest.mark.parametrize("route", TABLE)
def test_only_those_who_may_get_in(server: Server, headers: dict[str, dict[str, str]], route: str) -> None:
    """A stranger gets 401, a token without the scope 403, and the others whatever the route answers (D1)."""
    method, path = route.split(" ")
    address = re.sub(r"\{[a-z_]+\}", "srch_nothing", path)
    for caller in CALLERS:
        body = None if method in ("get", "delete") else b"{}"
        more = {"Content-Type": "application/json"} if body else {}
        sent = {**headers[caller], **more}
        # Streamed, since some answers have no end.
        with server.ask(None).stream(method, address, content=body, headers=sent) as response:
            if caller in ALLOWED[TABLE[route]]:
                assert response.status_code not in (401, 403, 500), (route, caller)
            else:
                expected = 403 if caller in KNOWN_CALLERS else 401
                assert response.status_code == expected, (route, caller)
                assert response.headers["content-type"] == "application/problem+json"
                assert ("www-authenticate" in response.headers) == (expected == 401)


@pytest.fixture(scope="module")
def setting_changes() -> dict[str, Any]:
    """Return what the shared server of this file does otherwise."""
    return {"rate_limits": RateLimits(failure_burst=100_000)}


def test_all_wrong_tokens_look_alike(server: Server, headers: dict[str, dict[str, str]]) -> None:
    """Unknown, expired, revoked and mistaken tokens get the same answer but for the id of the request."""
    answers = set()
    for caller in ("none", "malformed", "unknown", "wrong secret", "expired", "revoked"):
        response = server.ask(None).get("/api/v1/searches", headers={**headers[caller], "X-Request-Id": "same-id-1"})
        answers.add((response.status_code, response.text))
    assert len(answers) == 1


@pytest.mark.parametrize("scheme", ["Basic {}", "bearer  {}", "Bearer{}", "Token {}", "{}"])
def test_only_bearer_tokens_count(server: Server, scheme: str) -> None:
    """Another scheme, or none, is no token."""
    value = scheme.format(server.tokens["admin"])
    assert server.ask(None).get("/api/v1/searches", headers={"Authorization": value}).status_code == 401


def test_wrong_tokens_are_slowed_down(start_server: StartServer, database_url: str) -> None:
    """From one address, wrong tokens soon get 429, while a good one from there still works (D4)."""
    server = start_server(database_url, rate_limits=RateLimits(failure_burst=5, failures_per_minute=1))
    answers = [server.ask(None).get("/api/v1/searches", headers={"Authorization": "Bearer x"}) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 15
    assert int(answers[-1].headers["retry-after"]) > 0
    assert server.ask().get("/api/v1/searches").status_code == 200


def test_a_caller_who_asks_too_much_is_told_when_to_come_back(start_server: StartServer) -> None:
    """Each token has a bucket of its own; every answer says what is left of it."""
    server = start_server(rate_limits=RateLimits(requests_per_second=0.5, burst=3))
    answers = [server.ask().get("/api/v1/datasets") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit"].startswith('"default";r=2;t=')
    assert answers[0].headers["ratelimit-policy"] == '"default";q=3;w=6'
    assert 1 <= int(answers[3].headers["retry-after"]) <= 2
    assert answers[3].json()["code"] == "rate_limited"
    assert server.ask("viewer").get("/api/v1/datasets").status_code == 200


def test_tokens_are_made_once_and_revoked_for_good(server: Server) -> None:
    """The text is shown once; the token works until it is revoked, and lists never hold it."""
    body = {"name": "laptop", "role": "viewer", "owner": "ann", "expires_in_days": 1}
    created = server.ask("admin").post("/api/v1/tokens", json=body)
    document = created.json()
    assert (created.status_code, document["owner"], document["scopes"]) == (201, "ann", [READ, FILES])
    own = {"Authorization": f"Bearer {document['token']}"}
    assert server.ask(None).get("/api/v1/searches", headers=own).status_code == 200
    listed = server.ask("admin").get("/api/v1/tokens").text
    presented = read_token(document["token"])
    assert presented is not None
    assert document["id"] in listed
    assert document["token"] not in listed
    assert presented.secret_sha256 not in listed
    for _ in range(2):
        assert server.ask("admin").delete(created.headers["location"]).status_code == 204
    assert server.ask(None).get("/api/v1/searches", headers=own).status_code == 401


def test_nobody_gives_away_more_than_they_have(server: Server) -> None:
    """An operator makes tokens for itself up to its own role, sees its own, and revokes no other's."""
    ask = server.ask("other")
    assert ask.post("/api/v1/tokens", json={"name": "x", "role": "admin"}).status_code == 403
    assert ask.post("/api/v1/tokens", json={"name": "x", "role": "worker"}).status_code == 403
    assert ask.post("/api/v1/tokens", json={"name": "x", "role": "viewer", "owner": "ann"}).status_code == 403
    mine = ask.post("/api/v1/tokens", json={"name": "x", "role": "operator"}).json()
    assert {row["owner"] for row in ask.get("/api/v1/tokens").json()["items"]} == {"somebody-else"}
    assert server.ask("operator").delete(f"/api/v1/tokens/{mine['id']}").status_code == 404
    assert server.ask("operator").get(f"/api/v1/tokens/{mine['id']}").status_code == 404
    assert ask.get(f"/api/v1/tokens/{mine['id']}").json()["role"] == "operator"


def test_a_token_does_not_outlive_its_maker(server: Server) -> None:
    """Who has a token for a day cannot make one for ever."""
    body = {"name": "d", "role": "operator", "owner": "day", "expires_in_days": 1}
    text = server.ask("admin").post("/api/v1/tokens", json=body).json()["token"]
    own = {"Authorization": f"Bearer {text}"}
    for days in ({}, {"expires_in_days": 2}):
        response = server.ask(None).post("/api/v1/tokens", json={"name": "e", "role": "viewer", **days}, headers=own)
        assert response.json()["errors"][0]["pointer"] == "/expires_in_days"
    shorter = {"name": "e", "role": "viewer", "expires_in_days": 0.5}
    assert server.ask(None).post("/api/v1/tokens", json=shorter, headers=own).status_code == 201


def test_the_database_holds_no_secret(start_server: StartServer, database_url: str) -> None:
    """Neither the text nor the secret part of any token stands in the files or the rows of the database (D2)."""
    server = start_server(database_url)
    server.submit()
    created = server.ask("admin").post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).json()["token"]
    texts = [*server.tokens.values(), created, *(row["attempt"]["token"] for row in server.claim()["trials"])]
    content = dump_database(server.url)
    assert b"the-operator" in content
    for text in texts:
        assert text.encode() not in content
        assert text.rpartition("_")[2][:43].encode() not in content
    assert server.settings.secret not in content


def dump_database(url: str) -> bytes:
    """Return all that a database holds: the files of SQLite, every row of PostgreSQL as text."""
    if url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in Path(url.removeprefix("sqlite:///")).parent.glob("bmtas.db*"))
    with psycopg.connect(url) as connection:
        rows = [connection.execute(f"SELECT t::text FROM {name} AS t".encode()).fetchall() for name in metadata.tables]
        binary = connection.execute("SELECT body FROM idempotency_key").fetchall()
    return "\n".join(row[0] for table in rows for row in table).encode() + b"".join(row[0] for row in binary)
