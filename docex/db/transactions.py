"""Ledger transactions in the database; see `docex.core.transactions.TransactionStore` for what each method promises."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from docex.core.state import BatchState
from docex.core.transactions import (
    SETTLED,
    Attempt,
    BlockRef,
    StoredTransaction,
    TransactionRequest,
    TransactionStatus,
)
from docex.db.engine import Sessions
from docex.db.models import AttemptRow, BatchRow, RetiredNonceRow, TransactionRow
from docex.db.tables import RACES
from docex.errors import Conflict, NotFound


class SqlTransactionStore:
    """A `docex.core.transactions.TransactionStore`; several processes may share one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = Sessions(engine)

    async def find(self, key: str) -> StoredTransaction | None:
        """See the protocol."""
        async with self._sessions.reading() as session:
            row = await session.get(TransactionRow, key)
            return await _load(session, row) if row else None

    async def reserve(self, request: TransactionRequest, first_nonce: int) -> StoredTransaction:
        """See the protocol."""
        for _ in range(RACES):
            try:
                async with self._sessions.writing() as session:
                    row = await session.get(TransactionRow, request.key)
                    if row is None:
                        nonce = await _next_nonce(session, request.chain_id, request.account, first_nonce)
                        row = await _insert(session, request, nonce)
                    return await _load(session, row)
            except IntegrityError:  # the nonce or the key was taken at the same time (PostgreSQL): look again
                continue
        raise Conflict(f"no nonce could be reserved for {request.key!r}: too many at once")

    async def reserve_at(self, request: TransactionRequest, nonce: int) -> StoredTransaction | None:
        """See the protocol."""
        try:
            async with self._sessions.writing() as session:
                row = await session.get(TransactionRow, request.key)
                if row is None:
                    if await session.get(RetiredNonceRow, (request.chain_id, request.account, nonce)):
                        return None
                    row = await _insert(session, request, nonce)
                return await _load(session, row)
        except IntegrityError:
            return await self.find(request.key)

    async def adopt(self, request: TransactionRequest, attempt: Attempt) -> StoredTransaction | None:
        """See the protocol."""
        try:
            async with self._sessions.writing() as session:
                row = await session.get(TransactionRow, request.key)
                if row is None:
                    row = await _insert(session, request, attempt.nonce)
                    session.add(_attempt_row(request.key, attempt))
                    await session.flush()
                return await _load(session, row)
        except IntegrityError:
            return await self.find(request.key)

    async def renumber(self, key: str, nonce: int, first_nonce: int) -> StoredTransaction:
        """See the protocol."""
        for _ in range(RACES):
            try:
                async with self._sessions.writing() as session:
                    row = await _get(session, key)
                    if row.nonce == nonce and row.status == TransactionStatus.PENDING:
                        session.add(RetiredNonceRow(chain_id=row.chain_id, account=row.account, nonce=nonce))
                        await session.flush()
                        row.nonce = await _next_nonce(session, row.chain_id, row.account, first_nonce)
                        await session.flush()
                    return await _load(session, row)
            except IntegrityError:
                continue
        raise Conflict(f"no nonce could be reserved for {key!r}: too many at once")

    async def add_attempt(self, key: str, attempt: Attempt) -> StoredTransaction:
        """See the protocol."""
        async with self._sessions.writing() as session:
            row = await _get(session, key)  # locked: attempts of one row are added one after the other
            if await session.get(AttemptRow, (key, attempt.nonce, attempt.number)) is None:
                session.add(_attempt_row(key, attempt))
                await session.flush()
            return await _load(session, row)

    async def set_block(self, key: str, status: TransactionStatus, block: BlockRef | None) -> StoredTransaction:
        """See the protocol."""
        async with self._sessions.writing() as session:
            row = await _get(session, key)
            if row.status == TransactionStatus.FINAL and (row.status, _block(row)) != (status, block):
                await _reopen_batch(session, row)
            row.status = status
            row.block_number = block.number if block else None
            row.block_hash = block.hash if block else None
            row.block_time = block.time if block else None
            row.mined = block.transaction if block else None
            row.succeeded = block.succeeded if block else None
            row.gas_used = block.gas_used if block else None
            row.contract = block.contract if block else None
            await session.flush()
            return await _load(session, row)

    async def unsettled(self, chain_id: int, account: str) -> Sequence[StoredTransaction]:
        """See the protocol."""
        query = (
            select(TransactionRow)
            .where(TransactionRow.chain_id == chain_id, TransactionRow.account == account)
            .where(TransactionRow.status.not_in(SETTLED))
            .order_by(TransactionRow.nonce)
        )
        async with self._sessions.reading() as session:
            return [await _load(session, row) for row in await session.scalars(query)]

    async def newest_settled(self, chain_id: int, account: str) -> StoredTransaction | None:
        """See the protocol."""
        query = (
            select(TransactionRow)
            .where(TransactionRow.chain_id == chain_id, TransactionRow.account == account)
            .where(TransactionRow.status.in_(SETTLED))
            .order_by(TransactionRow.block_number.desc(), TransactionRow.nonce.desc())
            .limit(1)
        )
        async with self._sessions.reading() as session:
            row = await session.scalar(query)
            return await _load(session, row) if row else None


async def _get(session: AsyncSession, key: str) -> TransactionRow:
    row = await session.get(TransactionRow, key, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no transaction {key!r}")
    return row


async def _next_nonce(session: AsyncSession, chain_id: int, account: str, first_nonce: int) -> int:
    highest = -1
    for table in (TransactionRow, RetiredNonceRow):
        taken = await session.scalar(
            select(func.max(table.nonce)).where(table.chain_id == chain_id, table.account == account)
        )
        highest = max(highest, -1 if taken is None else taken)
    return max(first_nonce, highest + 1)


async def _insert(session: AsyncSession, request: TransactionRequest, nonce: int) -> TransactionRow:
    row = TransactionRow(
        key=request.key,
        chain_id=request.chain_id,
        account=request.account,
        nonce=nonce,
        status=TransactionStatus.PENDING,
        to=request.to,
        data=request.data,
        value=str(request.value),
        gas=request.gas,
    )
    session.add(row)
    await session.flush()
    return row


async def _reopen_batch(session: AsyncSession, row: TransactionRow) -> None:
    """The batch that is final because of this transaction is no longer: its leaves stay, its anchor is dropped."""
    await session.execute(
        update(BatchRow)
        .where(BatchRow.transaction == row.mined)
        .values(state=BatchState.SEALED, transaction=None, block_number=None, block_hash=None, block_time=None)
    )


def _attempt_row(key: str, attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        key=key,
        nonce=attempt.nonce,
        number=attempt.number,
        transaction=attempt.transaction,
        raw=attempt.raw,
        max_fee=str(attempt.max_fee),
        tip=str(attempt.tip),
        block=attempt.block,
    )


async def _load(session: AsyncSession, row: TransactionRow) -> StoredTransaction:
    request = TransactionRequest(row.key, row.chain_id, row.account, row.to, row.data, int(row.value), row.gas)
    attempts = [
        Attempt(each.nonce, each.number, each.transaction, each.raw, int(each.max_fee), int(each.tip), each.block)
        for each in await session.scalars(
            select(AttemptRow).where(AttemptRow.key == row.key).order_by(AttemptRow.nonce, AttemptRow.number)
        )
    ]
    return StoredTransaction(request, row.nonce, TransactionStatus(row.status), tuple(attempts), _block(row))


def _block(row: TransactionRow) -> BlockRef | None:
    if row.block_number is None:
        return None
    assert row.block_hash is not None
    assert row.block_time is not None
    assert row.mined is not None
    return BlockRef(
        row.block_number,
        row.block_hash,
        row.block_time,
        row.mined,
        bool(row.succeeded),
        row.gas_used or 0,
        row.contract,
    )
