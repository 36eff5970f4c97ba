"""What was found out about datasets and backbones is kept; the networks of a study are counted in an index alone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TIME = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
LISTED = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Add the table and widen two indexes."""
    op.create_table(
        "fact",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_fact"),
    )
    op.drop_index("ix_job_of_study", "job", if_exists=True)
    studied = ["study_key", "created_at", "id", "kind"]
    op.create_index("ix_job_of_study", "job", studied, sqlite_where=LISTED, postgresql_where=LISTED)
    op.drop_index("ix_architecture_study_delta_m", "architecture", if_exists=True)
    counted = ["study_key", "delta_m", "id", "madds", "copied_from", "job_id"]
    op.create_index("ix_architecture_study_delta_m", "architecture", counted)
