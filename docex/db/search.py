"""Documents by a part of their path and by their content, at a cost that does not grow with their number.

The next thousand paths are read first: they are all there is in most folders, and enough for a text that most paths
hold. Then the index of parts (`docex.db.parts`) finds what is rare. Only what is neither goes on along the paths, for a
stretch that has an end.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from docex.core.access import EVERYTHING, Folders
from docex.core.state import Found, StoredDocument
from docex.db import parts, rows
from docex.db import within as bounds
from docex.db.models import DocumentRow
from docex.db.tables import Tables
from docex.db.within import Stretch

_NEAR = 1_000
_FAR = 50_000
_MOST = 10_000
"""Paths that are sorted for a page."""


class SearchTables(Tables):
    """What searches ask."""

    async def search(self, text: str, after: str, limit: int, within: Folders = EVERYTHING) -> Found:
        """See the protocol."""
        wanted, found = parts.lowered(text), list[DocumentRow]()
        stretches = bounds.stretches(within, after=after)
        async with self._reading() as session:
            for stretch, following in zip(stretches, [*stretches[1:], None], strict=True):
                left = limit - len(found)
                page, stopped = await _scan(session, stretch, wanted, left, _NEAR)
                far = False
                if stopped is not None and len(page) < left:
                    indexed = await _indexed(session, stretch, wanted, left)
                    far = indexed is None
                    page, stopped = indexed or await _scan(session, stretch, wanted, left, _FAR)
                found += page
                if far or len(found) == limit:
                    goes_on = stopped if stopped is not None or following is None else following.low
                    return Found([rows.document(row) for row in found], goes_on)
        return Found([rows.document(row) for row in found], None)

    async def documents_with(
        self, digest: str, after: str, limit: int, within: Folders = EVERYTHING
    ) -> Sequence[StoredDocument]:
        """See the protocol."""
        found: list[StoredDocument] = []
        async with self._reading() as session:
            for stretch in bounds.stretches(within, after=after):
                query = _shown(stretch).where(DocumentRow.digest == digest)
                query = query.order_by(DocumentRow.path).limit(limit - len(found))
                found += [rows.document(row) for row in await session.scalars(query)]
                if len(found) == limit:
                    break
        return found


_Page = tuple[list[DocumentRow], str | None]


async def _scan(session: AsyncSession, stretch: Stretch, wanted: str, limit: int, count: int) -> _Page:
    """What ``count`` paths hold of it, and where it stopped; None at the end of the stretch."""
    names = select(DocumentRow.path).where(DocumentRow.newest, stretch.holds(DocumentRow.path))
    last = await session.scalar(names.order_by(DocumentRow.path).offset(count - 1).limit(1))
    query = _shown(stretch).where(_hold(DocumentRow.path, wanted))
    if last is not None:
        query = query.where(DocumentRow.path <= last)
    found = list(await session.scalars(query.order_by(DocumentRow.path).limit(limit)))
    return found, found[-1].path if len(found) == limit else last


async def _indexed(session: AsyncSession, stretch: Stretch, wanted: str, limit: int) -> _Page | None:
    """What the index finds in a stretch; None where it can't, or finds too much to sort."""
    if len(wanted) < parts.SHORTEST:
        return None
    first = aliased(DocumentRow)
    needed = parts.of(wanted) + (parts.of(root) if len(root := parts.lowered(stretch.root)) >= parts.SHORTEST else [])
    path: SQLColumnExpression[str] = first.path
    found = select(DocumentRow.number)
    if session.get_bind().dialect.name == "sqlite":
        found = found.select_from(parts.TABLE).join(first, first.number == parts.TABLE.c.rowid)
        found = found.where(parts.match(needed))
        path = path.concat("")  # else SQLite may read the stretch, and ask the index about each path
    else:
        found = found.select_from(first).where(parts.contains(first.path, needed), first.version == literal_column("1"))
    found = found.join(DocumentRow, DocumentRow.path == first.path).where(
        stretch.holds(path), _hold(path, wanted), DocumentRow.newest, DocumentRow.removed.is_(None)
    )
    numbers = found.limit(_MOST + 1).subquery()
    query = select(DocumentRow, func.count().over()).join(numbers, numbers.c.number == DocumentRow.number)
    page = (await session.execute(query.order_by(DocumentRow.path).limit(limit))).all()
    if page and page[0][1] > _MOST:
        return None
    return [row for row, _ in page], page[-1][0].path if len(page) == limit else None


def _hold(path: SQLColumnExpression[str], wanted: str) -> ColumnElement[bool]:
    return func.lower(path).contains(wanted, autoescape=True)


def _shown(stretch: Stretch) -> Select[DocumentRow]:
    shown = DocumentRow.newest, DocumentRow.removed.is_(None), stretch.holds(DocumentRow.path)
    return select(DocumentRow).where(*shown)
