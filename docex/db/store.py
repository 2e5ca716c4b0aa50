"""The node's state of record over SQLAlchemy; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import func, or_, select, text
from sqlalchemy.exc import IntegrityError

from docex.core.state import BatchState
from docex.db.api_keys import ApiKeyTables
from docex.db.arrivals import ArrivalTables
from docex.db.audit import AuditTables
from docex.db.batches import BatchTables
from docex.db.calls import CallTables
from docex.db.documents import DocumentTables
from docex.db.figures import FigureTables
from docex.db.jobs import JobTables
from docex.db.models import BatchRow, DeliveryRow, DocumentRow, JobRow, OwnerRow, StatementRow, TransferRow
from docex.db.requests import RequestTables
from docex.db.search import SearchTables
from docex.db.shelf import ShelfTables
from docex.db.statements import StatementTables
from docex.db.transfers import TransferTables
from docex.errors import Conflict


class SqlStore(
    DocumentTables,
    StatementTables,
    TransferTables,
    BatchTables,
    JobTables,
    AuditTables,
    ApiKeyTables,
    RequestTables,
    ShelfTables,
    SearchTables,
    FigureTables,
    ArrivalTables,
    CallTables,
):
    """A `docex.service.ports.Store`; several processes may share one database."""

    async def belong_to(self, owner: str) -> None:
        """Give a new database to ``owner`` (account and contracts); see that an older one is theirs.

        Raises:
            Conflict: it is another's.
        """
        with suppress(IntegrityError):  # another process of the same node was first
            async with self._writing() as session:
                if await session.get(OwnerRow, 1) is None:
                    session.add(OwnerRow(number=1, owner=owner))
        async with self._reading() as session:
            row = await session.get_one(OwnerRow, 1)
        if row.owner != owner:
            raise Conflict(f"this database belongs to {row.owner}, not to {owner}")

    async def owner(self) -> str | None:
        """Account, Directory and Notary of the node whose database this is; None while no node has used it."""
        async with self._reading() as session:
            row = await session.get(OwnerRow, 1)
        return row.owner if row else None

    async def counts(self) -> dict[str, int]:
        """See the protocol."""
        final = select(BatchRow.number).where(BatchRow.state == BatchState.FINAL)
        not_final = or_(StatementRow.batch.is_(None), StatementRow.batch.not_in(final))
        queries = {
            "documents": select(func.count()).select_from(DocumentRow),
            "statements": select(func.count()).select_from(StatementRow),
            "statements_not_final": select(func.count()).select_from(StatementRow).where(not_final),
            "transfers": select(func.count()).select_from(TransferRow),
            "receipts": select(func.count()).select_from(DeliveryRow).where(DeliveryRow.receipt.is_not(None)),
            "batches": select(func.count()).select_from(BatchRow),
            "jobs": select(func.count()).select_from(JobRow),
        }
        async with self._reading() as session:
            return {name: await session.scalar(query) or 0 for name, query in queries.items()}

    async def check(self) -> None:
        """See the protocol."""
        async with self._reading() as session:
            await session.execute(text("SELECT 1"))
