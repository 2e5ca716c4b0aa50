"""What the parts of the store share: sessions, and the rows that several of them add."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core.state import Job, StoredDocument
from docex.core.statement import Statement
from docex.db import rows
from docex.db.engine import Sessions
from docex.db.models import DocumentRow, JobRow, StatementRow

RACES = 20
"""Tries of a transaction that another one made impossible to commit."""


class Tables:
    """A database, and the time that rows are dated with."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        self._sessions = Sessions(engine)
        self._clock = clock

    def _reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.reading()

    def _writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.writing()

    async def _add_version(self, session: AsyncSession, document: StoredDocument) -> DocumentRow:
        newest = await session.scalar(select(func.max(DocumentRow.version)).where(DocumentRow.path == document.path))
        await session.execute(
            update(DocumentRow).where(DocumentRow.path == document.path, DocumentRow.newest).values(newest=False)
        )
        row = rows.document_row(document, (newest or 0) + 1)
        session.add(row)
        await session.flush()
        return row

    async def _add_statements(self, session: AsyncSession, statements: Sequence[Statement]) -> None:
        digests = [each.digest_text for each in statements]
        known = set(await session.scalars(select(StatementRow.digest).where(StatementRow.digest.in_(digests))))
        now = int(self._clock())
        for each in statements:
            if each.digest_text not in known:
                known.add(each.digest_text)
                session.add(StatementRow(**rows.statement_values(each, now)))
                await session.flush()  # one by one: the order of arrival is the order of leaves

    async def _add_jobs(self, session: AsyncSession, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if await session.get(JobRow, job.key) is None:
                session.add(JobRow(key=job.key, kind=job.kind, argument=job.argument, attempts=0, due=self._clock()))
