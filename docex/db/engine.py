"""Connections to the database: SQLite by default, PostgreSQL for many machines."""

from __future__ import annotations

from importlib import resources
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

READ_ONLY = "docex_read_only"
"""Execution option of connections that only read: they never wait for a writer."""

_BUSY_MS = 30_000


def make_engine(url: str) -> AsyncEngine:
    """An engine for an SQLAlchemy URL with an asynchronous driver (``sqlite+aiosqlite``, ``postgresql+psycopg``)."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what is acknowledged survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later could not wait for another writer (SQLITE_BUSY at once).
    read_only = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema to the newest version; safe to call from several processes at once."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7319402685)")
    config = Config()
    config.set_main_option("script_location", str(resources.files("docex.db") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
