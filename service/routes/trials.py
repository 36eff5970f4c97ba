"""What the trials of a job do and leave: attempts, figures, lines, events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from db.errors import NotFoundError
from db.records.jobs import TrialRecord
from db.records.states import JobKind
from service.routes.jobs import JobRoutes
from service.schemas.jobs import Attempt, AttemptList, LogEntry, LogPage, MetricList, MetricSeries, Trial, TrialList
from service.web.auth import Reader
from service.web.etags import answer
from service.web.problems import FieldError, ProblemError
from service.web.server_parts import Parts, ServerParts
from service.web.submission import COLLECTIONS
from service.web.thinning import thin_points

_BIG = 2**53
After = Annotated[int, Query(ge=0, lt=_BIG, description="Only what comes after this number.")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Number of the last event that the client has.")
]


class EventStream(StreamingResponse):
    """Server-sent events; no proxy may hold them back."""

    media_type = "text/event-stream"


class TrialRoutes:
    """The routes below one kind of job.

    Args:
        kind: Of the jobs.
    """

    def __init__(self, kind: JobKind) -> None:
        self._kind = kind
        self._jobs = JobRoutes(kind)

    def register(self, router: APIRouter) -> None:
        """Add the routes to a router."""
        one, kind = f"/api/v1/{COLLECTIONS[self._kind]}/{{job_id}}", self._kind.value
        add = router.add_api_route
        add(f"{one}/trials", self.list_trials, name=f"list_{kind}_trials", response_model=TrialList)
        add(f"{one}/trials/{{trial_id}}", self.get_trial, name=f"get_{kind}_trial", response_model=Trial)
        add(
            f"{one}/trials/{{trial_id}}/attempts",
            self.list_attempts,
            name=f"list_{kind}_attempts",
            response_model=AttemptList,
        )
        add(f"{one}/metrics", self.list_metrics, name=f"list_{kind}_metrics", response_model=MetricList)
        add(f"{one}/logs", self.list_logs, name=f"list_{kind}_logs", response_model=LogPage)
        add(
            f"{one}/events",
            self.follow_events,
            name=f"follow_{kind}_events",
            response_class=EventStream,
            response_model=None,
        )

    def list_trials(self, request: Request, job_id: str, caller: Reader, parts: Parts) -> Response:
        """List the trials of a job."""
        self._jobs.find(parts, job_id)
        trials = parts.store.list_trials(job_id)
        return answer(request, TrialList(items=[Trial.of(trial) for trial in trials]), weak=True)

    def get_trial(self, request: Request, job_id: str, trial_id: str, caller: Reader, parts: Parts) -> Response:
        """Read a trial."""
        return answer(request, Trial.of(self._find_trial(parts, job_id, trial_id)))

    def list_attempts(self, request: Request, job_id: str, trial_id: str, caller: Reader, parts: Parts) -> Response:
        """List the attempts at a trial, oldest first."""
        self._find_trial(parts, job_id, trial_id)
        attempts = parts.store.list_attempts(trial_id)
        return answer(request, AttemptList(items=[Attempt.of(attempt) for attempt in attempts]), weak=True)

    def list_metrics(
        self,
        request: Request,
        job_id: str,
        caller: Reader,
        parts: Parts,
        name: Annotated[str | None, Query(max_length=200, description="Name of the figure.")] = None,
        trial: Annotated[str | None, Query(max_length=200, description="Id of a trial.")] = None,
        after_step: Annotated[int, Query(ge=-1, lt=_BIG)] = -1,
        max_points: Annotated[int, Query(ge=4, le=5000, description="Per series.")] = 500,
    ) -> Response:
        """List the figures of a job, thinned out where there are many."""
        self._jobs.find(parts, job_id)
        found = parts.store.list_metrics(job_id, name=name, trial_id=trial, after_step=after_step)
        series = [
            MetricSeries(trial_id=trial_id, name=figure, points=thin_points(points, max_points), num_points=len(points))
            for (trial_id, figure), points in sorted(found.items())
        ]
        return answer(request, MetricList(series=series), weak=True)

    def list_logs(
        self,
        request: Request,
        job_id: str,
        caller: Reader,
        parts: Parts,
        after: After = 0,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    ) -> Response:
        """List the lines that the trials of a job wrote."""
        self._jobs.find(parts, job_id)
        lines = parts.store.list_logs(job_id, after=after, limit=limit)
        page = LogPage(items=[LogEntry.of(line) for line in lines], next_after=lines[-1].seq if lines else after)
        return answer(request, page, weak=True)

    async def follow_events(
        self,
        job_id: str,
        caller: Reader,
        parts: Parts,
        after: Annotated[int | None, Query(ge=0, lt=_BIG, description="As Last-Event-ID, which wins.")] = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        """Follow the events of a job until it has ended.

        Each event has `id:` (its number within the job), `event:` (state, trial, progress, metric, log or front) and
        one line of JSON as `data:`. A client that has the last event of an ended job gets 204.
        """
        wanted = _read_event_id(last_event_id, after)
        job = await run_in_threadpool(self._jobs.find, parts, job_id)
        oldest, newest = await run_in_threadpool(parts.store.get_last_event, job_id)
        start = oldest - 1 if wanted is None else wanted
        _check_event_id(start, oldest, newest)
        if job.state.is_terminal and wanted is not None and wanted == newest and last_event_id is not None:
            return Response(status_code=204)
        parts.hub.check_room()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventStream(parts.hub.follow(job_id, start), headers=headers)

    def _find_trial(self, parts: ServerParts, job_id: str, trial_id: str) -> TrialRecord:
        """Return a trial of a job of this kind.

        Raises:
            NotFoundError: There is none under these ids.
        """
        self._jobs.find(parts, job_id)
        trial = parts.store.get_trial(trial_id)
        if trial.job_id != job_id:
            raise NotFoundError()
        return trial


def _read_event_id(header: str | None, after: int | None) -> int | None:
    """Return the number of the last event that a client has, None where it says nothing."""
    if header is None:
        return after
    if not header.isascii() or not header.isdigit() or len(header) > 16:
        raise _refuse_event_id()
    return int(header)


def _check_event_id(start: int, oldest: int, newest: int) -> None:
    """Refuse to go on after an event that never was, or one whose followers are not kept any more."""
    if start > newest:
        raise _refuse_event_id()
    if start < oldest - 1:
        raise ProblemError("events_gone", f"The oldest event that is kept is number {oldest}. Start from there.")


def _refuse_event_id() -> ProblemError:
    """Return the problem of an event id that no event of the job has."""
    message = "Last-Event-ID must be the number of an event that this job has had."
    field = FieldError(pointer="Last-Event-ID", code="invalid_event_id", message=message)
    return ProblemError("invalid_event_id", message, errors=[field])
