"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Spelled out here and not taken from `db.schema`: a later change there must not change what this revision built.
TIME = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, those that others refer to first."""
    _create_audit()
    _create_cost()
    _create_job()
    _create_token()
    _create_worker()
    _create_event()
    _create_idempotency_key()
    _create_job_label()
    _create_job_task()
    _create_log()
    _create_trial()
    _create_architecture()
    _create_attempt()
    _create_file()
    _create_metric()
    _create_architecture_task()
    _create_result()


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )


def _create_cost() -> None:
    op.create_table(
        "cost",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_cost"),
    )


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.Text()),
        sa.Column("backbone", sa.Text()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Float(), nullable=False),
        sa.Column("gpus", sa.Float(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("deadline_seconds", sa.Float()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("stop_requested", sa.String(length=16)),
        sa.Column("stop_reason", sa.String(length=32)),
        sa.Column("stop_at", TIME),
        sa.Column("retry_of", sa.String(length=64)),
        sa.Column("architecture_id", sa.String(length=64)),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("deadline_at", TIME),
        sa.Column("deleted_at", TIME),
        sa.Column("unfit_since", TIME),
        sa.Column("trials_total", sa.Integer(), nullable=False),
        sa.Column("trials_waiting", sa.Integer(), nullable=False),
        sa.Column("trials_running", sa.Integer(), nullable=False),
        sa.Column("trials_succeeded", sa.Integer(), nullable=False),
        sa.Column("trials_failed", sa.Integer(), nullable=False),
        sa.Column("trials_cancelled", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("best_delta_m", sa.Float()),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("last_log", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (state IN ('QUEUED', 'RUNNING', 'CANCELLING'))", name="ck_job_finished"
        ),
        sa.CheckConstraint(
            "(state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (trials_waiting + trials_running = 0)",
            name="ck_job_rolled_up",
        ),
        sa.CheckConstraint("kind IN ('search', 'retrain', 'export')", name="ck_job_kind"),
        sa.CheckConstraint(
            "state IN ('QUEUED', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name="ck_job_state"
        ),
        sa.CheckConstraint("stop_requested IN ('cancel', 'kill')", name="ck_job_stop_requested"),
        sa.CheckConstraint("max_attempts >= 1 AND version >= 1", name="ck_job_counts"),
        sa.CheckConstraint("priority BETWEEN -100 AND 100", name="ck_job_priority"),
        sa.CheckConstraint(
            "trials_total = trials_waiting + trials_running + trials_succeeded + trials_failed + trials_cancelled",
            name="ck_job_trials",
        ),
        sa.CheckConstraint("trials_waiting >= 0 AND trials_running >= 0", name="ck_job_trials_left"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )
    op.create_index(
        "ix_job_by_created_at",
        "job",
        ["created_at", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_job_by_name",
        "job",
        ["name", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_job_by_owner",
        "job",
        ["owner", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_job_by_priority",
        "job",
        ["priority", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_job_by_state",
        "job",
        ["state", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_job_deadline",
        "job",
        ["deadline_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('QUEUED', 'RUNNING', 'CANCELLING') AND deadline_at IS NOT NULL"),
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING', 'CANCELLING') AND deadline_at IS NOT NULL"),
    )
    op.create_index(
        "ix_job_open",
        "job",
        ["owner", "state"],
        unique=False,
        sqlite_where=sa.text("state IN ('QUEUED', 'RUNNING', 'CANCELLING')"),
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING', 'CANCELLING')"),
    )
    op.create_index(
        "ix_job_running",
        "job",
        ["owner", "trials_running"],
        unique=False,
        sqlite_where=sa.text("trials_running > 0"),
        postgresql_where=sa.text("trials_running > 0"),
    )
    op.create_index(
        "ix_job_waiting",
        "job",
        ["priority", "owner", "created_at", "id", "cpus", "gpus", "deadline_at"],
        unique=False,
        sqlite_where=sa.text("trials_waiting > 0 AND stop_requested IS NULL"),
        postgresql_where=sa.text("trials_waiting > 0 AND stop_requested IS NULL"),
    )


def _create_token() -> None:
    op.create_table(
        "token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
    )
    op.create_index("ix_token_owner", "token", ["owner"], unique=False)


def _create_worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("cpus", sa.Float(), nullable=False),
        sa.Column("gpus", sa.Float(), nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worker"),
    )
    op.create_index("ix_worker_last_seen_at", "worker", ["last_seen_at"], unique=False)


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("id", ROW_NUMBER, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("seq >= 1", name="ck_event_seq"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_event_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("job_id", "seq", name="uq_event_job_id_seq"),
        sqlite_autoincrement=True,
    )


def _create_idempotency_key() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64)),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_idempotency_key_job_id"),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"], unique=False)


def _create_job_label() -> None:
    op.create_table(
        "job_label",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_job_label_job_id"),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_job_label"),
    )
    op.create_index("ix_job_label_name_value", "job_label", ["name", "value", "job_id"], unique=False)


def _create_job_task() -> None:
    op.create_table(
        "job_task",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_job_task_job_id"),
        sa.PrimaryKeyConstraint("job_id", "task", name="pk_job_task"),
    )
    op.create_index("ix_job_task_task", "job_task", ["task", "job_id"], unique=False)


def _create_log() -> None:
    op.create_table(
        "log",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_log_job_id"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_log"),
    )


def _create_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("reuse_key", sa.String(length=128)),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("budget_madds", sa.BigInteger()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before", TIME),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("total_steps", sa.BigInteger(), nullable=False),
        sa.Column("progress_at", TIME),
        sa.Column("reused_from", sa.String(length=64)),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.CheckConstraint("state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name="ck_trial_state"),
        sa.CheckConstraint("attempts >= 0 AND failures >= 0 AND failures <= attempts", name="ck_trial_counts"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_trial_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trial"),
        sa.UniqueConstraint("job_id", "name", name="uq_trial_job_id_name"),
        sa.UniqueConstraint("job_id", "position", name="uq_trial_job_id_position"),
    )
    op.create_index(
        "ix_trial_reuse_key",
        "trial",
        ["reuse_key", "state"],
        unique=False,
        sqlite_where=sa.text("reuse_key IS NOT NULL"),
        postgresql_where=sa.text("reuse_key IS NOT NULL"),
    )
    op.create_index(
        "uq_trial_running_twin",
        "trial",
        ["reuse_key"],
        unique=True,
        sqlite_where=sa.text("state = 'RUNNING'"),
        postgresql_where=sa.text("state = 'RUNNING'"),
    )


def _create_architecture() -> None:
    op.create_table(
        "architecture",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("copied_from", sa.String(length=64)),
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("backbone", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("madds", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.BigInteger(), nullable=False),
        sa.Column("budget_madds", sa.BigInteger()),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("metrics", sa.JSON()),
        sa.Column("delta_m", sa.Float()),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("madds >= 0 AND params >= 0", name="ck_architecture_costs"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_architecture_job_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_architecture_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_architecture"),
        sa.UniqueConstraint("trial_id", name="uq_architecture_trial_id"),
    )
    op.create_index("ix_architecture_created_at", "architecture", ["created_at", "id"], unique=False)
    op.create_index("ix_architecture_delta_m", "architecture", ["delta_m", "id"], unique=False)
    op.create_index("ix_architecture_job_id", "architecture", ["job_id"], unique=False)
    op.create_index("ix_architecture_madds", "architecture", ["madds", "id"], unique=False)
    op.create_index("ix_architecture_params", "architecture", ["params", "id"], unique=False)
    op.create_index("ix_architecture_study_key", "architecture", ["study_key"], unique=False)
    op.create_index(
        "ix_architecture_unscored",
        "architecture",
        ["study_key"],
        unique=False,
        sqlite_where=sa.text("delta_m IS NULL AND metrics IS NOT NULL"),
        postgresql_where=sa.text("delta_m IS NULL AND metrics IS NOT NULL"),
    )


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("total_steps", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(ended_at IS NULL) = (state = 'RUNNING')", name="ck_attempt_ended"),
        sa.CheckConstraint("state IN ('RUNNING', 'SUCCEEDED', 'FAILED', 'RELEASED', 'LOST')", name="ck_attempt_state"),
        sa.CheckConstraint("number >= 1", name="ck_attempt_number"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_attempt_job_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_attempt_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
        sa.UniqueConstraint("trial_id", "number", name="uq_attempt_trial_id_number"),
    )
    op.create_index(
        "ix_attempt_job_running",
        "attempt",
        ["job_id"],
        unique=False,
        sqlite_where=sa.text("state = 'RUNNING'"),
        postgresql_where=sa.text("state = 'RUNNING'"),
    )
    op.create_index(
        "ix_attempt_lease",
        "attempt",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'RUNNING'"),
        postgresql_where=sa.text("state = 'RUNNING'"),
    )
    op.create_index(
        "uq_attempt_running",
        "attempt",
        ["trial_id"],
        unique=True,
        sqlite_where=sa.text("state = 'RUNNING'"),
        postgresql_where=sa.text("state = 'RUNNING'"),
    )


def _create_file() -> None:
    op.create_table(
        "file",
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("num_bytes >= 0", name="ck_file_num_bytes"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_file_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "name", name="pk_file"),
    )


def _create_metric() -> None:
    op.create_table(
        "metric",
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_metric_job_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_metric_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "name", "step", name="pk_metric"),
    )
    op.create_index("ix_metric_job_id", "metric", ["job_id"], unique=False)


def _create_architecture_task() -> None:
    op.create_table(
        "architecture_task",
        sa.Column("architecture_id", sa.String(length=64), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["architecture_id"], ["architecture.id"], name="fk_architecture_task_architecture_id"),
        sa.PrimaryKeyConstraint("architecture_id", "task", name="pk_architecture_task"),
    )
    op.create_index("ix_architecture_task_task", "architecture_task", ["task", "architecture_id"], unique=False)


def _create_result() -> None:
    op.create_table(
        "result",
        sa.Column("trial_id", sa.String(length=64), nullable=False),
        sa.Column("attempt_id", sa.String(length=64)),
        sa.Column("origin_trial_id", sa.String(length=64)),
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("(attempt_id IS NULL) <> (origin_trial_id IS NULL)", name="ck_result_origin"),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name="fk_result_attempt_id"),
        sa.ForeignKeyConstraint(["origin_trial_id"], ["trial.id"], name="fk_result_origin_trial_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_result_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", name="pk_result"),
    )
    op.create_index(
        "ix_result_study",
        "result",
        ["study_key", "kind", "name"],
        unique=False,
        sqlite_where=sa.text("origin_trial_id IS NULL"),
        postgresql_where=sa.text("origin_trial_id IS NULL"),
    )
