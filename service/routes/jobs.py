"""What searches, retrainings and exports have in common: list, read, change, stop, resume, repeat, delete.

One set of routes per kind of job, under the name of its kind: an id of another kind is not found there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime

from db.errors import IllegalMoveError, NotFoundError
from db.questions import JobChanges, JobQuery
from db.records.jobs import JobRecord, NewJob, NewTrial
from db.records.states import ALLOWED_ACTIONS, JobKind, JobState, Reason, StopMode
from service.schemas.jobs import Job, JobPage, list_allowed_actions
from service.schemas.requests import JobPatch
from service.web.auth import Caller, Reader, Writer
from service.web.etags import answer, check_unchanged, etag_of_version
from service.web.idempotency import IdempotencyKey
from service.web.paging import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, clamp_page_size, list_filters, next_page_headers
from service.web.planning.jobs import options_of, plan_search_job, rebuild_search_body
from service.web.problems import ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.submission import COLLECTIONS, Submission, accept_job, submit_job

PageSize = Annotated[
    int, Query(ge=0, le=10**9, description=f"Rows per page; more than {MAX_PAGE_SIZE} counts as {MAX_PAGE_SIZE}.")
]
PageToken = Annotated[str | None, Query(max_length=2000, description="The next_page_token of the page before.")]
_STATES = "|".join(JobState)
JobSort = Literal[
    "created_at",
    "-created_at",
    "name",
    "-name",
    "state",
    "-state",
    "priority",
    "-priority",
    "best_delta_m",
    "-best_delta_m",
]
_Filter = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class JobRoutes:
    """The routes of one kind of job.

    Args:
        kind: Of the jobs.
    """

    def __init__(self, kind: JobKind) -> None:
        self.kind = kind

    def register(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        root, kind = f"/api/v1/{COLLECTIONS[self.kind]}", self.kind.value
        one = root + "/{job_id}"
        add = router.add_api_route
        add(root, self.list_page, name=f"list_{COLLECTIONS[self.kind]}", response_model=JobPage)
        add(one, self.get, name=f"get_{kind}", response_model=Job)
        add(one, self.patch, name=f"update_{kind}", response_model=Job, methods=["PATCH"])
        add(one, self.delete, name=f"delete_{kind}", response_model=None, methods=["DELETE"], status_code=204)
        actions: dict[str, Callable[..., Response]] = {
            "cancel": self.cancel,
            "kill": self.kill,
            "resume": self.resume,
            "retry": self.retry,
        }
        for action, endpoint in actions.items():
            add(
                f"{one}/{action}",
                endpoint,
                name=f"{action}_{kind}",
                response_model=Job,
                methods=["POST"],
                status_code=202,
            )

    def list_page(  # noqa: PLR0913, PLR0917 - the filters of a list are its parameters
        self,
        request: Request,
        caller: Reader,
        parts: Parts,
        owner: _Filter = None,
        state: Annotated[
            str | None, Query(pattern=rf"^({_STATES})(,({_STATES}))*$", description="One or more.")
        ] = None,
        label: Annotated[
            str | None, Query(pattern=r"^[^:\x00-\x1f]{1,63}:[^\x00-\x1f]{0,200}$", description="KEY:VALUE")
        ] = None,
        task: _Filter = None,
        dataset: _Filter = None,
        backbone: _Filter = None,
        study: Annotated[_Filter, Query(description="study_key: jobs whose results are comparable.")] = None,
        name: Annotated[_Filter, Query(description="Part of the name.")] = None,
        created_after: AwareDatetime | None = None,
        created_before: AwareDatetime | None = None,
        sort: JobSort = "-created_at",
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = None,
    ) -> Response:
        """List jobs."""
        key, _, value = (label or "").partition(":")
        size = clamp_page_size(page_size)
        filters = list_filters(request, sort=sort, list=self.kind.value)
        after = parts.pages.read(page_token, filters)
        query = JobQuery(
            owner=owner,
            kinds=(self.kind,),
            states=tuple(JobState(part) for part in state.split(",")) if state else (),
            label=(key, value) if label else None,
            task=task,
            dataset=dataset,
            backbone=backbone,
            study_key=study,
            name_contains=name,
            created_after=created_after,
            created_before=created_before,
            sort=sort,
            after=after,
            limit=size + 1,
        )
        rows = parts.store.list_jobs(query)
        items = [Job.of(job) for job in rows[:size]]
        if len(rows) <= size:
            return answer(request, JobPage(items=items), weak=True)
        last = rows[size - 1]
        token = parts.pages.make((getattr(last, sort.removeprefix("-")), last.id), filters)
        page = JobPage(items=items, next_page_token=token)
        return answer(request, page, weak=True, headers=next_page_headers(request, token))

    def get(self, request: Request, job_id: str, caller: Reader, parts: Parts) -> Response:
        """Read a job."""
        job = self.find(parts, job_id)
        return answer(request, Job.of(job, find_result(parts, job)), etag=etag_of_version(job.version))

    def patch(self, request: Request, job_id: str, body: JobPatch, caller: Writer, parts: Parts) -> Response:
        """Change name, labels, priority or notes of a job; needs If-Match."""
        job = self._find_own(parts, job_id, caller)
        check_unchanged(request, etag_of_version(job.version))
        changes = JobChanges(name=body.name, labels=body.labels, priority=body.priority, notes=body.notes)
        changed = parts.store.update_job(job_id, changes, if_version=job.version)
        # A plain answer: If-None-Match has no meaning on a change.
        return Response(
            Job.of(changed, find_result(parts, changed)).model_dump_json(exclude_unset=True),
            headers={"ETag": etag_of_version(changed.version), "Cache-Control": "no-store"},
            media_type="application/json",
        )

    def delete(self, request: Request, job_id: str, caller: Writer, parts: Parts) -> Response:
        """Hide an ended job from all lists; needs If-Match."""
        job = self._find_own(parts, job_id, caller)
        check_unchanged(request, etag_of_version(job.version))
        with _explained(parts, job_id):
            parts.store.delete_job(job_id, if_version=job.version)
        parts.store.add_audit(caller.owner, caller.token_id, "delete", job_id)
        return Response(status_code=204)

    def cancel(self, job_id: str, caller: Writer, parts: Parts) -> Response:
        """Stop a job at its next step and keep its checkpoints."""
        return self._stop(parts, job_id, caller, StopMode.CANCEL)

    def kill(self, job_id: str, caller: Writer, parts: Parts) -> Response:
        """Stop a job now."""
        return self._stop(parts, job_id, caller, StopMode.KILL)

    def resume(self, job_id: str, caller: Writer, parts: Parts) -> Response:
        """Go on with a failed or cancelled job from its last checkpoints."""
        self._find_own(parts, job_id, caller)
        with _explained(parts, job_id):
            job = parts.store.resume_job(job_id)
        parts.store.add_audit(caller.owner, caller.token_id, "resume", job_id)
        return _accepted(job)

    def retry(
        self, request: Request, job_id: str, caller: Writer, parts: Parts, key: IdempotencyKey = None
    ) -> Response:
        """Make a new job that asks the same as an ended one."""
        job = self.find(parts, job_id)

        def plan() -> NewJob:
            """Return the job again."""
            if job.state not in ALLOWED_ACTIONS["retry"]:
                raise refuse_state(job)
            return self._repeat(parts, job, caller)

        return submit_job(parts, Submission(request, caller, key, None), plan)

    def find(self, parts: ServerParts, job_id: str) -> JobRecord:
        """Return a job of this kind.

        Raises:
            NotFoundError: There is none under this id.
        """
        job = parts.store.get_job(job_id)
        if job.kind is not self.kind:
            raise NotFoundError()
        return job

    def _find_own(self, parts: ServerParts, job_id: str, caller: Caller) -> JobRecord:
        """Return a job of this kind that the caller may change."""
        job = self.find(parts, job_id)
        caller.check_may_change(job)
        return job

    def _stop(self, parts: ServerParts, job_id: str, caller: Caller, mode: StopMode) -> Response:
        """Return the job after it was asked to stop."""
        self._find_own(parts, job_id, caller)
        reason = Reason.USER_CANCEL if mode is StopMode.CANCEL else Reason.USER_KILL
        with _explained(parts, job_id):
            job = parts.store.stop_job(job_id, mode, reason)
        parts.store.add_audit(caller.owner, caller.token_id, mode.value, job_id)
        return _accepted(job)

    def _repeat(self, parts: ServerParts, job: JobRecord, caller: Caller) -> NewJob:
        """Return a job like another one, planned anew where the plan depends on the program's version."""
        seconds = (job.deadline_at - job.created_at).total_seconds() if job.deadline_at else None
        options = options_of(job, deadline_seconds=seconds)
        if job.kind is JobKind.SEARCH:
            body = rebuild_search_body(job.spec, options)
            version = parts.settings.code_version
            planned = plan_search_job(body, parts.offers, owner=caller.owner, code_version=version)
            return replace(planned.job, retry_of=job.id)
        trials = tuple(
            NewTrial(trial.kind, trial.name, trial.spec, trial.reuse_key, trial.seed, trial.budget_madds)
            for trial in parts.store.list_trials(job.id)
        )
        return NewJob(
            kind=job.kind,
            owner=caller.owner,
            name=job.name,
            spec=job.spec,
            spec_hash=job.spec_hash,
            study_key=job.study_key,
            trials=trials,
            labels=job.labels,
            priority=job.priority,
            deadline_seconds=seconds,
            max_attempts=job.max_attempts,
            resources=job.resources,
            retry_of=job.id,
            architecture_id=job.architecture_id,
        )


def find_result(parts: ServerParts, job: JobRecord) -> dict[str, Any] | None:
    """Return what a retraining or an export found, None for a search and while there is nothing."""
    if job.kind is JobKind.SEARCH or job.state is not JobState.SUCCEEDED:
        return None
    result = parts.store.list_trials(job.id)[0].result
    return None if result is None else dict(result)


def refuse_state(job: JobRecord) -> ProblemError:
    """Return the problem of an action that the state of a job does not allow, with those that it does."""
    allowed = list_allowed_actions(job.state)
    return ProblemError(
        "illegal_state",
        f"A job that is {job.state.value} does not allow that. It allows: {', '.join(allowed) or 'nothing'}.",
        allowed_actions=allowed,
    )


@contextmanager
def _explained(parts: ServerParts, job_id: str) -> Iterator[None]:
    """Turn an illegal move into a problem that says what is allowed instead."""
    try:
        yield
    except IllegalMoveError as error:
        raise refuse_state(parts.store.get_job(job_id)) from error


def _accepted(job: JobRecord) -> Response:
    """Return the answer to an action."""
    saved = accept_job(job)
    return Response(saved.body, saved.status, dict(saved.headers), media_type="application/json")
