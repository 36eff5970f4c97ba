"""Attempts say when work on them began; lists of the best searches and of the jobs of a network have indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
LISTED = sa.text("deleted_at IS NULL")
INDEXES = {
    "ix_job_by_best_delta_m": ("best_delta_m", "id"),
    "ix_job_of_architecture": ("architecture_id", "created_at", "id"),
}


def upgrade() -> None:
    """Add the column and the indexes."""
    op.add_column("attempt", sa.Column("begun_at", TIME, nullable=True))
    for name, columns in INDEXES.items():
        op.create_index(name, "job", list(columns), sqlite_where=LISTED, postgresql_where=LISTED)
