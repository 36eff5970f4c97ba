"""What Alembic runs its scripts by: the connection that `db.migration` hands over, in the transaction under way."""

from alembic import context

from db.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
