"""Searches by a part of the path on each database: what they find, and that they read no more than they must."""

import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.access import Folders
from docex.db import parts
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.service.ports import AuditStore
from tests.fixtures.databases import NewSqlite
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import NOW, document_statement, stored_document

BOUNDS = {"_NEAR": 3, "_FAR": 7, "_MOST": 5}


@pytest.fixture
def store(engine: AsyncEngine) -> AuditStore:
    return SqlStore(engine, Clock(NOW))


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops as early among twenty paths as it would among a million."""
    for name, value in BOUNDS.items():
        monkeypatch.setattr(f"docex.db.search.{name}", value)


async def deposit(store: AuditStore, *paths: str) -> None:
    for path in paths:
        said = document_statement(path, "content")
        await store.add_document(stored_document(said), [said])


async def pages(store: AuditStore, text: str, limit: int = 100, *within: str) -> list[list[str]]:
    found, after = list[list[str]](), ""
    while True:
        page = await store.search(text, after, limit, Folders(within))
        assert len(page.documents) <= limit
        found.append([each.path for each in page.documents])
        if page.stopped is None:
            return found
        assert page.stopped > after
        after = page.stopped


async def search(store: AuditStore, text: str, limit: int = 100, *within: str) -> list[str]:
    return [path for page in await pages(store, text, limit, *within) for path in page]


async def test_documents_are_found_by_a_part_of_their_path(store: AuditStore) -> None:
    await deposit(store, "Quality/cert.pdf", "certs/a", "a_b", "a%b", "axb")
    assert await search(store, "CERT") == ["Quality/cert.pdf", "certs/a"]
    assert await search(store, "a_b") == ["a_b"]
    assert await search(store, "%") == ["a%b"]
    assert (await pages(store, "a", 2))[0] == ["Quality/cert.pdf", "a%b"]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    "text",
    ["rare", "RARE", "t/rare", "are.pdf", ".pd", "pdf", "7", "ab", "Ä", "Äpfel", "ärger", "z'^-z", "%", "no such"],
)
async def test_a_search_finds_what_is_there_however_it_looks(store: AuditStore, text: str) -> None:
    """By the next paths, by the index, or on along the paths: whatever is found by reading all of them."""
    some = [f"lot/{n:02}.pdf" for n in range(12)] + [f"lot/rare{n}.pdf" for n in range(3)]
    await deposit(store, *some, "ab", "a%b", "x/Äpfel/ÄRGER", "x/äpfel/ärger", "y/z'^-z", "😀/Rare", "zzz/ab/7")
    everything = [each.path for each in await store.documents("", "", 100)]
    expected = [path for path in everything if parts.lowered(text) in parts.lowered(path)]
    for limit in (1, 2, 100):
        assert await search(store, text, limit) == expected
    kept = [path for path in expected if path.startswith(("lot/", "x/Äpfel/", "zzz/"))]
    for limit in (1, 100):
        assert await search(store, text, limit, "lot", "zzz/ab", "x/Äpfel", "zzz") == kept


@pytest.mark.usefixtures("bounded")
async def test_what_is_rare_is_on_the_first_page_wherever_it_lies(store: AuditStore) -> None:
    await deposit(store, *(f"a/{n:02}" for n in range(30)), "z/needle")
    assert await pages(store, "needle") == await pages(store, "nee") == [["z/needle"]]
    assert await pages(store, "none of it") == await pages(store, "nil") == [[]]
    # Too short for the index: a page ends after so many paths, and the next goes on.
    assert await pages(store, "ne") == [[], [], [], [], ["z/needle"]]


@pytest.mark.usefixtures("bounded")
async def test_what_thousands_of_paths_hold_is_read_in_their_order(store: AuditStore) -> None:
    await deposit(store, *(f"a/{n:02}" for n in range(10)), *(f"b/common/{n}" for n in range(9)))
    found = await pages(store, "common", 4)
    assert [path for page in found for path in page] == [f"b/common/{n}" for n in range(9)]
    assert found[0] == []  # none among the first paths, and too many to be sorted


@pytest.mark.usefixtures("bounded")
async def test_a_path_is_found_once_whatever_became_of_its_versions(store: AuditStore) -> None:
    await deposit(store, *(f"a/{n:02}" for n in range(9)), "z/needle", "z/needle", "z/other")
    found = await store.search("needle", "", 9)
    assert [(each.path, each.version) for each in found.documents] == [("z/needle", 2)]
    await store.remove_document("z/needle", NOW)
    assert await search(store, "needle") == []
    await deposit(store, "z/needle")
    found = await store.search("needle", "", 9)
    assert [(each.path, each.version) for each in found.documents] == [("z/needle", 3)]


@pytest.mark.usefixtures("bounded")
async def test_documents_that_came_together_are_found(store: AuditStore) -> None:
    said = [document_statement(f"{n:02}/{'needle' if n > 40 else 'hay'}", "content") for n in range(44)]
    for each in said:
        await store.add_document(stored_document(each), [each])
    assert await search(store, "needle") == ["41/needle", "42/needle", "43/needle"]


async def test_a_digest_is_looked_up_in_its_index(new_sqlite: NewSqlite, tmp_path: Path) -> None:
    """Seen in the plan, and not in time: the index of paths would do, too, and read all of them."""
    engine, asked = make_engine(new_sqlite(tmp_path / "plan.db")), list[str]()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    listen(engine.sync_engine, "before_cursor_execute", note)
    await SqlStore(engine).documents_with("sha256:" + "0" * 64, "a", 9, Folders(("lots",)))
    async with engine.connect() as connection:
        parameters = ("sha256:" + "0" * 64,) * asked[-1].count("?")
        explained = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[-1]}", parameters)
        plan = list(explained.scalars("detail"))
    await engine.dispose()
    used = "INDEX documents_with_digest (digest=? AND newest=? AND path>? AND path<?)"
    assert plan == [f"SEARCH documents USING {used}"]


def test_the_parts_of_a_text_cover_it() -> None:
    assert parts.of("abc") == ["abc"]
    assert parts.of("abcde") == ["abc", "cde"]
    assert parts.of("abcdef") == ["abcdef"]
    assert parts.of("abcdefgh") == ["abcdef", "cdefgh"]
    assert parts.of("aaaaaaaaa") == ["aaaaaa"]
    text = "".join(random.Random(1).choices("abc/", k=1024))
    assert len(parts.of(text)) <= 172
