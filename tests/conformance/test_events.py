"""The history of transfers: each step together with the state that it tells of, in an order that can be followed."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.state import DeliveryState, Direction, Event, EventKind
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import Conflict
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import (
    MAKER_ACCOUNT,
    NOW,
    THIRD_ACCOUNT,
    receipt_statement,
    stored_transfer,
    transfer_statement,
)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> SqlStore:
    return SqlStore(engine, clock)


async def sent(store: SqlStore, packet: str = "packet", *to: str) -> Statement:
    said = transfer_statement(packet, *to)
    await store.add_transfer(stored_transfer(said), [said], [])
    return said


async def steps(store: SqlStore, transfer: str) -> list[tuple[EventKind, str, int, str | None]]:
    return [(each.kind, each.account, each.at, each.detail) for each in await store.events_of(transfer)]


async def test_a_sent_transfer_tells_what_became_of_it_at_each_addressee(store: SqlStore, clock: Clock) -> None:
    said = await sent(store, "packet", MAKER_ACCOUNT, THIRD_ACCOUNT)
    transfer = said.digest_text
    clock.time = NOW + 1
    for error in ("down", "down", "refused"):  # the second says nothing new
        await store.set_delivery(transfer, MAKER_ACCOUNT, DeliveryState.PENDING, error)
    clock.time = NOW + 2
    for _ in range(2):
        await store.set_delivery(transfer, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)
    await store.set_delivery(transfer, MAKER_ACCOUNT, DeliveryState.PENDING, "late failure")
    receipt = receipt_statement(said)
    for _ in range(2):
        await store.add_receipt(transfer, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt, [])
    with pytest.raises(Conflict):
        await store.add_receipt(transfer, MAKER_ACCOUNT, DeliveryState.REJECTED, receipt_statement(said), [])
    await store.add_receipt(transfer, THIRD_ACCOUNT, DeliveryState.REJECTED, receipt_statement(said, "rejected"), [])
    assert await steps(store, transfer) == [
        (EventKind.SENT, MAKER_ACCOUNT, NOW, None),
        (EventKind.SENT, THIRD_ACCOUNT, NOW, None),
        (EventKind.FAILED, MAKER_ACCOUNT, NOW + 1, "down"),
        (EventKind.FAILED, MAKER_ACCOUNT, NOW + 1, "refused"),
        (EventKind.DELIVERED, MAKER_ACCOUNT, NOW + 2, None),
        (EventKind.ACCEPTED, MAKER_ACCOUNT, NOW + 2, None),
        (EventKind.REJECTED, THIRD_ACCOUNT, NOW + 2, "because"),
    ]


async def test_a_received_transfer_tells_when_it_was_announced_arrived_and_was_answered(store: SqlStore) -> None:
    said = transfer_statement()
    for _ in range(2):
        await store.add_transfer(stored_transfer(said, direction=Direction.RECEIVED), [said], [])
    for _ in range(2):
        await store.set_packet(said.digest_text, "blob", [])
    receipt = receipt_statement(said)
    await store.add_receipt(said.digest_text, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt, [])
    kinds = [EventKind.ANNOUNCED, EventKind.RECEIVED, EventKind.ACCEPTED]
    assert await steps(store, said.digest_text) == [(each, MAKER_ACCOUNT, NOW, None) for each in kinds]


async def test_what_has_no_receipt_expires_and_a_late_receipt_is_kept(store: SqlStore) -> None:
    said = await sent(store, "packet", MAKER_ACCOUNT, THIRD_ACCOUNT)
    transfer = said.digest_text
    receipt = receipt_statement(said)
    await store.set_sent(transfer, THIRD_ACCOUNT, 7)
    for _ in range(2):
        await store.expire(transfer)
    await store.set_delivery(transfer, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)  # an attempt under way meanwhile
    await store.set_delivery(transfer, THIRD_ACCOUNT, DeliveryState.PENDING, "down")
    states = [(each.state, each.error, each.sent) for each in (await store.transfer(transfer)).deliveries]
    assert states == [(DeliveryState.EXPIRED, None, 0), (DeliveryState.EXPIRED, None, 7)]
    await store.add_receipt(transfer, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt, [])
    await store.expire(transfer)
    assert [each.state for each in (await store.transfer(transfer)).deliveries] == [
        DeliveryState.ACCEPTED,
        DeliveryState.EXPIRED,
    ]
    assert [kind for kind, *_ in await steps(store, transfer)] == [
        *[EventKind.SENT] * 2,
        *[EventKind.EXPIRED] * 2,
        EventKind.ACCEPTED,
    ]


async def test_events_are_read_in_pages(store: SqlStore) -> None:
    assert (await store.events(0, 10), await store.last_event(), await store.events_of("none")) == ([], 0, [])
    transfers = [(await sent(store, f"packet {number}")).digest_text for number in range(5)]
    seen: list[Event] = []
    while page := await store.events(seen[-1].sequence if seen else 0, 2):
        assert len(page) <= 2
        seen += page
    assert [each.transfer for each in seen] == transfers
    assert await store.last_event() == seen[-1].sequence
    assert await store.events_of(transfers[3]) == [seen[3]]
    assert await store.events_of(transfers[3], seen[3].sequence) == []
    assert await store.events_of(transfers[3], 0, 0) == []


async def test_an_event_is_never_seen_before_one_with_a_smaller_number(store: SqlStore, engine: AsyncEngine) -> None:
    """The one that was numbered first is committed last."""
    first, second = await sent(store, "first"), await sent(store, "second")
    known = await store.last_event()
    async with store._writing() as session:
        await store._add_events(session, EventKind.FAILED, first.digest_text, [MAKER_ACCOUNT])
        slower = asyncio.create_task(
            store.set_delivery(second.digest_text, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)
        )
        while engine.dialect.name == "postgresql" and not await waiting(engine):
            await asyncio.sleep(0.01)
        assert not slower.done()
        assert await store.events(known, 10) == []
    await slower
    found = await store.events(known, 10)
    assert [(each.kind, each.transfer) for each in found] == [
        (EventKind.FAILED, first.digest_text),
        (EventKind.DELIVERED, second.digest_text),
    ]


async def waiting(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(await connection.scalar(query))


async def test_a_reader_that_goes_on_from_the_last_one_misses_none_of_many_writers(store: SqlStore) -> None:
    said = [await sent(store, f"packet {number}") for number in range(30)]
    first = after = await store.last_event()
    seen: list[Event] = []

    async def write(transfer: Statement) -> None:
        await store.set_delivery(transfer.digest_text, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)
        receipt = receipt_statement(transfer)
        await store.add_receipt(transfer.digest_text, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt, [])

    writing = asyncio.gather(*(write(each) for each in said))
    while not writing.done() or after < await store.last_event():
        found = await store.events(after, 7)
        seen += found
        after = found[-1].sequence if found else after
    await writing
    assert [each.sequence for each in seen] == sorted(each.sequence for each in await store.events(first, 1000))
    for each in said:
        kinds = [event.kind for event in seen if event.transfer == each.digest_text]
        assert kinds == [EventKind.DELIVERED, EventKind.ACCEPTED]
