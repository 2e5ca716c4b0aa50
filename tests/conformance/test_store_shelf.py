"""Documents as they stand in folders, and what was set for a node, on each database."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.access import Folders
from docex.core.requests import ANY, Precondition
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import NotFound, PreconditionFailed
from docex.service.ports import AuditStore
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import NOW, document_statement, stored_document

NEW = Precondition(none_of=ANY)


@pytest.fixture
def store(engine: AsyncEngine) -> AuditStore:
    return SqlStore(engine, Clock(NOW))


async def deposit(store: AuditStore, path: str, content: str = "content") -> Statement:
    said = document_statement(path, content)
    await store.add_document(stored_document(said), [said])
    return said


async def names(store: AuditStore, folder: str, offset: int = 0, limit: int = 100, *within: str) -> list[str]:
    found = await store.entries(folder, offset, limit, Folders(within))
    return [each.name + ("" if each.document else "/") for each in found]


async def test_a_folder_lists_its_own_documents_and_the_folders_in_it(store: AuditStore) -> None:
    for path in ("b", "a/x", "a/y/z", "a", "a-", "a0", "c/d/e/f", "c/d.pdf", "ü/ä"):
        await deposit(store, path)
    assert await names(store, "") == ["a", "a-", "a/", "a0", "b", "c/", "ü/"]
    assert await names(store, "a") == ["x", "y/"]
    assert await names(store, "c") == ["d.pdf", "d/"]
    assert await names(store, "c/d") == ["e/"]
    assert await names(store, "none") == await names(store, "b") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_the_pages_of_a_folder_are_its_listing(store: AuditStore, limit: int) -> None:
    for path in [f"{letter}/{n}/{m}" for letter in "abc" for n in range(3) for m in range(3)] + ["b.pdf", "c0"]:
        await deposit(store, f"top/{path}")
    whole = await names(store, "top")
    assert whole == ["a/", "b.pdf", "b/", "c/", "c0"]
    pages = [await names(store, "top", offset, limit) for offset in range(0, 7, limit)]
    assert [name for page in pages for name in page] == whole
    assert await names(store, "top", 7) == []


async def test_a_large_folder_is_passed_over_and_a_long_one_read_by_pages(
    store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docex.db.shelf._PAGE", 3)
    for n in range(8):
        await deposit(store, f"many/{n}")
        await deposit(store, f"x{n}")
    assert await names(store, "") == ["many/", *(f"x{n}" for n in range(8))]
    assert await names(store, "many", 2, 5) == ["2", "3", "4", "5", "6"]


async def test_who_is_kept_to_folders_sees_the_way_to_them_only(store: AuditStore) -> None:
    for path in ("lots/17/a", "lots/170/b", "lots/c", "other/d"):
        await deposit(store, path)
    assert await names(store, "", 0, 100, "lots/17") == ["lots/"]
    assert await names(store, "lots", 0, 100, "lots/17") == ["17/"]
    assert await names(store, "lots/170", 0, 100, "lots/17") == []
    digest = (await store.document("lots/c")).digest
    assert [each.path for each in await store.documents_with(digest, "", 9, Folders(("lots/17",)))] == ["lots/17/a"]


async def test_who_is_kept_to_several_folders_sees_them_as_one_listing(store: AuditStore) -> None:
    for path in ("a-b/1", "a/x/1", "a/x/2", "a/xy/3", "a/y/4", "a/z/5", "b"):
        await deposit(store, path)
    kept = ("a/y", "a/x", "a/x/deeper", "a-b", "none")
    assert await names(store, "", 0, 9, *kept) == ["a-b/", "a/"]
    assert await names(store, "", 1, 1, *kept) == ["a/"]
    assert await names(store, "a", 0, 9, *kept) == ["x/", "y/"]
    assert await names(store, "a/x", 0, 9, *kept) == ["1", "2"]
    shown = ["a-b/1", "a/x/1", "a/x/2", "a/y/4"]
    digest = (await store.document("b")).digest
    for limit in (1, 2, 3, 9):
        listed, same = list[str](), list[str]()
        while page := await store.documents("", listed[-1] if listed else "", limit, Folders(kept)):
            listed += [each.path for each in page]
        while page := await store.documents_with(digest, same[-1] if same else "", limit, Folders(kept)):
            same += [each.path for each in page]
        assert listed == same == shown
    assert [each.path for each in await store.documents("a", "a/x/1", 9, Folders(kept))] == ["a/x/2", "a/y/4"]


async def test_documents_are_found_by_the_digest_of_their_newest_version(store: AuditStore) -> None:
    await deposit(store, "a", "first")
    await deposit(store, "b", "first")
    digest = (await store.document("a")).digest
    assert [each.path for each in await store.documents_with(digest, "", 100)] == ["a", "b"]
    await deposit(store, "a", "second")
    assert [each.path for each in await store.documents_with(digest, "", 100)] == ["b"]


async def test_what_is_removed_is_shown_nowhere_and_kept_all_the_same(store: AuditStore) -> None:
    first, second = await deposit(store, "f/a", "first"), await deposit(store, "f/a", "second")
    await store.remove_document("f/a", NOW + 5)
    for version in (None, 1, 2):
        with pytest.raises(NotFound):
            await store.document("f/a", version)
    assert await names(store, "") == await names(store, "f") == []
    assert await store.documents("", "", 10) == (await store.search("f/a", "", 10)).documents == []
    kept = await store.shown_as([first.digest_text, second.digest_text])
    assert [(each.version, each.removed) for each in kept] == [(1, NOW + 5), (2, NOW + 5)]
    assert await store.documents_with(kept[1].digest, "", 10) == []
    assert await store.shows(first.digest_text, Folders(("f",)))
    assert await store.statement(first.digest_text) is not None
    assert await store.paths_misnumbered("", 10) == []
    with pytest.raises(NotFound):
        await store.remove_document("f/a", NOW + 6)


async def test_what_was_removed_may_come_back_as_the_next_version(store: AuditStore) -> None:
    await deposit(store, "a", "first")
    said = document_statement("a", "again")
    with pytest.raises(PreconditionFailed):
        await store.add_document(stored_document(said), [said], NEW)
    await store.remove_document("a", NOW)
    kept = await store.add_document(stored_document(said), [said], NEW)
    assert (kept.version, kept.removed) == (2, None)
    assert await store.document("a") == kept
    with pytest.raises(NotFound):
        await store.document("a", 1)
    assert await store.paths_misnumbered("", 10) == []


async def test_of_a_digest_the_document_that_is_shown_comes_before_one_that_was_removed(store: AuditStore) -> None:
    await deposit(store, "shown", "same")
    await deposit(store, "removed", "same")
    digest = (await store.document("removed")).digest
    await store.remove_document("removed", NOW)
    found = await store.document_by_digest(digest)
    assert found is not None
    assert found.path == "shown"
    await store.remove_document("shown", NOW)
    found = await store.document_by_digest(digest)
    assert found is not None
    assert (found.path, found.removed) == ("removed", NOW)


async def test_a_preference_is_what_it_was_set_to_last(store: AuditStore) -> None:
    assert await store.preferences() == {}
    await store.set_preference("a", "1")
    await store.set_preference("b", "2")
    await store.set_preference("a", "3")
    assert await store.preferences() == {"a": "3", "b": "2"}
