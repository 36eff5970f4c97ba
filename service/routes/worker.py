"""The worker API: claims, signs of life, figures, lines, files, results. Every call is fenced by its attempt."""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import ValidationError

from db.errors import LeaseLostError
from db.questions import WorkerHello
from db.records.jobs import Claim, FileRecord, MetricPoint, Progress, Resources
from db.records.results import NewArchitecture
from db.records.states import Reason
from search.architecture import Architecture
from search.delta import score_documents
from service.schemas.worker import (
    ClaimAnswer,
    ClaimBody,
    ClaimedTrialAnswer,
    CompleteBody,
    CountAnswer,
    EndBody,
    FileAnswer,
    FileBody,
    HeartbeatAnswer,
    HeartbeatBody,
    LogsBody,
    MetricsBody,
    TrialStateAnswer,
    describe_claimed_job,
)
from service.web.auth import Worker
from service.web.guarded_route import GuardedRoute, MendingRoute
from service.web.problems import ProblemError, refuse_field
from service.web.server_parts import Parts, ServerParts
from service.web.token_format import make_attempt_token

router = APIRouter(route_class=GuardedRoute, tags=["worker"])
mending_router = APIRouter(route_class=MendingRoute, tags=["worker"])
_ATTEMPT = "/api/v1/worker/attempts/{attempt_id}"
_MAX_LATENCY_MS = 1e9
_INPUT_NAMES = ("weights.safetensors", "architecture.json")
_MAX_LINE_CHARS = 2000


@router.post("/api/v1/worker/claims", name="claim_trials", response_model=ClaimAnswer, responses={204: {}})
def claim_trials(body: ClaimBody, caller: Worker, parts: Parts) -> Response:
    """Hand out waiting trials of one job; 204 where nothing waits that fits, and while the server is about to end."""
    if caller.attempt_id is not None:
        raise ProblemError("forbidden", "Only a worker's token may ask for work.")
    settings = parts.settings
    if body.worker.version != settings.code_version:
        raise ProblemError("version_mismatch", f"The server is version {settings.code_version}. Install it there.")
    if settings.draining.is_set():
        return Response(status_code=204)
    capacity = Resources(cpus=body.worker.cpus, gpus=body.worker.gpus)
    hello = WorkerHello(body.worker.id, body.worker.name, body.worker.version, capacity)
    claim = parts.store.claim(hello, lease_seconds=settings.lease_seconds, max_trials=body.max_trials)
    if claim is None:
        return Response(status_code=204)
    content = _describe_claim(parts, claim).model_dump_json()
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/json")


@router.post(f"{_ATTEMPT}/heartbeat", name="heartbeat", response_model=HeartbeatAnswer)
def heartbeat(attempt_id: str, body: HeartbeatBody, caller: Worker, parts: Parts) -> HeartbeatAnswer:
    """Renew a lease, with progress where the trial runs already."""
    caller.check_speaks_for(attempt_id)
    progress = None if body.stage is None else Progress(body.stage, body.step, body.total_steps)
    reply = parts.store.heartbeat(attempt_id, lease_seconds=parts.settings.lease_seconds, progress=progress)
    return HeartbeatAnswer.of(reply)


@router.post(f"{_ATTEMPT}/metrics", name="add_metrics", response_model=CountAnswer)
def add_metrics(attempt_id: str, body: MetricsBody, caller: Worker, parts: Parts) -> CountAnswer:
    """Store figures."""
    caller.check_speaks_for(attempt_id)
    points = [
        MetricPoint(point.name, point.step, point.value)
        for point in body.points
        if point.value is not None and math.isfinite(point.value)
    ]
    return CountAnswer(stored=parts.store.add_metrics(attempt_id, points))


@mending_router.post(f"{_ATTEMPT}/logs", name="add_logs", response_model=CountAnswer)
def add_logs(attempt_id: str, body: LogsBody, caller: Worker, parts: Parts) -> CountAnswer:
    """Append lines; characters that are no text are replaced, long lines cut."""
    caller.check_speaks_for(attempt_id)
    parts.store.add_logs(attempt_id, [line[:_MAX_LINE_CHARS] for line in body.lines])
    return CountAnswer(stored=len(body.lines))


@router.put(f"{_ATTEMPT}/files", name="put_file", response_model=FileAnswer)
def put_file(attempt_id: str, body: FileBody, caller: Worker, parts: Parts) -> FileAnswer:
    """Note a file that the attempt has put under the storage root, at the path that is its own."""
    caller.check_speaks_for(attempt_id)
    attempt = parts.store.check_lease(attempt_id)
    parts_of_name = body.name.split("/")
    if ".." in parts_of_name or "." in parts_of_name or "" in parts_of_name:
        raise refuse_field("/name", "The name of a file is a plain relative one.")
    expected = f"trials/{attempt.trial_id}/{attempt.number}/{body.name}.{body.sha256[:12]}"
    if body.path != expected:
        raise refuse_field(
            "/path", "A file lies at trials/TRIAL/ATTEMPT/NAME.SHA, SHA the first 12 digits of its hash."
        )
    record = parts.store.put_file(attempt_id, body.name, body.path, body.sha256, body.num_bytes)
    return FileAnswer.of(record)


@router.delete(f"{_ATTEMPT}/files/{{name:path}}", name="delete_file", status_code=204, response_model=None)
def delete_file(attempt_id: str, name: str, caller: Worker, parts: Parts) -> Response:
    """Forget a file; one that is not there is no error."""
    caller.check_speaks_for(attempt_id)
    parts.store.delete_file(attempt_id, name)
    return Response(status_code=204)


@router.post(f"{_ATTEMPT}/complete", name="complete_attempt", response_model=TrialStateAnswer)
def complete_attempt(attempt_id: str, body: CompleteBody, caller: Worker, parts: Parts) -> TrialStateAnswer:
    """End an attempt well: exactly one result is stored per trial."""
    caller.check_speaks_for(attempt_id)
    architecture = None
    if body.architecture is not None:
        name, seed = _find_trial_name(parts, attempt_id)
        architecture = _read_architecture(body.architecture, body.result, name, seed)
    trial = parts.store.complete(attempt_id, body.result, architecture, score=score_documents)
    return TrialStateAnswer(trial_id=trial.id, state=trial.state.value)


@router.post(f"{_ATTEMPT}/fail", name="fail_attempt", response_model=TrialStateAnswer)
def fail_attempt(attempt_id: str, body: EndBody, caller: Worker, parts: Parts) -> TrialStateAnswer:
    """End an attempt badly; whether the trial gets another one depends on the reason."""
    caller.check_speaks_for(attempt_id)
    trial = parts.store.fail(attempt_id, Reason(body.reason), body.message)
    return TrialStateAnswer(trial_id=trial.id, state=trial.state.value)


@router.post(f"{_ATTEMPT}/release", name="release_attempt", response_model=TrialStateAnswer)
def release_attempt(attempt_id: str, body: EndBody, caller: Worker, parts: Parts) -> TrialStateAnswer:
    """Give a trial back."""
    caller.check_speaks_for(attempt_id)
    trial = parts.store.release(attempt_id, Reason(body.reason), body.message)
    return TrialStateAnswer(trial_id=trial.id, state=trial.state.value)


def _describe_claim(parts: ServerParts, claim: Claim) -> ClaimAnswer:
    """Return a claim as an answer, with a token for each of its attempts."""
    inputs = _find_inputs(parts, claim)
    trials = [
        ClaimedTrialAnswer.of(claimed, make_attempt_token(claimed.attempt.id, parts.settings.secret), inputs)
        for claimed in claim.trials
    ]
    return ClaimAnswer(
        job=describe_claimed_job(claim),
        storage_root=parts.settings.storage_root,
        lease_seconds=parts.settings.lease_seconds,
        heartbeat_seconds=parts.settings.heartbeat_seconds,
        trials=trials,
    )


def _find_inputs(parts: ServerParts, claim: Claim) -> list[FileRecord]:
    """Return the files that an export or a retraining reads: those of the trial that found its network."""
    if claim.job.architecture_id is None:
        return []
    source = parts.store.get_architecture(claim.job.architecture_id)
    return [file for file in parts.store.list_files(source.trial_id) if file.name in _INPUT_NAMES]


def _find_trial_name(parts: ServerParts, attempt_id: str) -> tuple[str, int]:
    """Return name and seed of the trial that an attempt holds.

    An attempt that holds it no longer may be one that repeats its result, which the store knows and answers; what is
    said of its network then is not stored, so that the name does not matter.
    """
    try:
        trial = parts.store.get_trial(parts.store.check_lease(attempt_id).trial_id)
    except LeaseLostError:
        return "repeated", 0
    return trial.name, trial.seed


def _read_architecture(document: dict[str, Any], result: dict[str, Any], name: str, seed: int) -> NewArchitecture:
    """Return a network to be stored.

    Raises:
        ProblemError: The document is no architecture.json of this program version.
    """
    try:
        architecture = Architecture.model_validate_json(json.dumps(document))
    except ValidationError:
        raise refuse_field("/architecture", "It must be the content of an architecture.json.") from None
    metrics = result.get("metrics")
    if metrics is not None and not isinstance(metrics, dict):
        raise refuse_field("/result/metrics", "It must be an object per task, or null.")
    return NewArchitecture(
        name=name,
        document=architecture.model_dump(mode="json"),
        fingerprint=architecture.fingerprint,
        tasks=architecture.tasks,
        backbone=architecture.backbone,
        dataset=architecture.provenance.dataset,
        madds=architecture.madds,
        params=architecture.params,
        budget_madds=architecture.budget_madds,
        seed=seed,
        metrics=metrics,
        latency_ms=_read_latency(result.get("latency")),
    )


def _read_latency(measured: object) -> float | None:
    """Return the milliseconds that a result tells; None where it tells none, or none that can be."""
    latency_ms = measured.get("latency_ms") if isinstance(measured, dict) else None
    if isinstance(latency_ms, bool) or not isinstance(latency_ms, int | float):
        return None
    return float(latency_ms) if 0 < latency_ms < _MAX_LATENCY_MS else None
