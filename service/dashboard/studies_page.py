"""The list of studies: what searches whose results are comparable have found together, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from markupsafe import Markup

from db.questions import StudySort
from db.records.results import StudyRecord
from service.dashboard.site import PageRoute, Viewer, render
from service.pages.front.sparkline import sparkline_svg
from service.web.fronts import build_front
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE_SIZE = 25
_MOST_DRAWN = 500
"""Networks of a study beyond which its small drawing would cost more than it tells."""
_ORDERS: Mapping[StudySort, str] = {"-newest_at": "Newest first", "-best_delta_m": "Best first"}


@dataclass(frozen=True)
class StudyRow:
    """A study as a row of the list, with its front as a small drawing where there is one."""

    study: StudyRecord
    drawing: Markup | None


@router.get("/studies", name="show_studies")
def show_studies(
    request: Request,
    visitor: Viewer,
    parts: Parts,
    sort: StudySort = "-newest_at",
    page_token: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Show a page of the list of studies."""
    sealed = {"list": "studies", "sort": sort}
    last = parts.pages.read(page_token, sealed)
    studies = parts.store.list_studies(sort=sort, after=last, limit=PAGE_SIZE + 1)
    rows = [StudyRow(study, draw_front(parts, study)) for study in studies[:PAGE_SIZE]]
    next_address = None
    if len(studies) > PAGE_SIZE:
        place = getattr(studies[PAGE_SIZE - 1], sort.removeprefix("-"))
        token = parts.pages.make((place, studies[PAGE_SIZE - 1].study_key), sealed)
        next_address = address_of(sort, page_token=token)
    context = {
        "rows": rows,
        "sort": sort,
        "orders": [(name, words, address_of(name)) for name, words in _ORDERS.items()],
        "first_address": address_of(sort),
        "next_address": next_address,
        "is_first": page_token is None,
    }
    return render(request, "studies.html", title="Studies", section="studies", context=context)


def address_of(sort: StudySort, **more: str) -> str:
    """Return the address of the list in an order; the usual one is left out."""
    query = {**({} if sort == "-newest_at" else {"sort": sort}), **more}
    return f"/studies?{urlencode(query)}" if query else "/studies"


def draw_front(parts: ServerParts, study: StudyRecord) -> Markup | None:
    """Return the networks of a study as a small drawing, None where too few or too many are scored."""
    if study.best_delta_m is None or not 1 < study.num_networks <= _MOST_DRAWN:
        return None
    front = build_front(parts.store.list_front_rows(job_id=None, study_key=study.study_key), {})
    points = [(float(point["x"]), float(point["y"])) for point in front.points if point["y"] is not None]
    on_front = [bool(point["on_front"]) for point in front.points if point["y"] is not None]
    return Markup(sparkline_svg(points, on_front))  # numbers only, drawn by ourselves
