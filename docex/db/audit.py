"""The database, read from end to end by pages, and what can be derived again; see `docex.service.ports.Audit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Select, String, case, func, literal, or_, select, tuple_, union, update

from docex.core.claims import Revocation
from docex.core.state import (
    Batch,
    DeliveryState,
    Direction,
    Job,
    PacketRecord,
    StoredDocument,
    StoredStatement,
)
from docex.core.transactions import TransactionStatus
from docex.db import rows
from docex.db.models import (
    AttemptRow,
    BatchRow,
    DeliveryRow,
    DocumentRow,
    JobRow,
    StatementRow,
    TransactionRow,
    TransferRow,
)
from docex.db.tables import Tables


class AuditTables(Tables):
    """What `docex fsck` asks and mends. Every page goes on where an index leads to: none costs more than the first."""

    async def packets_named(self, blobs: Sequence[str]) -> Mapping[str, PacketRecord]:
        """See the protocol."""
        transfers = select(TransferRow.blob, TransferRow.packet, TransferRow.size).where(TransferRow.blob.in_(blobs))
        payloads = select(TransferRow.ciphertext, TransferRow.packet, TransferRow.size)
        documents = select(DocumentRow.blob, DocumentRow.packet, DocumentRow.packet_size)
        async with self._reading() as session:
            found: dict[str, PacketRecord] = {}
            for blob, digest, size in await session.execute(documents.where(DocumentRow.blob.in_(blobs))):
                found[blob] = PacketRecord(digest, None, size)
            for name, digest, size in await session.execute(transfers):
                assert name is not None  # it was asked for
                found[name] = PacketRecord(digest, size, None)
            for name, digest, size in await session.execute(payloads.where(TransferRow.ciphertext.in_(blobs))):
                assert name is not None
                found[name] = PacketRecord(digest, size, size, headless=True)
        return found

    async def count_packets(self) -> int:
        """See the protocol."""
        named = union(
            select(DocumentRow.blob.label("blob")),
            select(TransferRow.blob).where(TransferRow.blob.is_not(None)),
            select(TransferRow.ciphertext).where(TransferRow.ciphertext.is_not(None)),
        ).subquery()
        async with self._reading() as session:
            return await session.scalar(select(func.count()).select_from(named)) or 0

    async def arriving(self, transfers: Sequence[str]) -> Sequence[str]:
        """See the protocol."""
        query = select(TransferRow.id).where(
            TransferRow.id.in_(transfers),
            TransferRow.direction == Direction.RECEIVED,
            TransferRow.blob.is_(None),
        )
        async with self._reading() as session:
            return list(await session.scalars(query))

    async def documents_from(self, after: int, limit: int) -> Sequence[tuple[int, StoredDocument, str | None]]:
        """See the protocol."""
        query = (
            select(DocumentRow, StatementRow.token)
            .outerjoin(StatementRow, StatementRow.digest == DocumentRow.statement)
            .where(DocumentRow.number > after)
            .order_by(DocumentRow.number)
            .limit(limit)
        )
        async with self._reading() as session:
            return [(row.number, rows.document(row), token) for row, token in await session.execute(query)]

    async def paths_misnumbered(self, after: str, limit: int) -> Sequence[str]:
        """See the protocol."""
        marked = func.max(case((DocumentRow.newest, DocumentRow.version), else_=0))
        query = (
            select(DocumentRow.path)
            .where(DocumentRow.path > after)
            .group_by(DocumentRow.path)
            .having(
                or_(
                    func.sum(case((DocumentRow.newest, 1), else_=0)) != 1,
                    marked != func.max(DocumentRow.version),
                )
            )
            .order_by(DocumentRow.path)
            .limit(limit)
        )
        async with self._reading() as session:
            return list(await session.scalars(query))

    async def mark_newest(self, path: str) -> None:
        """See the protocol."""
        newest = select(func.max(DocumentRow.version)).where(DocumentRow.path == path).scalar_subquery()
        async with self._writing() as session:
            change = update(DocumentRow).where(DocumentRow.path == path).values(newest=DocumentRow.version == newest)
            await session.execute(change, execution_options={"synchronize_session": False})

    async def statements_from(self, after: int, limit: int) -> Sequence[tuple[int, StoredStatement]]:
        """See the protocol."""
        query = select(StatementRow).where(StatementRow.sequence > after).order_by(StatementRow.sequence).limit(limit)
        async with self._reading() as session:
            return [(row.sequence, rows.statement(row)) for row in await session.scalars(query)]

    async def receipts_kept(self, receipts: Sequence[str]) -> Sequence[str]:
        """See the protocol."""
        query = select(DeliveryRow.receipt).where(DeliveryRow.receipt.in_(receipts))
        first = select(DeliveryRow.ciphertext_receipt).where(DeliveryRow.ciphertext_receipt.in_(receipts))
        async with self._reading() as session:
            found = [*await session.scalars(query), *await session.scalars(first)]
        return [each for each in found if each is not None]

    async def batches_from(self, after: int, limit: int) -> Sequence[Batch]:
        """See the protocol."""
        query = select(BatchRow).where(BatchRow.number > after).order_by(BatchRow.number).limit(limit)
        async with self._reading() as session:
            return [rows.batch(row) for row in await session.scalars(query)]

    async def leaves_of(self, batch: int) -> Sequence[tuple[int | None, str]]:
        """See the protocol."""
        query = select(StatementRow.leaf, StatementRow.digest).where(StatementRow.batch == batch)
        async with self._reading() as session:
            found = await session.execute(query.order_by(StatementRow.sequence))
            return [(leaf, digest) for leaf, digest in found]

    async def renumber_leaves(self, batch: int) -> None:
        """See the protocol."""
        query = select(StatementRow).where(StatementRow.batch == batch).order_by(StatementRow.sequence)
        async with self._writing() as session:
            found = list(await session.scalars(query))
            for row in found:  # none may have the number of another, not even for a moment
                row.leaf = None
            await session.flush()
            for leaf, row in enumerate(found):
                row.leaf = leaf

    async def block_of(self, transaction: bytes) -> bytes | None:
        """See the protocol."""
        query = (
            select(TransactionRow.block_hash)
            .join(AttemptRow, AttemptRow.key == TransactionRow.key)
            .where(AttemptRow.transaction == transaction, TransactionRow.mined == transaction)
            .where(TransactionRow.status == TransactionStatus.FINAL)
        )
        async with self._reading() as session:
            return await session.scalar(query)

    async def batches_by(self, transaction: bytes) -> int:
        """See the protocol."""
        query = select(func.count()).select_from(BatchRow).where(BatchRow.transaction == transaction)
        async with self._reading() as session:
            return await session.scalar(query) or 0

    async def tokens(self, statements: Sequence[str]) -> Mapping[str, str]:
        """See the protocol."""
        query = select(StatementRow.digest, StatementRow.token).where(StatementRow.digest.in_(statements))
        async with self._reading() as session:
            return {row.digest: row.token for row in await session.execute(query)}

    async def settle(self, transfer: str, account: str, state: DeliveryState) -> None:
        """See the protocol."""
        change = (
            update(DeliveryRow)
            .where(DeliveryRow.transfer == transfer, DeliveryRow.account == account, DeliveryRow.receipt.is_not(None))
            .values(state=state, updated=int(self._clock()))
        )
        async with self._writing() as session:
            await session.execute(change)

    async def undelivered(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("deliver:", String) + DeliveryRow.transfer + literal(":", String) + DeliveryRow.account
        query = self._deliveries(after, limit).where(
            TransferRow.direction == Direction.SENT,
            DeliveryRow.state.in_([DeliveryState.PENDING, DeliveryState.RECEIVED]),
            ~select(JobRow.key).where(JobRow.key == key).exists(),
        )
        async with self._reading() as session:
            return [(row.transfer, row.account) for row in await session.execute(query)]

    async def unopened(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("open:", String) + DeliveryRow.transfer
        query = self._deliveries(after, limit).where(
            TransferRow.direction == Direction.RECEIVED,
            TransferRow.blob.is_not(None),
            DeliveryRow.receipt.is_(None),
            ~select(JobRow.key).where(JobRow.key == key).exists(),
        )
        async with self._reading() as session:
            return [(row.transfer, row.account) for row in await session.execute(query)]

    async def unasked(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("ask:", String) + DeliveryRow.transfer
        query = self._deliveries(after, limit).where(
            TransferRow.direction == Direction.RECEIVED,
            DeliveryRow.state == DeliveryState.RECEIVED,
            ~select(JobRow.key).where(JobRow.key == key).exists(),
        )
        async with self._reading() as session:
            return [(row.transfer, row.account) for row in await session.execute(query)]

    async def unreturned(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("return:", String) + DeliveryRow.transfer
        query = self._deliveries(after, limit).where(
            TransferRow.direction == Direction.RECEIVED,
            DeliveryRow.receipt.is_not(None),
            DeliveryRow.returned.is_(False),
            ~select(JobRow.key).where(JobRow.key == key).exists(),
        )
        async with self._reading() as session:
            return [(row.transfer, row.account) for row in await session.execute(query)]

    async def unexpired(self, after: tuple[str, str], limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("expire:", String) + DeliveryRow.transfer
        query = self._deliveries(after, limit).where(
            TransferRow.direction == Direction.SENT,
            TransferRow.expires.is_not(None),
            DeliveryRow.state.in_([DeliveryState.PENDING, DeliveryState.RECEIVED, DeliveryState.DELIVERED]),
            ~select(JobRow.key).where(JobRow.key == key).exists(),
        )
        async with self._reading() as session:
            return [(row.transfer, row.account) for row in await session.execute(query)]

    async def unrecorded(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """See the protocol."""
        key = literal("revoke:", String) + StatementRow.takes_back
        query = (
            select(StatementRow.digest, StatementRow.takes_back)
            .where(StatementRow.type == Revocation.TYPE, StatementRow.digest > after)
            .where(StatementRow.takes_back.is_not(None), ~select(JobRow.key).where(JobRow.key == key).exists())
            .order_by(StatementRow.digest)
            .limit(limit)
        )
        async with self._reading() as session:
            return [(digest, revoked) for digest, revoked in await session.execute(query) if revoked is not None]

    def _deliveries(self, after: tuple[str, str], limit: int) -> Select[str, str]:
        return (
            select(DeliveryRow.transfer, DeliveryRow.account)
            .join(TransferRow, TransferRow.id == DeliveryRow.transfer)
            .where(tuple_(DeliveryRow.transfer, DeliveryRow.account) > after)
            .order_by(DeliveryRow.transfer, DeliveryRow.account)
            .limit(limit)
        )

    async def jobs_among(self, keys: Sequence[str]) -> Sequence[str]:
        """See the protocol."""
        async with self._reading() as session:
            return list(await session.scalars(select(JobRow.key).where(JobRow.key.in_(keys))))

    async def jobs_from(self, after: str, limit: int) -> Sequence[Job]:
        """See the protocol."""
        query = select(JobRow).where(JobRow.key > after).order_by(JobRow.key).limit(limit)
        async with self._reading() as session:
            return [rows.job(row) for row in await session.scalars(query)]

    async def add_jobs(self, jobs: Sequence[Job]) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await self._add_jobs(session, jobs)
