"""Documents and statements in the database; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import aliased

from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Revocation
from docex.core.requests import NO_CONDITION, Once, Precondition
from docex.core.state import Job, StoredDocument, StoredStatement
from docex.core.statement import Statement
from docex.db import rows
from docex.db import within as bounds
from docex.db.grouped import Grouped
from docex.db.models import DocumentRow, StatementRow
from docex.db.tables import RACES, Tables
from docex.errors import Conflict, NotFound

_Added = tuple[StoredDocument, Sequence[Statement]]


class DocumentTables(Tables):
    """Versions of documents, and all statements."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time, **options: Any) -> None:
        super().__init__(engine, clock, **options)
        self._plainly: Grouped[_Added, StoredDocument] = Grouped(self._add_together, lambda item: item[0].path)

    async def add_document(
        self,
        document: StoredDocument,
        statements: Sequence[Statement],
        precondition: Precondition = NO_CONDITION,
        once: Once | None = None,
    ) -> StoredDocument:
        """See the protocol."""
        if precondition == NO_CONDITION and once is None:
            return await self._plainly.add((document, statements))
        return await self._add_alone(document, statements, precondition, once)

    async def _add_together(self, items: Sequence[_Added]) -> Sequence[StoredDocument | BaseException]:
        """New versions of different documents in one transaction; where that is refused, in one each."""
        try:
            async with self._writing() as session:
                return await _add_many(await session.connection(), items, int(self._clock()))
        except IntegrityError:
            alone = [self._add_alone(document, statements) for document, statements in items]
            return await asyncio.gather(*alone, return_exceptions=True)

    async def _add_alone(
        self,
        document: StoredDocument,
        statements: Sequence[Statement],
        precondition: Precondition = NO_CONDITION,
        once: Once | None = None,
    ) -> StoredDocument:
        for _ in range(RACES):
            try:
                async with self._writing() as session:
                    await self._add_statements(session, statements)
                    added = rows.document(await self._add_version(session, document, precondition))
                    await self._take_effect(session, once, added.statement)
                    return added
            except IntegrityError:  # another upload took this version number (PostgreSQL): take the next
                continue
        raise Conflict(f"{document.path!r} is being written by too many at once")

    async def document(self, path: str, version: int | None = None) -> StoredDocument:
        """See the protocol."""
        wanted = DocumentRow.newest if version is None else DocumentRow.version == version
        query = select(DocumentRow).where(DocumentRow.path == path, wanted, DocumentRow.removed.is_(None))
        async with self._reading() as session:
            row = await session.scalar(query)
        if row is None:
            raise NotFound(f"there is no document {path!r}" + (f" version {version}" if version is not None else ""))
        return rows.document(row)

    async def document_by_digest(self, digest: str, within: Folders = EVERYTHING) -> StoredDocument | None:
        """See the protocol."""
        query = (
            select(DocumentRow)
            .where(or_(DocumentRow.statement == digest, DocumentRow.digest == digest), bounds.documents(within))
            .order_by(DocumentRow.removed.is_not(None), DocumentRow.number.desc())
            .limit(1)
        )
        async with self._reading() as session:
            row = await session.scalar(query)
        return rows.document(row) if row else None

    async def documents(
        self, folder: str, after: str, limit: int, within: Folders = EVERYTHING
    ) -> Sequence[StoredDocument]:
        """See the protocol."""
        found: list[StoredDocument] = []
        async with self._reading() as session:
            for stretch in bounds.stretches(within, folder, after):
                query = select(DocumentRow).where(DocumentRow.newest, DocumentRow.removed.is_(None))
                query = query.where(stretch.holds(DocumentRow.path)).order_by(DocumentRow.path)
                found += [rows.document(row) for row in await session.scalars(query.limit(limit - len(found)))]
                if len(found) == limit:
                    break
        return found

    async def shows(self, statement: str, within: Folders) -> bool:
        """See the protocol."""
        query = select(DocumentRow.number).where(DocumentRow.statement == statement, bounds.documents(within)).limit(1)
        async with self._reading() as session:
            return await session.scalar(query) is not None

    async def taking_back(self, statements: Sequence[str]) -> Sequence[StoredStatement]:
        """See the protocol."""
        old = aliased(StatementRow)
        query = (
            select(StatementRow)
            .join(old, (old.digest == StatementRow.takes_back) & (old.issuer == StatementRow.issuer))
            .where(old.digest.in_(statements))
            .order_by(StatementRow.sequence)
        )
        async with self._reading() as session:
            return [rows.statement(row) for row in await session.scalars(query)]

    async def add_revocation(
        self, statement: str, revocation: Statement, jobs: Sequence[Job], once: Once | None = None
    ) -> None:
        """See the protocol."""
        revoked = select(StatementRow).where(StatementRow.digest == statement)
        earlier = select(StatementRow.digest).where(
            StatementRow.takes_back == statement,
            StatementRow.issuer == revocation.issuer,
            StatementRow.type == Revocation.TYPE,
        )
        async with self._writing() as session:
            await session.scalar(revoked.with_for_update())  # of two at once, the second sees the first
            if (found := await session.scalar(earlier)) is not None:
                raise Conflict(f"{statement} is revoked already, by the statement {found}")
            await self._add_statements(session, [revocation])
            await self._add_jobs(session, jobs)
            await self._take_effect(session, once, revocation.digest_text)

    async def statement(self, digest: str) -> StoredStatement | None:
        """See the protocol."""
        async with self._reading() as session:
            row = await session.scalar(select(StatementRow).where(StatementRow.digest == digest))
        return rows.statement(row) if row else None


async def _add_many(connection: AsyncConnection, items: Sequence[_Added], now: int) -> list[StoredDocument]:
    """Add versions and statements, none of which is known. By plain SQL: objects for the rows would cost more."""
    statements = [rows.statement_values(each, now) for _, said in items for each in said]
    await connection.execute(insert(StatementRow), statements)
    paths = [document.path for document, _ in items]
    query = select(DocumentRow.path, func.max(DocumentRow.version)).where(DocumentRow.path.in_(paths))
    found = await connection.execute(query.group_by(DocumentRow.path))
    last = {row.path: int(row[1]) for row in found}
    if last:
        old = update(DocumentRow).where(DocumentRow.path.in_(list(last)), DocumentRow.newest)
        await connection.execute(old.values(newest=False))
    added = [replace(document, version=last.get(document.path, 0) + 1) for document, _ in items]
    values = [rows.document_values(each, each.version) for each in added]
    await connection.execute(insert(DocumentRow), values)
    return added
