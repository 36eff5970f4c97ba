"""Tables, constraints and indexes, the same in SQLite and PostgreSQL.

The predicates at the top are spelled once and used both by the partial indexes and by the queries that those serve:
SQLite takes a partial index only when the query repeats its condition to the letter. `migrations` builds the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    literal_column,
)

from db.records.states import AttemptState, JobState, TrialState
from db.sql.column_types import CleanText, Count, Document, Id, RowNumber, UtcTime

SCHEMA_REVISION = "0004"
"""The Alembic revision that builds these tables; a database of another one is not opened."""

OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """Return the constraint that a column holds one of these words."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=column)


job = Table(
    "job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("owner", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("labels", Document, nullable=False),
    Column("notes", CleanText, nullable=False),
    Column("spec", Document, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("study_key", String(64), nullable=False),
    Column("dataset", CleanText),
    Column("backbone", CleanText),
    Column("priority", Integer, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("deadline_seconds", Float),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", CleanText, nullable=False),
    Column("stop_requested", String(16)),
    Column("stop_reason", String(32)),
    Column("stop_at", UtcTime),
    Column("retry_of", Id),
    Column("architecture_id", Id),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("deadline_at", UtcTime),
    Column("deleted_at", UtcTime),
    Column("unfit_since", UtcTime),
    Column("trials_total", Integer, nullable=False),
    Column("trials_waiting", Integer, nullable=False),
    Column("trials_running", Integer, nullable=False),
    Column("trials_succeeded", Integer, nullable=False),
    Column("trials_failed", Integer, nullable=False),
    Column("trials_cancelled", Integer, nullable=False),
    Column("progress", Float, nullable=False),
    Column("best_delta_m", Float),
    Column("last_event", Integer, nullable=False),
    Column("last_log", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    one_of("kind", ("search", "retrain", "export")),
    one_of("state", JobState),
    one_of("stop_requested", ("cancel", "kill")),
    CheckConstraint("priority BETWEEN -100 AND 100", name="priority"),
    CheckConstraint("max_attempts >= 1 AND version >= 1", name="counts"),
    CheckConstraint(
        "trials_total = trials_waiting + trials_running + trials_succeeded + trials_failed + trials_cancelled",
        name="trials",
    ),
    CheckConstraint("trials_waiting >= 0 AND trials_running >= 0", name="trials_left"),
    CheckConstraint(
        "(state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (trials_waiting + trials_running = 0)", name="rolled_up"
    ),
    CheckConstraint("(finished_at IS NULL) = (state IN ('QUEUED', 'RUNNING', 'CANCELLING'))", name="finished"),
)

JOB_IS_LISTED = job.c.deleted_at.is_(None)
JOB_IS_DELETED = job.c.deleted_at.is_not(None)
JOB_HAS_ENDED = job.c.finished_at.is_not(None)
JOB_IS_OPEN = job.c.state.in_([literal_column(f"'{state}'") for state in OPEN_STATES])
JOB_WAITS = (job.c.trials_waiting > literal_column("0")) & job.c.stop_requested.is_(None)
JOB_RUNS = job.c.trials_running > literal_column("0")


def _partial_index(name: str, *columns: Column[object], where: object, unique: bool = False) -> Index:
    """Return an index of the rows that fulfil a condition."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


for _sorted_by in ("created_at", "name", "state", "priority", "best_delta_m"):
    _partial_index(f"ix_job_by_{_sorted_by}", job.c[_sorted_by], job.c.id, where=JOB_IS_LISTED)
for _name, _of in (("by_owner", "owner"), ("of_state", "state"), ("of_architecture", "architecture_id")):
    _partial_index(f"ix_job_{_name}", job.c[_of], job.c.created_at, job.c.id, where=JOB_IS_LISTED)
# With the kind, studies are counted in the index alone.
_partial_index("ix_job_of_study", job.c.study_key, job.c.created_at, job.c.id, job.c.kind, where=JOB_IS_LISTED)
_WAITING = ("priority", "owner", "created_at", "id", "cpus", "gpus", "deadline_at")
_partial_index("ix_job_waiting", *(job.c[column] for column in _WAITING), where=JOB_WAITS)
_partial_index("ix_job_running", job.c.owner, job.c.trials_running, where=JOB_RUNS)
_partial_index("ix_job_open", job.c.owner, job.c.state, where=JOB_IS_OPEN)
_partial_index("ix_job_deleted", job.c.id, where=JOB_IS_DELETED)
_partial_index("ix_job_ended", job.c.finished_at, job.c.id, where=JOB_HAS_ENDED)
_partial_index("ix_job_deadline", job.c.deadline_at, where=JOB_IS_OPEN & job.c.deadline_at.is_not(None))

job_label = Table(
    "job_label",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("value", CleanText, nullable=False),
    Index("ix_job_label_name_value", "name", "value", "job_id"),
)

job_task = Table(
    "job_task",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("task", CleanText, primary_key=True),
    Index("ix_job_task_task", "task", "job_id"),
)

trial = Table(
    "trial",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("spec", Document, nullable=False),
    Column("reuse_key", String(128)),
    Column("seed", Count, nullable=False),
    Column("budget_madds", Count),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", CleanText, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("not_before", UtcTime),
    Column("stage", CleanText, nullable=False),
    Column("step", Count, nullable=False),
    Column("total_steps", Count, nullable=False),
    Column("progress_at", UtcTime),
    Column("reused_from", Id),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    UniqueConstraint("job_id", "position"),
    UniqueConstraint("job_id", "name"),
    one_of("state", TrialState),
    CheckConstraint("attempts >= 0 AND failures >= 0 AND failures <= attempts", name="counts"),
)

RUNNING: ColumnElement[str] = literal_column("'RUNNING'")
TRIAL_WAITS = trial.c.state == literal_column("'QUEUED'")
TRIAL_RUNS = trial.c.state == RUNNING
_partial_index("ix_trial_reuse_key", trial.c.reuse_key, trial.c.state, where=trial.c.reuse_key.is_not(None))
# Twins never run side by side, whatever the queries think.
_partial_index("uq_trial_running_twin", trial.c.reuse_key, where=TRIAL_RUNS, unique=True)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Id, primary_key=True),
    Column("trial_id", Id, ForeignKey("trial.id"), nullable=False),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker_id", CleanText, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", CleanText, nullable=False),
    Column("lease_until", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("stage", CleanText, nullable=False),
    Column("step", Count, nullable=False),
    Column("total_steps", Count, nullable=False),
    Column("begun_at", UtcTime),
    UniqueConstraint("trial_id", "number"),
    one_of("state", AttemptState),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("(ended_at IS NULL) = (state = 'RUNNING')", name="ended"),
)

ATTEMPT_RUNS = attempt.c.state == RUNNING
_partial_index("uq_attempt_running", attempt.c.trial_id, where=ATTEMPT_RUNS, unique=True)
_partial_index("ix_attempt_lease", attempt.c.lease_until, where=ATTEMPT_RUNS)
_partial_index("ix_attempt_job_running", attempt.c.job_id, where=ATTEMPT_RUNS)

result = Table(
    "result",
    metadata,
    Column("trial_id", Id, ForeignKey("trial.id"), primary_key=True),
    Column("attempt_id", Id, ForeignKey("attempt.id")),
    Column("origin_trial_id", Id, ForeignKey("trial.id")),
    Column("study_key", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("document", Document, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    CheckConstraint("(attempt_id IS NULL) <> (origin_trial_id IS NULL)", name="origin"),
)
RESULT_IS_OWN = result.c.origin_trial_id.is_(None)
_partial_index("ix_result_study", result.c.study_key, result.c.kind, result.c.name, where=RESULT_IS_OWN)

architecture = Table(
    "architecture",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("trial_id", Id, ForeignKey("trial.id"), nullable=False, unique=True),
    Column("copied_from", Id),
    Column("study_key", String(64), nullable=False),
    Column("owner", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("document", Document, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("tasks", Document, nullable=False),
    Column("backbone", CleanText, nullable=False),
    Column("dataset", CleanText, nullable=False),
    Column("madds", Count, nullable=False),
    Column("params", Count, nullable=False),
    Column("budget_madds", Count),
    Column("seed", Count, nullable=False),
    Column("metrics", Document),
    Column("delta_m", Float),
    Column("created_at", UtcTime, nullable=False),
    Column("latency_ms", Float),
    CheckConstraint("madds >= 0 AND params >= 0", name="costs"),
    Index("ix_architecture_job_id", "job_id"),
    Index("ix_architecture_study_created_at", "study_key", "created_at", "id"),
    # With all that is counted of a study: the documents beside it would fill the memory that is read.
    Index("ix_architecture_study_delta_m", "study_key", "delta_m", "id", "madds", "copied_from", "job_id"),
    Index("ix_architecture_created_at", "created_at", "id"),
    Index("ix_architecture_madds", "madds", "id"),
    Index("ix_architecture_params", "params", "id"),
    Index("ix_architecture_delta_m", "delta_m", "id"),
)
ARCHITECTURE_AWAITS_SCORE = architecture.c.delta_m.is_(None) & architecture.c.metrics.is_not(None)
_partial_index("ix_architecture_unscored", architecture.c.study_key, where=ARCHITECTURE_AWAITS_SCORE)

architecture_task = Table(
    "architecture_task",
    metadata,
    Column("architecture_id", Id, ForeignKey("architecture.id"), primary_key=True),
    Column("task", CleanText, primary_key=True),
    Index("ix_architecture_task_task", "task", "architecture_id"),
)

file = Table(
    "file",
    metadata,
    Column("trial_id", Id, ForeignKey("trial.id"), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("path", CleanText, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("num_bytes", Count, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    CheckConstraint("num_bytes >= 0", name="num_bytes"),
)

metric = Table(
    "metric",
    metadata,
    Column("trial_id", Id, ForeignKey("trial.id"), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("step", Count, primary_key=True, autoincrement=False),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("value", Float, nullable=False),
    Column("attempt", Integer, nullable=False),
    Index("ix_metric_job_id", "job_id"),
)

log = Table(
    "log",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("trial_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("text", CleanText, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("data", Document, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("job_id", "seq"),
    CheckConstraint("seq >= 1", name="seq"),
    sqlite_autoincrement=True,
)

worker = Table(
    "worker",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("version", CleanText, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Index("ix_worker_last_seen_at", "last_seen_at"),
)

token = Table(
    "token",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("owner", CleanText, nullable=False),
    Column("role", String(16), nullable=False),
    Column("scopes", Document, nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    Index("ix_token_owner", "owner"),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("owner", CleanText, primary_key=True),
    Column("key", CleanText, primary_key=True),
    Column("method", String(16), nullable=False),
    Column("path", CleanText, nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("job_id", Id, ForeignKey("job.id")),
    Column("status", Integer, nullable=False),
    Column("headers", Document, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_idempotency_key_created_at", "created_at"),
)

fact = Table(
    "fact",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("document", Document, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", RowNumber, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("owner", CleanText, nullable=False),
    Column("token_id", CleanText, nullable=False),
    Column("action", CleanText, nullable=False),
    Column("resource", CleanText, nullable=False),
    sqlite_autoincrement=True,
)
