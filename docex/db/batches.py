"""Batches of statements in the database; see `docex.service.ports.Store`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core import merkle
from docex.core.digest import parse_digest
from docex.core.state import Batch, BatchState, Job
from docex.core.transactions import TransactionStatus
from docex.db import rows
from docex.db.models import AttemptRow, BatchRow, StatementRow, TransactionRow
from docex.db.tables import Tables
from docex.errors import NotFound


def _runs(sequences: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The runs of neighbours, each as (how far ahead of its leaves it is, first, last): one update can number a run."""
    for offset, run in groupby(enumerate(sequences), lambda each: each[1] - each[0]):
        numbers = [sequence for _, sequence in run]
        yield offset, numbers[0], numbers[-1]


class BatchTables(Tables):
    """What is anchored together. ``batch_jobs`` are the kinds of jobs that each new batch calls for, by its number."""

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], float] = time.time, *, batch_jobs: Sequence[str] = ()
    ) -> None:
        super().__init__(engine, clock)
        self._batch_jobs = tuple(batch_jobs)

    async def make_batch(self, limit: int, now: int) -> Batch | None:
        """See the protocol."""
        waiting = (
            select(StatementRow.sequence, StatementRow.digest)
            .where(StatementRow.batch.is_(None))
            .order_by(StatementRow.sequence)
        )
        async with self._reading() as session:  # most of the time there is nothing to do, and no lock to take for it
            if await session.scalar(waiting.limit(1)) is None:
                return None
        async with self._writing() as session:
            found = (await session.execute(waiting.limit(limit).with_for_update(skip_locked=True))).all()
            if not found:
                return None
            root = merkle.root([merkle.leaf_hash(parse_digest(digest).raw) for _, digest in found])
            batch = BatchRow(root=root, size=len(found), state=BatchState.SEALED, created=now)
            session.add(batch)
            await session.flush()
            for offset, first, last in _runs([sequence for sequence, _ in found]):
                run = update(StatementRow).where(StatementRow.sequence.between(first, last))
                run = run.values(batch=batch.number, leaf=StatementRow.sequence - offset)
                await session.execute(run, execution_options={"synchronize_session": False})
            number = str(batch.number)
            await self._add_jobs(session, [Job(f"{kind}:{number}", kind, number) for kind in self._batch_jobs])
            return rows.batch(batch)

    async def batches(self, state: BatchState) -> Sequence[Batch]:
        """See the protocol."""
        query = select(BatchRow).where(BatchRow.state == state).order_by(BatchRow.number)
        async with self._reading() as session:
            return [rows.batch(row) for row in await session.scalars(query)]

    async def batch(self, number: int) -> Batch:
        """See the protocol."""
        async with self._reading() as session:
            row = await session.get(BatchRow, number)
        if row is None:
            raise NotFound(f"there is no batch {number}")
        return rows.batch(row)

    async def batch_leaves(self, number: int) -> Sequence[bytes]:
        """See the protocol."""
        query = select(StatementRow.digest).where(StatementRow.batch == number).order_by(StatementRow.leaf)
        async with self._reading() as session:
            return [parse_digest(digest).raw for digest in await session.scalars(query)]

    async def set_batch(self, batch: Batch) -> bool:
        """See the protocol."""
        async with self._writing() as session:
            if batch.state is BatchState.FINAL and not await _stands(session, batch):
                return False
            await session.execute(
                update(BatchRow)
                .where(BatchRow.number == batch.number)
                .values(
                    state=batch.state,
                    transaction=batch.transaction,
                    block_number=batch.block_number,
                    block_hash=batch.block_hash,
                    block_time=batch.block_time,
                )
            )
            return True

    async def timestamp(self, number: int) -> bytes | None:
        """See the protocol."""
        async with self._reading() as session:
            return await session.scalar(select(BatchRow.timestamp).where(BatchRow.number == number))

    async def set_timestamp(self, number: int, token: bytes) -> None:
        """See the protocol."""
        first = update(BatchRow).where(BatchRow.number == number, BatchRow.timestamp.is_(None))
        async with self._writing() as session:
            await session.execute(first.values(timestamp=token))


async def _stands(session: AsyncSession, batch: Batch) -> bool:
    """Whether the batch's transaction, where it is kept here, is still final in the batch's block.

    A poll of another worker may have seen a reorg since the caller asked. The lock is the one that it takes too, so
    that it either comes first and is seen here, or finds the batch final and takes that back.
    """
    key = await session.scalar(select(AttemptRow.key).where(AttemptRow.transaction == batch.transaction))
    if key is None:
        return True
    row = await session.get_one(TransactionRow, key, with_for_update=True)
    found = (row.status, row.mined, row.block_hash)
    return found == (TransactionStatus.FINAL, batch.transaction, batch.block_hash)
