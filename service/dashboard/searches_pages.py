"""The lists: searches and studies, and the start page while there are none."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from service.dashboard.site import PageRoute, Viewer, render
from service.web.server_parts import Parts

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/", name="show_home")
@router.get("/searches", name="show_searches")
def show_searches(request: Request, visitor: Viewer, parts: Parts) -> Response:
    """Show the list of searches."""
    return render(request, "searches.html", title="Searches", section="searches")
