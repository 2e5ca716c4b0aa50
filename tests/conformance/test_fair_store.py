"""What the database keeps of fair transfers: the receipt of the ciphertext once, and the state that goes with it."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core import statement
from docex.core.claims import Receipt, Transfer
from docex.core.state import DeliveryState, Direction, Job, StoredTransfer
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import Conflict, NotFound
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import (
    MAKER,
    MAKER_ACCOUNT,
    NOW,
    THIRD_ACCOUNT,
    receipt_statement,
    stored_transfer,
    transfer_statement,
)

JOB = Job("deliver:1", "deliver", "1")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> SqlStore:
    return SqlStore(engine, clock)


def ciphertext_receipt(transfer: Statement) -> Statement:
    assert isinstance(transfer.body, Transfer)
    claim = Receipt(transfer.digest_text, transfer.body.packet, (), "received")
    return statement.issue(MAKER, MAKER_ACCOUNT, claim, NOW)


async def kept(store: SqlStore, direction: Direction = Direction.SENT) -> tuple[Statement, StoredTransfer]:
    said = transfer_statement()
    made = replace(stored_transfer(said, direction=direction), fair=True)
    return said, await store.add_transfer(made, [said], [])


def states(transfer: StoredTransfer) -> tuple[DeliveryState, str | None, str | None]:
    (delivery,) = transfer.deliveries
    return delivery.state, delivery.ciphertext_receipt, delivery.receipt


async def test_a_sent_one_is_received_delivered_accepted(store: SqlStore) -> None:
    said, transfer = await kept(store)
    first, last = ciphertext_receipt(said), receipt_statement(said)
    assert transfer.fair
    for _ in range(2):
        found = await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, first, [JOB])
        assert states(found) == (DeliveryState.RECEIVED, first.digest_text, None)
    with pytest.raises(Conflict, match="a receipt never changes"):
        await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, ciphertext_receipt(said), [])
    with pytest.raises(NotFound, match="not an addressee"):
        await store.add_ciphertext_receipt(transfer.id, THIRD_ACCOUNT, first, [])
    await store.set_delivery(transfer.id, MAKER_ACCOUNT, DeliveryState.PENDING, "down")
    found = await store.transfer(transfer.id)
    assert (states(found)[0], found.deliveries[0].error) == (DeliveryState.RECEIVED, "down")
    await store.set_delivery(transfer.id, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)
    found = await store.add_receipt(transfer.id, MAKER_ACCOUNT, DeliveryState.ACCEPTED, last, [])
    assert states(found) == (DeliveryState.ACCEPTED, first.digest_text, last.digest_text)
    assert await store.receipts_kept([first.digest_text, last.digest_text, said.digest_text]) == [
        last.digest_text,
        first.digest_text,
    ]
    assert (await store.counts())["receipts"] == 1


async def test_a_received_one_has_its_ciphertext_apart_until_it_is_whole(store: SqlStore) -> None:
    said, transfer = await kept(store, Direction.RECEIVED)
    first, where = ciphertext_receipt(said), "transfers/received/1.payload"
    assert transfer.wanted
    found = await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, first, [JOB], where)
    assert (found.wanted, found.blob, found.ciphertext) == (False, None, where)
    record = (await store.packets_named([where]))[where]
    assert (record.payload, record.size, record.headless) == (found.packet, found.size, True)
    assert await store.count_packets() == 1
    assert await store.unasked(("", ""), 10) == [(transfer.id, MAKER_ACCOUNT)]
    await store.add_jobs([Job(f"ask:{transfer.id}", "ask", transfer.id)])
    assert await store.unasked(("", ""), 10) == []
    await store.set_delivery(transfer.id, MAKER_ACCOUNT, DeliveryState.WITHHELD, "in vain")
    found = await store.set_packet(transfer.id, "transfers/received/1.age", [])
    assert states(found) == (DeliveryState.DELIVERED, first.digest_text, None)
    assert (found.blob, found.ciphertext, found.deliveries[0].error) == ("transfers/received/1.age", None, None)
    # Once it is whole, nothing puts the payload back.
    found = await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, first, [], where)
    assert found.ciphertext is None


async def test_a_receipt_sets_off_what_waits_for_it_until_there_is_a_final_one(store: SqlStore, clock: Clock) -> None:
    said, transfer = await kept(store)
    first = ciphertext_receipt(said)
    await store.add_jobs([JOB])
    (claimed,) = await store.claim(clock(), 20, 10)
    await store.retry(claimed.key, clock() + 3600, "")
    await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, first, [JOB])
    (claimed,) = await store.claim(clock(), 20, 10)
    await store.finish(claimed.key)
    await store.add_receipt(transfer.id, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt_statement(said), [])
    await store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, first, [JOB])
    assert await store.claim(clock(), 20, 10) == []


async def test_of_receipts_for_a_ciphertext_given_at_once_one_stands(store: SqlStore) -> None:
    said, transfer = await kept(store)
    given = [ciphertext_receipt(said) for _ in range(6)]
    done = await asyncio.gather(
        *(store.add_ciphertext_receipt(transfer.id, MAKER_ACCOUNT, each, [JOB]) for each in given),
        return_exceptions=True,
    )
    assert [type(each) for each in done].count(Conflict) == 5
    assert len(await store.receipts_kept([each.digest_text for each in given])) == 1
    assert (await store.counts())["statements"] == 2
