"""Items that come together are added together, and each caller hears of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from docex.db import grouped
from docex.db.grouped import Grouped
from docex.db.store import SqlStore
from docex.errors import Conflict
from tests.fixtures.statements import document_statement, stored_document


class Adding:
    """Adds numbers: an odd one is refused, 100 breaks everything."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.free = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[str | BaseException]:
        self.calls.append(list(items))
        await self.free.wait()
        if 100 in items:
            raise ConnectionError("the database is gone")
        return [Conflict(str(item)) if item % 2 else str(item) for item in items]


async def test_what_comes_during_a_transaction_goes_into_the_next_and_no_key_is_in_it_twice() -> None:
    adding = Adding()
    added: Grouped[int, str] = Grouped(adding, lambda item: item % 10)
    first = asyncio.create_task(added.add(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(added.add(item)) for item in (4, 14, 6, 24, 7)]
    await asyncio.sleep(0)
    adding.free.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert results[:5] == ["2", "4", "14", "6", "24"]
    assert isinstance(results[5], Conflict)
    assert adding.calls == [[2], [4, 6, 7], [14], [24]]
    assert await added.add(8) == "8"


async def test_a_failure_reaches_every_caller_and_the_next_items_are_added() -> None:
    adding = Adding()
    adding.free.set()
    added: Grouped[int, str] = Grouped(adding, lambda item: item)
    assert [type(each) for each in await asyncio.gather(added.add(100), added.add(2), return_exceptions=True)] == [
        ConnectionError,
        ConnectionError,
    ]
    assert await added.add(4) == "4"


async def test_a_caller_that_gives_up_does_not_disturb_the_others() -> None:
    adding = Adding()
    added: Grouped[int, str] = Grouped(adding, lambda item: item)
    leaving, staying = asyncio.create_task(added.add(2)), asyncio.create_task(added.add(4))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    adding.free.set()
    assert await staying == "4"


async def test_a_transaction_takes_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "MOST", 3)
    adding = Adding()
    adding.free.set()
    added: Grouped[int, str] = Grouped(adding, lambda item: item)
    await asyncio.gather(*(added.add(2 * item) for item in range(7)))
    assert [len(each) for each in adding.calls] == [3, 3, 1]


async def test_many_deposits_at_once_get_the_versions_that_they_would_get_one_by_one(sql_store: SqlStore) -> None:
    said = [document_statement(f"{number}") for number in range(30)]
    documents = [stored_document(each, path=f"a/{number % 10}") for number, each in enumerate(said)]
    added = await asyncio.gather(
        *(sql_store.add_document(document, [each]) for document, each in zip(documents, said, strict=True))
    )
    assert [each.version for each in added] == [1] * 10 + [2] * 10 + [3] * 10
    for path in {each.path for each in documents}:
        newest = max((each for each in added if each.path == path), key=lambda each: each.version)
        assert await sql_store.document(path) == newest
        assert [(await sql_store.document(path, version)).version for version in (1, 2, 3)] == [1, 2, 3]
    counts = await sql_store.counts()
    assert (counts["documents"], counts["statements"]) == (30, 30)


async def test_a_statement_that_is_known_does_not_keep_the_others_of_its_transaction_out(sql_store: SqlStore) -> None:
    known, new = document_statement("known"), document_statement("new")
    await sql_store.add_statements([known])
    added = await asyncio.gather(
        sql_store.add_document(stored_document(known, path="a"), [known]),
        sql_store.add_document(stored_document(new, path="b"), [new]),
    )
    assert [each.version for each in added] == [1, 1]
    assert (await sql_store.counts())["statements"] == 2
