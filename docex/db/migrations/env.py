"""Runs the migrations on the connection that `docex.db.engine.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from docex.db import parts
from docex.db.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, include_name=parts.mapped)
with context.begin_transaction():
    context.run_migrations()
