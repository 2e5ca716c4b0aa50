"""What becomes of transactions that other connections make impossible to commit."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.state import StoredDocument
from docex.core.transactions import TransactionStatus
from docex.db import documents, tables, transactions
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.errors import Conflict
from tests.fixtures.statements import document_statement, stored_document
from tests.fixtures.transaction_stores import attempt, request

LOST = IntegrityError("INSERT", {}, Exception("somebody was faster"))


class LosesRaces:
    """Stands in for a step: it loses so many races before it wins one."""

    def __init__(self, step: object, races: int) -> None:
        self.step, self.left = step, races

    async def __call__(self, *arguments: object) -> object:
        if self.left:
            self.left -= 1
            raise LOST
        return await self.step(*arguments)  # type: ignore[operator]


async def kept(store: SqlStore) -> StoredDocument:
    said = document_statement("a")
    return await store.add_document(stored_document(said), [said])


async def test_a_version_that_loses_races_is_numbered_anew(
    sql_store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LosesRaces(sql_store._add_version, tables.RACES - 1)
    monkeypatch.setattr(documents, "_add_many", LosesRaces(None, 1000))
    monkeypatch.setattr(sql_store, "_add_version", step)
    assert (await kept(sql_store)).version == 1
    assert (await sql_store.counts())["statements"] == 1


async def test_a_version_that_always_loses_is_a_conflict(sql_store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_add_many", LosesRaces(None, 1000))
    monkeypatch.setattr(sql_store, "_add_version", LosesRaces(None, 1000))
    with pytest.raises(Conflict, match="too many at once"):
        await kept(sql_store)
    assert (await sql_store.counts())["statements"] == 0


async def test_a_nonce_that_loses_races_is_allocated_anew(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlTransactionStore(engine)
    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_next_nonce", LosesRaces(transactions._next_nonce, tables.RACES - 1))
        assert (await store.reserve(request("a"), 3)).nonce == 3
    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_next_nonce", LosesRaces(transactions._next_nonce, tables.RACES - 1))
        assert (await store.renumber("a", 3, 0)).nonce == 4


async def test_a_nonce_that_always_loses_is_a_conflict(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlTransactionStore(engine)
    await store.reserve(request("a"), 3)
    monkeypatch.setattr(transactions, "_next_nonce", LosesRaces(None, 1000))
    with pytest.raises(Conflict, match="too many at once"):
        await store.reserve(request("b"), 0)
    with pytest.raises(Conflict, match="too many at once"):
        await store.renumber("a", 3, 0)
    row = await store.find("a")
    assert row is not None
    assert (row.nonce, row.status) == (3, TransactionStatus.PENDING)


async def test_one_nonce_asked_for_by_many_at_once_goes_to_one(engine: AsyncEngine) -> None:
    store = SqlTransactionStore(engine)
    rows = await asyncio.gather(*(store.reserve_at(request(f"key {n}"), 7) for n in range(12)))
    assert len([each for each in rows if each]) == 1
    same = await asyncio.gather(*(store.reserve_at(request("same"), 8) for _ in range(12)))
    assert {each.nonce for each in same if each} == {8}
    assert None not in same


async def test_one_attempt_kept_by_many_at_once_is_one(engine: AsyncEngine) -> None:
    store = SqlTransactionStore(engine)
    await store.reserve(request("a"), 0)
    rows = await asyncio.gather(*(store.add_attempt("a", attempt(0, 0, bytes([n]))) for n in range(12)))
    found = await store.find("a")
    assert found is not None
    assert len(found.attempts) == 1
    assert {each.attempts for each in rows} == {found.attempts}


async def test_rows_renumbered_at_once_share_no_nonce(engine: AsyncEngine) -> None:
    store = SqlTransactionStore(engine)
    rows = [await store.reserve(request(f"key {n}"), 0) for n in range(8)]
    moved = await asyncio.gather(*(store.renumber(each.key, each.nonce, 0) for each in rows))
    assert sorted(each.nonce for each in moved) == list(range(8, 16))
