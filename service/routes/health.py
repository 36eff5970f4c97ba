"""What a load balancer, an operator and Prometheus ask: is it there, is it ready, which version, how is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from db.errors import DbError
from service.schemas.server import Health, ProblemDescription, Readiness, Version
from service.web.auth import Public, Reader
from service.web.guarded_route import GuardedRoute
from service.web.monitoring import CONTENT_TYPE, measure_queue_lag
from service.web.problems import KINDS, ProblemError
from service.web.server_parts import Parts

router = APIRouter(route_class=GuardedRoute, tags=["server"])
_NO_STORE = {"Cache-Control": "no-store"}


class MetricsText(Response):
    """The text format of Prometheus."""

    media_type = "text/plain"


@router.get("/healthz", name="get_health", response_model=Health)
async def get_health(_: Public) -> JSONResponse:
    """Say that the process answers."""
    return JSONResponse({"status": "ok"}, headers=_NO_STORE)


@router.get("/readyz", name="get_readiness", response_model=Readiness, responses={503: {"model": Readiness}})
def get_readiness(_: Public, parts: Parts) -> Response:
    """Say whether the server takes work: 503 while the database is away and while the server is about to end."""
    lag: float | None = None
    database = True
    try:
        parts.store.ping()
        lag = round(measure_queue_lag(parts.store), 1)
    except DbError:
        database = False
    serving = not parts.settings.draining.is_set()
    state = Readiness(
        ready=database and serving,
        # A store opens a database of its own schema version only, so an open one that answers is migrated.
        checks={"database": database, "migrations": database, "not_draining": serving},
        queue_lag_seconds=lag,
    )
    status = 200 if state.ready else 503
    return Response(state.model_dump_json(), status, _NO_STORE, media_type="application/json")


@router.get("/version", name="get_version", response_model=Version)
async def get_version(_: Public, parts: Parts) -> Version:
    """Say which version of the program and of the API answers."""
    return Version(version=parts.settings.code_version, api="v1")


@router.get("/openapi.json", name="get_openapi", response_model=dict[str, Any])
async def get_openapi(_: Public, request: Request) -> JSONResponse:
    """Read this description of the API."""
    return JSONResponse(request.app.openapi())


@router.get("/metrics", name="get_prometheus_metrics", response_class=MetricsText, response_model=None)
def get_prometheus_metrics(caller: Reader, parts: Parts) -> Response:
    """Read the server's counters as Prometheus does."""
    parts.monitor.streams.set(parts.hub.num_streams)
    return Response(parts.monitor.render(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})


@router.get("/problems/{code}", name="get_problem_description", response_model=ProblemDescription)
async def get_problem_description(_: Public, code: str) -> ProblemDescription:
    """Say what a kind of problem means: the address that every problem document names as its type."""
    if code not in KINDS:
        raise ProblemError("not_found")
    return ProblemDescription(code=code, status=KINDS[code].status, title=KINDS[code].title)
