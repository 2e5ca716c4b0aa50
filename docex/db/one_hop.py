"""SQLite connections that go to their thread once for each statement.

aiosqlite goes there to make a cursor, to execute, to fetch and to close. Between threads of one interpreter each of
these costs more than most statements, and a writer pays it while the others wait for their turn.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite


class OneHopCursor(aiosqlite.Cursor):
    """A cursor whose rows are fetched where and when it executes."""

    async def __aenter__(self) -> OneHopCursor:
        """Itself: it is made already."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> OneHopCursor:
        """Execute, and fetch all rows."""
        step = partial(_run, self._cursor, sql, () if parameters is None else parameters)
        self._rows: list[Any] = await self._execute(step)  # type: ignore[no-untyped-call]  # the library's own
        return self

    async def fetchall(self) -> list[Any]:
        """The rows of what was executed last."""
        return self._rows

    async def close(self) -> None:
        """Give it up. It has nothing left to do, so no thread is needed."""
        self._cursor.close()


class OneHopConnection(aiosqlite.Connection):
    """A connection whose cursors are `OneHopCursor`."""

    def cursor(self, _: Any = None) -> OneHopCursor:  # type: ignore[override]  # not through the thread
        """A new cursor."""
        return OneHopCursor(self, self._conn.cursor())


def _work(tasks: Any) -> None:
    """The library's own work on a connection. Where the loop was closed meanwhile, nobody waits for an answer."""
    with suppress(RuntimeError):
        aiosqlite.core._connection_worker_thread(tasks)


def _run(cursor: sqlite3.Cursor, sql: str, parameters: Any) -> list[Any]:
    cursor.execute(sql, parameters)
    return cursor.fetchall() if cursor.description is not None else []


async def connect(database: str, **options: Any) -> OneHopConnection:
    """Open a database file; SQLAlchemy's ``async_creator``."""
    # Between two statements a connection is nobody's: cursors may be made and closed on the loop's thread then.
    options["check_same_thread"] = False
    connection = OneHopConnection(partial(sqlite3.connect, database, **options), iter_chunk_size=64)
    connection._thread = threading.Thread(target=_work, args=(connection._tx,), daemon=True)
    await connection
    return connection
