"""What is counted for metrics; see `docex.service.ports.Store`."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from docex.core.access import RECEIVED
from docex.core.state import BatchState, Direction, Figures
from docex.db.models import BatchRow, DeliveryRow, DocumentRow, JobRow, StatementRow
from docex.db.tables import Tables


class FigureTables(Tables):
    """Figures of the whole node, whichever of its processes did the work."""

    async def figures(self, account: str) -> Figures:
        """See the protocol."""
        own = or_(DocumentRow.path < f"{RECEIVED}/", DocumentRow.path >= f"{RECEIVED}0")
        incoming = (DeliveryRow.account == account).label("incoming")
        by_state = select(incoming, DeliveryRow.state, func.count()).group_by(incoming, DeliveryRow.state)
        jobs = select(JobRow.kind, func.count()).group_by(JobRow.kind)
        last = select(func.max(BatchRow.block_time)).where(BatchRow.state == BatchState.FINAL)
        async with self._reading() as session:
            waiting, oldest = await _not_anchored(session)
            return Figures(
                deposits=await session.scalar(select(func.count()).select_from(DocumentRow).where(own)) or 0,
                deliveries={
                    (Direction.RECEIVED if received else Direction.SENT, state): count
                    for received, state, count in await session.execute(by_state)
                },
                not_anchored=waiting,
                not_anchored_since=oldest,
                anchored_at=await session.scalar(last),
                jobs={str(row[0]): int(row[1]) for row in await session.execute(jobs)},
                jobs_due_since=await session.scalar(select(func.min(JobRow.due))),
            )


async def _not_anchored(session: AsyncSession) -> tuple[int, int | None]:
    """How many statements have no final anchor, and since when the oldest of them waits."""
    loose = select(func.count(), func.min(StatementRow.created)).where(StatementRow.batch.is_(None))
    sealed = select(func.sum(BatchRow.size), func.min(BatchRow.created)).where(BatchRow.state != BatchState.FINAL)
    found = [(await session.execute(query)).one() for query in (loose, sealed)]
    since = [each[1] for each in found if each[1] is not None]
    return sum(int(each[0] or 0) for each in found), min(since, default=None)
