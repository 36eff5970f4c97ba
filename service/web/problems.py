"""What the server refuses, as RFC 9457 problem documents: the one table of codes and HTTP statuses.

A problem says the rule and what to do, never what was sent: an answer must not carry foreign text or secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from db.errors import (
    ConflictError,
    DatabaseUnavailableError,
    IdempotencyBusyError,
    IdempotencyMismatchError,
    IllegalMoveError,
    LeaseLostError,
    NotFoundError,
    QueueFullError,
    SchemaVersionError,
    StaleVersionError,
)
from models.errors import ModelsError
from search.errors import SearchError
from service.errors import ServiceError

MEDIA_TYPE = "application/problem+json"
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 << 20


@dataclass(frozen=True)
class ProblemKind:
    """One kind of refusal: its HTTP status, and what it means in a sentence."""

    status: int
    title: str


KINDS: Mapping[str, ProblemKind] = {
    "malformed_json": ProblemKind(400, "The body is not one JSON document."),
    "invalid_parameter": ProblemKind(400, "A query parameter, header or path is not as described."),
    "unknown_parameter": ProblemKind(400, "The query has a parameter that this address does not know."),
    "invalid_page_token": ProblemKind(400, "The page token was not made by this server for this list."),
    "invalid_idempotency_key": ProblemKind(400, "An idempotency key has 16 to 255 printable ASCII characters."),
    "invalid_event_id": ProblemKind(400, "The event id is no number of an event of this job."),
    "bad_host": ProblemKind(400, "This server does not answer under that host name."),
    "bad_request": ProblemKind(400, "The request cannot be understood."),
    "unauthorized": ProblemKind(401, "A valid access token is needed."),
    "forbidden": ProblemKind(403, "This access token does not allow that."),
    "foreign_origin": ProblemKind(403, "A page of another server asked for this."),
    "csrf_failed": ProblemKind(403, "The page that asked for this is not of your present session. Load it again."),
    "not_owner": ProblemKind(403, "Only the owner or an admin may change this."),
    "not_found": ProblemKind(404, "There is nothing at this address."),
    "method_not_allowed": ProblemKind(405, "This address does not know that method."),
    "not_acceptable": ProblemKind(406, "What this address answers is none of the accepted media types."),
    "conflict": ProblemKind(409, "The request contradicts what is stored."),
    "illegal_state": ProblemKind(409, "The state of the job does not allow that action."),
    "lease_lost": ProblemKind(409, "This attempt no longer holds its trial."),
    "version_mismatch": ProblemKind(409, "The worker runs another version of this program than the server."),
    "idempotency_busy": ProblemKind(409, "The first request with this idempotency key is still running."),
    "not_ready": ProblemKind(409, "The result is not there yet."),
    "events_gone": ProblemKind(410, "Events as old as that are not kept any more."),
    "stale_version": ProblemKind(412, "The resource has changed since it was read."),
    "too_large": ProblemKind(413, "The body is too large."),
    "unsupported_media_type": ProblemKind(415, "The body must be uncompressed application/json."),
    "range_not_satisfiable": ProblemKind(416, "The range lies outside the file."),
    "invalid_request": ProblemKind(422, "The request cannot be carried out as it stands."),
    "infeasible_budget": ProblemKind(422, "No network of this backbone keeps that budget."),
    "unschedulable": ProblemKind(422, "No worker is large enough for that."),
    "idempotency_mismatch": ProblemKind(422, "The idempotency key was used for another request."),
    "precondition_required": ProblemKind(428, "The request needs an If-Match header."),
    "rate_limited": ProblemKind(429, "Too many requests."),
    "queue_full": ProblemKind(429, "The queue is full."),
    "too_many_streams": ProblemKind(429, "Too many event streams are open."),
    "internal": ProblemKind(500, "The server made a mistake."),
    "database_unavailable": ProblemKind(503, "The database does not answer at the moment."),
    "draining": ProblemKind(503, "The server is about to end."),
    "storage_full": ProblemKind(507, "The disk of the server is full."),
}


class FieldError(BaseModel):
    """What is wrong with one field of the body, or one parameter."""

    model_config = ConfigDict(extra="forbid")

    pointer: Annotated[str, Field(description="RFC 6901 pointer into the body, or the name of a parameter.")]
    code: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/infeasible_budget",
                    "title": "No network of this backbone keeps that budget.",
                    "status": 422,
                    "detail": "Sharing everything already costs 155600 MAdds. Ask for at least 155600 MAdds.",
                    "instance": "/api/v1/searches",
                    "code": "infeasible_budget",
                    "request_id": "req_9f86d081884c7d65",
                    "errors": [{"pointer": "/budgets/0", "code": "infeasible_budget", "message": "It is too small."}],
                }
            ]
        },
    )

    type: Annotated[str, Field(description="Address of a description of this kind of problem.")]
    title: str
    status: int
    detail: str
    instance: Annotated[str, Field(description="Path of the request.")]
    code: str
    request_id: Annotated[str, Field(description="What the server's log calls the request.")]
    errors: list[FieldError] = Field(default_factory=list)
    allowed_actions: Annotated[list[str], Field(description="What the state of the job allows instead.")] = Field(
        default_factory=list
    )


class ProblemError(ServiceError):
    """A request that is answered with a problem document.

    Args:
        code: Key of `KINDS`.
        detail: The rule, and what to do; the title of the kind without it.
        errors: What is wrong with which field.
        headers: For the answer.
        allowed_actions: What the state of the job allows instead, where that is the point.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        allowed_actions: Sequence[str] | None = None,
    ) -> None:
        super().__init__(detail or KINDS[code].title)
        self.code = code
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.allowed_actions = allowed_actions

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return KINDS[self.code].status


def refuse_field(pointer: str, message: str, *, code: str = "invalid_request") -> ProblemError:
    """Return the problem of one field of a body."""
    return ProblemError(code, message, errors=[FieldError(pointer=pointer, code=code, message=message)])


_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_DB_CODES: tuple[tuple[type[Exception], str], ...] = (
    (NotFoundError, "not_found"),
    (LeaseLostError, "lease_lost"),
    (IllegalMoveError, "illegal_state"),
    (IdempotencyBusyError, "idempotency_busy"),
    (ConflictError, "conflict"),
    (StaleVersionError, "stale_version"),
    (QueueFullError, "queue_full"),
    (IdempotencyMismatchError, "idempotency_mismatch"),
    (DatabaseUnavailableError, "database_unavailable"),
    (SchemaVersionError, "database_unavailable"),
)
_RETRY_SECONDS = {"queue_full": "30", "database_unavailable": "2", "idempotency_busy": "1", "draining": "5"}


def problem_of_error(error: Exception) -> ProblemError | None:
    """Return the problem that an error of the rooms below stands for, or None for a fault of ours.

    What an error says is not passed on, since it may quote the request; the docstring of its class is.
    """
    if isinstance(error, ProblemError):
        return error
    for kind, code in _DB_CODES:
        if isinstance(error, kind):
            retry = _RETRY_SECONDS.get(code)
            return ProblemError(code, str(kind.__doc__), headers={"Retry-After": retry} if retry else None)
    if isinstance(error, SearchError | ModelsError):
        return ProblemError("invalid_request", str(type(error).__doc__))
    return None


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> ProblemError:
    """Return the problem for a refusal of the framework, known by its HTTP status alone."""
    code = _BY_STATUS.get(status, "bad_request" if status < 500 else "internal")
    return ProblemError(code, headers=headers)


def problem_response(problem: ProblemError, *, instance: str, request_id: str) -> Response:
    """Return the answer that a problem gives."""
    kind = KINDS[problem.code]
    document = Problem(
        type=f"/problems/{problem.code}",
        title=kind.title,
        status=kind.status,
        detail=str(problem),
        instance=instance,
        code=problem.code,
        request_id=request_id,
        errors=list(problem.errors),
        **({} if problem.allowed_actions is None else {"allowed_actions": list(problem.allowed_actions)}),
    )
    headers = {"Cache-Control": "no-store", **problem.headers}
    response_class = _LingeringResponse if problem.code == "too_large" else Response
    return response_class(document.model_dump_json(exclude_unset=True), kind.status, headers, media_type=MEDIA_TYPE)


class _LingeringResponse(Response):
    """An answer to a body that is not read: what still comes is thrown away for a while before the connection ends.

    Otherwise the connection would be reset under a client that is still sending, and it would never see the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, then let the client finish."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                left = _LINGER_BYTES
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        break
        await send({"type": "http.response.body", "body": b""})
