"""What the parts of the store share: sessions, and the rows that several of them add."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import ColumnElement, CursorResult, and_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core.requests import NO_CONDITION, Once, Precondition
from docex.core.state import Job, StoredDocument
from docex.core.statement import Statement
from docex.db import rows
from docex.db.engine import Sessions
from docex.db.models import DocumentRow, JobRow, RequestRow, StatementRow
from docex.errors import RequestUnderWay

RACES = 20
"""Tries of a transaction that another one made impossible to commit."""


def at_work(once: Once) -> ColumnElement[bool]:
    """The request of this try, as long as the try has it and took no effect."""
    return and_(RequestRow.id == once.id, RequestRow.attempt == once.attempt, RequestRow.effect.is_(None))


class Tables:
    """A database, and the time that rows are dated with."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        self._sessions = Sessions(engine)
        self._clock = clock

    def _reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.reading()

    def _writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.writing()

    async def _add_version(
        self, session: AsyncSession, document: StoredDocument, precondition: Precondition = NO_CONDITION
    ) -> DocumentRow:
        last = select(DocumentRow.version, DocumentRow.statement, DocumentRow.removed)
        last = last.where(DocumentRow.path == document.path)
        # One row tells number and statement: of two that follow the same version one then finds its number taken.
        found = (await session.execute(last.order_by(DocumentRow.version.desc()).limit(1))).first()
        newest, statement, removed = (0, None, None) if found is None else found
        precondition.check(statement if removed is None else None)
        await session.execute(
            update(DocumentRow).where(DocumentRow.path == document.path, DocumentRow.newest).values(newest=False)
        )
        row = DocumentRow(**rows.document_values(document, newest + 1))
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

    async def _add_jobs(self, session: AsyncSession, jobs: Sequence[Job], *, wake: bool = False) -> None:
        """Add jobs; with ``wake``, those that are there are due now. One that is being done is then done twice."""
        for job in jobs:
            if (row := await session.get(JobRow, job.key)) is None:
                session.add(rows.job_row(job, self._clock()))
            elif wake:
                row.due = min(row.due, self._clock())

    async def _take_effect(self, session: AsyncSession, once: Once | None, effect: str) -> None:
        """Note what a request has done, in the transaction that does it.

        Raises:
            RequestUnderWay: another try has taken over meanwhile; then nothing of this one may stay.
        """
        if once is None:
            return
        result = await session.execute(update(RequestRow).where(at_work(once)).values(effect=effect))
        assert isinstance(result, CursorResult)
        if result.rowcount != 1:
            raise RequestUnderWay("this took so long that another try of the same request has taken over")
