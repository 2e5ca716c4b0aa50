"""Transfers, deliveries and receipts in the database; see `docex.service.ports.Store`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Receipt
from docex.core.requests import Once
from docex.core.state import (
    DeliveryState,
    Direction,
    EventKind,
    Job,
    StoredDocument,
    StoredTransfer,
)
from docex.core.statement import Statement
from docex.db import rows
from docex.db import within as bounds
from docex.db.events import EventTables
from docex.db.models import DeliveryRow, JobRow, StatementRow, TransferDocumentRow, TransferRow
from docex.errors import Conflict, NotFound


class TransferTables(EventTables):
    """What was sent and received."""

    async def add_transfer(
        self,
        transfer: StoredTransfer,
        statements: Sequence[Statement],
        jobs: Sequence[Job],
        once: Once | None = None,
    ) -> StoredTransfer:
        """See the protocol."""
        try:
            async with self._writing() as session:
                if await session.get(TransferRow, transfer.id) is None:
                    await self._add_statements(session, statements)
                    await self._insert_transfer(session, transfer)
                    await self._add_jobs(session, jobs)
                    await self._take_effect(session, once, transfer.id)
                    kind = EventKind.SENT if transfer.direction is Direction.SENT else EventKind.ANNOUNCED
                    await self._add_events(session, kind, transfer.id, [each.account for each in transfer.deliveries])
                return await self._load(session, transfer.id)
        except IntegrityError:  # the same transfer from another connection at the same time
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
                expires=transfer.expires,
                fair=transfer.fair,
                ciphertext=transfer.ciphertext,
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
                    sent=0,
                    returned=False,
                    updated=delivery.updated,
                )
            )

    @staticmethod
    def _add_transfer_documents(session: AsyncSession, transfer: str, documents: Sequence[str]) -> None:
        for position, digest in enumerate(documents):
            session.add(TransferDocumentRow(transfer=transfer, position=position, statement=digest))

    async def transfer(self, transfer: str, within: Folders = EVERYTHING) -> StoredTransfer:
        """See the protocol."""
        async with self._reading() as session:
            return await self._load(session, transfer, within)

    async def _load(self, session: AsyncSession, transfer: str, within: Folders = EVERYTHING) -> StoredTransfer:
        row = await session.scalar(select(TransferRow).where(TransferRow.id == transfer, bounds.transfers(within)))
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
        self,
        direction: Direction | None,
        before: tuple[int, str] | None,
        limit: int,
        within: Folders = EVERYTHING,
    ) -> Sequence[StoredTransfer]:
        """See the protocol."""
        query = select(TransferRow).where(bounds.transfers(within))
        query = query.order_by(TransferRow.created.desc(), TransferRow.id.desc()).limit(limit)
        if direction is not None:
            query = query.where(TransferRow.direction == direction)
        if before is not None:
            query = query.where(tuple_(TransferRow.created, TransferRow.id) < before)
        async with self._reading() as session:
            return await self._load_all(session, list(await session.scalars(query)))

    async def transfers_of(self, statement: str, within: Folders = EVERYTHING) -> Sequence[StoredTransfer]:
        """See the protocol."""
        query = (
            select(TransferRow)
            .join(TransferDocumentRow, TransferDocumentRow.transfer == TransferRow.id)
            .join(StatementRow, StatementRow.digest == TransferRow.id)
            .where(TransferDocumentRow.statement == statement, bounds.transfers(within))
            .order_by(StatementRow.sequence)  # two may be signed in the same second: the order of arrival tells
        )
        async with self._reading() as session:
            return await self._load_all(session, list(await session.scalars(query)))

    async def set_packet(self, transfer: str, blob: str, jobs: Sequence[Job]) -> StoredTransfer:
        """See the protocol."""
        async with self._writing() as session:
            change = update(TransferRow).where(TransferRow.id == transfer, TransferRow.blob.is_(None))
            await session.execute(change.values(blob=blob, ciphertext=None))
            reached = await session.scalars(
                update(DeliveryRow)
                .where(DeliveryRow.transfer == transfer, DeliveryRow.state.in_(_NOT_WHOLE))
                .values(state=DeliveryState.DELIVERED, error=None, updated=int(self._clock()))
                .returning(DeliveryRow.account)
            )
            accounts = list(reached)
            await self._add_jobs(session, jobs)
            await self._add_events(session, EventKind.RECEIVED, transfer, accounts)
            return await self._load(session, transfer)

    async def set_delivery(self, transfer: str, account: str, state: DeliveryState, error: str | None) -> None:
        """See the protocol."""
        async with self._writing() as session:
            row = await session.get(DeliveryRow, (transfer, account), with_for_update=True)
            if row is None or row.state not in _BEFORE[state]:
                return
            failed = state is DeliveryState.PENDING
            reached = DeliveryState(row.state) if failed else state  # a failed attempt undoes nothing
            changed = (row.state, row.error) != (reached, error)
            row.state, row.error, row.attempts, row.updated = reached, error, row.attempts + 1, int(self._clock())
            if changed and state is not DeliveryState.RECEIVED:
                kind = EventKind.FAILED if failed else EventKind(state)
                await self._add_events(session, kind, transfer, [account], error)

    async def expire(self, transfer: str) -> None:
        """See the protocol."""
        open_ = DeliveryRow.transfer == transfer, DeliveryRow.state.in_(_OPEN)
        async with self._writing() as session:
            found = list(await session.scalars(select(DeliveryRow).where(*open_).with_for_update()))
            for row in found:
                row.state, row.updated = DeliveryState.EXPIRED, int(self._clock())
                await session.execute(delete(JobRow).where(JobRow.key == f"deliver:{transfer}:{row.account}"))
            if found:
                await self._add_events(session, EventKind.EXPIRED, transfer, [row.account for row in found])

    async def set_sent(self, transfer: str, account: str, sent: int) -> None:
        """See the protocol."""
        here = DeliveryRow.transfer == transfer, DeliveryRow.account == account
        async with self._writing() as session:
            await session.execute(update(DeliveryRow).where(*here).values(sent=sent))

    async def set_returned(self, transfer: str) -> None:
        """See the protocol."""
        async with self._writing() as session:
            await session.execute(update(DeliveryRow).where(DeliveryRow.transfer == transfer).values(returned=True))

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

    async def add_ciphertext_receipt(
        self, transfer: str, account: str, receipt: Statement, jobs: Sequence[Job], ciphertext: str | None = None
    ) -> StoredTransfer:
        """See the protocol."""
        async with self._writing() as session:
            row = await session.get(DeliveryRow, (transfer, account), with_for_update=True)
            if row is None:
                raise NotFound(f"{account} is not an addressee of transfer {transfer}")
            if row.ciphertext_receipt not in (None, receipt.digest_text):
                raise Conflict("the ciphertext of this transfer has a receipt already, and a receipt never changes")
            first = row.ciphertext_receipt is None
            if first and row.state == DeliveryState.EXPIRED:  # it would be kept, and nothing given for it
                raise Conflict("this transfer has expired: nobody signs for its ciphertext any more")
            if first:
                await self._add_statements(session, [receipt])
                row.ciphertext_receipt, row.updated = receipt.digest_text, int(self._clock())
                if row.state == DeliveryState.PENDING:
                    row.state, row.error = DeliveryState.RECEIVED, None
                if ciphertext is not None:
                    change = update(TransferRow).where(TransferRow.id == transfer, TransferRow.blob.is_(None))
                    await session.execute(change.values(ciphertext=ciphertext))
            if row.receipt is None:
                await self._add_jobs(session, jobs, wake=True)
            if first:
                await self._add_events(session, EventKind.CIPHERTEXT, transfer, [account])
            return await self._load(session, transfer)

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
                await self._add_events(session, EventKind(state), transfer, [account], _reason(receipt))
            elif row.receipt != receipt.digest_text:
                raise Conflict("this transfer has a receipt already, and a receipt never changes")
            return await self._load(session, transfer)


# What may expire: who has signed for a ciphertext in time gets its header, however long that takes.
_OPEN = (DeliveryState.PENDING, DeliveryState.DELIVERED)
# From where a delivery gets to a state by an attempt; a failed one (pending) leaves it where it is.
_BEFORE = {
    DeliveryState.PENDING: (DeliveryState.PENDING, DeliveryState.RECEIVED),
    DeliveryState.RECEIVED: (DeliveryState.RECEIVED,),
    DeliveryState.WITHHELD: (DeliveryState.RECEIVED,),
    DeliveryState.DELIVERED: (DeliveryState.PENDING, DeliveryState.RECEIVED, DeliveryState.DELIVERED),
}


_NOT_WHOLE = (DeliveryState.PENDING, DeliveryState.RECEIVED, DeliveryState.WITHHELD)


def _reason(receipt: Statement) -> str | None:
    assert isinstance(receipt.body, Receipt)
    return receipt.body.reason
