"""Rows -> records, and the other way for what is stored as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.records.access import TokenRecord, WorkerRecord
from db.records.jobs import AttemptRecord, EventRecord, FileRecord, JobRecord, LogLine, Resources, TrialRecord
from db.records.results import ArchitectureRecord
from db.records.states import AttemptState, JobKind, JobState, Reason, StopMode, TrialState

Row = Mapping[str, Any]

_JOB_FIELDS = (
    "id owner name labels notes spec spec_hash study_key priority max_attempts message retry_of architecture_id "
    "created_at started_at finished_at deadline_at trials_total best_delta_m version"
).split()
_TRIAL_FIELDS = (
    "id job_id kind name spec reuse_key seed budget_madds message attempts failures not_before stage step total_steps "
    "reused_from created_at started_at finished_at"
).split()
_ATTEMPT_FIELDS = (
    "id trial_id job_id number worker_id message lease_until heartbeat_at started_at ended_at stage step total_steps "
    "begun_at"
).split()
_ARCHITECTURE_FIELDS = (
    "id job_id trial_id study_key owner name document fingerprint backbone dataset madds params budget_madds seed "
    "metrics delta_m created_at latency_ms"
).split()


def _pick(row: Row, fields: list[str]) -> dict[str, Any]:
    return {field: row[field] for field in fields}


def _find_reason(row: Row) -> Reason | None:
    return None if row["reason"] is None else Reason(row["reason"])


def job_record(row: Row) -> JobRecord:
    """Return the record of a row of `job`; what has succeeded counts as done."""
    return JobRecord(
        **_pick(row, _JOB_FIELDS),
        kind=JobKind(row["kind"]),
        resources=Resources(cpus=row["cpus"], gpus=row["gpus"]),
        state=JobState(row["state"]),
        reason=_find_reason(row),
        stop_requested=None if row["stop_requested"] is None else StopMode(row["stop_requested"]),
        trials_done=row["trials_succeeded"],
        # A sum of fractions may miss its bounds by a rounding.
        progress=min(max(row["progress"], 0.0), 1.0),
    )


def trial_record(row: Row, result: Any = None) -> TrialRecord:
    """Return the record of a row of `trial` and the document of its result."""
    return TrialRecord(
        **_pick(row, _TRIAL_FIELDS), state=TrialState(row["state"]), reason=_find_reason(row), result=result
    )


def attempt_record(row: Row) -> AttemptRecord:
    """Return the record of a row of `attempt`."""
    return AttemptRecord(**_pick(row, _ATTEMPT_FIELDS), state=AttemptState(row["state"]), reason=_find_reason(row))


def architecture_record(row: Row) -> ArchitectureRecord:
    """Return the record of a row of `architecture`."""
    return ArchitectureRecord(**_pick(row, _ARCHITECTURE_FIELDS), tasks=tuple(row["tasks"]))


def file_record(row: Row) -> FileRecord:
    """Return the record of a row of `file`."""
    return FileRecord(**row)


def event_record(row: Row) -> EventRecord:
    """Return the record of a row of `event`, without its global id."""
    return EventRecord(**_pick(row, ["job_id", "seq", "kind", "data", "created_at"]))


def log_line(row: Row) -> LogLine:
    """Return the record of a row of `log`."""
    return LogLine(**_pick(row, ["seq", "trial_id", "attempt", "created_at", "text"]))


def worker_record(row: Row) -> WorkerRecord:
    """Return the record of a row of `worker`."""
    return WorkerRecord(**row)


def token_record(row: Row) -> TokenRecord:
    """Return the record of a row of `token`."""
    return TokenRecord(**{**row, "scopes": tuple(row["scopes"])})
