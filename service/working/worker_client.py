"""The worker API from the worker's side: asking for work, and speaking for one attempt.

Every call may be repeated without harm. A refusal because the trial was lost becomes `AttemptLostError`, whatever call
it met: there is nothing left to do then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from db.records.jobs import MetricPoint, Progress
from db.records.states import Reason
from service.client_parts.connection import Connection, Patience, Request
from service.errors import AttemptLostError, ServiceProblem, VersionMismatchError
from service.working.work_orders import AttemptOrder, ClaimDocument, StoredFile

MAX_POINTS = 500
MAX_LINES = 200
_ROOT = "/api/v1/worker"
_LOST_CODES = {"lease_lost", "not_found"}
Stop = Literal["cancel", "kill"]


@dataclass(frozen=True)
class Hello:
    """How a worker names itself: cpus and gpus are what one of its trials may occupy at most."""

    id: str
    name: str
    version: str
    cpus: float
    gpus: float


class WorkerClient:
    """Asks the server for work.

    Args:
        connection: To the server, with a worker's token.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, hello: Hello, max_trials: int) -> ClaimDocument | None:
        """Return trials of one job that are this worker's from now on, or None where nothing waits.

        Raises:
            VersionMismatchError: The server is of another program version.
            ServiceProblem: The server refused for another reason, such as a wrong token.
            ServerAwayError: It does not answer.
        """
        body = {"worker": {**vars(hello)}, "max_trials": max_trials}
        try:
            # A claim whose answer was lost must not be repeated: its trials come back when their leases run out.
            answer = self._connection.ask(Request("POST", f"{_ROOT}/claims", body, repeatable=False))
        except ServiceProblem as problem:
            if problem.code == "version_mismatch":
                raise VersionMismatchError(
                    f"Server and worker must be of the same version, but this worker is {hello.version}: {problem} "
                    "Install the server's version here and start the worker again."
                ) from None
            raise
        return None if answer.status_code == 204 else ClaimDocument.model_validate_json(answer.content)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class AttemptClient:
    """Speaks for one attempt, with the attempt's own token.

    Args:
        connection: To the server, with that token.
        attempt_id: The attempt.
    """

    def __init__(self, connection: Connection, attempt_id: str) -> None:
        self._connection = connection
        self.attempt_id = attempt_id

    def heartbeat(self, progress: Progress | None) -> Stop | None:
        """Renew the lease and return how to stop, if at all; None for `progress` while the trial still waits."""
        body = {} if progress is None else {**vars(progress)}
        stop = self._ask("POST", "heartbeat", body).json().get("stop")
        return stop if stop in ("cancel", "kill") else None

    def add_metrics(self, points: Sequence[MetricPoint]) -> None:
        """Store at most `MAX_POINTS` figures; one that is not finite is sent as null."""
        body = [
            {"name": point.name, "step": point.step, "value": point.value if math.isfinite(point.value) else None}
            for point in points
        ]
        self._ask("POST", "metrics", {"points": body})

    def add_logs(self, lines: Sequence[str]) -> None:
        """Append at most `MAX_LINES` lines."""
        self._ask("POST", "logs", {"lines": list(lines)})

    def put_file(self, file: StoredFile) -> None:
        """Note a file that lies under the storage root."""
        self._ask("PUT", "files", file.model_dump(mode="json"))

    def delete_file(self, name: str) -> None:
        """Forget a file; one that is not there is no error."""
        self._ask("DELETE", f"files/{name}", None)

    def complete(self, result: Mapping[str, Any], architecture: Mapping[str, Any] | None) -> None:
        """End the attempt well."""
        self._ask("POST", "complete", {"result": dict(result), "architecture": architecture})

    def fail(self, reason: Reason, message: str) -> None:
        """End the attempt badly; the server decides whether the trial gets another one."""
        self._ask("POST", "fail", {"reason": reason.value, "message": message})

    def release(self, reason: Reason, message: str) -> None:
        """Give the trial back at once."""
        self._ask("POST", "release", {"reason": reason.value, "message": message})

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _ask(self, method: str, what: str, body: Any) -> httpx.Response:
        """Return the answer to a call of this attempt.

        Raises:
            AttemptLostError: The attempt no longer holds its trial.
            ServiceProblem: The server refused for another reason.
            ServerAwayError: It does not answer.
        """
        try:
            return self._connection.ask(Request(method, f"{_ROOT}/attempts/{self.attempt_id}/{what}", body))
        except ServiceProblem as problem:
            if problem.code in _LOST_CODES:
                raise AttemptLostError(str(problem)) from None
            raise


def open_attempt(order: AttemptOrder, patience_seconds: float) -> AttemptClient:
    """Return a client for the attempt of an order that tries every call for so long."""
    connection = Connection(
        order.server, order.claimed.attempt.token, patience=Patience(seconds=patience_seconds, longest_pause=2.0)
    )
    return AttemptClient(connection, order.attempt_id)
