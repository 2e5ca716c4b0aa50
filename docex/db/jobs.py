"""Jobs in the database; see `docex.service.ports.Store` and `docex.service.worker`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from docex.core.state import (
    Job,
)
from docex.db import rows
from docex.db.models import JobRow
from docex.db.tables import Tables


class JobTables(Tables):
    """Work to do."""

    async def claim(self, now: float, lease: float, limit: int) -> Sequence[Job]:
        """See the protocol."""
        due = select(JobRow).where(JobRow.due <= now).order_by(JobRow.due).limit(limit)
        async with self._reading() as session:
            if limit < 1 or await session.scalar(due.with_only_columns(JobRow.key).limit(1)) is None:
                return []
        async with self._writing() as session:
            claimed = list(await session.scalars(due.with_for_update(skip_locked=True)))
            for row in claimed:
                row.due = now + lease
                row.attempts += 1
            return [rows.job(row) for row in claimed]

    async def keep(self, key: str, until: float) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(due=until))

    async def finish(self, key: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            if (row := await session.get(JobRow, key)) is not None:
                await session.delete(row)

    async def retry(self, key: str, at: float, error: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(due=at, error=error))
