"""The node's TransactionStore in the database, held to the suite that every TransactionStore is held to."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.transactions import StoredTransaction, TransactionStatus, TransactionStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger.memory import MemoryStore
from tests.fixtures.transaction_stores import OTHER, TransactionStoreContract, attempt, request


class Contract(TransactionStoreContract):
    """And what it does with transactions that the chain has and it has not."""

    async def test_a_transaction_that_the_chain_has_is_kept_at_its_nonce(self, store: TransactionStore) -> None:
        await store.reserve(request("a"), 5)
        row = await store.adopt(request("b"), attempt(3))
        assert row == StoredTransaction(request("b"), 3, TransactionStatus.PENDING, (attempt(3),), None)
        assert await store.find("b") == row
        assert await store.unsettled(1, request("b").account) == [row, await store.find("a")]
        assert await store.adopt(request("b"), attempt(4)) == row
        assert (await store.reserve(request("c"), 0)).nonce == 6

    async def test_it_is_not_kept_at_the_nonce_of_another_row_but_at_one_that_was_left(
        self, store: TransactionStore
    ) -> None:
        await store.reserve(request("a"), 3)
        assert await store.adopt(request("b"), attempt(3)) is None
        assert await store.find("b") is None
        assert await store.adopt(request("other", account=OTHER), attempt(3)) is not None
        await store.renumber("a", 3, 4)
        row = await store.adopt(request("b"), attempt(3))
        assert row is not None
        assert (row.nonce, row.current) == (3, (attempt(3),))
        assert (await store.reserve(request("c"), 0)).nonce == 5


class TestMemoryStore(Contract):
    @pytest.fixture
    def store(self) -> TransactionStore:
        return MemoryStore()


class TestSqlTransactionStore(Contract):
    @pytest.fixture
    def store(self, engine: AsyncEngine) -> TransactionStore:
        return SqlTransactionStore(engine)
