"""What Alembic runs its scripts by: the connection that `db.sql.migration` hands over, in the transaction under way."""

from alembic import context

# Without the metadata of today's schema: its rules for names must not rename what an old script made.
context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
