"""From a planned job to its answer: 202 once it is durable, the first answer again under the same idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from db.records.access import SavedResponse
from db.records.jobs import JobRecord, NewJob
from db.records.states import JobKind
from service.schemas.jobs import Job
from service.web.auth import Caller
from service.web.etags import etag_of_version
from service.web.idempotency import first_answer, read_key, replay
from service.web.planning.jobs import check_schedulable
from service.web.server_parts import ServerParts

COLLECTIONS = {JobKind.SEARCH: "searches", JobKind.RETRAIN: "retrains", JobKind.EXPORT: "exports"}
_RETRY_AFTER_SECONDS = "2"


@dataclass(frozen=True)
class Submission:
    """A request that makes a job.

    Attributes:
        request: What is asked.
        caller: Who asks.
        key: Value of the Idempotency-Key header; None without it.
        body: JSON value of the body.
    """

    request: Request
    caller: Caller
    key: str | None
    body: Any


def submit_job(parts: ServerParts, submission: Submission, plan: Callable[[], NewJob]) -> Response:
    """Return 202 with the job, which is durable by then.

    Args:
        parts: Store and limits.
        submission: The request.
        plan: Makes the job; not called when the key was used before.

    Raises:
        ProblemError: The job cannot be run, or the key is none.
        DbError: The queue is full, or the key was used for another request.
    """
    claim = read_key(submission.key, submission.request, submission.caller, submission.body)
    saved = None if claim is None else parts.store.find_response(claim)
    if saved is not None:
        return replay(saved)
    job = plan()
    check_schedulable(job.resources, parts.store.list_workers())
    record, saved = parts.store.submit(
        job, limits=parts.settings.queue_limits, idempotency=claim, respond=accept_job if claim else None
    )
    return first_answer(accept_job(record)) if saved is None else replay(saved)


def accept_job(job: JobRecord) -> SavedResponse:
    """Return the answer to the request that made a job."""
    headers = {
        "Location": job_path(job),
        "Retry-After": _RETRY_AFTER_SECONDS,
        "ETag": etag_of_version(job.version),
        "Cache-Control": "no-store",
    }
    return SavedResponse(202, headers, Job.of(job).model_dump_json(exclude_unset=True).encode())


def job_path(job: JobRecord) -> str:
    """Return the path of a job."""
    return f"/api/v1/{COLLECTIONS[job.kind]}/{job.id}"
