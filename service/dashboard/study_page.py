"""The page of a study: its Pareto front, the table below it, its exports, and the card of one network.

All choices stand in the address and are applied here, so that the page is whole without JavaScript.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from db.questions import JobQuery
from db.records.jobs import JobRecord
from db.records.states import JobKind
from search.architecture import Architecture
from service.dashboard.site import PAGE_HEADERS, PageRoute, Viewer, render
from service.dashboard.study.choices import COLOURINGS, COSTS, SPREADS, StudyChoices
from service.dashboard.study.exports import write_csv, write_json
from service.dashboard.study.front import StudyFront, build_study_front, name_axis
from service.dashboard.study.view import (
    ROWS_PER_PAGE,
    build_plot,
    find_sorted_column,
    list_metric_cells,
    list_seed_rows,
    list_table_columns,
    list_table_rows,
    write_area,
    write_left_out,
    write_summary,
    write_title,
)
from service.pages.front.study import study_front_svg
from service.pages.tree.small import small_tree_svg
from service.web.fronts import build_front
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_MAX_JOBS = 500
_FILE_HEADERS = {"Cache-Control": "no-store", "Content-Security-Policy": PAGE_HEADERS["Content-Security-Policy"]}


@dataclass(frozen=True)
class LoadedStudy:
    """A study as it is stored.

    Attributes:
        key: study_key of its jobs.
        jobs: Its searches and retrainings by id, the newest first.
        shown: What the page shows of it.
    """

    key: str
    jobs: Mapping[str, JobRecord]
    shown: StudyFront

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return what its jobs have in common: dataset, tasks, backbone and more."""
        return next(iter(self.jobs.values())).spec


@router.get("/studies/{study_key}", name="show_study")
def show_study(request: Request, study_key: str, visitor: Viewer, parts: Parts) -> Response:
    """Show the front of a study."""
    study = load_study(parts, study_key, StudyChoices.read(request.query_params))
    shown = study.shown
    first = (_clamp_page(shown) - 1) * ROWS_PER_PAGE
    context = {
        "study": study,
        "spec": study.spec,
        "shown": shown,
        "choices": shown.choices,
        "here": f"/studies/{study_key}",
        "options": _list_options(study),
        "drawing": _draw(shown),
        "columns": list_table_columns(shown),
        "rows": list_table_rows(shown, shown.networks[first : first + ROWS_PER_PAGE]),
        "seed_rows": list_seed_rows(shown),
        "pages": _list_pages(shown, first),
        "pinned": _list_pinned(shown),
        "left_out": write_left_out(shown),
        "summary": write_summary(shown),
        "area": write_area(shown),
        "sorted_by": find_sorted_column(shown.choices),
        "unfinished": [job.id for job in study.jobs.values() if not job.state.is_terminal],
        "span": _find_span(shown),
        "card": None if shown.best is None else _describe_card(parts, study_key, shown.best.row.id),
    }
    spec = study.spec
    return render(
        request,
        "study.html",
        title=f"{spec['dataset']} · {', '.join(spec['tasks'])}",
        section="studies",
        context=context,
    )


@router.get("/studies/{study_key}/front.csv", name="export_study_csv")
def export_csv(request: Request, study_key: str, visitor: Viewer, parts: Parts) -> Response:
    """Download the networks that are shown as CSV."""
    study = load_study(parts, study_key, StudyChoices.read(request.query_params))
    return _send(write_csv(study.shown), "text/csv", study_key, "csv")


@router.get("/studies/{study_key}/front.json", name="export_study_json")
def export_json(request: Request, study_key: str, visitor: Viewer, parts: Parts) -> Response:
    """Download all that is shown as JSON."""
    study = load_study(parts, study_key, StudyChoices.read(request.query_params))
    return _send(write_json(study.shown, study_key), "application/json", study_key, "json")


@router.get("/studies/{study_key}/front.svg", name="export_study_svg")
def export_svg(request: Request, study_key: str, visitor: Viewer, parts: Parts) -> Response:
    """Download the drawing as it is shown."""
    study = load_study(parts, study_key, StudyChoices.read(request.query_params))
    drawing = study_front_svg(build_plot(study.shown), title=write_title(study.shown), standalone=True)
    return _send(drawing, "image/svg+xml", study_key, "svg")


@router.get("/studies/{study_key}/networks/{architecture_id}", name="show_network_card")
def show_card(request: Request, study_key: str, architecture_id: str, visitor: Viewer, parts: Parts) -> Response:
    """Show the card of one network, as a piece of the page."""
    card = _describe_card(parts, study_key, architecture_id)
    return render(request, "_network_card.html", title="", context={"card": card})


@router.get("/searches/{job_id}/front", name="show_search_front")
def show_search_front(job_id: str, visitor: Viewer, parts: Parts) -> Response:
    """Go to the study of a search, of which only its own networks are shown."""
    job = parts.store.get_job(job_id)
    return RedirectResponse(f"/studies/{job.study_key}{StudyChoices(search=job.id).query()}", 303)


def load_study(parts: ServerParts, study_key: str, choices: StudyChoices) -> LoadedStudy:
    """Return a study under some choices.

    Raises:
        ProblemError: not_found, where no job belongs to it.
    """
    rows = parts.store.list_front_rows(job_id=choices.search or None, study_key=study_key)
    query = JobQuery(kinds=(JobKind.SEARCH, JobKind.RETRAIN), study_key=study_key, limit=_MAX_JOBS)
    jobs = {job.id: job for job in parts.store.list_jobs(query)}
    if not jobs:
        raise ProblemError("not_found", "No search belongs to this study any more.")
    baselines = parts.store.list_baselines(study_key)
    return LoadedStudy(study_key, jobs, build_study_front(rows, jobs, baselines, choices))


def _draw(shown: StudyFront) -> Markup:
    """Return the drawing for the page."""
    return Markup(study_front_svg(build_plot(shown), title=write_title(shown)))


def _list_options(study: LoadedStudy) -> dict[str, list[tuple[str, str, bool]]]:
    """Return what the fields of the form offer: (value, words, whether it can be chosen)."""
    shown = study.shown
    costs = [(name, words, name != "latency_ms" or shown.has_latency) for name, words in COSTS.items()]
    costs = [(name, words if free else f"{words} (not measured)", free) for name, words, free in costs]
    found = {network.row.job_id for network in shown.networks} | {shown.choices.search} - {""}
    searches = [(job.id, job.name, True) for job in study.jobs.values() if job.id in found or len(study.jobs) <= 30]
    return {
        "x": costs,
        "y": [("delta_m", "delta_m", True), *((task, name_axis(task, shown.tasks), True) for task in shown.tasks)],
        "colour": [(name, words, True) for name, words in COLOURINGS.items()],
        "spread": [(name, words, True) for name, words in SPREADS.items()],
        "search": [("", "all searches", True), *searches],
    }


def _clamp_page(shown: StudyFront) -> int:
    """Return the page of the table, the last one for a number beyond it."""
    return max(1, min(shown.choices.page, -(-len(shown.networks) // ROWS_PER_PAGE)))


def _list_pages(shown: StudyFront, first: int) -> dict[str, Any]:
    """Return where in the table this page stands, and the addresses of its neighbours."""
    page, num = _clamp_page(shown), len(shown.networks)
    last = min(first + ROWS_PER_PAGE, num)
    return {
        "words": f"{first + 1} to {last} of {num}" if num else "",
        "before": shown.choices.query(page=page - 1) if page > 1 else None,
        "after": shown.choices.query(page=page + 1) if last < num else None,
        "is_long": num > ROWS_PER_PAGE,
    }


def _list_pinned(shown: StudyFront) -> list[tuple[str, str]]:
    """Return (id, name) of the networks that are kept for a comparison."""
    names = {network.row.id: network.row.name for network in shown.networks}
    return [(pin, names.get(pin, pin)) for pin in shown.choices.pins]


def _find_span(shown: StudyFront) -> tuple[float, float] | None:
    """Return the cheapest and the dearest cost that is drawn; None where they are one."""
    xs = [network.x for network in shown.drawn if network.x]
    return (min(xs), max(xs)) if xs and min(xs) < max(xs) else None


def _describe_card(parts: ServerParts, study_key: str, architecture_id: str) -> dict[str, Any]:
    """Return what the card of a network shows.

    Raises:
        NotFoundError: There is none under this id.
        ProblemError: not_found, where it belongs to another study.
    """
    record = parts.store.get_architecture(architecture_id)
    if record.study_key != study_key:
        raise ProblemError("not_found")
    single = build_front((), parts.store.list_baselines(study_key)).baselines.get("single")
    architecture = Architecture.model_validate_json(json.dumps(dict(record.document)))
    metrics = record.metrics or {}
    return {
        "network": record,
        "share": None if single is None or not single.madds else record.madds / single.madds,
        "tasks": [
            (task, metrics.get(task, {}).get("metric", ""), cell)
            for task, cell in zip(record.tasks, list_metric_cells(metrics, record.tasks, single), strict=True)
        ],
        "tree": Markup(small_tree_svg(architecture)),
    }


def _send(content: str, media_type: str, study_key: str, ending: str) -> Response:
    """Return a file to keep."""
    name = "".join(char for char in study_key[:16] if char.isalnum()) or "study"
    headers = {**_FILE_HEADERS, "Content-Disposition": f'attachment; filename="front-{name}.{ending}"'}
    return Response(content.encode(), headers=headers, media_type=f"{media_type}; charset=utf-8")
