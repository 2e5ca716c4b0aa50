"""What any `docex.service.ports.Store` does, on each database."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core import merkle
from docex.core.state import Batch, BatchState, DeliveryState, Direction, Job
from docex.core.statement import Statement
from docex.core.transactions import BlockRef, TransactionStatus
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.errors import Conflict, NotFound
from docex.service.ports import Store
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import (
    MAKER_ACCOUNT,
    MINE_ACCOUNT,
    NOW,
    THIRD_ACCOUNT,
    digest_of,
    document_statement,
    receipt_statement,
    stored_document,
    stored_transfer,
    transfer_statement,
)
from tests.fixtures.transaction_stores import attempt, block, request

JOB = Job("open:1", "open", "1")
LEASE = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> Store:
    return SqlStore(engine, clock)


async def deposit(store: Store, path: str, content: str = "content") -> Statement:
    said = document_statement(path, content)
    await store.add_document(stored_document(said), [said])
    return said


async def send(store: Store, *to: str, jobs: list[Job] | None = None, created: int = NOW) -> Statement:
    said = transfer_statement("packet", *to)
    await store.add_transfer(stored_transfer(said, created=created), [said], jobs or [])
    return said


async def receive(store: Store, jobs: list[Job] | None = None) -> Statement:
    said = transfer_statement()
    await store.add_transfer(stored_transfer(said, direction=Direction.RECEIVED), [said], jobs or [])
    return said


# --- documents -------------------------------------------------------------------------------------------------------


async def test_a_document_is_kept_with_its_statement(store: Store, clock: Clock) -> None:
    clock.time = NOW + 7
    said = document_statement("a/b.pdf")
    kept = await store.add_document(stored_document(said), [said])
    assert kept == replace(stored_document(said), version=1)
    assert await store.document("a/b.pdf") == await store.document("a/b.pdf", 1) == kept
    assert await store.document_by_digest(kept.digest) == kept
    assert await store.document_by_digest(said.digest_text) == kept
    statement = await store.statement(said.digest_text)
    assert statement is not None
    assert (statement.token, statement.type, statement.issuer) == (said.token, "document", MINE_ACCOUNT)
    assert (statement.created, statement.batch, statement.leaf) == (NOW + 7, None, None)


async def test_overwriting_keeps_every_version(store: Store) -> None:
    said = [await deposit(store, "a.pdf", f"content {n}") for n in range(3)]
    assert [(await store.document("a.pdf", n + 1)).statement for n in range(3)] == [each.digest_text for each in said]
    assert (await store.document("a.pdf")).version == 3
    assert [each.version for each in await store.documents("", "", 10)] == [3]
    old = await store.document_by_digest(said[0].digest_text)
    assert old is not None
    assert old.version == 1


async def test_of_equal_documents_the_newest_is_found_by_the_digest(store: Store) -> None:
    await deposit(store, "a.pdf", "same")
    await deposit(store, "b.pdf", "same")
    found = await store.document_by_digest(digest_of("same"))
    assert found is not None
    assert found.path == "b.pdf"


async def test_versions_written_at_once_all_get_a_number(store: Store) -> None:
    said = [document_statement("a.pdf", f"content {n}") for n in range(12)]
    kept = await asyncio.gather(*(store.add_document(stored_document(each), [each]) for each in said))
    assert sorted(each.version for each in kept) == list(range(1, 13))
    assert [each.version for each in await store.documents("", "", 100)] == [12]
    assert (await store.counts())["statements"] == 12


async def test_what_is_not_there(store: Store) -> None:
    await deposit(store, "a.pdf")
    with pytest.raises(NotFound, match=r"no document 'b\.pdf'$"):
        await store.document("b.pdf")
    with pytest.raises(NotFound, match=r"no document 'a\.pdf' version 2"):
        await store.document("a.pdf", 2)
    assert await store.document_by_digest(digest_of("nothing")) is None
    assert await store.statement(digest_of("nothing")) is None
    with pytest.raises(NotFound, match="no transfer"):
        await store.transfer(digest_of("nothing"))
    with pytest.raises(NotFound, match="no batch 7"):
        await store.batch(7)


async def test_statements_are_kept_by_themselves(store: Store, clock: Clock) -> None:
    said = [document_statement(f"{n}.pdf") for n in range(5)]
    clock.time = NOW + 7
    assert await store.add_statements(said) == 5
    for each in said:
        kept = await store.statement(each.digest_text)
        assert kept is not None
        assert (kept.token, kept.type, kept.issuer, kept.created) == (each.token, "document", MINE_ACCOUNT, NOW + 7)
    counts = await store.counts()
    assert (counts["statements"], counts["documents"], counts["statements_not_final"]) == (5, 0, 5)
    batch = await store.make_batch(10, NOW)
    assert batch is not None
    assert await store.batch_leaves(batch.number) == sorted(each.digest for each in said)


async def test_statements_that_are_known_stay_as_they_are(store: Store, clock: Clock) -> None:
    known = await deposit(store, "a.pdf")
    new = document_statement("b.pdf")
    clock.time = NOW + 7
    assert await store.add_statements([new, known, new]) == 1
    assert await store.add_statements([known, new]) == 0
    assert await store.add_statements([]) == 0
    assert (await store.counts())["statements"] == 2
    kept = [await store.statement(each.digest_text) for each in (known, new)]
    assert [each.created for each in kept if each] == [NOW, NOW + 7]


async def test_a_statement_that_was_kept_before_gets_its_document(store: Store) -> None:
    said = document_statement("a.pdf")
    assert await store.add_statements([said]) == 1
    assert (await store.add_document(stored_document(said), [said])).version == 1
    counts = await store.counts()
    assert (counts["statements"], counts["documents"]) == (1, 1)


async def test_of_statements_kept_at_once_each_is_new_once(store: Store) -> None:
    said = [document_statement(f"{n}.pdf") for n in range(60)]
    orders = [said, said[::-1], said[30:], said[20:] + said[:40], said[:45]]
    added = await asyncio.gather(*(store.add_statements(each) for each in orders))
    assert sum(added) == 60
    assert (await store.counts())["statements"] == 60


async def test_where_one_statement_cannot_be_kept_none_is(store: Store) -> None:
    good = document_statement("a.pdf")
    with pytest.raises(DBAPIError):
        await store.add_statements([good, replace(document_statement("b.pdf"), issuer=None)])  # type: ignore[arg-type]
    assert (await store.counts())["statements"] == 0


PATHS = ["A.pdf", "a-b/x", "a.b/x", "a/B.pdf", "a/b.pdf", "a/b/c.pdf", "a/ä.pdf", "a0", "aa/x", "b", "ä", "𝛼"]


async def test_a_folder_holds_what_is_below_it_by_code_points(store: Store) -> None:
    for path in reversed(PATHS):
        await deposit(store, path)
    assert [each.path for each in await store.documents("", "", 100)] == sorted(PATHS) == PATHS
    inside = ["a/B.pdf", "a/b.pdf", "a/b/c.pdf", "a/ä.pdf"]
    assert [each.path for each in await store.documents("a", "", 100)] == inside
    assert [each.path for each in await store.documents("a/b", "", 100)] == ["a/b/c.pdf"]
    assert await store.documents("c", "", 100) == []


async def test_pages_neither_skip_nor_repeat(store: Store) -> None:
    for path in PATHS:
        await deposit(store, path)
    seen: list[str] = []
    while page := await store.documents("", seen[-1] if seen else "", 5):
        seen += [each.path for each in page]
    assert seen == PATHS
    assert [each.path for each in await store.documents("a", "a/b.pdf", 5)] == ["a/b/c.pdf", "a/ä.pdf"]


# --- transfers -------------------------------------------------------------------------------------------------------


async def test_a_transfer_is_kept_with_its_statement_and_jobs(store: Store) -> None:
    document = await deposit(store, "a.pdf")
    said = transfer_statement("packet", MAKER_ACCOUNT, THIRD_ACCOUNT)
    row = stored_transfer(said, document)
    assert await store.add_transfer(row, [said], [JOB]) == row
    assert await store.transfer(row.id) == row
    assert [each.account for each in row.deliveries] == [MAKER_ACCOUNT, THIRD_ACCOUNT]
    assert await store.statement(row.id) is not None
    assert await store.claim(NOW, LEASE, 10) == [replace(JOB, attempts=1)]
    assert await store.transfers_of(document.digest_text) == [row]


async def test_transfers_of_a_document_come_in_the_order_of_their_arrival(store: Store) -> None:
    document = await deposit(store, "a.pdf")
    said = [transfer_statement(f"packet {number}") for number in range(8)]  # all of the same second
    for each in said:
        await store.add_transfer(stored_transfer(each, document), [each], [])
    assert [row.id for row in await store.transfers_of(document.digest_text)] == [each.digest_text for each in said]


async def test_a_transfer_that_is_known_stays_as_it_is(store: Store) -> None:
    said = await receive(store)
    known = await store.transfer(said.digest_text)
    other = replace(known, packet=digest_of("other"), blob="other")
    assert await store.add_transfer(other, [said], [JOB]) == known
    assert await store.claim(NOW, LEASE, 10) == []


async def test_one_transfer_announced_many_times_at_once_is_one(store: Store) -> None:
    said = transfer_statement()
    row = stored_transfer(said, direction=Direction.RECEIVED)
    assert await asyncio.gather(*(store.add_transfer(row, [said], [JOB]) for _ in range(12))) == [row] * 12
    counts = await store.counts()
    assert (counts["transfers"], counts["statements"], counts["jobs"]) == (1, 1, 1)


async def test_transfers_come_newest_first_in_pages(store: Store) -> None:
    made = [(NOW + n // 2, (await send(store, created=NOW + n // 2)).digest_text) for n in range(9)]
    received = await receive(store)
    expected = [each for _, each in sorted([*made, (NOW, received.digest_text)], reverse=True)]
    seen: list[str] = []
    before = None
    while page := await store.transfers(None, before, 4):
        seen += [each.id for each in page]
        before = (page[-1].created, page[-1].id)
    assert seen == expected
    assert [each.id for each in await store.transfers(Direction.RECEIVED, None, 10)] == [received.digest_text]
    assert len(await store.transfers(Direction.SENT, None, 100)) == 9


async def test_a_packet_that_arrives_is_noted_once(store: Store, clock: Clock) -> None:
    said = await receive(store)
    clock.time = NOW + 5
    arrived = await store.set_packet(said.digest_text, "blob", [JOB])
    assert arrived.blob == "blob"
    assert (arrived.deliveries[0].state, arrived.deliveries[0].updated) == (DeliveryState.DELIVERED, NOW + 5)
    clock.time = NOW + 9
    assert await store.set_packet(said.digest_text, "other", [JOB]) == arrived
    assert (await store.counts())["jobs"] == 1


async def test_a_packet_noted_many_times_at_once_makes_one_job(store: Store) -> None:
    said = await receive(store)
    await asyncio.gather(*(store.set_packet(said.digest_text, "blob", [JOB]) for _ in range(12)))
    assert (await store.counts())["jobs"] == 1


async def test_attempts_are_counted_and_delivered_is_not_left_for_pending(store: Store, clock: Clock) -> None:
    said = await send(store, MAKER_ACCOUNT, THIRD_ACCOUNT)
    await store.set_delivery(said.digest_text, MAKER_ACCOUNT, DeliveryState.PENDING, "down")
    clock.time = NOW + 3
    await store.set_delivery(said.digest_text, MAKER_ACCOUNT, DeliveryState.DELIVERED, None)
    await store.set_delivery(said.digest_text, MAKER_ACCOUNT, DeliveryState.PENDING, "late failure")
    first, second = (await store.transfer(said.digest_text)).deliveries
    assert (first.state, first.attempts, first.error) == (DeliveryState.DELIVERED, 2, None)
    assert first.updated == NOW + 3
    assert (second.state, second.attempts, second.error) == (DeliveryState.PENDING, 0, None)


async def test_received_documents_are_kept_once(store: Store) -> None:
    said = await receive(store)
    documents = [document_statement("x.pdf"), document_statement("y.pdf")]
    rows = [stored_document(each, f"received/maker/{each.body.path}") for each in documents]  # type: ignore[union-attr]
    for _ in range(2):
        await store.add_received(said.digest_text, rows, documents)
    assert (await store.transfer(said.digest_text)).documents == tuple(each.digest_text for each in documents)
    assert [each.path for each in await store.documents("received", "", 9)] == [each.path for each in rows]
    assert [each.version for each in await store.documents("received", "", 9)] == [1, 1]
    assert (await store.counts())["statements"] == 3


async def test_a_document_statement_that_is_known_is_kept_once(store: Store) -> None:
    """A document that comes back: sent to someone, and received again from there."""
    document = await deposit(store, "x.pdf")
    said = await receive(store)
    await store.add_received(said.digest_text, [stored_document(document, "received/x.pdf")], [document])
    assert (await store.counts())["statements"] == 2
    assert (await store.document("received/x.pdf")).statement == document.digest_text


# --- receipts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
async def test_a_receipt_is_final(store: Store, clock: Clock, outcome: str) -> None:
    said = await send(store, MAKER_ACCOUNT, THIRD_ACCOUNT)
    state = DeliveryState(outcome)
    receipt = receipt_statement(said, outcome)
    await store.set_delivery(said.digest_text, MAKER_ACCOUNT, DeliveryState.PENDING, "down")
    clock.time = NOW + 3
    taken = await store.add_receipt(said.digest_text, MAKER_ACCOUNT, state, receipt, [JOB])
    first, second = taken.deliveries
    assert (first.state, first.receipt, first.error, first.updated) == (state, receipt.digest_text, None, NOW + 3)
    assert (second.state, second.receipt) == (DeliveryState.PENDING, None)
    assert await store.add_receipt(said.digest_text, MAKER_ACCOUNT, state, receipt, [JOB]) == taken
    for later in (DeliveryState.PENDING, DeliveryState.DELIVERED):
        await store.set_delivery(said.digest_text, MAKER_ACCOUNT, later, "late")
    with pytest.raises(Conflict, match="never changes"):
        await store.add_receipt(said.digest_text, MAKER_ACCOUNT, state, receipt_statement(said, outcome), [])
    assert await store.transfer(said.digest_text) == taken
    counts = await store.counts()
    assert (counts["receipts"], counts["jobs"]) == (1, 1)


async def test_of_receipts_given_at_once_one_stands(store: Store) -> None:
    said = await send(store)
    receipts = [receipt_statement(said) for _ in range(8)]
    results = await asyncio.gather(
        *(store.add_receipt(said.digest_text, MAKER_ACCOUNT, DeliveryState.ACCEPTED, each, []) for each in receipts),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Conflict) for each in results) == 7
    assert (await store.counts())["receipts"] == 1


async def test_a_receipt_of_somebody_else_is_refused(store: Store) -> None:
    said = await send(store)
    with pytest.raises(NotFound, match="not an addressee"):
        await store.add_receipt(said.digest_text, THIRD_ACCOUNT, DeliveryState.ACCEPTED, receipt_statement(said), [JOB])
    assert (await store.counts())["jobs"] == 0


# --- batches ---------------------------------------------------------------------------------------------------------


async def test_a_batch_holds_the_oldest_statements_in_their_order(store: Store) -> None:
    said = [await deposit(store, f"{n}.pdf") for n in range(5)]
    batch = await store.make_batch(3, NOW + 1)
    assert batch is not None
    assert (batch.size, batch.state, batch.created) == (3, BatchState.SEALED, NOW + 1)
    assert batch.root == merkle.root([merkle.leaf_hash(each.digest) for each in said[:3]])
    assert await store.batch_leaves(batch.number) == [each.digest for each in said[:3]]
    places = [await store.statement(each.digest_text) for each in said]
    assert [(each.batch, each.leaf) for each in places if each] == [
        *((batch.number, leaf) for leaf in range(3)),
        (None, None),
        (None, None),
    ]
    rest = await store.make_batch(3, NOW + 1)
    assert rest is not None
    assert await store.batch_leaves(rest.number) == [each.digest for each in said[3:]]
    assert await store.make_batch(3, NOW + 1) is None
    assert await store.batches(BatchState.SEALED) == [batch, rest]
    assert (await store.counts())["statements_not_final"] == 5


async def test_a_batch_that_is_final_stays_where_it_is(store: Store) -> None:
    await deposit(store, "a.pdf")
    batch = await store.make_batch(10, NOW)
    assert batch is not None
    final = replace(
        batch,
        state=BatchState.FINAL,
        transaction=b"t" * 32,
        block_number=7,
        block_hash=b"h" * 32,
        block_time=NOW + 1,
    )
    await store.set_batch(final)
    assert await store.batch(batch.number) == final
    assert await store.batches(BatchState.FINAL) == [final]
    assert await store.batches(BatchState.SEALED) == []
    counts = await store.counts()
    assert (counts["batches"], counts["statements_not_final"]) == (1, 0)


async def anchored(store: Store, transactions: SqlTransactionStore) -> Batch:
    """A batch as it is when the transaction ``a`` made it final."""
    await deposit(store, "a.pdf")
    made = await store.make_batch(10, NOW)
    assert made is not None
    place = block(7)
    await transactions.reserve(request("a"), 0)
    await transactions.add_attempt("a", replace(attempt(0), transaction=place.transaction))
    return replace(
        made,
        state=BatchState.FINAL,
        transaction=place.transaction,
        block_number=7,
        block_hash=place.hash,
        block_time=place.time,
    )


@pytest.mark.parametrize(
    ("status", "place"),
    [
        (TransactionStatus.PENDING, None),
        (TransactionStatus.MINED, block(7)),
        (TransactionStatus.FINAL, replace(block(7), hash=b"h" * 32)),
    ],
)
async def test_a_batch_goes_back_together_with_its_transaction(
    store: Store, engine: AsyncEngine, status: TransactionStatus, place: BlockRef | None
) -> None:
    transactions = SqlTransactionStore(engine)
    final = await anchored(store, transactions)
    await transactions.set_block("a", TransactionStatus.FINAL, block(7))
    assert await store.set_batch(final)
    await transactions.reserve(request("b"), 0)
    await transactions.set_block("b", TransactionStatus.FINAL, replace(block(8), transaction=b"b" * 32))
    await transactions.set_block("b", TransactionStatus.PENDING, None)  # another batch's, or none's
    await transactions.set_block("a", TransactionStatus.FINAL, block(7))  # nothing new
    assert await store.batch(final.number) == final
    await transactions.set_block("a", status, place)
    back = await store.batch(final.number)
    assert (back.state, back.root, back.size) == (BatchState.SEALED, final.root, final.size)
    assert (back.transaction, back.block_number, back.block_hash, back.block_time) == (None, None, None, None)
    assert (await store.counts())["statements_not_final"] == 1
    assert await store.make_batch(10, NOW) is None  # its statements stay in it


async def test_a_batch_is_not_final_by_a_transaction_that_is_not(store: Store, engine: AsyncEngine) -> None:
    """A worker that is late, when another one has just seen a reorg."""
    transactions = SqlTransactionStore(engine)
    final = await anchored(store, transactions)
    places: list[tuple[TransactionStatus, BlockRef | None]] = [
        (TransactionStatus.PENDING, None),
        (TransactionStatus.MINED, block(7)),
        (TransactionStatus.FAILED, block(7)),
        (TransactionStatus.FINAL, replace(block(7), hash=b"h" * 32)),
        (TransactionStatus.FINAL, replace(block(7), transaction=b"t" * 32)),
    ]
    for status, place in places:
        await transactions.set_block("a", status, place)
        assert not await store.set_batch(final)
        assert (await store.batch(final.number)).state is BatchState.SEALED
    await transactions.set_block("a", TransactionStatus.FINAL, block(7))
    assert await store.set_batch(final)
    assert await store.batch(final.number) == final


async def test_batches_made_at_once_share_no_statement(store: Store) -> None:
    said = [await deposit(store, f"{n}.pdf") for n in range(12)]
    made = [each for each in await asyncio.gather(*(store.make_batch(5, NOW) for _ in range(6))) if each]
    while more := await store.make_batch(5, NOW):
        made.append(more)
    leaves = [leaf for batch in made for leaf in await store.batch_leaves(batch.number)]
    assert sorted(leaves) == sorted(each.digest for each in said)
    assert sum(each.size for each in made) == 12


# --- jobs ------------------------------------------------------------------------------------------------------------


def jobs(count: int) -> list[Job]:
    return [Job(f"open:{n}", "open", str(n)) for n in range(count)]


async def test_a_claimed_job_is_nobody_else_s_until_its_lease_ends(store: Store) -> None:
    await send(store, jobs=jobs(1))
    assert await store.claim(NOW, LEASE, 5) == [replace(jobs(1)[0], attempts=1)]
    assert await store.claim(NOW + LEASE - 1, LEASE, 5) == []
    assert await store.claim(NOW + LEASE, LEASE, 5) == [replace(jobs(1)[0], attempts=2)]


async def test_a_clock_that_was_put_back_holds_up_no_job(store: Store, clock: Clock) -> None:
    clock.time = NOW + 7200
    await send(store, jobs=jobs(3))
    await store.claim(NOW + 7200, LEASE, 2)
    await store.retry("open:1", NOW + 7200 + 3600, "it failed")
    clock.time = NOW
    again = [replace(each, attempts=count) for each, count in zip(jobs(3), (2, 2, 1), strict=True)]
    assert sorted(await store.claim(NOW, LEASE, 5), key=lambda each: each.key) == again
    assert await store.claim(NOW, LEASE, 5) == []


async def test_a_job_whose_worker_shows_life_is_kept(store: Store) -> None:
    await send(store, jobs=jobs(1))
    await store.claim(NOW, LEASE, 5)
    await store.keep("open:0", NOW + 100)
    assert await store.claim(NOW + 99, LEASE, 5) == []
    assert len(await store.claim(NOW + 100, LEASE, 5)) == 1
    await store.keep("no such job", NOW)


async def test_a_finished_job_is_gone(store: Store) -> None:
    await send(store, jobs=jobs(2))
    await store.finish("open:0")
    await store.finish("open:0")
    assert [each.key for each in await store.claim(NOW, LEASE, 5)] == ["open:1"]
    assert (await store.counts())["jobs"] == 1


async def test_a_failed_job_is_due_again_later(store: Store) -> None:
    await send(store, jobs=jobs(1))
    await store.claim(NOW, LEASE, 5)
    await store.retry("open:0", NOW + 5, "it failed")
    assert await store.claim(NOW + 4, LEASE, 5) == []
    assert [each.attempts for each in await store.claim(NOW + 5, LEASE, 5)] == [2]
    await store.retry("no such job", NOW, "it failed")


async def test_a_job_that_has_to_wait_made_no_attempt(store: Store) -> None:
    await send(store, jobs=jobs(1))
    for waited in range(3):
        assert [each.attempts for each in await store.claim(NOW + 5 * waited, LEASE, 5)] == [1]
        await store.postpone("open:0", NOW + 5 * waited + 5)
        assert await store.claim(NOW + 5 * waited + 4, LEASE, 5) == []
    await store.postpone("no such job", NOW)


async def test_jobs_are_claimed_by_when_they_are_due_and_no_more_than_asked_for(store: Store, clock: Clock) -> None:
    await send(store, jobs=jobs(3))
    await store.retry("open:0", NOW + 5, "later")
    assert await store.claim(NOW - 1, LEASE, 5) == []
    assert await store.claim(NOW + 9, LEASE, 0) == []
    first = await store.claim(NOW + 9, LEASE, 2)
    assert {each.key for each in first} == {"open:1", "open:2"}
    assert [each.key for each in await store.claim(NOW + 9, LEASE, 2)] == ["open:0"]


async def test_no_job_goes_to_two_workers(store: Store) -> None:
    await send(store, jobs=jobs(30))
    claimed = await asyncio.gather(*(store.claim(NOW, LEASE, 4) for _ in range(12)))
    keys = [each.key for some in claimed for each in some]
    while more := await store.claim(NOW, LEASE, 4):
        keys += [each.key for each in more]
    assert sorted(keys) == sorted(each.key for each in jobs(30))


async def test_counts_start_at_nothing_and_the_check_passes(store: Store) -> None:
    await store.check()
    assert set((await store.counts()).values()) == {0}
