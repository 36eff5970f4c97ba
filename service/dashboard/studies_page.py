"""The list of studies: what searches whose results are comparable have found together, the newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from markupsafe import Markup

from db.records.results import StudyRecord
from service.dashboard.site import PageRoute, Viewer, render
from service.pages.sparkline_drawing import sparkline_svg
from service.web.fronts import build_front
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE_SIZE = 25
_MOST_DRAWN = 500
"""Networks of a study beyond which its small drawing would cost more than it tells."""
_SEALED = {"list": "studies"}


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
    page_token: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Show a page of the list of studies."""
    last = parts.pages.read(page_token, _SEALED)
    studies = parts.store.list_studies(after=last, limit=PAGE_SIZE + 1)  # type: ignore[arg-type]  # as made below
    rows = [StudyRow(study, draw_front(parts, study)) for study in studies[:PAGE_SIZE]]
    next_token = None
    if len(studies) > PAGE_SIZE:
        newest_at, key = studies[PAGE_SIZE - 1].newest_at, studies[PAGE_SIZE - 1].study_key
        next_token = parts.pages.make((newest_at, key), _SEALED)
    context = {"rows": rows, "next_token": next_token, "is_first": page_token is None}
    return render(request, "studies.html", title="Studies", section="studies", context=context)


def draw_front(parts: ServerParts, study: StudyRecord) -> Markup | None:
    """Return the networks of a study as a small drawing, None where too few or too many are scored."""
    if study.best_delta_m is None or not 1 < study.num_networks <= _MOST_DRAWN:
        return None
    front = build_front(parts.store.list_front_rows(job_id=None, study_key=study.study_key), {})
    points = [(float(point["x"]), float(point["y"])) for point in front.points if point["y"] is not None]
    on_front = [bool(point["on_front"]) for point in front.points if point["y"] is not None]
    return Markup(sparkline_svg(points, on_front))  # numbers only, drawn by ourselves
