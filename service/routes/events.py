"""What happens to all jobs, as one stream: for lists that show how they stand now."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from service.routes.trials import EventStream
from service.web.auth import Reader
from service.web.guarded_route import GuardedRoute
from service.web.server_parts import Parts

router = APIRouter(route_class=GuardedRoute, tags=["lists"])


@router.get("/api/v1/events", name="watch_events", response_class=EventStream, response_model=None)
async def watch_events(caller: Reader, parts: Parts) -> Response:
    """Watch the jobs of everybody from now on: their states, and how far they and their trials are.

    Each event has `event:` (state, trial or progress) and one line of JSON with `job_id` as `data:`. Events have no
    ids: read the lists again after a lost connection, and when told `reset` for having been too slow.
    """
    parts.hub.check_room()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventStream(parts.hub.follow_news(), headers=headers)
