"""The node's TransactionStore in the database, held to the suite that every TransactionStore is held to."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.transactions import TransactionStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger.memory import MemoryStore
from tests.fixtures.transaction_stores import TransactionStoreContract


class TestMemoryStore(TransactionStoreContract):
    @pytest.fixture
    def store(self) -> TransactionStore:
        return MemoryStore()


class TestSqlTransactionStore(TransactionStoreContract):
    @pytest.fixture
    def store(self, engine: AsyncEngine) -> TransactionStore:
        return SqlTransactionStore(engine)
