"""The history of transfers in the database; see `docex.service.ports.Store`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from docex.core.state import Event, EventKind
from docex.db.models import EventRow
from docex.db.tables import Tables

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7319402686)")


class EventTables(Tables):
    """What became of transfers, in an order that can be followed."""

    async def _add_events(
        self, session: AsyncSession, kind: EventKind, transfer: str, accounts: Sequence[str], detail: str | None = None
    ) -> None:
        """Add events; nothing may be written in this transaction after it.

        PostgreSQL numbers rows when they are inserted and shows them when they are committed: a reader could see 8,
        and go on from there, before 7. So whoever adds events holds a lock until its transaction ends, and takes it
        last: what waits for it holds nothing that the holder still wants.
        """
        await session.flush()
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(_ONE_AT_A_TIME)
        now = int(self._clock())
        for account in accounts:
            session.add(EventRow(kind=kind, transfer=transfer, account=account, at=now, detail=detail))
        await session.flush()

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """See the protocol."""
        return await self._events(EventRow.sequence > after, limit=limit)

    async def events_of(self, transfer: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See the protocol."""
        return await self._events(EventRow.transfer == transfer, EventRow.sequence > after, limit=limit)

    async def last_event(self) -> int:
        """See the protocol."""
        async with self._reading() as session:
            return await session.scalar(select(func.max(EventRow.sequence))) or 0

    async def _events(self, *where: ColumnElement[bool], limit: int) -> list[Event]:
        query = select(EventRow).where(*where).order_by(EventRow.sequence).limit(limit)
        async with self._reading() as session:
            return [
                Event(each.sequence, EventKind(each.kind), each.transfer, each.account, each.at, each.detail)
                for each in await session.scalars(query)
            ]
