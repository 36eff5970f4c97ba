"""What operators ask: there, ready, which version, how it is doing; and what the log tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import PostgresCluster
    from tests.service.routes.conftest import Server, StartServer

DATABASES = ("sqlite", "postgres")


def test_the_server_is_there_and_ready(server: Server) -> None:
    """Health says nothing but that it is there; readiness names its checks and the age of the oldest waiting job."""
    assert server.ask(None).get("/healthz").json() == {"status": "ok"}
    ready = server.ask(None).get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert set(ready.json()["checks"]) == {"database", "migrations", "not_draining"}
    server.submit()
    time.sleep(0.2)
    assert server.ask(None).get("/readyz").json()["queue_lag_seconds"] > 0


def test_a_draining_server_is_not_ready(start_server: StartServer) -> None:
    """Before the server ends, a load balancer is told to look elsewhere; requests are still answered."""
    server = start_server()
    server.settings.draining.set()
    response = server.ask(None).get("/readyz")
    assert (response.status_code, response.json()["checks"]["not_draining"]) == (503, False)
    assert server.ask().get("/api/v1/searches").status_code == 200


def test_a_database_that_is_away_is_a_503(start_server: StartServer, own_postgres: PostgresCluster) -> None:
    """While PostgreSQL is stopped, requests get 503 with Retry-After, sweeping goes on, and all is well afterwards."""
    server = start_server(own_postgres.url())
    job_id = server.submit()["id"]
    own_postgres.stop()
    for path in ("/api/v1/searches", f"/api/v1/searches/{job_id}"):
        response = server.ask().get(path)
        assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
        assert response.headers["retry-after"] == "2"
    assert server.ask(None).get("/readyz").json()["checks"] == {
        "database": False,
        "migrations": False,
        "not_draining": True,
    }
    assert server.ask(None).get("/healthz").status_code == 200
    time.sleep(0.5)
    own_postgres.start()
    deadline = time.monotonic() + 10
    while server.ask(None).get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.ask().get(f"/api/v1/searches/{job_id}").status_code == 200


def test_prometheus_finds_requests_and_the_queue(server: Server) -> None:
    """Counters carry the template of a route, never an id; the queue is read from the database."""
    job_id = server.submit()["id"]
    server.ask().get(f"/api/v1/searches/{job_id}")
    server.ask().get("/nope-planted")
    text = server.ask().get("/metrics").text
    assert 'bmtas_http_requests_total{method="GET",route="/api/v1/searches/{job_id}",status="200"}' in text
    assert 'bmtas_jobs{state="QUEUED"}' in text
    assert "bmtas_database_up 1.0" in text
    assert job_id not in text
    assert "nope-planted" not in text


def test_secrets_never_reach_logs_answers_or_metrics(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens, secrets and what people sent appear in no line of the log, no problem and no counter (D3)."""
    caplog.set_level("DEBUG")
    job_id = server.submit(name="planted-name")["id"]
    claimed = server.claim()["trials"][0]
    token = server.tokens["operator"]
    headers = {"Authorization": f"Bearer {token}planted"}
    answers = [
        server.ask(None).get("/api/v1/searches", headers=headers).text,
        server.ask(None).get(f"/planted-path/{token}", headers=headers).text.replace(f"/planted-path/{token}", ""),
        server.ask().get("/api/v1/searches", params={"planted": token}).text,
        server.ask().post("/api/v1/searches", json={"dataset": token, "planted": token}).text,
        server.call(claimed, "fail", {"reason": token}).text,
        server.ask().get("/metrics").text,
    ]
    ours = (
        "service",
        "db",
        "search",
        "uvicorn.error",
    )  # uvicorn.access has no handler in a server, httpx is the client
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(ours))
    planted = [*server.tokens.values(), claimed["attempt"]["token"], server.settings.secret.decode(), "planted-name"]
    for text in (log, *answers):
        assert not [secret for secret in planted if secret in text]
    assert "method=GET route=/api/v1/searches status=401" in log
    assert job_id not in log


def test_a_fault_of_ours_tells_nothing_but_an_id(start_server: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    """A crash inside is a 500 problem; the log has kind and place under the same id, not what the error says (D3)."""

    def crash(*_: object) -> None:
        raise RuntimeError("planted-secret postgresql://u:planted-password@h/db")

    server = start_server()
    server.store.list_workers = crash  # type: ignore[method-assign,assignment]
    response = server.ask().post("/api/v1/searches", json={})
    assert response.status_code == 422
    response = server.ask().post(
        "/api/v1/searches", json={"dataset": "digits", "backbone": "tiny4", "budgets": ["60%"]}
    )
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["content-type"] == "application/problem+json"
    log = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("service"))
    assert response.json()["request_id"] in log
    assert "RuntimeError at " in log
    assert "planted" not in response.text + log
    assert server.ask().get("/metrics").status_code == 500
