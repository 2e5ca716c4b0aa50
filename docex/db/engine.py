"""Connections to the database: SQLite by default, PostgreSQL for many machines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from importlib import resources
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from docex.db import one_hop
from docex.errors import DatabaseUnavailable

READ_ONLY = "docex_read_only"
"""Execution option of connections that only read: they never wait for a writer."""

_BUSY_MS = 30_000
_alembic = threading.Lock()


def make_engine(url: str) -> AsyncEngine:
    """An engine for an SQLAlchemy URL with an asynchronous driver (``sqlite+aiosqlite``, ``postgresql+psycopg``)."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "do_connect", _connect_by_one_hop)
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _connect_by_one_hop(_dialect: Any, _record: object, _arguments: Any, options: dict[str, Any]) -> None:
    options["async_creator_fn"] = one_hop.connect


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
    connection.exec_driver_sql(one_hop.BEGIN_READING if read_only else one_hop.BEGIN_WRITING)


# SQLite has one writer at a time. Those of one process queue up here, in order: left to its busy handler, which sleeps
# and tries again, some would wait for seconds.
_turns: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()


class Sessions:
    """Sessions of one engine: all that write through it, from whichever store, take turns where it needs that.

    Both raise DatabaseUnavailable where the database fails: it is stopped, its disk is full, it gives up a transaction.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{READ_ONLY: True})
        self._turn = _turns.setdefault(engine.sync_engine, asyncio.Lock()) if engine.dialect.name == "sqlite" else None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for one transaction that only reads."""
        with _translated():
            async with AsyncSession(self._reader) as session:
                yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A session for one transaction, committed at the end of the block."""
        with _translated():
            async with self._turn or nullcontext(), AsyncSession(self._engine) as session, session.begin():
                yield session


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        # The driver's own words only: SQLAlchemy's go on with the statement and its values.
        message = "the database does not answer, or takes nothing now: try again later"
        raise DatabaseUnavailable(message, f"{type(error.orig).__name__}: {error.orig}") from error


async def upgrade(url: str) -> None:
    """Bring the schema to the newest version; safe to call from several processes at once."""
    await asyncio.to_thread(_upgrade, url)


def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    scripts = str(resources.files("docex.db") / "migrations")
    config.set_main_option("script_location", scripts.replace("%", "%%"))
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
