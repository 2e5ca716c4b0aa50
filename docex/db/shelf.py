"""Documents as they stand in folders, and what was set for a node; see `docex.service.shelf.Shelf`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from sqlalchemy import CursorResult, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from docex.core.access import EVERYTHING, Folders
from docex.core.names import join
from docex.core.state import Entry, StoredDocument
from docex.db import rows
from docex.db import within as bounds
from docex.db.models import DocumentRow, PreferenceRow
from docex.db.tables import Tables
from docex.errors import NotFound

_PAGE = 500


class ShelfTables(Tables):
    """What listings ask."""

    async def remove_document(self, path: str, now: int) -> None:
        """See the protocol."""
        shown = update(DocumentRow).where(DocumentRow.path == path, DocumentRow.removed.is_(None)).values(removed=now)
        async with self._writing() as session:
            result = await session.execute(shown)
            assert isinstance(result, CursorResult)
            if not result.rowcount:
                raise NotFound(f"there is no document {path!r}")

    async def entries(self, folder: str, offset: int, limit: int, within: Folders = EVERYTHING) -> Sequence[Entry]:
        """See the protocol."""
        found: list[Entry] = []
        passed = 0
        async with self._reading() as session:
            async for entry in _walk(session, folder, offset + limit, within):
                if passed == offset:
                    found.append(entry)
                else:
                    passed += 1
                if len(found) == limit:
                    break
        return found

    async def shown_as(self, statements: Sequence[str], within: Folders = EVERYTHING) -> Sequence[StoredDocument]:
        """See the protocol."""
        query = select(DocumentRow).where(DocumentRow.statement.in_(statements), bounds.documents(within))
        async with self._reading() as session:
            return [rows.document(row) for row in await session.scalars(query.order_by(DocumentRow.number))]

    async def preferences(self) -> Mapping[str, str]:
        """See the protocol."""
        async with self._reading() as session:
            return {row.key: row.value for row in await session.scalars(select(PreferenceRow))}

    async def set_preference(self, key: str, value: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            connection = await session.connection()
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            new = insert(PreferenceRow).values(key=key, value=value)
            await session.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


async def _walk(session: AsyncSession, folder: str, wanted: int, within: Folders) -> AsyncIterator[Entry]:
    """The entries of a folder by name, at most ``wanted`` and a few more.

    Documents are read along the index. Where one lies in a folder of its own, the next read goes on behind that folder.
    Reads are as long as the one before was of use: among folders with many documents, one of each is enough.
    """
    shown = select(DocumentRow).where(DocumentRow.newest, DocumentRow.removed.is_(None)).order_by(DocumentRow.path)
    prefix = f"{folder}/" if folder else ""
    inner, length = "", min(wanted, _PAGE)
    for stretch in bounds.stretches(within, folder):
        query = shown if stretch.high is None else shown.where(DocumentRow.path < stretch.high)
        start = DocumentRow.path > stretch.low
        while page := list(await session.scalars(query.where(start).limit(length))):
            seen = 0
            for row in page:
                name, slash, _ = row.path.removeprefix(prefix).partition("/")
                if not slash:
                    yield Entry(name, rows.document(row))
                elif name != inner:
                    yield Entry(inner := name, None)
                else:
                    continue
                seen += 1
            length = min(2 * seen, _PAGE) or 1
            # "0" follows "/": a page may end inside a folder of which one document is enough.
            start = (
                DocumentRow.path >= join(folder, inner) + "0"
                if "/" in page[-1].path.removeprefix(prefix)
                else (DocumentRow.path > page[-1].path)
            )
