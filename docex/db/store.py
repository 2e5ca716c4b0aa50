"""The node's state of record over SQLAlchemy; see `docex.service.ports.Store` for what each method promises."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import func, or_, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core import merkle
from docex.core.digest import parse_digest
from docex.core.state import (
    Batch,
    BatchState,
    DeliveryState,
    Direction,
    Job,
    StoredDocument,
    StoredStatement,
    StoredTransfer,
)
from docex.core.statement import Statement
from docex.db import rows
from docex.db.engine import READ_ONLY
from docex.db.models import (
    BatchRow,
    DeliveryRow,
    DocumentRow,
    JobRow,
    StatementRow,
    TransferDocumentRow,
    TransferRow,
)
from docex.errors import Conflict, NotFound

_FINAL_STATES = (DeliveryState.ACCEPTED, DeliveryState.REJECTED)
_RACES = 20  # tries of a transaction that another one made impossible to commit


class SqlStore:
    """A `docex.service.ports.Store`; several processes may share one database."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{READ_ONLY: True})
        self._clock = clock

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._reader) as session:
            yield session

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self._engine) as session, session.begin():
            yield session

    # --- documents and statements ----------------------------------------------------------------------------------

    async def add_document(self, document: StoredDocument, statements: Sequence[Statement]) -> StoredDocument:
        """See the protocol."""
        for _ in range(_RACES):
            try:
                async with self._writing() as session:
                    await self._add_statements(session, statements)
                    return rows.document(await self._add_version(session, document))
            except IntegrityError:  # another upload took this version number (PostgreSQL): take the next
                continue
        raise Conflict(f"{document.path!r} is being written by too many at once")

    async def _add_version(self, session: AsyncSession, document: StoredDocument) -> DocumentRow:
        newest = await session.scalar(select(func.max(DocumentRow.version)).where(DocumentRow.path == document.path))
        await session.execute(
            update(DocumentRow).where(DocumentRow.path == document.path, DocumentRow.newest).values(newest=False)
        )
        row = rows.document_row(document, (newest or 0) + 1)
        session.add(row)
        await session.flush()
        return row

    async def _add_statements(self, session: AsyncSession, statements: Sequence[Statement]) -> None:
        digests = [each.digest_text for each in statements]
        known = set(await session.scalars(select(StatementRow.digest).where(StatementRow.digest.in_(digests))))
        now = int(self._clock())
        for each in statements:
            if each.digest_text not in known:
                known.add(each.digest_text)
                session.add(StatementRow(**rows.statement_values(each, now)))
                await session.flush()  # one by one: the order of arrival is the order of leaves

    async def document(self, path: str, version: int | None = None) -> StoredDocument:
        """See the protocol."""
        wanted = DocumentRow.newest if version is None else DocumentRow.version == version
        async with self._reading() as session:
            row = await session.scalar(select(DocumentRow).where(DocumentRow.path == path, wanted))
        if row is None:
            raise NotFound(f"there is no document {path!r}" + (f" version {version}" if version is not None else ""))
        return rows.document(row)

    async def document_by_digest(self, digest: str) -> StoredDocument | None:
        """See the protocol."""
        query = (
            select(DocumentRow)
            .where(or_(DocumentRow.statement == digest, DocumentRow.digest == digest))
            .order_by(DocumentRow.number.desc())
            .limit(1)
        )
        async with self._reading() as session:
            row = await session.scalar(query)
        return rows.document(row) if row else None

    async def documents(self, folder: str, after: str, limit: int) -> Sequence[StoredDocument]:
        """See the protocol."""
        query = select(DocumentRow).where(DocumentRow.newest, DocumentRow.path > after)
        if folder:  # a range, not a pattern: it uses the index and needs no escaping ("0" follows "/")
            query = query.where(DocumentRow.path > folder + "/", DocumentRow.path < folder + "0")
        async with self._reading() as session:
            found = await session.scalars(query.order_by(DocumentRow.path).limit(limit))
            return [rows.document(row) for row in found]

    async def statement(self, digest: str) -> StoredStatement | None:
        """See the protocol."""
        async with self._reading() as session:
            row = await session.scalar(select(StatementRow).where(StatementRow.digest == digest))
        return rows.statement(row) if row else None

    # --- transfers and receipts ------------------------------------------------------------------------------------

    async def add_transfer(
        self, transfer: StoredTransfer, statements: Sequence[Statement], jobs: Sequence[Job]
    ) -> StoredTransfer:
        """See the protocol."""
        try:
            async with self._writing() as session:
                if await session.get(TransferRow, transfer.id) is None:
                    await self._add_statements(session, statements)
                    await self._insert_transfer(session, transfer)
                    await self._add_jobs(session, jobs)
        except IntegrityError:  # the same transfer from another connection at the same time
            pass
        return await self.transfer(transfer.id)

    async def _insert_transfer(self, session: AsyncSession, transfer: StoredTransfer) -> None:
        session.add(
            TransferRow(
                id=transfer.id,
                direction=transfer.direction,
                peer=transfer.peer,
                packet=transfer.packet,
                size=transfer.size,
                created=transfer.created,
                blob=transfer.blob,
            )
        )
        await session.flush()
        self._add_transfer_documents(session, transfer.id, transfer.documents)
        for position, delivery in enumerate(transfer.deliveries):
            session.add(
                DeliveryRow(
                    transfer=transfer.id,
                    account=delivery.account,
                    position=position,
                    state=delivery.state,
                    attempts=0,
                    updated=delivery.updated,
                )
            )

    @staticmethod
    def _add_transfer_documents(session: AsyncSession, transfer: str, documents: Sequence[str]) -> None:
        for position, digest in enumerate(documents):
            session.add(TransferDocumentRow(transfer=transfer, position=position, statement=digest))

    async def transfer(self, transfer: str) -> StoredTransfer:
        """See the protocol."""
        async with self._reading() as session:
            return await self._load(session, transfer)

    async def _load(self, session: AsyncSession, transfer: str) -> StoredTransfer:
        row = await session.get(TransferRow, transfer)
        if row is None:
            raise NotFound(f"there is no transfer {transfer}")
        return (await self._load_all(session, [row]))[0]

    async def _load_all(self, session: AsyncSession, found: Sequence[TransferRow]) -> list[StoredTransfer]:
        ids = [row.id for row in found]
        documents: dict[str, list[str]] = {each: [] for each in ids}
        deliveries: dict[str, list[DeliveryRow]] = {each: [] for each in ids}
        for document in await session.scalars(
            select(TransferDocumentRow)
            .where(TransferDocumentRow.transfer.in_(ids))
            .order_by(TransferDocumentRow.position)
        ):
            documents[document.transfer].append(document.statement)
        for delivery in await session.scalars(
            select(DeliveryRow).where(DeliveryRow.transfer.in_(ids)).order_by(DeliveryRow.position)
        ):
            deliveries[delivery.transfer].append(delivery)
        return [rows.transfer(row, documents[row.id], deliveries[row.id]) for row in found]

    async def transfers(
        self, direction: Direction | None, before: tuple[int, str] | None, limit: int
    ) -> Sequence[StoredTransfer]:
        """See the protocol."""
        query = select(TransferRow).order_by(TransferRow.created.desc(), TransferRow.id.desc()).limit(limit)
        if direction is not None:
            query = query.where(TransferRow.direction == direction)
        if before is not None:
            query = query.where(tuple_(TransferRow.created, TransferRow.id) < before)
        async with self._reading() as session:
            return await self._load_all(session, list(await session.scalars(query)))

    async def transfers_of(self, statement: str) -> Sequence[StoredTransfer]:
        """See the protocol."""
        query = (
            select(TransferRow)
            .join(TransferDocumentRow, TransferDocumentRow.transfer == TransferRow.id)
            .where(TransferDocumentRow.statement == statement)
            .order_by(TransferRow.created, TransferRow.id)
        )
        async with self._reading() as session:
            return await self._load_all(session, list(await session.scalars(query)))

    async def set_packet(self, transfer: str, blob: str, jobs: Sequence[Job]) -> StoredTransfer:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(
                update(TransferRow).where(TransferRow.id == transfer, TransferRow.blob.is_(None)).values(blob=blob)
            )
            await session.execute(
                update(DeliveryRow)
                .where(DeliveryRow.transfer == transfer, DeliveryRow.state == DeliveryState.PENDING)
                .values(state=DeliveryState.DELIVERED, updated=int(self._clock()))
            )
            await self._add_jobs(session, jobs)
            return await self._load(session, transfer)

    async def set_delivery(self, transfer: str, account: str, state: DeliveryState, error: str | None) -> None:
        """See the protocol."""
        values = {"error": error, "attempts": DeliveryRow.attempts + 1, "updated": int(self._clock())}
        # A failed attempt after one that got through says nothing about what is delivered.
        undone = [DeliveryState.PENDING] if state is DeliveryState.PENDING else [DeliveryState.PENDING, state]
        async with self._writing() as session:
            await session.execute(
                update(DeliveryRow)
                .where(DeliveryRow.transfer == transfer, DeliveryRow.account == account, DeliveryRow.state.in_(undone))
                .values(state=state, **values)
            )

    async def add_received(
        self, transfer: str, documents: Sequence[StoredDocument], statements: Sequence[Statement]
    ) -> None:
        """See the protocol."""
        async with self._writing() as session:
            if await session.scalar(select(TransferDocumentRow).where(TransferDocumentRow.transfer == transfer)):
                return
            await self._add_statements(session, statements)
            self._add_transfer_documents(session, transfer, [each.digest_text for each in statements])
            for document in documents:
                await self._add_version(session, document)

    async def add_receipt(
        self, transfer: str, account: str, state: DeliveryState, receipt: Statement, jobs: Sequence[Job]
    ) -> StoredTransfer:
        """See the protocol."""
        async with self._writing() as session:
            row = await session.get(DeliveryRow, (transfer, account), with_for_update=True)
            if row is None:
                raise NotFound(f"{account} is not an addressee of transfer {transfer}")
            if row.receipt is None:
                await self._add_statements(session, [receipt])
                row.receipt, row.state, row.error = receipt.digest_text, state, None
                row.updated = int(self._clock())
                await self._add_jobs(session, jobs)
                await session.flush()
            elif row.receipt != receipt.digest_text:
                raise Conflict("this transfer has a receipt already, and a receipt never changes")
            return await self._load(session, transfer)

    # --- batches ---------------------------------------------------------------------------------------------------

    async def make_batch(self, limit: int, now: int) -> Batch | None:
        """See the protocol."""
        waiting = (
            select(StatementRow)
            .where(StatementRow.batch.is_(None))
            .order_by(StatementRow.sequence)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._reading() as session:  # most of the time there is nothing to do, and no lock to take for it
            if await session.scalar(waiting.with_only_columns(StatementRow.sequence).limit(1)) is None:
                return None
        async with self._writing() as session:
            found = list(await session.scalars(waiting))
            if not found:
                return None
            root = merkle.root([merkle.leaf_hash(parse_digest(row.digest).raw) for row in found])
            batch = BatchRow(root=root, size=len(found), state=BatchState.SEALED, created=now)
            session.add(batch)
            await session.flush()
            for leaf, row in enumerate(found):
                row.batch, row.leaf = batch.number, leaf
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

    async def set_batch(self, batch: Batch) -> None:
        """See the protocol."""
        async with self._writing() as session:
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

    # --- jobs and health -------------------------------------------------------------------------------------------

    async def _add_jobs(self, session: AsyncSession, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if await session.get(JobRow, job.key) is None:
                session.add(JobRow(key=job.key, kind=job.kind, argument=job.argument, attempts=0, due=self._clock()))

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

    async def finish(self, key: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            if (row := await session.get(JobRow, key)) is not None:
                await session.delete(row)

    async def retry(self, key: str, at: float, error: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(JobRow).where(JobRow.key == key).values(due=at, error=error))

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

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()
