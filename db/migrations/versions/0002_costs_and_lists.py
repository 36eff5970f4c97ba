"""Costs are arithmetic now and not kept; latencies are; lists of a state or a study have indexes.

Whether a front has changed is told by counts, which an index answers; so is which jobs have ended long ago.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

LISTED = sa.text("deleted_at IS NULL")
DELETED = sa.text("deleted_at IS NOT NULL")
ENDED = sa.text("finished_at IS NOT NULL")
JOB_INDEXES = {
    "ix_job_of_state": (("state", "created_at", "id"), LISTED),
    "ix_job_of_study": (("study_key", "created_at", "id"), LISTED),
    "ix_job_deleted": (("id",), DELETED),
    "ix_job_ended": (("finished_at", "id"), ENDED),
}
ARCHITECTURE_INDEXES = {
    "ix_architecture_study_created_at": ("study_key", "created_at", "id"),
    "ix_architecture_study_delta_m": ("study_key", "delta_m", "id"),
}


def upgrade() -> None:
    """Drop the table of costs and replace an index that others begin with."""
    op.drop_table("cost")
    for name, (columns, where) in JOB_INDEXES.items():
        op.create_index(name, "job", list(columns), sqlite_where=where, postgresql_where=where)
    for name, names in ARCHITECTURE_INDEXES.items():
        op.create_index(name, "architecture", list(names))
    op.drop_index("ix_architecture_study_key", "architecture")
    op.add_column("architecture", sa.Column("latency_ms", sa.Float(), nullable=True))
