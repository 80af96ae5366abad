"""Alembic's entry point: runs the migrations on the connection of `zpcode.store.database.session.migrate`."""

from __future__ import annotations

from alembic import context

from zpcode.store.tables.columns import metadata

with_connection = context.config.attributes["connection"]
context.configure(connection=with_connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
