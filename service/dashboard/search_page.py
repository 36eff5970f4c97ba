"""The page of a job: how it stands, what it found, curves, attempts, log, and what may be asked of it.

Searches, retrainings and exports have the same page under the name of their kind, as in the API. The page is made of
parts that are sent again one by one when something happened, so that every figure is written in one place only.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from db.records.jobs import AttemptRecord, JobRecord, LogLine, TrialRecord
from db.records.states import JobKind
from db.stores import Store
from service.dashboard.job.curves import build_curves, choose_trials, draw_legend
from service.dashboard.job.history import list_state_changes
from service.dashboard.job.view import (
    MAX_LANES,
    build_lanes,
    build_trial_rows,
    choose_rows,
    collect_points,
    compute_own_progress,
    count_states,
    find_trouble,
    list_attempt_notes,
    list_budgets,
)
from service.dashboard.job.words import ACTIONS, JOBS, STATES, Action, estimate_seconds_left, list_actions
from service.dashboard.site import Operator, PageRoute, SentForm, Viewer, Visitor, render
from service.pages.attempts_drawing import attempts_svg
from service.pages.curves_drawing import panel_svg
from service.pages.front.small import small_front_svg
from service.routes.jobs import JobRoutes
from service.schemas.jobs import list_allowed_actions
from service.web.fronts import build_front
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.submission import COLLECTIONS

PARTS = ("head", "trouble", "summary", "trials", "curves", "history", "attempts", "facts")
LOG_LINES = 200
_LONG_SPAN = 2000
_MAX_CHANGES = 500  # of its state; a person who resumes a job a hundred times makes as many
_ActionName = Literal["cancel", "kill", "resume", "retry"]
_Trial = Annotated[str | None, Query(max_length=200)]

router = APIRouter(route_class=PageRoute, include_in_schema=False)


class JobPages:
    """The pages of one kind of job.

    Args:
        kind: Of the jobs.
    """

    def __init__(self, kind: JobKind) -> None:
        self._kind = kind
        self._jobs = JobRoutes(kind)
        self._root = f"/{COLLECTIONS[kind]}"

    def register(self, pages: APIRouter) -> None:
        """Add the pages to a router."""
        one, kind = f"{self._root}/{{job_id}}", self._kind.value
        pages.add_api_route(one, self.show, name=f"show_{kind}")
        pages.add_api_route(f"{one}/parts", self.show_parts, name=f"show_{kind}_parts")
        pages.add_api_route(f"{one}/spec.json", self.send_spec, name=f"send_{kind}_spec")
        pages.add_api_route(f"{one}/confirm", self.confirm, name=f"confirm_{kind}_action")
        pages.add_api_route(f"{one}/{{action}}", self.act, name=f"act_on_{kind}", methods=["POST"])

    def show(self, request: Request, job_id: str, visitor: Viewer, parts: Parts, trial: _Trial = None) -> Response:
        """Show a job."""
        return self._render(request, self._jobs.find(parts, job_id), visitor, parts, trial=trial)

    def show_parts(
        self,
        request: Request,
        job_id: str,
        visitor: Viewer,
        parts: Parts,
        names: Annotated[str, Query(max_length=200)] = "",
        trial: _Trial = None,
    ) -> Response:
        """Send some parts of the page of a job as they are now."""
        job = self._jobs.find(parts, job_id)
        wanted = [name for name in PARTS if name in names.split(",")]
        context = {"names": wanted, "job": job, "view": self._read(parts, job, visitor, wanted, trial)}
        return render(request, "job_parts.html", title=job.name, section="searches", context=context)

    def send_spec(self, job_id: str, visitor: Viewer, parts: Parts) -> Response:
        """Send what a job asks for, as JSON."""
        job = self._jobs.find(parts, job_id)
        content = json.dumps(dict(job.spec), indent=2) + "\n"
        return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/json")

    def confirm(
        self, request: Request, job_id: str, action: Annotated[_ActionName, Query()], visitor: Operator, parts: Parts
    ) -> Response:
        """Ask whether an action is meant; browsers with scripts ask on the page of the job itself."""
        job = self._jobs.find(parts, job_id)
        chosen = next(item for item in ACTIONS if item.name == action)
        context = {"job": job, "action": chosen, "root": self._root, "kind": JOBS[self._kind], "key": _make_key()}
        title = chosen.question.format(job=JOBS[self._kind])
        return render(request, "job_confirm.html", title=title, section="searches", context=context)

    def act(
        self, request: Request, job_id: str, action: _ActionName, visitor: Operator, form: SentForm, parts: Parts
    ) -> Response:
        """Do what was confirmed, and show the job; of a retry, the new one."""
        job = self._jobs.find(parts, job_id)
        try:
            if action == "retry":
                answer = self._jobs.retry(request, job_id, visitor.caller, parts, form.get("key") or None)
            else:
                answer = getattr(self._jobs, action)(job_id, visitor.caller, parts)
        except ProblemError as problem:
            if problem.code != "illegal_state":
                raise
            return self._render(request, self._jobs.find(parts, job_id), visitor, parts, problem=problem)
        made = json.loads(bytes(answer.body))["id"]
        return RedirectResponse(f"{self._root}/{made if action == 'retry' else job.id}", 303)

    def _render(
        self,
        request: Request,
        job: JobRecord,
        visitor: Visitor,
        parts: ServerParts,
        *,
        trial: str | None = None,
        problem: ProblemError | None = None,
    ) -> Response:
        """Return the whole page."""
        _, last_event = parts.store.get_last_event(job.id)  # before all else, so that nothing after it is missed
        view = self._read(parts, job, visitor, PARTS, trial)
        context = {
            "names": PARTS,
            "job": job,
            "view": view,
            "actions": ACTIONS,
            "kind": JOBS[self._kind],
            "root": self._root,
            "key": _make_key(),
            "last_event": last_event,
            "lines": read_last_lines(parts.store, job.id),
            "problem": problem,
            "page_parts": PARTS,
        }
        status = 200 if problem is None else problem.status
        return render(request, "search.html", title=job.name, section="searches", status=status, context=context)

    def _read(
        self, parts: ServerParts, job: JobRecord, visitor: Visitor, names: tuple[str, ...] | list[str], only: str | None
    ) -> dict[str, Any]:
        """Return what the named parts show."""
        store, now = parts.store, parts.store.now()
        trials = store.list_trials(job.id)
        view: dict[str, Any] = {
            "root": self._root,
            "kind": JOBS[self._kind],
            "states": STATES,
            "names": {trial.id: trial.name for trial in trials},
            "offered": _offer(job, visitor),
            "can_write": visitor.can_write,
            "only": only,
        }
        if "trouble" in names:
            view["trouble"] = find_trouble(job, trials)
        if "summary" in names:
            view |= self._read_summary(store, job, trials)
            view["seconds_left"] = estimate_seconds_left(replace(job, progress=compute_own_progress(trials)), now)
            view["elapsed"] = None if job.started_at is None else ((job.finished_at or now) - job.started_at)
        if "trials" in names:
            networks = {
                row.trial_id: (row.id, row.delta_m) for row in store.list_front_rows(job_id=job.id, study_key=None)
            }
            view["rows"] = build_trial_rows(choose_rows(trials), networks, now)
        if "curves" in names:
            view |= _read_curves(store, job, trials, only)
        if "history" in names:
            changes = store.list_events(job.id, kind="state", limit=_MAX_CHANGES)
            view["history"] = list_state_changes(changes, job.owner, now)
        if "attempts" in names:
            attempts = {trial.id: store.list_attempts(trial.id) for trial in _choose_lanes(trials)}
            view |= _draw_attempts(trials, attempts, now)
        return view

    def _read_summary(self, store: Store, job: JobRecord, trials: list[TrialRecord]) -> dict[str, Any]:
        """Return how far a job is and what it found."""
        found: dict[str, Any] = {"counts": count_states(trials), "budgets": list_budgets(trials), "front": None}
        found |= {"points": [], "best": None, "front_svg": None}
        if self._kind is not JobKind.SEARCH:
            return found
        front = build_front(store.list_front_rows(job_id=job.id, study_key=None), store.list_baselines(job.study_key))
        points = collect_points(front)
        rated = [row for row in front.points if row["delta_m"] is not None]
        best = max(rated, key=lambda row: (row["delta_m"], -row["madds"]), default=None)
        ranked = sorted(front.points, key=lambda row: (not row["on_front"], row["madds"]))
        drawing = Markup(small_front_svg(points)) if rated else None
        return found | {"front": front, "points": ranked, "best": best, "front_svg": drawing}


def read_last_lines(store: Store, job_id: str) -> list[LogLine]:
    """Return the last lines that the trials of a job wrote, found by halving: a log is read from its beginning only."""
    low, high = 0, _LONG_SPAN
    while store.list_logs(job_id, after=high, limit=1):
        low, high = high, high * 2
    while high - low > LOG_LINES:
        middle = (low + high) // 2
        if store.list_logs(job_id, after=middle, limit=1):
            low = middle
        else:
            high = middle
    return store.list_logs(job_id, after=max(0, low - LOG_LINES), limit=3 * LOG_LINES)[-LOG_LINES:]


def _offer(job: JobRecord, visitor: Visitor) -> list[Action]:
    """Return what this visitor may ask of a job now."""
    if not visitor.can_write:
        return []
    offered = list_actions(job, list_allowed_actions(job.state))
    return [action for action in offered if action.name == "retry" or visitor.may_change(job.owner)]


def _read_curves(store: Store, job: JobRecord, trials: list[TrialRecord], only: str | None) -> dict[str, Any]:
    """Return the curves of a job, drawn, and the trials that may have any; of the others no figure is read."""
    begun = [trial for trial in trials if trial.attempts]
    wanted = choose_trials([trial for trial in begun if only in (None, trial.id)])
    figures = {key: points for trial in wanted for key, points in store.list_metrics(job.id, trial_id=trial.id).items()}
    curves = build_curves(wanted, figures)
    groups = [
        (group.title, group.note, [Markup(panel_svg(panel)) for panel in group.panels]) for group in curves.groups
    ]
    return {"legend": draw_legend(curves), "groups": groups, "choices": begun}


def _choose_lanes(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that get a lane: those with the most attempts when there are more than fit."""
    begun = [trial for trial in trials if trial.attempts]
    return sorted(begun, key=lambda trial: trial.attempts, reverse=True)[:MAX_LANES]


def _draw_attempts(trials: list[TrialRecord], attempts: dict[str, list[AttemptRecord]], now: Any) -> dict[str, Any]:
    """Return the timeline of the attempts, drawn and in words."""
    lanes = build_lanes(trials, attempts, now)
    return {
        "timeline": Markup(attempts_svg(lanes)) if lanes else None,
        "notes": list_attempt_notes(trials, attempts, now),
        "num_lanes": len(lanes),
        "num_begun": sum(trial.attempts > 0 for trial in trials),
    }


def _make_key() -> str:
    """Return an idempotency key for a form: sent twice, it makes one job."""
    return f"page-{secrets.token_hex(16)}"


for _kind in JobKind:
    JobPages(_kind).register(router)
