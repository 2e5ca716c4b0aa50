"""Connections to the database: SQLite by default, PostgreSQL for many machines."""

from __future__ import annotations

import asyncio
import threading
from importlib import resources
from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

READ_ONLY = "docex_read_only"
"""Execution option of connections that only read: they never wait for a writer."""

_BUSY_MS = 30_000
_alembic = threading.Lock()


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


async def upgrade(url: str) -> None:
    """Bring the schema to the newest version; safe to call from several processes at once."""
    await asyncio.to_thread(_upgrade, url)


def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("docex.db") / "migrations"))
    synchronous = make_url(url).set(drivername=url.split(":", 1)[0].replace("+aiosqlite", ""))
    engine = create_engine(synchronous)
    try:
        # Alembic works through globals of its own: one at a time in this process, and one process at a time below.
        with _alembic, engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_lock(7319402685)")  # until the connection closes
                connection.commit()
            else:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's own
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
