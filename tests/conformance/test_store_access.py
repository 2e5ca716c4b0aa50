"""API keys, and queries that are kept to folders: what any `docex.service.ports.Store` does, on each database."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.access import EVERYTHING, Folders, Role
from docex.core.state import ApiKey, Direction
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import Conflict, NotFound
from docex.service.ports import Store
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import (
    MAKER_ACCOUNT,
    NOW,
    digest_of,
    document_statement,
    stored_document,
    stored_transfer,
    transfer_statement,
)

KEY = ApiKey(
    "0123456789abcdef",
    "Ann",
    frozenset([Role.SUPPLIER, Role.AUDITOR]),
    Folders(("lots/17", "ä 'b' %_")),
    bytes(range(32)),
    NOW,
    NOW + 10,
)


@pytest.fixture
def store(engine: AsyncEngine) -> Store:
    return SqlStore(engine, Clock(NOW))


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_a_key_is_kept_as_it_is(store: Store) -> None:
    other = ApiKey("f" * 16, "Bob", frozenset(Role), EVERYTHING, bytes(32), NOW - 1, None, NOW, NOW + 1)
    for each in (KEY, other):
        await store.add_api_key(each)
    assert await store.api_key(KEY.id) == KEY
    assert await store.api_keys() == [other, KEY]  # oldest first


async def test_two_keys_have_no_id_in_common(store: Store) -> None:
    await store.add_api_key(KEY)
    with pytest.raises(Conflict, match=KEY.id):
        await store.add_api_key(replace(KEY, name="Eve", roles=frozenset([Role.OPERATOR])))
    assert await store.api_keys() == [KEY]


async def test_a_key_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound, match="no API key"):
        await store.api_key(KEY.id)
    with pytest.raises(NotFound, match="no API key"):
        await store.revoke_api_key(KEY.id, NOW)
    await store.use_api_key(KEY.id, NOW, 60)
    assert await store.api_keys() == []


async def test_use_is_noted_coarsely_and_never_goes_back(store: Store) -> None:
    await store.add_api_key(KEY)
    for now, noted in ((NOW, NOW), (NOW + 59, NOW), (NOW - 500, NOW), (NOW + 60, NOW + 60), (NOW + 61, NOW + 60)):
        await store.use_api_key(KEY.id, now, 60)
        assert (await store.api_key(KEY.id)).last_used == noted
    await asyncio.gather(*(store.use_api_key(KEY.id, NOW + 200, 60) for _ in range(8)))
    assert await store.api_key(KEY.id) == replace(KEY, last_used=NOW + 200)


async def test_the_first_end_of_a_key_stands(store: Store) -> None:
    await store.add_api_key(KEY)
    assert await store.revoke_api_key(KEY.id, NOW + 5) == replace(KEY, revoked=NOW + 5)
    assert await store.revoke_api_key(KEY.id, NOW + 6) == replace(KEY, revoked=NOW + 5)
    assert (await store.api_key(KEY.id)).revoked == NOW + 5


# --- folders ---------------------------------------------------------------------------------------------------------

PATHS = ["a", "a/1", "a/b/2", "a0/3", "a b/4", "A/5", "a_/6", "ab/7", "b/8", "ä/9"]


async def deposit(store: Store, path: str, content: str | None = None) -> Statement:
    said = document_statement(path, path if content is None else content)
    await store.add_document(stored_document(said), [said])
    return said


async def hand_over(store: Store, packet: str, *documents: Statement, received: bool = False) -> str:
    said = transfer_statement(packet)
    direction = Direction.RECEIVED if received else Direction.SENT
    await store.add_transfer(stored_transfer(said, *documents, direction=direction), [said], [])
    return said.digest_text


@pytest.mark.parametrize(
    "names", [("a",), ("a/b",), ("a", "b"), ("b", "a/b", "a"), ("a_",), ("A",), ("ä",), ("none",), ("a/1",), ()]
)
async def test_documents_within_folders(store: Store, names: tuple[str, ...]) -> None:
    said = {path: await deposit(store, path) for path in PATHS}
    within = Folders(names)
    inside = sorted(path for path in PATHS if path in within)  # the naive twin
    assert [each.path for each in await store.documents("", "", 100, within)] == inside
    below = [path for path in inside if path.startswith("a/")]
    assert [each.path for each in await store.documents("a", "", 100, within)] == below
    if inside:
        assert [each.path for each in await store.documents("", inside[0], 1, within)] == inside[1:2]
    for path, each in said.items():
        assert await store.shows(each.digest_text, within) == (path in within)
        found = await store.document_by_digest(each.digest_text, within)
        assert (found is not None) == (path in within)


async def test_of_equal_documents_the_newest_inside_is_found(store: Store) -> None:
    for path in ("a/1", "a/2", "b/3"):
        await deposit(store, path, "same")
    for names, path in (((), "b/3"), (("a",), "a/2"), (("b",), "b/3")):
        found = await store.document_by_digest(digest_of("same"), Folders(names))
        assert found is not None
        assert found.path == path


async def test_a_transfer_lies_where_all_of_its_documents_do(store: Store) -> None:
    one, two, three = [await deposit(store, path) for path in ("a/1", "a/2", "b/3")]
    inside = await hand_over(store, "inside", one, two)
    mixed = await hand_over(store, "mixed", one, three)
    none = await hand_over(store, "none")
    expected: list[tuple[tuple[str, ...], set[str]]] = [
        ((), {inside, mixed, none}),
        (("a",), {inside}),
        (("b",), set()),
        (("a", "b"), {inside, mixed}),
        (("received",), set()),  # that is for what was received
    ]
    for names, ids in expected:
        within = Folders(names)
        assert {each.id for each in await store.transfers(None, None, 10, within)} == ids
        assert {each.id for each in await store.transfers_of(one.digest_text, within)} == ids - {none}
        for each in (inside, mixed, none):
            if each in ids:
                assert (await store.transfer(each, within)).id == each
            else:
                with pytest.raises(NotFound, match=f"there is no transfer {each}"):
                    await store.transfer(each, within)


async def test_pages_of_transfers_are_full_whatever_lies_elsewhere(store: Store) -> None:
    one, two = await deposit(store, "a/1"), await deposit(store, "b/2")
    made = [await hand_over(store, f"packet {n}", one if n % 3 == 0 else two) for n in range(9)]
    inside = sorted((each for each in made[::3]), reverse=True)
    first = await store.transfers(None, None, 2, Folders(("a",)))
    rest = await store.transfers(None, (first[-1].created, first[-1].id), 2, Folders(("a",)))
    assert [each.id for each in (*first, *rest)] == inside


async def test_what_was_received_and_not_opened_lies_in_its_sender_s_folder(store: Store) -> None:
    received = await hand_over(store, "received", received=True)
    sender = (await store.transfer(received)).peer.rpartition(":")[2]
    cases = [("received", True), (f"received/{sender}", True), (f"received/{sender}/x", False)]
    cases += [("received/0x", False), ("received/%", False), (MAKER_ACCOUNT.rpartition(":")[2], False), ("re", False)]
    for folder, seen in cases:
        found = await store.transfers(Direction.RECEIVED, None, 10, Folders((folder,)))
        assert [each.id for each in found] == [received] * seen, folder
