"""SQLite connections that go to their thread once for each statement.

aiosqlite goes there to make a cursor, to execute, to fetch and to close. Between threads of one interpreter each of
these costs more than most statements, and a writer pays it while the others wait for their turn. So a transaction is
begun together with its first statement, too, and nobody waits for the end of one that only read.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite

BEGIN_READING = "BEGIN"
BEGIN_WRITING = "BEGIN IMMEDIATE"


class OneHopCursor(aiosqlite.Cursor):
    """A cursor whose rows are fetched where and when it executes."""

    _conn: OneHopConnection
    _rows: list[Any]

    async def __aenter__(self) -> OneHopCursor:
        """Itself: it is made already."""
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> OneHopCursor:
        """Execute, and fetch all rows; what begins a transaction is executed with the statement that comes next."""
        if sql in (BEGIN_READING, BEGIN_WRITING):
            self._conn.beginning, self._rows = sql, []
            return self
        step = partial(_run, self._cursor, sql, () if parameters is None else parameters)
        self._rows = await self._execute(step)  # type: ignore[no-untyped-call]  # the library's own
        return self

    async def fetchall(self) -> list[Any]:
        """The rows of what was executed last."""
        return self._rows

    async def close(self) -> None:
        """Give it up. It has nothing left to do, so no thread is needed."""
        self._cursor.close()


class OneHopConnection(aiosqlite.Connection):
    """A connection whose cursors are `OneHopCursor`."""

    beginning: str | None = None
    """Of a transaction that has no statement yet."""
    _begun: str | None = None

    def cursor(self, _: Any = None) -> OneHopCursor:  # type: ignore[override]  # not through the thread
        """A new cursor."""
        return OneHopCursor(self, self._conn.cursor())

    async def commit(self) -> None:
        """Keep what was written."""
        if self._begun is not None:
            await super().commit()  # where that fails, it is still to be rolled back
        self._end()

    async def rollback(self) -> None:
        """Undo what was written. After reading it is only sent to the thread, where all that follows comes later."""
        begun = self._end()
        if begun == BEGIN_READING:
            self._tx.put_nowait((None, self._conn.rollback))
        elif begun is not None:
            await super().rollback()

    def _end(self) -> str | None:
        """How the transaction was begun that ends now, if it was."""
        begun, self._begun, self.beginning = self._begun, None, None
        return begun

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        begin, self.beginning = self.beginning, None
        if begin is not None:
            self._begun = begin
            fn = partial(_run_after, self._conn, begin, fn)
        return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # the library's own


def _work(tasks: Any) -> None:
    """The library's own work on a connection. Where the loop was closed meanwhile, nobody waits for an answer."""
    with suppress(RuntimeError):
        aiosqlite.core._connection_worker_thread(tasks)


def _run_after(
    connection: sqlite3.Connection, begin: str, function: Callable[..., Any], *given: Any, **more: Any
) -> Any:
    connection.execute(begin)
    return function(*given, **more)


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
