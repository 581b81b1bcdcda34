"""What Alembic runs: on the connection that it is handed (`migrate.py`), inside its transaction."""

from alembic import context

from bq.scan.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
