"""Requests that are to take effect once; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

from sqlalchemy import ColumnElement, CursorResult, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from docex.core.requests import Once
from docex.db.models import RequestRow
from docex.db.tables import RACES, Tables, at_work
from docex.errors import Conflict, IdempotencyKeyReused, RequestUnderWay


class RequestTables(Tables):
    """Which requests were made under which idempotency key."""

    async def begin(self, once: Once, fingerprint: bytes, now: int, lease: int, keep: int) -> str | None:
        """See the protocol."""
        old = delete(RequestRow).where(RequestRow.id == once.id, _settled(now - keep, now))
        for _ in range(RACES):
            async with self._writing() as session:
                await session.execute(old)
                if await self._insert_request(session, once, fingerprint, now, lease):
                    return None
                row = await session.scalar(select(RequestRow).where(RequestRow.id == once.id).with_for_update())
                if row is not None:
                    return _next_try(row, once, fingerprint, now, lease)
        raise Conflict("too many requests with this Idempotency-Key at once")

    @staticmethod
    async def _insert_request(session: AsyncSession, once: Once, fingerprint: bytes, now: int, lease: int) -> bool:
        connection = await session.connection()
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        values = {"id": once.id, "fingerprint": fingerprint, "attempt": once.attempt}
        new = insert(RequestRow).values(**values, until=now + lease, created=now)
        added = await session.execute(new.on_conflict_do_nothing(index_elements=["id"]).returning(RequestRow.id))
        return added.first() is not None

    async def hold(self, once: Once, until: int) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(RequestRow).where(at_work(once)).values(until=until))

    async def abandon(self, once: Once) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(delete(RequestRow).where(at_work(once)))

    async def forget(self, before: int) -> int:
        """See the protocol."""
        async with self._writing() as session:
            result = await session.execute(delete(RequestRow).where(_settled(before, before)))
            assert isinstance(result, CursorResult)
            return result.rowcount


def _settled(before: int, now: int) -> ColumnElement[bool]:
    """Requests that began before a time, and that nobody is at work at now."""
    return and_(RequestRow.created <= before, or_(RequestRow.effect.is_not(None), RequestRow.until <= now))


def _next_try(row: RequestRow, once: Once, fingerprint: bytes, now: int, lease: int) -> str | None:
    """What became of the tries before: the effect, or None where none came through and this one takes over."""
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another request: take a new one for each")
    if row.effect is not None:
        return row.effect
    if now < row.until <= now + lease:  # one that ends later is of a clock that was put back since
        raise RequestUnderWay("the same request is still under way: ask again in a moment")
    row.attempt, row.until = once.attempt, now + lease
    return None
