"""Conditions on the newest version, and requests that take effect once: what any Store does, on each database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.access import EVERYTHING, Role
from docex.core.requests import ANY, NO_CONDITION, Once, Precondition
from docex.core.state import ApiKey, Job, StoredDocument
from docex.db.store import SqlStore
from docex.errors import Conflict, IdempotencyKeyReused, PreconditionFailed, RequestUnderWay
from docex.service.ports import Store
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import (
    NOW,
    digest_of,
    document_statement,
    stored_document,
    stored_transfer,
    transfer_statement,
)

PRINT, OTHER_PRINT = bytes(32), b"\1" * 32
CREATE_ONLY = Precondition(none_of=ANY)
LEASE, KEEP = 60, 1000


@pytest.fixture
def store(engine: AsyncEngine) -> Store:
    return SqlStore(engine, Clock(NOW))


async def deposit(
    store: Store, precondition: Precondition = NO_CONDITION, once: Once | None = None, content: str = "content"
) -> StoredDocument:
    said = document_statement("a.pdf", content)
    return await store.add_document(stored_document(said), [said], precondition, once)


# --- conditions ------------------------------------------------------------------------------------------------------


async def test_a_version_is_added_where_the_condition_holds(store: Store) -> None:
    first = await deposit(store, CREATE_ONLY)
    second = await deposit(store, Precondition(one_of=frozenset([digest_of("x"), first.statement])))
    third = await deposit(store, Precondition(one_of=ANY))
    fourth = await deposit(store, Precondition(none_of=frozenset([first.statement, second.statement])))
    assert [each.version for each in (first, second, third, fourth)] == [1, 2, 3, 4]


@pytest.mark.parametrize("known", [0, 1])
async def test_nothing_is_added_where_the_condition_does_not_hold(store: Store, known: int) -> None:
    refused = [Precondition(one_of=frozenset([digest_of("x")])), Precondition(one_of=frozenset())]
    if known:
        first = await deposit(store)
        refused += [CREATE_ONLY, Precondition(none_of=frozenset([first.statement]))]
    else:
        refused.append(Precondition(one_of=ANY))
    for each in refused:
        with pytest.raises(PreconditionFailed):
            await deposit(store, each)
    counts = await store.counts()
    assert (counts["documents"], counts["statements"]) == (known, known)


async def race(attempts: int, of: Callable[[int], Awaitable[object]], refusal: type[Exception]) -> int:
    """How many of several at once came through; all others were refused."""
    outcomes = await asyncio.gather(*(of(n) for n in range(attempts)), return_exceptions=True)
    refused = [each for each in outcomes if isinstance(each, refusal)]
    failed = [each for each in outcomes if isinstance(each, BaseException) and not isinstance(each, refusal)]
    assert failed == []
    return attempts - len(refused)


async def test_of_many_that_create_or_follow_the_same_version_at_once_one_wins(store: Store) -> None:
    created = await race(12, lambda n: deposit(store, CREATE_ONLY, content=f"{n}"), PreconditionFailed)
    newest = (await store.document("a.pdf")).statement
    seen = Precondition(one_of=frozenset([newest]))
    followed = await race(12, lambda n: deposit(store, seen, content=f"{n}"), PreconditionFailed)
    assert (created, followed) == (1, 1)
    assert (await store.document("a.pdf")).version == 2


# --- once ------------------------------------------------------------------------------------------------------------


def attempt(number: int = 1, name: str = "1") -> Once:
    return Once(name * 64, f"{number:032}")


async def begin(store: Store, once: Once, fingerprint: bytes = PRINT, now: int = NOW) -> str | None:
    return await store.begin(once, fingerprint, now, LEASE, KEEP)


async def test_the_effect_is_noted_with_the_work_and_given_to_every_later_try(store: Store) -> None:
    assert await begin(store, attempt(1)) is None
    made = await deposit(store, once=attempt(1))
    assert await begin(store, attempt(2)) == made.statement
    assert await begin(store, attempt(3), now=NOW + KEEP - 1) == made.statement
    assert await begin(store, attempt(4, "2")) is None  # another request


async def test_each_sort_of_work_notes_its_effect(store: Store) -> None:
    said, transfer = document_statement("b.pdf"), transfer_statement()
    key = ApiKey("0" * 16, "Ann", frozenset([Role.AUDITOR]), EVERYTHING, bytes(32), NOW)
    work: list[tuple[Callable[[Once], Awaitable[object]], str]] = [
        (lambda once: store.add_statements([said], once), "1"),
        (lambda once: store.add_transfer(stored_transfer(transfer), [transfer], [], once), transfer.digest_text),
        (lambda once: store.add_revocation(said.digest_text, transfer, [], once), transfer.digest_text),
        (lambda once: store.add_api_key(key, once, "sealed"), "sealed"),
    ]
    for number, (do, effect) in enumerate(work):
        name = f"{number:x}"
        assert await begin(store, attempt(1, name)) is None
        await do(attempt(1, name))
        assert await begin(store, attempt(2, name)) == effect


async def test_a_try_that_is_under_way_holds_up_others_until_its_lease_ends(store: Store) -> None:
    assert await begin(store, attempt(1)) is None
    with pytest.raises(RequestUnderWay):
        await begin(store, attempt(2), now=NOW + LEASE - 1)
    await store.hold(attempt(1), NOW + 2 * LEASE)
    with pytest.raises(RequestUnderWay):
        await begin(store, attempt(2), now=NOW + 2 * LEASE - 1)
    assert await begin(store, attempt(2), now=NOW + 2 * LEASE) is None


async def test_a_clock_that_was_put_back_holds_up_no_request(store: Store) -> None:
    assert await begin(store, attempt(1), now=NOW + 7200) is None
    assert await begin(store, attempt(2)) is None
    with pytest.raises(RequestUnderWay):
        await begin(store, attempt(3))


async def test_a_try_that_lost_its_place_leaves_nothing(store: Store) -> None:
    assert await begin(store, attempt(1)) is None
    assert await begin(store, attempt(2), now=NOW + LEASE) is None
    transfer, said = transfer_statement(), document_statement("b.pdf")
    key = ApiKey("0" * 16, "Ann", frozenset([Role.AUDITOR]), EVERYTHING, bytes(32), NOW)
    late = attempt(1)
    with pytest.raises(RequestUnderWay):
        await deposit(store, once=late)
    with pytest.raises(RequestUnderWay):
        await store.add_transfer(stored_transfer(transfer), [transfer], [Job("a", "b", "c")], late)
    with pytest.raises(RequestUnderWay):
        await store.add_statements([said], late)
    with pytest.raises(RequestUnderWay):
        await store.add_revocation(said.digest_text, said, [], late)
    with pytest.raises(RequestUnderWay):
        await store.add_api_key(key, late, "")
    assert set((await store.counts()).values()) == {0}
    assert await store.api_keys() == []
    await store.hold(late, NOW + 9 * LEASE)  # it can't hold or free what the second try has
    await store.abandon(late)
    with pytest.raises(RequestUnderWay):
        await begin(store, attempt(3), now=NOW + LEASE + 1)
    assert (await deposit(store, once=attempt(2))).version == 1


async def test_of_two_tries_that_both_work_one_takes_effect(store: Store) -> None:
    assert await begin(store, attempt(0)) is None
    assert await begin(store, attempt(1), now=NOW + LEASE) is None
    through = await race(2, lambda n: deposit(store, once=attempt(n), content=f"{n}"), RequestUnderWay)
    assert (through, (await store.counts())["documents"]) == (1, 1)
    assert (await store.document("a.pdf")).digest == digest_of("1")


async def test_a_key_is_for_one_request(store: Store) -> None:
    assert await begin(store, attempt(1)) is None
    for _ in range(2):
        with pytest.raises(IdempotencyKeyReused):
            await begin(store, attempt(2), OTHER_PRINT)
        if not (await store.counts())["documents"]:
            await deposit(store, once=attempt(1))


async def test_a_try_that_failed_gives_its_key_back(store: Store) -> None:
    assert await begin(store, attempt(1)) is None
    await store.abandon(attempt(1))
    assert await begin(store, attempt(2), OTHER_PRINT) is None
    made = await deposit(store, once=attempt(2))
    await store.abandon(attempt(2))  # it took effect: that stays
    assert await begin(store, attempt(3), OTHER_PRINT) == made.statement


async def test_of_many_that_begin_at_once_one_goes_ahead(store: Store) -> None:
    assert await race(12, lambda n: begin(store, attempt(n)), RequestUnderWay) == 1
    assert await race(12, lambda n: begin(store, attempt(n), now=NOW + LEASE), RequestUnderWay) == 1


async def test_what_is_old_is_forgotten_but_never_a_try_at_work(store: Store) -> None:
    for name in "123":
        assert await begin(store, attempt(1, name)) is None
    await deposit(store, once=attempt(1, "1"))
    await store.hold(attempt(1, "2"), NOW + KEEP + LEASE)
    assert await store.forget(NOW - 1) == 0
    assert await begin(store, attempt(2, "1"), OTHER_PRINT, NOW + KEEP) is None  # by then, the key is a new one
    with pytest.raises(RequestUnderWay):
        await begin(store, attempt(2, "2"), now=NOW + KEEP)
    assert await store.forget(NOW + KEEP - 1) == 1
    assert await begin(store, attempt(2, "3"), OTHER_PRINT) is None


async def test_keys_come_in_pages(store: Store) -> None:
    key = ApiKey("0" * 16, "Ann", frozenset([Role.AUDITOR]), EVERYTHING, bytes(32), NOW)
    made = [replace(key, id=f"{n:016x}", created=NOW + n // 2) for n in range(5)]
    for each in reversed(made):
        await store.add_api_key(each)
    first = await store.api_keys(None, 3)
    rest = await store.api_keys((first[-1].created, first[-1].id), 3)
    assert ([*first], [*rest]) == (made[:3], made[3:])
    with pytest.raises(Conflict):
        await store.add_api_key(key)
