"""Receipt before key: ciphertext, signed receipt, its anchor, header, in this order and whatever happens in between."""

import io
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from docex.core import statement
from docex.core.age import encode_header, make_header, parse_recipient, read_header
from docex.core.claims import Addressee, Body, Receipt, Transfer
from docex.core.digest import sha256
from docex.core.state import BatchState, DeliveryState, EventKind, StoredTransfer
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import Conflict, DigestMismatch, DocexError, Forbidden, NodeUnavailable, NotFound
from docex.service import arrivals, deposits, fair, proofs, receipts, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.findings import Code
from docex.service.fsck import GRACE, Keeping, check
from docex.service.node import Limits, Node
from docex.service.worker import work_on
from tests.fixtures.paper_nodes import (
    NETWORK,
    START,
    NewNode,
    Paper,
    account_of,
    broken,
    deposited,
    endpoint_of,
    jobs_due,
    key_id_of,
    keys_of,
    pieces,
    whole,
)
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA, fetched, paths

CONTENT = b"content of the certificate"
DAY = 24 * 3600


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


@pytest.fixture
def damage(tmp_path: Path) -> Callable[..., int]:
    """Runs SQL on a node's database behind its back, without foreign keys; the number of rows that it changed."""

    def run(sql: str, *values: object, name: str = "Mine") -> int:
        with closing(sqlite3.connect(tmp_path / f"{name}.db", timeout=30)) as connection, connection:
            return connection.execute(sql, values).rowcount

    return run


async def offered(mine: Node, *to: Node, content: bytes = CONTENT) -> StoredTransfer:
    await deposited(mine, "cert.pdf", content)
    return await transfers.create(mine, ["cert.pdf"], [each.account for each in to], fair=True)


async def work(node: Node, paper: Paper) -> int:
    """Do the jobs that are due, each as a worker does."""
    due = await jobs_due(node.store, paper.clock(), 60, 100)
    for job in due:
        await work_on(node, job, paper.clock)
    return len(due)


async def anchor(*nodes: Node) -> None:
    for node in nodes:
        while await node.store.make_batch(1000, node.now()) or await node.store.batches(BatchState.SEALED):
            await anchor_waiting(node)


async def run(paper: Paper, *nodes: Node, step: int = 60) -> None:
    """Work and anchor until nothing is left to do, time passing where all wait."""
    for _ in range(200):
        await anchor(*nodes)
        if not sum([await work(node, paper) for node in nodes]):
            if not any([(await node.store.counts())["jobs"] for node in nodes]):
                return
            paper.clock.time += step
    raise AssertionError("they never end")


async def token_of(node: Node, digest: str) -> str:
    stored = await node.store.statement(digest)
    assert stored is not None
    return stored.token


async def state(node: Node, transfer: StoredTransfer, account: str | None = None) -> DeliveryState:
    found = await node.store.transfer(transfer.id)
    return fair.delivery_to(found, account or found.deliveries[0].account).state


async def ciphertext_receipt(node: Node, transfer: StoredTransfer) -> Statement:
    digest = (await node.store.transfer(transfer.id)).deliveries[0].ciphertext_receipt
    assert digest is not None
    return statement.verify(await token_of(node, digest))


async def parts(mine: Node, transfer: StoredTransfer) -> tuple[bytes, bytes]:
    """Header and payload of a packet that was sealed here."""
    assert transfer.blob is not None
    data = await fetched(mine.blobs, transfer.blob)
    size = await fair.header_size(mine, transfer)
    return data[:size], data[size:]


async def kinds(node: Node, transfer: StoredTransfer) -> list[EventKind]:
    return [each.kind for each in await node.store.events_of(transfer.id)]


async def sound(*nodes: Node, deep: bool = True) -> None:
    for node in nodes:
        assert isinstance(node.store, SqlStore)
        kept = Keeping(node.store, node.blobs, node.address, node.identity is not None, lambda: 2**31)
        # Batches of a paper ledger have no transactions in the database.
        found = [each for each in (await check(kept, deep=deep)).findings if each.code is not Code.BATCH_TRANSACTION]
        assert found == []


# --- the way it goes -------------------------------------------------------------------------------------------------


async def test_ciphertext_receipt_anchor_header_receipt(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    header, payload = await parts(mine, transfer)
    said = statement.verify(await token_of(mine, transfer.id)).body
    assert isinstance(said, Transfer)
    assert (said.fair, said.header, said.packet) == (True, str(sha256(header)), str(sha256(payload)))
    await run(paper, mine, maker)
    assert paper.wire.sent == [(endpoint_of("Maker"), payload), (endpoint_of("Maker"), header)]
    for node in (mine, maker):
        assert await state(node, transfer) is DeliveryState.ACCEPTED
        first = await ciphertext_receipt(node, transfer)
        assert first.body == Receipt(transfer.id, transfer.packet, (), "received")
        assert first.issuer == maker.account
        counts = await node.store.counts()
        assert (counts["receipts"], counts["jobs"], counts["transfers"]) == (1, 0, 1)
        made = await proofs.build(node, transfer.id)
        related = [statement.verify(each.token).body for each in made.related]
        assert [each.outcome for each in related if isinstance(each, Receipt)] == ["received", "accepted"]
        for evidence in (made.statement, *made.related):  # by both sides, each for itself
            assert evidence.anchor is not None
            assert evidence.anchor.member == node.address
    assert await kinds(mine, transfer) == ["sent", "ciphertext", "delivered", "accepted"]
    assert await kinds(maker, transfer) == ["announced", "ciphertext", "received", "accepted"]
    document = await deposits.find(maker, f"received/{mine.address}/cert.pdf")
    assert await whole(deposits.read(maker, document)) == CONTENT
    assert await paths(maker.blobs) == [(await maker.store.transfer(transfer.id)).blob]
    await sound(mine, maker)


async def test_a_document_s_proof_has_the_ciphertext_s_receipt_until_there_is_a_final_one(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    await fair.ask(maker, transfer.id)

    async def outcomes() -> list[str]:
        made = await proofs.build(mine, transfer.documents[0])
        bodies = [statement.verify(each.token).body for each in made.related]
        return [each.outcome for each in bodies if isinstance(each, Receipt)]

    assert await outcomes() == ["received"]
    await run(paper, mine, maker)
    assert await outcomes() == ["accepted"]


async def test_every_step_is_told_and_sound(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    assert await transfers.deliver(mine, transfer.id, maker.account) == fair.FIRST_WAIT
    found = await maker.store.transfer(transfer.id)
    assert (found.fair, found.wanted, found.blob, found.ciphertext) == (True, False, None, *await paths(maker.blobs))
    assert [await state(node, transfer) for node in (mine, maker)] == [DeliveryState.PENDING, DeliveryState.RECEIVED]
    await sound(mine, maker)
    assert await fair.ask(maker, transfer.id) == fair.FIRST_WAIT
    assert [await state(node, transfer) for node in (mine, maker)] == [DeliveryState.RECEIVED, DeliveryState.RECEIVED]
    await sound(mine, maker)
    calls = len(paper.wire.calls)
    assert await transfers.deliver(mine, transfer.id, maker.account) == fair.ANCHOR_WAIT
    assert await fair.release(mine, transfer, maker.account, endpoint_of("Maker")) == fair.ANCHOR_WAIT
    assert len(paper.wire.calls) == calls  # nobody is called while it waits for the anchor
    await anchor(mine)
    assert await transfers.deliver(mine, transfer.id, maker.account) is None
    assert [await state(node, transfer) for node in (mine, maker)] == [DeliveryState.DELIVERED, DeliveryState.DELIVERED]
    assert await fair.ask(maker, transfer.id) is None
    await receipts.open_received(maker, transfer.id)
    await receipts.give_back(maker, transfer.id)
    assert [await state(node, transfer) for node in (mine, maker)] == [DeliveryState.ACCEPTED, DeliveryState.ACCEPTED]
    assert await transfers.deliver(mine, transfer.id, maker.account) is None
    await sound(mine, maker)


async def test_a_receipt_wakes_the_delivery_that_waits_for_it(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    paper.clock.time += DAY
    await work(mine, paper)
    assert await work(mine, paper) == 0  # due in an hour
    await fair.ask(maker, transfer.id)
    assert await work(mine, paper) == 1


async def test_a_member_that_opens_elsewhere_signs_for_the_ciphertext_all_the_same(
    mine: Node, new_node: NewNode, paper: Paper
) -> None:
    maker = new_node("Maker", identity=False)
    transfer = await offered(mine, maker)
    await run(paper, mine, maker)
    assert [await state(node, transfer) for node in (mine, maker)] == [DeliveryState.DELIVERED, DeliveryState.DELIVERED]
    claim = Receipt(transfer.id, transfer.packet, (), "accepted")
    with pytest.raises(DigestMismatch, match="other documents"):
        await receipts.take(mine, statement.issue(maker.signer, maker.account, claim, maker.now()).token)
    blob = (await maker.store.transfer(transfer.id)).blob
    assert blob is not None
    assert await fetched(maker.blobs, blob) == b"".join(await parts(mine, transfer))


# --- crashes and cuts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cut", "lose"])
@pytest.mark.parametrize("call", ["announce", "send_packet", "send_receipt", "send_header"])
async def test_a_call_that_fails_or_whose_answer_is_lost_is_made_good(
    mine: Node, maker: Node, paper: Paper, call: str, way: str
) -> None:
    transfer = await offered(mine, maker)
    failing: set[str] = getattr(paper.wire, way)
    failing.add(call)
    for _ in range(20):
        await anchor(mine, maker)
        await work(mine, paper)
        await work(maker, paper)
        paper.clock.time += 5
    failing.clear()
    paper.clock.time += 3600
    await run(paper, mine, maker)
    await settled_once(mine, maker, transfer)


async def settled_once(mine: Node, maker: Node, transfer: StoredTransfer) -> None:
    for node in (mine, maker):
        assert await state(node, transfer) is DeliveryState.ACCEPTED
        counts = await node.store.counts()
        assert (counts["receipts"], counts["jobs"], counts["documents"], counts["transfers"]) == (1, 0, 1, 1)
        events = await kinds(node, transfer)
        assert (events.count(EventKind.CIPHERTEXT), events.count(EventKind.ACCEPTED)) == (1, 1)
    await sound(mine, maker)


class KilledError(BaseException):
    """The process ends here."""


CRASHES = [
    ("SqlStore", "add_ciphertext_receipt"),
    ("SqlStore", "set_packet"),
    ("SqlStore", "set_delivery"),
    ("SqlStore", "add_receipt"),
    ("SqlStore", "add_received"),
    ("SqlStore", "finish"),
    ("LocalStore", "put"),
    ("LocalStore", "delete"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("part", "step"), CRASHES, ids=[step for _, step in CRASHES])
async def test_a_crash_before_or_after_a_durable_step_loses_and_doubles_nothing(
    mine: Node, maker: Node, paper: Paper, monkeypatch: pytest.MonkeyPatch, part: str, step: str, after: bool
) -> None:
    transfer = await offered(mine, maker)
    backend = type(mine.store) if part == "SqlStore" else type(mine.blobs)
    genuine: Callable[..., Awaitable[Any]] = getattr(backend, step)
    died: list[object] = []

    async def dies(self: object, *arguments: Any, **options: Any) -> Any:
        first = self not in died
        died.append(self)
        if first and not after:
            raise KilledError
        result = await genuine(self, *arguments, **options)
        if first:
            raise KilledError
        return result

    monkeypatch.setattr(backend, step, dies)
    for _ in range(100):
        try:
            await run(paper, mine, maker)
            break
        except KilledError:
            paper.clock.time += 60  # the lease of the job ends
    assert died
    await settled_once(mine, maker, transfer)


async def test_the_ciphertext_brought_twice_at_once_has_one_receipt(mine: Node, maker: Node) -> None:
    transfer = await offered(mine, maker)
    _, payload = await parts(mine, transfer)
    announced = await transfers.announced(maker, await token_of(mine, transfer.id))
    first = await arrivals.take_packet(maker, transfer.id, pieces(payload))
    again = await fair.sign_for(maker, announced, fair.ciphertext_blob(transfer.id))
    assert again == first == await arrivals.take_packet(maker, transfer.id, pieces(b"other"))


async def test_a_node_that_lost_the_header_is_brought_it_again(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    await fair.ask(maker, transfer.id)
    await anchor(mine)
    # It says that it has it, and has not: as after a restored backup.
    await mine.store.set_delivery(transfer.id, maker.account, DeliveryState.DELIVERED, None)
    for job in await jobs_due(mine.store, 2**40, 60, 10):
        await mine.store.finish(job.key)
    await run(paper, mine, maker)
    await settled_once(mine, maker, transfer)


# --- what is released to whom ----------------------------------------------------------------------------------------


async def test_without_a_receipt_the_header_stays_for_ever(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    _, payload = await parts(mine, transfer)
    for _ in range(30):  # the maker's node does no job of its own
        await anchor(mine)
        await work(mine, paper)
        paper.clock.time += DAY
    assert paper.wire.sent == [(endpoint_of("Maker"), payload)]
    assert await state(mine, transfer) is DeliveryState.PENDING
    with pytest.raises(DocexError):
        read_header(io.BytesIO(payload))


async def test_each_of_many_recipients_gets_the_header_after_its_own_receipt(
    mine: Node, maker: Node, new_node: NewNode, paper: Paper
) -> None:
    third = new_node("Third")
    transfer = await offered(mine, maker, third)
    header, payload = await parts(mine, transfer)
    for _ in range(20):  # the third one's node takes what comes, and does no job of its own
        await anchor(mine, maker)
        await work(mine, paper)
        await work(maker, paper)
        paper.clock.time += 60
    sent = [(endpoint_of("Maker"), payload), (endpoint_of("Third"), payload), (endpoint_of("Maker"), header)]
    assert paper.wire.sent == sent
    states = [await state(mine, transfer, each.account) for each in (maker, third)]
    assert states == [DeliveryState.ACCEPTED, DeliveryState.PENDING]
    await run(paper, mine, maker, third)
    assert paper.wire.sent == [*sent, (endpoint_of("Third"), header)]
    assert await state(mine, transfer, third.account) is DeliveryState.ACCEPTED


async def test_a_fair_transfer_beside_another_one_of_the_same_document(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    plain = await transfers.create(mine, ["cert.pdf"], [maker.account])
    await run(paper, mine, maker)
    for each in (transfer, plain):
        assert await state(mine, each) is DeliveryState.ACCEPTED
    claim = Receipt(plain.id, plain.packet, (), "received")
    with pytest.raises(Conflict, match="not a fair one"):
        await receipts.take(mine, statement.issue(maker.signer, maker.account, claim, maker.now()).token)


# --- the header ------------------------------------------------------------------------------------------------------


async def test_a_header_is_taken_behind_its_ciphertext_and_no_other(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    header, payload = await parts(mine, transfer)
    with pytest.raises(NotFound):
        await fair.take_header(maker, transfer.id, header)
    with pytest.raises(NotFound, match="no such transfer was announced"):
        await fair.take_header(mine, transfer.id, header)
    await transfers.announced(maker, await token_of(mine, transfer.id))
    with pytest.raises(Conflict, match="the ciphertext of this transfer is not here"):
        await fair.take_header(maker, transfer.id, header)
    await arrivals.take_packet(maker, transfer.id, pieces(payload))
    other, _ = make_header([parse_recipient(keys_of("Maker")[1].recipient)])
    for wrong in (other, header[:-1], header + b"\n", b""):
        with pytest.raises(DigestMismatch, match="not the header that the transfer names"):
            await fair.take_header(maker, transfer.id, wrong)
    assert await state(maker, transfer) is DeliveryState.RECEIVED
    first = await fair.take_header(maker, transfer.id, header)
    assert await fair.take_header(maker, transfer.id, header) == first


async def test_the_whole_packet_is_not_taken_for_a_ciphertext(mine: Node, maker: Node) -> None:
    transfer = await offered(mine, maker)
    header, payload = await parts(mine, transfer)
    await transfers.announced(maker, await token_of(mine, transfer.id))
    for wrong in (header + payload, payload[:-1], payload + b"\0"):
        with pytest.raises(DigestMismatch):
            await arrivals.take_packet(maker, transfer.id, pieces(wrong))
    assert await paths(maker.blobs) == []


async def test_a_header_that_opens_nothing_ends_in_a_signed_rejection(mine: Node, maker: Node, paper: Paper) -> None:
    payload = b"\0" * 1000
    header = encode_header([parse_recipient(keys_of("Rival")[1].recipient).wrap(bytes(16))], bytes(16))
    to = (Addressee(key_id_of("Maker"), maker.account),)
    notary = NETWORK.notary_account
    claim = Transfer(
        str(sha256(payload)), 1000, digest_of("packet"), mine.account, to, notary, str(sha256(header)), fair=True
    )
    said = statement.issue(mine.signer, mine.account, claim, mine.now())
    await transfers.announced(maker, said.token)
    await arrivals.take_packet(maker, said.digest_text, pieces(payload))
    await fair.take_header(maker, said.digest_text, header)
    await receipts.open_received(maker, said.digest_text)
    found = (await maker.store.transfer(said.digest_text)).deliveries[0]
    assert found.receipt is not None
    receipt = statement.verify(await token_of(maker, found.receipt)).body
    assert isinstance(receipt, Receipt)
    assert (receipt.outcome, receipt.opened) == ("rejected", ())
    assert (receipt.reason or "").startswith("no_matching_identity: ")


# --- withheld --------------------------------------------------------------------------------------------------------


async def test_a_header_is_asked_for_with_growing_pauses_and_then_called_withheld(
    mine: Node, new_node: NewNode, paper: Paper
) -> None:
    maker = new_node("Maker", limits=Limits(header_patience=2 * DAY))
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    start, pauses = paper.clock.time, []
    while (pause := await fair.ask(maker, transfer.id)) is not None:
        pauses.append(pause)
        paper.clock.time += int(pause)
    assert pauses[:4] == [5, 5, 10, 20]
    assert pauses == sorted(pauses)
    assert pauses[-1] == fair.LAST_WAIT
    assert 2 * DAY < paper.clock.time - start <= 2 * DAY + fair.LAST_WAIT
    found = (await maker.store.transfer(transfer.id)).deliveries[0]
    assert found.state is DeliveryState.WITHHELD
    assert found.error == "the sender has the receipt of the ciphertext, and did not bring the header"
    assert await kinds(maker, transfer) == [EventKind.ANNOUNCED, EventKind.CIPHERTEXT, EventKind.WITHHELD]
    # What it can show: the sender's fair transfer, and its own receipt, which is for the ciphertext alone.
    await anchor(maker)
    made = await proofs.build(maker, transfer.id)
    said, receipt = (statement.verify(each.token).body for each in (made.statement, *made.related))
    assert isinstance(said, Transfer)
    assert isinstance(receipt, Receipt)
    assert (said.fair, receipt.outcome) == (True, "received")
    await sound(maker)
    # A header that comes late is still taken.
    await run(paper, mine, maker)
    await settled_once(mine, maker, transfer)


async def test_a_sender_that_can_not_be_reached_is_named_as_the_reason(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    paper.wire.cut.add("send_receipt")
    await work(maker, paper)
    found = (await maker.store.transfer(transfer.id)).deliveries[0]
    assert (found.state, (found.error or "")[:18]) == (DeliveryState.RECEIVED, "node_unavailable: ")
    paper.clock.time += maker.limits.header_patience + 1
    assert await fair.ask(maker, transfer.id) is None
    found = (await maker.store.transfer(transfer.id)).deliveries[0]
    assert found.state is DeliveryState.WITHHELD
    assert (found.error or "").startswith("the header did not come; last: node_unavailable: ")
    # The sender is back, without the receipt: it announces again, and is given it at once.
    paper.wire.cut.clear()
    for job in await jobs_due(maker.store, 2**40, 60, 10):
        await maker.store.finish(job.key)
    await run(paper, mine, maker)
    await settled_once(mine, maker, transfer)


async def test_an_error_is_gone_once_the_sender_has_the_receipt(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    paper.wire.cut.add("send_receipt")
    await work(maker, paper)
    paper.wire.cut.clear()
    await fair.ask(maker, transfer.id)
    found = (await maker.store.transfer(transfer.id)).deliveries[0]
    assert (found.state, found.error) == (DeliveryState.RECEIVED, None)


async def test_what_is_withheld_can_be_rejected_and_is_not_released_any_more(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    await fair.ask(maker, transfer.id)

    async def answer(claim: Body) -> StoredTransfer:
        return await receipts.take(maker, statement.issue(maker.signer, maker.account, claim, maker.now()).token)

    with pytest.raises(Conflict, match="or its header, has not arrived"):
        await answer(Receipt(transfer.id, transfer.packet, (digest_of("x"),), "accepted"))
    with pytest.raises(Conflict, match="this node itself signs"):
        await answer(Receipt(transfer.id, transfer.packet, (), "received"))
    await answer(Receipt(transfer.id, transfer.packet, (), "rejected", "the header did not come"))
    await receipts.give_back(maker, transfer.id)
    await run(paper, mine, maker)
    for node in (mine, maker):
        assert await state(node, transfer) is DeliveryState.REJECTED
        assert await fair.ask(maker, transfer.id) is None
    assert [endpoint for endpoint, _ in paper.wire.sent] == [endpoint_of("Maker")]  # the ciphertext, and no header
    await sound(mine, maker)
    header, _ = await parts(mine, transfer)
    await fair.take_header(maker, transfer.id, header)
    await run(paper, mine, maker)
    assert await state(maker, transfer) is DeliveryState.REJECTED
    await sound(mine, maker)


async def test_nobody_is_told_to_wait_for_whom_it_was_not_sent(mine: Node, maker: Node) -> None:
    transfer = await offered(mine, maker)
    with pytest.raises(NotFound, match="is not an addressee"):
        await transfers.deliver(mine, transfer.id, account_of("Third"))


async def test_what_was_signed_for_in_time_does_not_expire_and_is_not_signed_for_afterwards(
    mine: Node, maker: Node, new_node: NewNode, paper: Paper
) -> None:
    third = new_node("Third")
    await deposited(mine, "cert.pdf", CONTENT)
    to, end = [maker.account, third.account], paper.clock() + 100
    transfer = await transfers.create(mine, ["cert.pdf"], to, fair=True, expires=end)
    for account in to:
        await transfers.deliver(mine, transfer.id, account)
    await fair.ask(maker, transfer.id)
    paper.clock.time = end
    assert await transfers.expire(mine, transfer.id) == fair.LAST_WAIT
    assert [await state(mine, transfer, each) for each in to] == [DeliveryState.RECEIVED, DeliveryState.EXPIRED]
    before = await mine.store.counts()
    with pytest.raises(Conflict, match="has expired"):
        await fair.ask(third, transfer.id)
    assert await mine.store.counts() == before
    await anchor(mine)
    assert await transfers.deliver(mine, transfer.id, maker.account) is None
    assert await transfers.deliver(mine, transfer.id, third.account) is None
    # The header may have got lost on its way: it is brought again, though the time for the last receipt is over, too.
    assert await transfers.expire(mine, transfer.id) is None
    assert [await state(mine, transfer, each) for each in to] == [DeliveryState.EXPIRED, DeliveryState.EXPIRED]
    assert await transfers.deliver(mine, transfer.id, maker.account) is None
    headers = [endpoint for call, endpoint in paper.wire.calls if call == "send_header"]
    assert headers == [endpoint_of("Maker")] * 2
    await receipts.open_received(maker, transfer.id)
    await receipts.give_back(maker, transfer.id)
    assert await state(mine, transfer, maker.account) is DeliveryState.ACCEPTED
    await sound(mine, maker, third)


# --- a key that ends between receipt and anchor ----------------------------------------------------------------------


async def test_a_receipt_whose_key_ended_before_its_anchor_releases_nothing(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    await fair.ask(maker, transfer.id)
    paper.ledger.retire(maker.address, maker.signer.kid, START + 1)
    await anchor(mine)
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert len(paper.wire.sent) == 1
    await work(mine, paper)
    found = (await mine.store.transfer(transfer.id)).deliveries[0]
    assert (found.state, (found.error or "")[:11]) == (DeliveryState.RECEIVED, "forbidden: ")


# --- fsck ------------------------------------------------------------------------------------------------------------


async def test_damage_to_what_a_fair_transfer_keeps_is_found(
    mine: Node, maker: Node, damage: Callable[..., int]
) -> None:
    transfer = await offered(mine, maker)
    await transfers.deliver(mine, transfer.id, maker.account)
    await fair.ask(maker, transfer.id)

    async def found(node: Node, **options: Any) -> Mapping[Code, int]:
        assert isinstance(node.store, SqlStore)
        kept = Keeping(node.store, node.blobs, node.address, True, lambda: int(datetime.now(UTC).timestamp()))
        report = await check(kept, **options)
        return {Code(code): count for code, count in report.found.items()}

    assert await found(maker) == await found(mine) == {}
    assert damage("DELETE FROM jobs WHERE kind = 'ask'", name="Maker") == 1
    assert damage("DELETE FROM jobs WHERE kind = 'deliver'") == 1
    assert await found(maker, repair=True) == await found(mine, repair=True) == {Code.STUCK: 1}
    assert await found(maker) == await found(mine) == {}
    assert damage("UPDATE jobs SET argument = ? WHERE kind = 'ask'", digest_of("x"), name="Maker") == 1
    assert await found(maker) == {Code.JOB: 1}
    damage("UPDATE jobs SET argument = ? WHERE kind = 'ask'", transfer.id, name="Maker")
    damage("UPDATE deliveries SET ciphertext_receipt = NULL", name="Maker")
    assert await found(maker) == {Code.DELIVERY_RECEIPT: 1, Code.RECEIPT_UNUSED: 1, Code.JOB: 1}
    damage("UPDATE deliveries SET ciphertext_receipt = transfer", name="Maker")
    assert await found(maker) == {Code.DELIVERY_RECEIPT: 1, Code.RECEIPT_UNUSED: 1}
    receipt = (await mine.store.transfer(transfer.id)).deliveries[0].ciphertext_receipt
    damage("UPDATE deliveries SET ciphertext_receipt = ?", receipt, name="Maker")
    damage("UPDATE deliveries SET state = 'pending'", name="Maker")
    assert await found(maker) == {Code.DELIVERY: 1}
    damage("UPDATE deliveries SET state = 'accepted'", name="Maker")
    assert await found(maker) == {Code.DELIVERY: 1, Code.DELIVERY_STATE: 1}
    damage("UPDATE deliveries SET state = 'received'", name="Maker")
    damage("UPDATE transfers SET fair = 0", name="Maker")
    assert await found(maker) == {Code.TRANSFER_STATEMENT: 1}
    damage("UPDATE transfers SET fair = 1", name="Maker")
    await maker.blobs.delete(fair.ciphertext_blob(transfer.id))
    assert await found(maker) == {Code.PACKET_MISSING: 1}
    await maker.blobs.put(fair.ciphertext_blob(transfer.id), pieces(bytes(transfer.size)))
    assert await found(maker) == {}
    assert await found(maker, deep=True) == {Code.PACKET_DIGEST: 1}


async def test_a_payload_that_stayed_behind_its_packet_is_an_orphan_in_the_end(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await run(paper, mine, maker)
    await maker.blobs.put(fair.ciphertext_blob(transfer.id), pieces(b"left"))
    assert isinstance(maker.store, SqlStore)
    for later, expected in ((0, {}), (GRACE + 60, {Code.ORPHAN: 1})):
        now = int(datetime.now(UTC).timestamp()) + later
        kept = Keeping(maker.store, maker.blobs, maker.address, True, partial(int, now))
        report = await check(kept, repair=True)
        assert {code: n for code, n in report.found.items() if code != Code.BATCH_TRANSACTION} == expected
    assert await paths(maker.blobs) == [(await maker.store.transfer(transfer.id)).blob]


async def test_the_other_node_down_for_longer_than_a_call_takes(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    nodes = dict(paper.wire.nodes)
    del paper.wire.nodes[endpoint_of("Maker")]
    with pytest.raises(NodeUnavailable):
        await transfers.deliver(mine, transfer.id, maker.account)
    paper.wire.nodes |= nodes
    await run(paper, mine, maker)
    await settled_once(mine, replace(maker), transfer)


async def test_a_ciphertext_that_is_cut_off_goes_on_and_is_signed_for_once_all_of_it_is_there(
    mine: Node, maker: Node, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 64 << 10
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", part)
    transfer = await offered(mine, maker, content=DATA[: 5 * part])
    header, payload = await parts(mine, transfer)
    await transfers.announced(maker, await token_of(mine, transfer.id))
    with pytest.raises(ConnectionResetError):
        await arrivals.receive(maker, transfer.id, broken(payload[: 3 * part + 7]))
    assert await arrivals.progress(maker, transfer.id) == (3 * part, False)
    assert await state(maker, transfer) is DeliveryState.PENDING
    await run(paper, mine, maker, step=3600)  # the sender's node asks how far it got, behind its header
    assert paper.wire.sent == [(endpoint_of("Maker"), payload[3 * part :]), (endpoint_of("Maker"), header)]
    await settled_once(mine, maker, transfer)
    assert await paths(maker.blobs) == [(await maker.store.transfer(transfer.id)).blob]
