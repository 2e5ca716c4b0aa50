"""A TransactionStore in memory: for commands that end with their transaction, and as the model in tests.

A command that dies before its transaction is mined loses the row, and with it only the ability to retry the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from docex.core.transactions import (
    SETTLED,
    Attempt,
    BlockRef,
    StoredTransaction,
    TransactionRequest,
    TransactionStatus,
)
from docex.errors import NotFound


class MemoryStore:
    """See ``docex.core.transactions.TransactionStore``. Not durable; one event loop."""

    def __init__(self) -> None:
        self._rows: dict[str, StoredTransaction] = {}
        self._taken: dict[tuple[int, str], set[int]] = {}

    async def find(self, key: str) -> StoredTransaction | None:
        """See the protocol."""
        return self._rows.get(key)

    async def reserve(self, request: TransactionRequest, first_nonce: int) -> StoredTransaction:
        """See the protocol."""
        if request.key in self._rows:
            return self._rows[request.key]
        return self._add(request, self._allocate(request, first_nonce))

    async def reserve_at(self, request: TransactionRequest, nonce: int) -> StoredTransaction | None:
        """See the protocol."""
        if request.key in self._rows:
            return self._rows[request.key]
        taken = self._nonces(request)
        if nonce in taken:
            return None
        taken.add(nonce)
        return self._add(request, nonce)

    async def adopt(self, request: TransactionRequest, attempt: Attempt) -> StoredTransaction | None:
        """See the protocol."""
        if request.key in self._rows:
            return self._rows[request.key]
        if any(row.nonce == attempt.nonce for row in self._of(request.chain_id, request.account)):
            return None
        self._nonces(request).add(attempt.nonce)
        self._add(request, attempt.nonce)
        return await self.add_attempt(request.key, attempt)

    async def renumber(self, key: str, nonce: int, first_nonce: int) -> StoredTransaction:
        """See the protocol."""
        row = self._row(key)
        if row.nonce != nonce or row.status is not TransactionStatus.PENDING:
            return row
        return self._put(replace(row, nonce=self._allocate(row.request, first_nonce)))

    async def add_attempt(self, key: str, attempt: Attempt) -> StoredTransaction:
        """See the protocol."""
        row = self._row(key)
        if any((kept.nonce, kept.number) == (attempt.nonce, attempt.number) for kept in row.attempts):
            return row
        return self._put(replace(row, attempts=(*row.attempts, attempt)))

    async def set_block(self, key: str, status: TransactionStatus, block: BlockRef | None) -> StoredTransaction:
        """See the protocol."""
        return self._put(replace(self._row(key), status=status, block=block))

    async def unsettled(self, chain_id: int, account: str) -> Sequence[StoredTransaction]:
        """See the protocol."""
        rows = (row for row in self._of(chain_id, account) if row.status not in SETTLED)
        return sorted(rows, key=lambda row: row.nonce)

    async def newest_settled(self, chain_id: int, account: str) -> StoredTransaction | None:
        """See the protocol."""
        blocks = [
            (row.block.number, row.nonce, row)
            for row in self._of(chain_id, account)
            if row.status in SETTLED and row.block is not None
        ]
        return max(blocks, key=lambda item: item[:2])[2] if blocks else None

    def _of(self, chain_id: int, account: str) -> list[StoredTransaction]:
        wanted = (chain_id, account)
        return [row for row in self._rows.values() if (row.request.chain_id, row.request.account) == wanted]

    def _row(self, key: str) -> StoredTransaction:
        if key not in self._rows:
            raise NotFound(f"there is no transaction {key!r}")
        return self._rows[key]

    def _put(self, row: StoredTransaction) -> StoredTransaction:
        self._rows[row.key] = row
        return row

    def _add(self, request: TransactionRequest, nonce: int) -> StoredTransaction:
        return self._put(StoredTransaction(request, nonce, TransactionStatus.PENDING, (), None))

    def _nonces(self, request: TransactionRequest) -> set[int]:
        return self._taken.setdefault((request.chain_id, request.account), set())

    def _allocate(self, request: TransactionRequest, first_nonce: int) -> int:
        taken = self._nonces(request)
        nonce = max(first_nonce, max(taken, default=-1) + 1)
        taken.add(nonce)
        return nonce
