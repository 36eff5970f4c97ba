"""The list of searches: filtered and sorted by its address, page by page, its rows read again as jobs move.

`/searches/rows` gives the same rows by their ids, which `static/lists/searches.js` asks for when an event names one.
With no search at all, the start page shows the command and the form that make the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from db.errors import NotFoundError
from db.questions import JobQuery
from db.records.jobs import JobRecord
from db.records.states import JobKind, JobState
from service.dashboard.formats import count
from service.dashboard.job.words import estimate_seconds_left
from service.dashboard.site import PageRoute, Viewer, render
from service.pages.durations import round_duration
from service.routes.jobs import JobSort
from service.web.paging import MAX_PAGE_SIZE, Row
from service.web.server_parts import Parts, ServerParts

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE_SIZE = 50
_STATE_CHOICES = {
    "": "any",
    "QUEUED,RUNNING,CANCELLING": "unfinished",
    "RUNNING": "running",
    "QUEUED": "queued",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}
_SORT_CHOICES = {
    "-created_at": "newest first",
    "created_at": "oldest first",
    "name": "name",
    "-best_delta_m": "best delta_m",
    "state": "state",
    "-priority": "priority",
}
_Words = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


@dataclass(frozen=True)
class SearchRow:
    """A search as a row of the list.

    Attributes:
        left: About how long it will take from now, in words; None where that is not known.
        budgets: As people write them.
    """

    job: JobRecord
    left: str | None
    budgets: tuple[str, ...]

    @classmethod
    def of(cls, job: JobRecord, now: datetime) -> SearchRow:
        """Return the row of a job."""
        budgets = tuple(_write_budget(str(budget)) for budget in job.spec.get("budgets", ()))
        seconds = estimate_seconds_left(job, now)
        return cls(job, None if seconds is None else round_duration(seconds), budgets)


@dataclass(frozen=True)
class ListFilters:
    """What the list is narrowed down to; "" means any."""

    state: str = ""
    dataset: str = ""
    owner: str = ""
    label: str = ""
    name: str = ""
    sort: str = "-created_at"

    @property
    def narrows(self) -> bool:
        """Return whether some searches are left out."""
        return any((self.state, self.dataset, self.owner, self.label, self.name))

    def query(self, after: Row | None, limit: int) -> JobQuery:
        """Return the same as the store takes it, from a row on."""
        key, _, value = self.label.partition(":")
        return JobQuery(
            owner=self.owner or None,
            kinds=(JobKind.SEARCH,),
            states=tuple(JobState(part) for part in self.state.split(",")) if self.state else (),
            label=(key.strip(), value.strip()) if self.label else None,
            dataset=self.dataset or None,
            name_contains=self.name or None,
            sort=self.sort,
            after=after,
            limit=limit,
        )

    def address(self, **changes: str) -> str:
        """Return the address of the list with these filters, some of them changed."""
        words = {name: value for name, value in {**vars(self), **changes}.items() if value}
        if words.get("sort") == "-created_at":
            del words["sort"]
        return f"/searches?{urlencode(words)}" if words else "/searches"


@router.get("/", name="show_home")
@router.get("/searches", name="show_searches")
def show_searches(  # noqa: PLR0913, PLR0917 - the filters of a list are its parameters
    request: Request,
    visitor: Viewer,
    parts: Parts,
    state: Annotated[str, Query(pattern=rf"^(({'|'.join(JobState)})(,({'|'.join(JobState)}))*)?$")] = "",
    dataset: _Words = "",
    owner: _Words = "",
    label: Annotated[str, Query(pattern=r"^([^:\x00-\x1f]{1,63}:[^\x00-\x1f]{0,200})?$")] = "",
    name: _Words = "",
    sort: JobSort = "-created_at",
    page_token: Annotated[str | None, Query(max_length=2000)] = None,
) -> Response:
    """Show a page of the list of searches."""
    filters = ListFilters(state, dataset, owner.strip(), label, name.strip(), sort)
    rows, next_token = _read_page(parts, filters, page_token)
    if not rows and not filters.narrows and page_token is None:
        return render(request, "start.html", title="Start", section="searches")
    context = {
        "rows": rows,
        "filters": filters,
        "state_choices": _STATE_CHOICES,
        "sort_choices": _SORT_CHOICES,
        "dataset_choices": sorted(info.name for info in parts.offers.datasets.list_trainable()),
        "next_address": filters.address(page_token=next_token) if next_token else None,
        "is_first": page_token is None,
    }
    return render(request, "searches.html", title="Searches", section="searches", context=context)


@router.get("/searches/rows", name="show_search_rows")
def show_search_rows(
    request: Request, visitor: Viewer, parts: Parts, ids: Annotated[str, Query(pattern=r"^[A-Za-z0-9_,-]*$")] = ""
) -> Response:
    """Show rows of the list by their ids; those that are gone are left out."""
    now = parts.store.now()
    rows = []
    for job_id in ids.split(",")[:MAX_PAGE_SIZE]:
        try:
            rows.append(SearchRow.of(parts.store.get_job(job_id), now))
        except NotFoundError:
            continue
    return render(request, "search_rows.html", title="Rows", context={"rows": rows})


def _read_page(parts: ServerParts, filters: ListFilters, page_token: str | None) -> tuple[list[SearchRow], str | None]:
    """Return the rows of a page, and the token of the next where there is one."""
    sealed = {**vars(filters), "list": "page"}
    jobs = parts.store.list_jobs(filters.query(parts.pages.read(page_token, sealed), PAGE_SIZE + 1))
    now = parts.store.now()
    rows = [SearchRow.of(job, now) for job in jobs[:PAGE_SIZE]]
    if len(jobs) <= PAGE_SIZE:
        return rows, None
    last = jobs[PAGE_SIZE - 1]
    return rows, parts.pages.make((getattr(last, filters.sort.removeprefix("-")), last.id), sealed)


def _write_budget(budget: str) -> str:
    """Return a budget as people read it: "60 %" or "9.10 G"."""
    return f"{budget[:-1]} %" if budget.endswith("%") else count(float(budget)) if budget.isdigit() else budget
