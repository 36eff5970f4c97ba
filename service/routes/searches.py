"""Searches: submit, try out, and the fronts of what they found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from db.records.jobs import NewJob
from db.records.states import JobKind
from service.routes.jobs import JobRoutes
from service.routes.trials import TrialRoutes
from service.schemas.jobs import Job
from service.schemas.requests import SearchBody
from service.schemas.results import Estimate, Front, MaddsRange, Validation
from service.web.auth import Reader, Writer
from service.web.etags import answer_content
from service.web.fronts import FrontQuestion
from service.web.guarded_route import GuardedRoute
from service.web.idempotency import IdempotencyKey
from service.web.planning.dataset_checks import find_check
from service.web.planning.jobs import (
    PlannedJob,
    check_schedulable,
    estimate_disk_bytes,
    estimate_seconds,
    plan_search_job,
)
from service.web.problems import FieldError, ProblemError
from service.web.server_parts import Parts
from service.web.submission import Submission, submit_job

router = APIRouter(route_class=GuardedRoute, tags=["searches"])
_XAxis = Annotated[str, Query(pattern="^(madds|params|latency_ms)$", description="Cost: madds, params or latency_ms.")]
_YAxis = Annotated[str, Query(min_length=1, max_length=200, description="delta_m, or the name of a task.")]
_Feasible = Annotated[bool, Query(description="Leave out networks that exceed their own budget.")]


@router.post("/api/v1/searches/validate", name="validate_search", response_model=Validation)
def validate_search(body: SearchBody, caller: Writer, parts: Parts) -> Validation:
    """Check a search as submitting it would, and estimate what it takes; nothing is stored."""
    planned = plan_search_job(body, parts.offers, owner=caller.owner, code_version=parts.settings.code_version)
    workers = parts.store.list_workers()
    check_schedulable(planned.job.resources, workers)
    warnings = _find_loose_budgets(planned)
    check = find_check(parts.store, parts.offers.get_dataset(body.dataset))
    if check is not None and check.warning:
        warnings.append(check.warning)
    if not workers:
        warnings.append("No worker has asked for work in the last day: the search would wait for one.")
    return Validation(ok=True, estimate=_estimate(planned), warnings=warnings)


@router.post("/api/v1/searches", name="submit_search", response_model=Job, status_code=202)
def submit_search(
    request: Request, body: SearchBody, caller: Writer, parts: Parts, key: IdempotencyKey = None
) -> Response:
    """Submit a search; it is durable once this is answered."""
    submission = Submission(request, caller, key, body.model_dump(mode="json"))

    def plan() -> NewJob:
        """Return the job that the body asks for."""
        version = parts.settings.code_version
        return plan_search_job(body, parts.offers, owner=caller.owner, code_version=version).job

    return submit_job(parts, submission, plan)


JobRoutes(JobKind.SEARCH).register(router)
TrialRoutes(JobKind.SEARCH).register(router)


@router.get("/api/v1/searches/{job_id}/front", name="get_front", response_model=Front)
def get_front(
    request: Request,
    job_id: str,
    caller: Reader,
    parts: Parts,
    x: _XAxis = "madds",
    y: _YAxis = "delta_m",
    feasible: _Feasible = False,
) -> Response:
    """Read the networks that a search found so far, and which of them none beats in both figures."""
    job = JobRoutes(JobKind.SEARCH).find(parts, job_id)
    front = parts.fronts.answer(FrontQuestion(x, y, feasible), study_key=job.study_key, job_id=job_id)
    return answer_content(request, front.content, front.etag)


@router.get("/api/v1/pareto", name="get_pareto", response_model=Front)
def get_pareto(
    request: Request,
    caller: Reader,
    parts: Parts,
    search: Annotated[str | None, Query(max_length=200, description="Id of a search.")] = None,
    study: Annotated[str | None, Query(max_length=200, description="study_key: all searches of a study.")] = None,
    x: _XAxis = "madds",
    y: _YAxis = "delta_m",
    feasible: _Feasible = False,
) -> Response:
    """Read the front of a search, or of all searches of a study; one of the two must be named."""
    if (search is None) == (study is None):
        message = "Name either a search or a study."
        errors = [FieldError(pointer=name, code="one_of", message=message) for name in ("search", "study")]
        raise ProblemError("invalid_parameter", message, errors=errors)
    if search is not None:
        return get_front(request, search, caller, parts, x, y, feasible)
    front = parts.fronts.answer(FrontQuestion(x, y, feasible), study_key=study or "")
    return answer_content(request, front.content, front.etag)


def _estimate(planned: PlannedJob) -> Estimate:
    """Return what a search will ask for."""
    costs = planned.costs
    return Estimate(
        madds=MaddsRange(
            shared_madds=costs.shared_madds, split_madds=costs.split_madds, single_madds=costs.single_madds
        ),
        budgets_madds=list(planned.budgets_madds),
        num_trials=len(planned.job.trials),
        seconds_on_one_cpu=round(estimate_seconds(planned), 1),
        disk_bytes=estimate_disk_bytes(planned),
    )


def _find_loose_budgets(planned: PlannedJob) -> list[str]:
    """Return a sentence per budget that no tree reaches."""
    return [
        f"Budget number {index} ({madds} MAdds) does not bind: the dearest tree costs {planned.costs.split_madds}."
        for index, madds in enumerate(planned.budgets_madds, start=1)
        if madds > planned.costs.split_madds
    ]
