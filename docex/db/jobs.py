"""Jobs in the database; see `docex.service.ports.Store` and `docex.service.worker`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core.state import (
    Job,
)
from docex.db import rows
from docex.db.grouped import Grouped
from docex.db.models import JobRow
from docex.db.tables import Tables

SKEW = 60.0
"""Seconds that the clocks of processes on one database may differ."""


class JobTables(Tables):
    """Work to do."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        super().__init__(engine, clock)
        self._done: Grouped[str, None] = Grouped(self._remove, lambda key: key)

    async def claim(self, now: float, lease: float, limit: int) -> Sequence[Job]:
        """See the protocol."""
        due = _due("", now).limit(limit)
        async with self._reading() as session:
            ahead = await session.scalar(select(JobRow.key).where(JobRow.since > now + SKEW).limit(1))
            waiting = await session.scalar(due.with_only_columns(JobRow.key).limit(1))
        if ahead is not None:
            await self._set_right(now)
        elif limit < 1 or waiting is None:
            return []
        async with self._writing() as session:
            return await _take(session, due, now, lease)

    async def _set_right(self, now: float) -> None:
        """A job that was added or taken in the future shows a clock that was put back: nobody knows when it is due."""
        ahead = JobRow.since > now + SKEW
        async with self._writing() as session:
            await session.execute(update(JobRow).where(ahead).values(due=now, since=now, running=False))

    async def claim_calls(self, now: float, lease: float, limit: int, each: int) -> Sequence[Job]:
        """See the protocol."""
        async with self._reading() as session:
            if limit < 1 or not (waiting := list(await session.scalars(_peers_waiting(now)))):
                return []
        claimed: list[Job] = []
        async with self._writing() as session:
            query = (
                select(JobRow.peer, func.count().label("number"))
                .where(JobRow.running, JobRow.due > now)
                .group_by(JobRow.peer)
            )
            running = {row.peer: row.number for row in await session.execute(query)}
            for peer in waiting:
                wanted = min(each - running.get(peer, 0), limit - len(claimed))
                if wanted > 0:
                    claimed += await _take(session, _due(peer, now).limit(wanted), now, lease)
        return claimed

    async def wake(self, peer: str) -> None:
        """See the protocol."""
        now = self._clock()
        waiting = JobRow.peer == peer, JobRow.due > now, JobRow.running.is_(False)
        async with self._reading() as session:
            if await session.scalar(select(JobRow.key).where(*waiting).limit(1)) is None:
                return
        async with self._writing() as session:
            await session.execute(update(JobRow).where(*waiting).values(due=now))

    async def keep(self, key: str, until: float) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(due=until))

    async def finish(self, key: str) -> None:
        """See the protocol."""
        await self._done.add(key)

    async def _remove(self, keys: Sequence[str]) -> Sequence[None]:
        async with self._writing() as session:
            await session.execute(delete(JobRow).where(JobRow.key.in_(sorted(keys))))
        return [None] * len(keys)

    async def retry(self, key: str, at: float, error: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(due=at, error=error, running=False))

    async def postpone(self, key: str, at: float) -> None:
        """See the protocol."""
        waiting = {"due": at, "error": "", "running": False, "attempts": JobRow.attempts - 1}
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(**waiting))


def _due(peer: str, now: float) -> Select[JobRow]:
    return select(JobRow).where(JobRow.peer == peer, JobRow.due <= now).order_by(JobRow.due)


async def _take(session: AsyncSession, due: Select[JobRow], now: float, lease: float) -> list[Job]:
    claimed = list(await session.scalars(due.with_for_update(skip_locked=True)))
    for row in claimed:
        row.due, row.since, row.running = now + lease, now, True
        row.attempts += 1
    return [rows.job(row) for row in claimed]


def _peers_waiting(now: float) -> Select[str]:
    """Members with calls that are due, whose first one has waited longest first.

    It steps from one member to the next in the index: what waits behind the first job of each costs nothing.
    """
    peers = select(func.min(JobRow.peer).label("peer")).where(JobRow.peer > "").cte("peers", recursive=True)
    following = select(func.min(JobRow.peer)).where(JobRow.peer > peers.c.peer).correlate(peers).scalar_subquery()
    peers = peers.union_all(select(following).where(peers.c.peer.is_not(None)))
    first = select(func.min(JobRow.due)).where(JobRow.peer == peers.c.peer).correlate(peers).scalar_subquery()
    return select(peers.c.peer).where(first <= now).order_by(first)
