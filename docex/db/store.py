"""The node's state of record over SQLAlchemy; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

from sqlalchemy import func, or_, select, text

from docex.core.state import BatchState
from docex.db.batches import BatchTables
from docex.db.documents import DocumentTables
from docex.db.jobs import JobTables
from docex.db.models import BatchRow, DocumentRow, JobRow, StatementRow, TransferRow
from docex.db.transfers import TransferTables


class SqlStore(DocumentTables, TransferTables, BatchTables, JobTables):
    """A `docex.service.ports.Store`; several processes may share one database."""

    async def counts(self) -> dict[str, int]:
        """See the protocol."""
        final = select(BatchRow.number).where(BatchRow.state == BatchState.FINAL)
        not_final = or_(StatementRow.batch.is_(None), StatementRow.batch.not_in(final))
        queries = {
            "documents": select(func.count()).select_from(DocumentRow),
            "statements": select(func.count()).select_from(StatementRow),
            "statements_not_final": select(func.count()).select_from(StatementRow).where(not_final),
            "transfers": select(func.count()).select_from(TransferRow),
            "receipts": select(func.count()).select_from(StatementRow).where(StatementRow.type == "receipt"),
            "batches": select(func.count()).select_from(BatchRow),
            "jobs": select(func.count()).select_from(JobRow),
        }
        async with self._reading() as session:
            return {name: await session.scalar(query) or 0 for name, query in queries.items()}

    async def check(self) -> None:
        """See the protocol."""
        async with self._reading() as session:
            await session.execute(text("SELECT 1"))
