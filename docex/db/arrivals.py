"""Packets on their way in, in the database; see `docex.service.ports.Store` and `docex.service.arrivals`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, not_, or_, select, text, update

from docex.core.state import Job
from docex.db.models import ArrivalRow, JobRow
from docex.db.tables import Tables

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7319402687)")


class ArrivalTables(Tables):
    """Uploads that are under way, each held for a while by the process that takes it."""

    async def begin_arrival(
        self, transfer: str, sender: str, holder: str, lease: float, at_once: int, jobs: Sequence[Job]
    ) -> bool:
        """See the protocol."""
        async with self._writing() as session:
            if session.get_bind().dialect.name == "postgresql":
                await session.execute(_ONE_AT_A_TIME)  # rows that are counted here must not come up meanwhile
            now = self._clock()
            await session.execute(delete(ArrivalRow).where(ArrivalRow.sender == sender, _ended(now, lease)))
            if await session.get(ArrivalRow, transfer) is not None:
                return False
            count = await session.scalar(select(func.count()).where(ArrivalRow.sender == sender))
            if (count or 0) >= at_once:
                return False
            session.add(ArrivalRow(transfer=transfer, sender=sender, holder=holder, until=now + lease))
            await self._add_jobs(session, jobs)
            for job in jobs:
                await session.execute(update(JobRow).where(JobRow.key == job.key).values(due=now + job.delay))
        return True

    async def is_arriving(self, transfer: str, lease: float) -> bool:
        """See the protocol."""
        held = select(ArrivalRow.holder).where(ArrivalRow.transfer == transfer, not_(_ended(self._clock(), lease)))
        async with self._reading() as session:
            return await session.scalar(held) is not None

    async def keep_arrival(self, transfer: str, holder: str, lease: float) -> None:
        """See the protocol."""
        mine = ArrivalRow.transfer == transfer, ArrivalRow.holder == holder
        async with self._writing() as session:
            await session.execute(update(ArrivalRow).where(*mine).values(until=self._clock() + lease))

    async def end_arrival(self, transfer: str, holder: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(
                delete(ArrivalRow).where(ArrivalRow.transfer == transfer, ArrivalRow.holder == holder)
            )


def _ended(now: float, lease: float) -> ColumnElement[bool]:
    # One that ends later than it can is of a clock that was put back since.
    return or_(ArrivalRow.until <= now, ArrivalRow.until > now + lease)
