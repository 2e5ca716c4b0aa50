"""A check of a whole node: real deposits and transfers, then damage, found, and mended where it derives."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from docex.core import statement
from docex.core.claims import Receipt
from docex.core.digest import parse_digest
from docex.core.ledger_types import Anchor, Revocation
from docex.core.state import Batch, BatchState, DeliveryState, Job, StoredTransfer
from docex.core.transactions import Attempt, BlockRef, TransactionRequest, TransactionStatus
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.service import arrivals, deposits, fsck_packets, fsck_statements, fsck_transfers, revocations, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.findings import MAX_LISTED
from docex.service.fsck import GRACE, Code, Keeping, Report, check
from docex.service.node import Node
from docex.service.worker import work_on
from storage import BlobNotFound
from tests.fixtures.paper_nodes import NewNode, Paper, account_of, deposited, jobs_due, keys_of, pieces
from tests.fixtures.stores import DATA, fetched, paths, source

Damage = Callable[..., int]


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


def keeping(node: Node, *, opens: bool = True, later: int = 0, anchors: Any = None) -> Keeping:
    """What `docex.wiring.kept_by_node` gives; ``later``: seconds that have passed since."""
    assert isinstance(node.store, SqlStore)
    now = lambda: int(datetime.now(UTC).timestamp()) + later  # noqa: E731 - blobs are dated by the file system
    return Keeping(node.store, node.blobs, node.address, opens, now, anchors)


async def codes(node: Node, **options: Any) -> list[str]:
    """What a check finds, by code."""
    return sorted(each.code for each in (await check(keeping(node), **options)).findings)


async def work(node: Node) -> None:
    for job in await jobs_due(node.store, 2**40, 60, 100):
        await work_on(node, job)


async def anchored(node: Node) -> Batch:
    """Anchor what waits, with the ledger transactions that a paper ledger does not write."""
    while not await anchor_waiting(node):
        pass
    batch = (await node.store.batches(BatchState.FINAL))[-1]
    assert isinstance(node.store, SqlStore)
    assert batch.transaction is not None
    assert batch.block_hash is not None
    rows = SqlTransactionStore(node.store._sessions._engine)
    request = TransactionRequest(f"anchor:{batch.number}", 31337, node.address, node.address, b"", 0, 21_000)
    row = await rows.reserve(request, 0)
    await rows.add_attempt(request.key, Attempt(row.nonce, 0, batch.transaction, b"raw", 2, 1, 1))
    block = BlockRef(batch.block_number or 0, batch.block_hash, batch.block_time or 0, batch.transaction, True, 1, None)
    await rows.set_block(request.key, TransactionStatus.FINAL, block)
    return batch


async def exchanged(mine: Node, maker: Node) -> StoredTransfer:
    """Deposits, a version over another, an accepted transfer of two documents; all of it anchored by both."""
    for content in (b"first", b"second"):
        await deposited(mine, "quality/cert.pdf", content)
    await deposited(mine, "quality/large.bin", DATA[:300_000])
    sent = await transfers.create(mine, ["quality/cert.pdf", "quality/large.bin"], [account_of("Maker")])
    for node in (mine, maker, maker, mine):
        await work(node)
    for node in (mine, maker):
        await anchored(node)
    done = await mine.store.transfer(sent.id)
    assert done.deliveries[0].state is DeliveryState.ACCEPTED
    return done


@pytest.fixture
def damage(tmp_path: Path) -> Damage:
    """Runs SQL on a node's database behind its back, without foreign keys; the number of rows that it changed."""

    def run(sql: str, *values: object, name: str = "Mine") -> int:
        with closing(sqlite3.connect(tmp_path / f"{name}.db", timeout=30)) as connection, connection:
            return connection.execute(sql, values).rowcount

    return run


# --- nothing wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
async def test_a_sound_node_has_no_findings_and_its_accounts_balance(mine: Node, maker: Node, deep: bool) -> None:
    await exchanged(mine, maker)
    await deposited(mine, "waiting", b"not anchored yet")
    seen: list[int] = []
    found = await check(keeping(mine), deep=deep, step=seen.append)
    assert found == Report(
        {
            "statements": 6,
            "statements_queued": 1,
            "statements_final": 5,
            "batches": 1,
            "documents": 4,
            "transfers": 1,
            "receipts": 1,
            "packets": 5,
        },
        {},
        {},
        (),
    )
    assert sum(seen) == 6 + 1 + 4 + 1 + 5
    other = await check(keeping(maker), deep=deep, repair=True)
    assert (other.findings, other.counts["documents"], other.counts["packets"]) == ((), 2, 1)


async def test_an_empty_node_is_sound(mine: Node) -> None:
    assert await check(keeping(mine)) == Report({}, {}, {}, ())


async def test_a_refused_packet_and_one_on_its_way_are_sound(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "a", b"content")
    await transfers.create(mine, ["a"], [account_of("Maker")])
    paper.wire.cut.add("send_packet")
    await work(mine)
    assert await codes(maker) == await codes(mine) == []
    paper.wire.cut.clear()
    await work(mine)
    paper.ledger.published[keys_of("Mine")[2]] = []  # its keys are not known any more: the packet is refused
    await work(maker)
    assert await codes(maker, deep=True) == await codes(mine) == []


async def test_a_header_larger_than_usual_is_measured(mine: Node, maker: Node, new_node: NewNode) -> None:
    names = [f"Member {n}" for n in range(70)]
    for name in names:
        new_node(name)
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of(name) for name in names])
    assert sent.blob is not None
    assert (await mine.blobs.stat(sent.blob)).size > (1 << 16) + sent.size
    assert await codes(mine, deep=True) == []


# --- packets ---------------------------------------------------------------------------------------------------------


async def test_a_missing_packet_is_found_for_each_that_names_it(mine: Node, maker: Node) -> None:
    sent = await exchanged(mine, maker)
    stored = await mine.store.document("quality/cert.pdf", 1)
    assert sent.blob is not None
    await mine.blobs.delete(stored.blob)
    await mine.blobs.delete(sent.blob)
    found = await check(keeping(mine), repair=True)
    assert [(each.code, each.subject, each.repairable) for each in found.findings] == [
        (Code.PACKET_MISSING, "quality/cert.pdf version 1", False),
        (Code.PACKET_MISSING, f"transfer {sent.id}", False),
    ]
    assert found.remaining == 2
    received = await maker.store.transfer(sent.id)
    assert received.blob is not None
    await maker.blobs.delete(received.blob)
    assert await codes(maker) == [Code.PACKET_MISSING] * 3  # two documents, and the transfer that brought them


def changed(tmp_path: Path, blob: str, change: Callable[[bytearray], object]) -> None:
    file = tmp_path / "Mine-packets" / blob
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)


async def test_a_packet_that_was_cut_or_extended_is_found(mine: Node, maker: Node, tmp_path: Path) -> None:
    sent = await exchanged(mine, maker)
    stored = await mine.store.document("quality/large.bin")
    assert sent.blob is not None
    changed(tmp_path, stored.blob, lambda data: data.pop())
    changed(tmp_path, sent.blob, lambda data: data.append(0))
    assert await codes(mine) == await codes(mine, deep=True) == [Code.PACKET_SIZE] * 2


async def test_a_packet_that_was_changed_is_found_when_all_of_it_is_read(
    mine: Node, maker: Node, tmp_path: Path
) -> None:
    sent = await exchanged(mine, maker)
    stored = await mine.store.document("quality/large.bin")
    assert sent.blob is not None
    for blob in (stored.blob, sent.blob):
        changed(tmp_path, blob, lambda data: data.__setitem__(-1, data[-1] ^ 1))
    assert await codes(mine) == []
    assert await codes(mine, deep=True) == [Code.PACKET_DIGEST] * 2


async def test_a_packet_whose_start_is_none_is_found(mine: Node, maker: Node, tmp_path: Path) -> None:
    sent = await exchanged(mine, maker)
    assert sent.blob is not None
    changed(tmp_path, sent.blob, lambda data: data.__setitem__(0, 0))
    assert await codes(mine) == [Code.PACKET_HEADER]
    changed(tmp_path, sent.blob, lambda data: data.__delitem__(slice(100, None)))
    assert await codes(mine) == [Code.PACKET_HEADER]


async def test_a_packet_that_nothing_names_is_removed_once_it_is_old(mine: Node, maker: Node, tmp_path: Path) -> None:
    """A node that dies between storing a packet and committing its row leaves one."""
    await exchanged(mine, maker)
    kept = await paths(mine.blobs)
    for orphan in ("documents/a/0.age", "transfers/sent/0.age", "transfers/received/" + "0" * 64 + ".age"):
        await mine.blobs.put(orphan, source(b"left behind"))
    await mine.blobs.put("elsewhere/0.age", source(b"not a packet of this node"))
    found = await check(keeping(mine, later=GRACE - 60), repair=True)
    assert (found.findings, found.counts["packets_just_stored"]) == ((), 3)
    found = await check(keeping(mine, later=GRACE + 60))
    assert [(each.code, each.repaired, each.repairable) for each in found.findings] == [(Code.ORPHAN, False, True)] * 3
    assert len(await paths(mine.blobs)) == len(kept) + 4
    found = await check(keeping(mine, later=GRACE + 60), repair=True)
    assert (found.found, found.repaired, found.remaining) == ({"orphan": 3}, {"orphan": 3}, 0)
    assert await paths(mine.blobs) == sorted([*kept, "elsewhere/0.age"])
    assert await codes(mine, deep=True) == []


async def test_a_packet_that_arrived_and_was_not_noted_is_left_for_the_next_delivery(
    mine: Node, maker: Node, damage: Damage
) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")])
    await work(mine)
    damage("UPDATE transfers SET blob = NULL", name="Maker")
    damage("UPDATE deliveries SET state = 'pending'", name="Maker")
    damage("DELETE FROM jobs", name="Maker")
    found = await check(keeping(maker, later=2 * GRACE), repair=True)
    assert (found.findings, found.counts["packets_arriving"]) == ((), 1)
    assert sent.blob is not None
    taken = await arrivals.take_packet(maker, sent.id, pieces(await fetched(mine.blobs, sent.blob)))
    assert taken.deliveries[0].state is DeliveryState.DELIVERED
    await work(maker)
    assert (await maker.store.transfer(sent.id)).deliveries[0].state is DeliveryState.ACCEPTED


async def test_parts_of_a_packet_are_arriving_while_it_is_and_left_behind_once_it_is_here(
    mine: Node, maker: Node, damage: Damage
) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")])
    await work(mine)
    part = f"transfers/arriving/{sent.id[7:]}/{0:020}.part"
    stray = f"transfers/arriving/{'0' * 64}/{0:020}.part"
    for path in (part, stray):
        await maker.blobs.put(path, pieces(b"x"))
    found = await check(keeping(maker, later=2 * GRACE), repair=True)
    assert (found.found, found.repaired) == ({"orphan": 2}, {"orphan": 2})
    await maker.blobs.put(part, pieces(b"x"))
    damage("UPDATE transfers SET blob = NULL", name="Maker")
    found = await check(keeping(maker, later=2 * GRACE), repair=True)
    assert found.counts["packets_arriving"] == 2
    assert part in await paths(maker.blobs)
    assert [(each.code, each.message) for each in found.findings if each.code == Code.STUCK] == [
        (Code.STUCK, "no job removes its parts if no more come")
    ]
    assert f"clean:{sent.id}" in [job.key for job in await keeping(maker).store.jobs_from("", 100)]
    assert Code.STUCK not in await codes(maker)


async def test_a_packet_that_is_named_meanwhile_is_not_removed(mine: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = await deposited(mine, "a", b"content")
    await fsck_packets._remove(keeping(mine).store, mine.blobs, stored.blob)
    assert await paths(mine.blobs) == [stored.blob]


async def test_a_packet_removed_while_it_is_checked_is_missing(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await exchanged(mine, maker)

    async def gone(*_: object, **__: object) -> tuple[int, str]:
        assert sent.blob is not None
        await mine.blobs.delete(sent.blob)
        raise BlobNotFound("gone")

    monkeypatch.setattr(fsck_packets, "_measure", gone)
    assert await codes(mine) == [Code.PACKET_MISSING]


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE documents SET digest = 'sha256:" + "0" * 64 + "' WHERE number = 1",
        "UPDATE documents SET size = 6 WHERE number = 1",
        "UPDATE documents SET statement = 'sha256:" + "0" * 64 + "' WHERE number = 1",
        "UPDATE documents SET statement = (SELECT id FROM transfers) WHERE number = 1",
        "UPDATE documents SET issuer = 'eip155:1:0x' WHERE number = 1",
    ],
)
async def test_a_version_that_its_statement_does_not_describe_is_found(
    mine: Node, maker: Node, damage: Damage, sql: str
) -> None:
    await exchanged(mine, maker)
    assert damage(sql) == 1
    assert await codes(mine) == [Code.DOCUMENT_STATEMENT]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE documents SET newest = 0",
        "UPDATE documents SET newest = 1",
        "UPDATE documents SET newest = 1 - newest WHERE path = 'quality/cert.pdf'",
    ],
)
async def test_the_newest_version_is_marked_again(mine: Node, maker: Node, damage: Damage, sql: str) -> None:
    await exchanged(mine, maker)
    damage(sql)
    assert set(await codes(mine)) == {Code.NEWEST_VERSION}
    assert (await check(keeping(mine), repair=True)).remaining == 0
    assert await codes(mine) == []
    assert (await deposits.find(mine, "quality/cert.pdf")).version == 2
    assert len(await deposits.documents(mine, "", "", 10)) == 2


# --- statements and batches ------------------------------------------------------------------------------------------


async def test_a_changed_statement_is_found(mine: Node, maker: Node, damage: Damage) -> None:
    await exchanged(mine, maker)
    damage("UPDATE statements SET token = token || 'A' WHERE type = 'document' AND sequence = 1")
    assert await codes(mine) == [Code.DOCUMENT_STATEMENT, Code.STATEMENT_DIGEST]


async def test_a_changed_leaf_breaks_its_batch(mine: Node, damage: Damage) -> None:
    for n in range(5):
        await deposited(mine, f"{n}", b"content")
    await anchored(mine)
    damage("UPDATE statements SET leaf = 9 WHERE leaf = 0")
    damage("UPDATE statements SET leaf = 0 WHERE leaf = 1")
    damage("UPDATE statements SET leaf = 1 WHERE leaf = 9")  # each number once, and two are swapped
    assert await codes(mine) == [Code.BATCH_ROOT]
    other = "sha256:" + hashlib.sha256(b"other").hexdigest()
    damage("UPDATE statements SET digest = ? WHERE leaf = 2", other)
    assert set(await codes(mine)) == {Code.BATCH_ROOT, Code.DOCUMENT_STATEMENT, Code.STATEMENT_DIGEST}
    damage("UPDATE statements SET digest = 'none' WHERE leaf = 2")
    assert Code.BATCH_ROOT in await codes(mine)


@pytest.mark.parametrize("leaf", ["NULL", "9", "-1"])
async def test_leaves_that_lost_their_numbers_get_them_again(mine: Node, damage: Damage, leaf: str) -> None:
    for n in range(5):
        await deposited(mine, f"{n}", b"content")
    batch = await anchored(mine)
    leaves = await mine.store.batch_leaves(batch.number)
    damage(f"UPDATE statements SET leaf = {leaf} WHERE leaf = 1")
    found = await check(keeping(mine))
    assert [(each.code, each.repairable) for each in found.findings] == [(Code.BATCH_LEAVES, True)]
    assert (await check(keeping(mine), repair=True)).remaining == 0
    assert await codes(mine) == []
    assert await mine.store.batch_leaves(batch.number) == leaves


async def test_a_statement_out_of_its_batch_is_found_and_not_made_up(mine: Node, damage: Damage) -> None:
    for n in range(3):
        await deposited(mine, f"{n}", b"content")
    await anchored(mine)
    damage("UPDATE statements SET batch = NULL WHERE leaf = 1")
    found = await check(keeping(mine), repair=True)
    assert {each.code: each.repaired for each in found.findings} == {Code.LEAF: False, Code.BATCH_LEAVES: False}
    assert found.counts["statements_queued"] == 1


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('UPDATE batches SET "transaction" = NULL', [Code.BATCH_TRANSACTION]),
        ("UPDATE batches SET block_time = NULL", [Code.BATCH_TRANSACTION]),
        ("UPDATE batches SET block_hash = x'00'", [Code.BATCH_TRANSACTION]),
        ("UPDATE batches SET state = 'sealed'", [Code.BATCH_TRANSACTION]),
        ("UPDATE transactions SET status = 'pending'", [Code.BATCH_TRANSACTION]),
        ("DELETE FROM attempts", [Code.BATCH_TRANSACTION]),
        ("UPDATE batches SET root = zeroblob(32)", [Code.BATCH_ROOT]),
        ("UPDATE batches SET size = 4", [Code.BATCH_LEAVES]),
    ],
)
async def test_a_batch_whose_anchor_does_not_hold_is_found(
    mine: Node, damage: Damage, sql: str, expected: list[Code]
) -> None:
    await deposited(mine, "a", b"content")
    await anchored(mine)
    assert damage(sql) == 1
    assert await codes(mine) == expected


async def test_two_batches_by_one_transaction_are_found(mine: Node, damage: Damage) -> None:
    for n in range(2):
        await deposited(mine, f"{n}", b"content")
        await anchored(mine)
    damage('UPDATE batches SET "transaction" = (SELECT "transaction" FROM batches WHERE number = 1)')
    found = await check(keeping(mine))
    assert found.found == {"anchor_shared": 2, "batch_transaction": 1}


async def test_a_batch_that_becomes_final_during_the_check_is_read_again(
    mine: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposited(mine, "a", b"content")
    batch = await anchored(mine)
    stale = Batch(batch.number, batch.root, batch.size, BatchState.SEALED, batch.created, b"")

    async def page(after: int, _: int) -> list[Batch]:
        return [] if after else [stale]

    node = keeping(mine)
    monkeypatch.setattr(node.store, "batches_from", page)
    assert (await check(node)).findings == ()


class Notary:
    """Anchors as the ledger has them."""

    def __init__(self, anchor: Anchor | None, revocation: Revocation | None = None) -> None:
        self._anchor, self._revocation = anchor, revocation

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        return self._anchor

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        return self._revocation


async def test_final_batches_are_held_against_the_notary(mine: Node) -> None:
    await deposited(mine, "a", b"content")
    batch = await anchored(mine)
    number, time = batch.block_number or 0, batch.block_time or 0

    async def found(anchor: Anchor | None) -> list[str]:
        report = await check(keeping(mine, anchors=Notary(anchor)))
        return [each.code for each in report.findings]

    assert await found(Anchor(mine.address, batch.root, 1, number, time)) == []
    assert await found(None) == [Code.ANCHOR_MISSING]
    assert await found(Anchor(mine.address, batch.root, 1, number + 1, time)) == [Code.ANCHOR_DIFFERS]


# --- transfers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE transfers SET size = size + 1", {Code.TRANSFER_STATEMENT, Code.PACKET_SIZE}),
        ("UPDATE transfers SET peer = 'eip155:1:0x'", {Code.TRANSFER_STATEMENT}),
        ("DELETE FROM statements WHERE type = 'transfer'", {Code.TRANSFER_STATEMENT, Code.BATCH_LEAVES}),
        ("UPDATE deliveries SET account = 'eip155:1:0x'", {Code.DELIVERY, Code.DELIVERY_RECEIPT}),
        ("DELETE FROM deliveries", {Code.DELIVERY, Code.RECEIPT_UNUSED}),
        ("UPDATE transfers SET blob = NULL", {Code.DELIVERY}),
        ("UPDATE deliveries SET receipt = NULL", {Code.DELIVERY_STATE, Code.RECEIPT_UNUSED}),
        ("UPDATE deliveries SET receipt = transfer", {Code.DELIVERY_RECEIPT, Code.RECEIPT_UNUSED}),
        ("UPDATE deliveries SET receipt = 'none'", {Code.DELIVERY_RECEIPT, Code.RECEIPT_UNUSED}),
    ],
)
async def test_a_transfer_that_its_statements_do_not_describe_is_found(
    mine: Node, maker: Node, damage: Damage, sql: str, expected: set[Code]
) -> None:
    await exchanged(mine, maker)
    assert damage(sql) == 1
    assert set(await codes(mine)) == expected


async def test_a_received_transfer_that_contradicts_itself_is_found(mine: Node, maker: Node, damage: Damage) -> None:
    await exchanged(mine, maker)
    damage("UPDATE deliveries SET account = 'eip155:1:0x'", name="Maker")
    damage("UPDATE transfers SET blob = NULL", name="Maker")
    assert await codes(maker) == [Code.DELIVERY, Code.DELIVERY, Code.DELIVERY_RECEIPT]


async def test_a_statement_that_is_none_is_no_transfer_s(mine: Node, maker: Node, damage: Damage) -> None:
    await exchanged(mine, maker)
    damage("UPDATE statements SET token = 'none' WHERE type IN ('transfer', 'receipt')")
    assert set(await codes(mine)) == {Code.STATEMENT_DIGEST, Code.TRANSFER_STATEMENT, Code.DELIVERY_RECEIPT}


@pytest.mark.parametrize("state", ["pending", "delivered", "rejected"])
async def test_a_delivery_s_state_is_made_again_from_its_receipt(
    mine: Node, maker: Node, damage: Damage, state: str
) -> None:
    sent = await exchanged(mine, maker)
    damage("UPDATE deliveries SET state = ?", state)
    found = await check(keeping(mine), repair=True)
    assert found.repaired["delivery_state"] == 1
    assert found.remaining == 0
    assert (await mine.store.transfer(sent.id)).deliveries[0].state is DeliveryState.ACCEPTED


async def test_a_second_receipt_is_found(mine: Node, maker: Node) -> None:
    sent = await exchanged(mine, maker)
    claim = Receipt(sent.id, sent.packet, (), "rejected", "after all")
    second = statement.issue(maker.signer, maker.account, claim, maker.now())
    await mine.store.add_statements([second])
    found = await check(keeping(mine))
    assert [(each.code, each.subject) for each in found.findings] == [(Code.RECEIPT_UNUSED, second.digest_text)]


async def test_a_transfer_that_changes_during_the_check_is_read_again(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await exchanged(mine, maker)
    stale = StoredTransfer(
        sent.id, sent.direction, sent.peer, sent.packet, sent.size, sent.documents, sent.created, None, sent.deliveries
    )

    async def page(_: object, before: object, __: int) -> list[StoredTransfer]:
        return [] if before else [stale]

    node = keeping(mine)
    monkeypatch.setattr(node.store, "transfers", page)
    assert (await check(node)).findings == ()


# --- jobs ------------------------------------------------------------------------------------------------------------


async def test_a_delivery_whose_job_was_lost_goes_on_after_a_repair(mine: Node, maker: Node, damage: Damage) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")])
    damage("DELETE FROM jobs")
    assert await codes(mine) == [Code.STUCK]
    await work(mine)
    assert (await mine.store.transfer(sent.id)).deliveries[0].state is DeliveryState.PENDING
    assert (await check(keeping(mine), repair=True)).remaining == 0
    assert await codes(mine) == []
    await work(mine)
    damage("DELETE FROM jobs", name="Maker")
    assert (await check(keeping(maker, opens=False))).findings == ()  # it is opened elsewhere, when its member does so
    assert await codes(maker, repair=True) == [Code.STUCK]
    await work(maker)
    await work(maker)
    assert (await mine.store.transfer(sent.id)).deliveries[0].state is DeliveryState.ACCEPTED
    assert await codes(maker) == await codes(mine) == []


async def test_a_transfer_whose_end_was_lost_ends_after_a_repair(
    mine: Node, maker: Node, damage: Damage, paper: Paper
) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")], expires=mine.now() + 3600)
    assert damage("DELETE FROM jobs WHERE kind = 'expire'") == 1
    (found,) = (await check(replace(keeping(mine), now=mine.now), repair=True)).findings
    assert found.message == f"no job gives it up for {maker.account} once its time has run out"
    assert (found.code, found.repaired, await codes(mine)) == (Code.STUCK, True, [])
    damage("DELETE FROM jobs WHERE kind = 'deliver'")
    assert await jobs_due(mine.store, paper.clock() + 3599) == []
    paper.clock.time += 3600
    (job,) = await jobs_due(mine.store, paper.clock())
    await work_on(mine, job, paper.clock)
    assert (await mine.store.transfer(sent.id)).deliveries[0].state is DeliveryState.EXPIRED
    assert await codes(mine) == []


async def test_a_receipt_that_was_not_given_back_is_after_a_repair(mine: Node, maker: Node, damage: Damage) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")])
    await work(mine)
    await work(maker)
    assert damage("DELETE FROM jobs WHERE kind = 'return'", name="Maker") == 1
    assert await codes(maker, repair=True) == [Code.STUCK]
    await work(maker)
    assert (await mine.store.transfer(sent.id)).deliveries[0].state is DeliveryState.ACCEPTED
    assert await codes(maker) == await codes(mine) == []


async def test_a_revocation_that_the_notary_lacks_is_recorded_after_a_repair(mine: Node, damage: Damage) -> None:
    document = await deposited(mine, "a", b"content")
    batch = await anchored(mine)
    revocation = await revocations.revoke(mine, document.statement, "withdrawn")
    anchor = Anchor(mine.address, batch.root, 1, batch.block_number or 0, batch.block_time or 0)
    recorded = Revocation(mine.address, parse_digest(document.statement).raw, 1, 1, revocation.digest)

    async def found(notary: Notary | None) -> list[str]:
        return [each.subject for each in (await check(keeping(mine, anchors=notary))).findings]

    assert await found(Notary(anchor)) == []  # its job is there
    assert damage("DELETE FROM jobs WHERE kind = 'revoke'") == 1
    assert await found(None) == await found(Notary(anchor, recorded)) == []
    assert await found(Notary(anchor)) == [f"statement {document.statement}"]
    assert (await check(keeping(mine, anchors=Notary(anchor)), repair=True)).repaired == {Code.STUCK: 1}
    (job,) = [each for each in await keeping(mine).store.jobs_from("", 100) if each.kind == "revoke"]
    assert (job.key, job.argument) == (f"revoke:{document.statement}", revocation.digest_text)


NOTHING = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("deliver", f"{NOTHING} eip155:1:0x"),
        ("deliver", "{transfer} eip155:1:0x"),
        ("open", NOTHING),
        ("return", "{transfer}"),
        ("revoke", NOTHING),
        ("revoke", "{transfer}"),
        ("timestamp", "7"),
        ("timestamp", "seven"),
        ("brew", "coffee"),
    ],
)
async def test_a_job_about_nothing_is_found_and_kept(
    mine: Node, maker: Node, damage: Damage, kind: str, argument: str
) -> None:
    await deposited(mine, "a", b"content")
    sent = await transfers.create(mine, ["a"], [account_of("Maker")])
    await work(mine)
    job = Job(f"{kind}:x", kind, argument.format(transfer=sent.id))
    await keeping(mine).store.add_jobs([job])
    found = await check(keeping(mine), repair=True)
    assert [(each.code, each.subject, each.repaired) for each in found.findings] == [(Code.JOB, f"job {kind}:x", False)]
    assert found.counts["jobs"] == 1


async def test_jobs_about_something_are_sound(mine: Node, maker: Node) -> None:
    sent = await exchanged(mine, maker)
    jobs = [Job("1", "open", sent.id), Job("2", "return", sent.id), Job("3", "timestamp", "1")]
    await keeping(maker).store.add_jobs(jobs)
    assert await codes(maker) == []


# --- a report --------------------------------------------------------------------------------------------------------


async def test_a_report_counts_more_than_it_lists(mine: Node) -> None:
    jobs = [Job(f"{n:04}", "brew", "coffee") for n in range(MAX_LISTED + 5)]
    await keeping(mine).store.add_jobs(jobs)
    found = await check(keeping(mine))
    assert (len(found.findings), found.remaining, found.counts["jobs"]) == (MAX_LISTED, MAX_LISTED + 5, MAX_LISTED + 5)


async def test_all_pages_are_read(mine: Node, monkeypatch: pytest.MonkeyPatch, damage: Damage, maker: Node) -> None:
    for module in (fsck_packets, fsck_statements, fsck_transfers):
        monkeypatch.setattr(module, "PAGE", 2)
    for n in range(5):
        await deposited(mine, f"{n}", b"content")
        await transfers.create(mine, [f"{n}"], [account_of("Maker")])
        await anchored(mine)
    found = await check(keeping(mine), deep=True)
    assert found.findings == ()
    assert found.counts == {
        "statements": 10,
        "statements_final": 10,
        "batches": 5,
        "documents": 5,
        "transfers": 5,
        "receipts": 0,
        "jobs": 5,
        "packets": 10,
    }
    damage("DELETE FROM jobs")
    damage("UPDATE documents SET newest = 0")
    for blob in await paths(mine.blobs):
        await mine.blobs.delete(blob)
    found = await check(keeping(mine))
    assert found.found == {"newest_version": 5, "stuck": 5, "packet_missing": 10}


async def test_a_document_that_was_removed_is_still_all_there(mine: Node) -> None:
    await deposited(mine, "a", b"first")
    await deposited(mine, "a", b"second")
    await deposits.remove(mine, "a")
    await deposited(mine, "a", b"third")
    await deposits.remove(mine, "a")
    report = await check(keeping(mine), deep=True)
    assert (report.findings, report.counts["documents"], report.counts["packets"]) == ((), 3, 3)


async def test_what_a_cut_upload_left_is_removed_and_what_waits_in_the_container_is_not(mine: Node) -> None:
    for path in ("uploads/1.age", "incoming/a"):
        await mine.blobs.put(path, pieces(b"content"))
    assert await codes(mine) == []
    report = await check(keeping(mine, later=GRACE + 60), repair=True)
    assert [(each.code, each.subject) for each in report.findings] == [(Code.ORPHAN, "uploads/1.age")]
    assert await paths(mine.blobs) == ["incoming/a"]
