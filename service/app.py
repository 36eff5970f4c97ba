"""The web application: `create_app` builds the parts, mounts the routes and runs what goes on beside requests.

The web side's only wiring. Nothing here or below loads torch or ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from db.errors import DbError
from db.stores import Store
from models.errors import ModelsError
from search.data.shelf import DatasetShelf
from search.errors import SearchError
from search.weights_shelf import WeightsShelf
from service.dashboard.routers import ROUTERS as PAGE_ROUTERS
from service.dashboard.site import show_problem, wants_page
from service.errors import ServiceError
from service.routes import architectures, events, exports, files, health, lists, searches, tokens, worker
from service.server_settings import ServerSettings
from service.web.auth import Authenticator
from service.web.event_hub import EventHub
from service.web.fronts import FrontAnswers
from service.web.monitoring import Monitor
from service.web.openapi_document import complete_openapi
from service.web.paging import PageTokens
from service.web.planning.backbone_offers import BackboneOffers, Describe
from service.web.planning.offers import Offers
from service.web.problems import ProblemError, problem_of_error, problem_of_status, problem_response
from service.web.request_frame import RequestFrame, describe_fault
from service.web.server_parts import ServerParts
from service.web.validation_errors import problem_of_validation

_LOG = logging.getLogger(__name__)
_PURGE_SECONDS = 3600.0
_KEPT_SECONDS = 25 * 3600.0  # idempotency keys are promised for 24 hours
_ROUTERS = (
    searches.router,
    exports.router,
    files.router,
    architectures.router,
    lists.router,
    events.router,
    tokens.router,
    worker.router,
    worker.mending_router,
    health.router,
)


def create_app(settings: ServerSettings, store: Store, describe: Describe | None = None) -> FastAPI:
    """Return the application on a store, which stays the caller's to close.

    Args:
        settings: How the server behaves.
        store: The database.
        describe: Says what backbones of other packages are; None offers the built-in ones alone.
    """
    monitor = Monitor(store, settings.code_version)
    parts = ServerParts(
        settings=settings,
        store=store,
        authenticator=Authenticator(store, settings, time.monotonic),
        pages=PageTokens(settings.secret),
        hub=EventHub(store, settings.events, settings.draining),
        monitor=monitor,
        fronts=FrontAnswers(store),
        offers=Offers(
            DatasetShelf(settings.datasets_dir), WeightsShelf(settings.weights_dir), BackboneOffers(store, describe)
        ),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Run the sweeper and the hub beside the requests."""
        tasks = [asyncio.create_task(parts.hub.run()), asyncio.create_task(sweep_forever(parts))]
        try:
            yield
        finally:
            settings.draining.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="bmtas",
        version="v1",
        description="Searches for tree-shaped multi-task networks that keep a budget of multiply-adds.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
        lifespan=lifespan,
    )
    app.state.parts = parts
    for router in (*_ROUTERS, *PAGE_ROUTERS):
        app.include_router(router)
    for kind in (ProblemError, ServiceError, DbError, SearchError, ModelsError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer_error)
    app.add_middleware(RequestFrame, monitor=monitor, allowed_hosts=settings.allowed_hosts)
    complete_openapi(app)
    return app


async def sweep_forever(parts: ServerParts) -> None:
    """End what ran out of time, every few seconds, until cancelled; a database that is away is asked again."""
    purged_at = -_PURGE_SECONDS
    while True:
        try:
            parts.monitor.sweeps.inc(await run_in_threadpool(parts.store.sweep))
            if time.monotonic() - purged_at >= _PURGE_SECONDS:
                purged_at = time.monotonic()
                await run_in_threadpool(parts.store.purge_responses, _KEPT_SECONDS)
                await run_in_threadpool(parts.store.purge_history, parts.settings.history_seconds)
        except DbError as error:
            _LOG.warning("The queue could not be swept: %s", type(error).__name__)
        except Exception as error:  # whatever it is, the next sweep must come
            _LOG.error("The queue could not be swept: %s", describe_fault(error))
        await asyncio.sleep(parts.settings.sweep_seconds)


async def _answer_error(request: Request, error: Exception) -> Response:
    """Return the problem document of an error that is no fault of ours."""
    if isinstance(error, RequestValidationError):
        problem = problem_of_validation(error)
    elif isinstance(error, HTTPException):
        problem = problem_of_status(error.status_code, error.headers)
    else:
        found = problem_of_error(error)
        if found is None:
            raise error
        problem = found
    if wants_page(request):
        return await show_problem(request, problem)
    return problem_response(problem, instance=request.url.path, request_id=request.state.request_id)


def _operation_id(route: APIRoute) -> str:
    """Return the name of a route as the id of its operation."""
    return route.name
