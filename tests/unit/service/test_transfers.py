"""Transfers: sealed to members of the Directory, delivered once however often it is tried, taken only when sound."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from docex.core import packet, statement
from docex.core.account import caip10
from docex.core.age import make_header, parse_recipient, read_header
from docex.core.claims import Addressee, Document, Transfer
from docex.core.ledger_types import KeyUse, PublishedKey
from docex.core.state import DeliveryState, Direction, StoredTransfer
from docex.errors import (
    Conflict,
    DigestMismatch,
    DocexError,
    Forbidden,
    HeaderInvalid,
    LimitExceeded,
    NodeUnavailable,
    NoMatchingIdentity,
    NotFound,
    NotMember,
    SignatureInvalid,
    StatementInvalid,
    UsageError,
)
from docex.service import arrivals, deposits, receipts, transfers
from docex.service.node import CLOCK_SKEW, Limits, Node
from docex.service.worker import work_on
from storage import StorageUnavailable
from tests.fixtures.paper_nodes import (
    NETWORK,
    LedgerOf,
    NewNode,
    Paper,
    account_of,
    deposited,
    jobs_due,
    key_id_of,
    keys_of,
    pieces,
    whole,
)
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA, fetched, paths


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def sent(mine: Node, *to: str, content: bytes = b"content") -> StoredTransfer:
    await deposited(mine, "quality/cert.pdf", content)
    return await transfers.create(mine, ["quality/cert.pdf"], to or [account_of("Maker")])


async def token_of(node: Node, transfer: StoredTransfer) -> str:
    stored = await node.store.statement(transfer.id)
    assert stored is not None
    return stored.token


async def packet_of(node: Node, transfer: StoredTransfer) -> bytes:
    assert transfer.blob is not None
    return await fetched(node.blobs, transfer.blob)


# --- creating --------------------------------------------------------------------------------------------------------


async def test_a_transfer_is_sealed_signed_and_waits_for_its_delivery(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await sent(mine)
    said = statement.verify(await token_of(mine, transfer))
    claim = said.body
    assert isinstance(claim, Transfer)
    assert (transfer.id, said.issuer, said.issued_at) == (said.digest_text, mine.account, paper.clock())
    assert (claim.sender, claim.packet, claim.size) == (mine.account, transfer.packet, transfer.size)
    assert [(each.account, each.key) for each in claim.to] == [(maker.account, key_id_of("Maker"))]
    assert (transfer.direction, transfer.peer, transfer.created) == (Direction.SENT, mine.account, paper.clock())
    assert [(each.account, each.state) for each in transfer.deliveries] == [(maker.account, DeliveryState.PENDING)]
    (job,) = await jobs_due(mine.store, paper.clock(), 60, 10)
    assert (job.kind, job.argument) == ("deliver", f"{transfer.id} {maker.account}")


async def test_what_is_dated_in_the_future_waits_for_the_clock(mine: Node, maker: Node, paper: Paper) -> None:
    paper.clock.time += CLOCK_SKEW + 1
    await deposited(mine, "a", b"content")
    paper.clock.time -= CLOCK_SKEW + 1
    with pytest.raises(Conflict, match="'a' is dated in the future: this node's clock was put back; try again later"):
        await transfers.create(mine, ["a"], [maker.account])
    paper.clock.time += 1
    assert (await transfers.create(mine, ["a"], [maker.account])).created == paper.clock() + CLOCK_SKEW


async def test_a_document_of_a_member_whose_clock_is_ahead_is_passed_on_no_earlier_than_it_is_dated(
    mine: Node, maker: Node, new_node: NewNode, paper: Paper
) -> None:
    third = new_node("Third")
    paper.clock.time += CLOCK_SKEW
    transfer = await sent(mine)
    dated = paper.clock()
    paper.clock.time -= CLOCK_SKEW
    for _ in range(4):  # deliver, open, return
        for job in await jobs_due(mine.store, paper.clock(), 0, 10):
            await work_on(mine, job, paper.clock)
        for job in await jobs_due(maker.store, paper.clock(), 0, 10):
            await work_on(maker, job, paper.clock)
    (received,) = await maker.store.shown_as(list(transfer.documents))
    assert received.created < dated
    assert (await transfers.create(maker, [received.path], [third.account])).created == dated


class ClockIsPutBack(LedgerOf):
    """A ledger, and a clock that is put back by an hour while it is asked."""

    def __init__(self, paper: Paper, address: str) -> None:
        super().__init__(paper.ledger, address)
        self._clock = paper.clock
        self._left = 1

    async def keys(self, account: str) -> Sequence[PublishedKey]:
        self._clock.time -= 3600 * self._left
        self._left = 0
        return await super().keys(account)


async def test_a_transfer_that_is_announced_as_the_clock_is_put_back_is_not_rejected_for_its_date(
    mine: Node, new_node: NewNode, paper: Paper
) -> None:
    maker = new_node("Maker", ledger=ClockIsPutBack(paper, keys_of("Maker")[2]))
    transfer = await sent(mine)
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    (delivery,) = (await maker.store.transfer(transfer.id)).deliveries
    assert delivery.state is DeliveryState.ACCEPTED


async def test_the_packet_opens_for_its_addressee_and_nobody_else(mine: Node, maker: Node) -> None:
    transfer = await sent(mine)
    data = await packet_of(mine, transfer)
    opened = packet.open_packet(io.BytesIO(data), [keys_of("Maker")[1]], packet.Discard())
    assert opened.payload_digest == transfer.packet
    assert [each.digest_text for each in opened.documents] == list(transfer.documents)
    with pytest.raises(NoMatchingIdentity):
        packet.open_packet(io.BytesIO(data), [keys_of("Mine")[1]], packet.Discard())


async def test_documents_are_named_by_path_digest_or_statement(mine: Node, maker: Node) -> None:
    first, second, third = [await deposited(mine, f"{n}.pdf", str(n).encode()) for n in range(3)]
    transfer = await transfers.create(mine, [first.path, second.digest, third.statement], [maker.account])
    assert transfer.documents == (first.statement, second.statement, third.statement)


async def test_many_addressees_share_one_packet(mine: Node, maker: Node, new_node: NewNode, paper: Paper) -> None:
    third = new_node("Third")
    transfer = await sent(mine, maker.account, third.account)
    assert [each.account for each in transfer.deliveries] == [maker.account, third.account]
    assert len(await jobs_due(mine.store, paper.clock(), 60, 10)) == 2
    assert [each for each in await paths(mine.blobs) if each.startswith("transfers/")] == [transfer.blob]


@pytest.mark.parametrize("reference", ["missing", digest_of("missing"), "../x", "a\0b", "\ud800"])
async def test_a_document_that_is_not_there_is_not_sent(mine: Node, maker: Node, reference: str) -> None:
    with pytest.raises(NotFound):
        await transfers.create(mine, [reference], [maker.account])


async def test_who_may_not_be_addressed(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "a", b"content")

    async def refused(to: list[str], error: type[DocexError], match: str) -> None:
        with pytest.raises(error, match=match):
            await transfers.create(mine, ["a"], to)

    await refused([], UsageError, "at least one addressee")
    await refused([maker.account] * 2, UsageError, "each only once")
    await refused([account_of(str(n)) for n in range(101)], LimitExceeded, "at most 100")
    await refused([mine.account], UsageError, "has its documents already")
    await refused(["nobody"], UsageError, "CAIP-10")
    await refused([caip10(1, maker.address)], UsageError, "is on chain 1")
    await refused([account_of("Stranger")], NotMember, "not known")
    paper.ledger.suspend(maker.address, paper.clock())
    await refused([maker.account], NotMember, "suspended")
    assert (await mine.store.counts())["transfers"] == 0
    assert [each for each in await paths(mine.blobs) if each.startswith("transfers/")] == []


async def test_a_member_without_a_usable_key_is_not_addressed(mine: Node, maker: Node, paper: Paper) -> None:
    paper.ledger.publish(maker.address, KeyUse.RECIPIENT, b"\xff", since=paper.clock())
    with pytest.raises(NotMember, match="that Maker"):
        await sent(mine)


async def test_the_same_document_twice_is_refused(mine: Node, maker: Node) -> None:
    stored = await deposited(mine, "a", b"content")
    with pytest.raises(UsageError, match="in each other's place"):
        await transfers.create(mine, ["a", stored.digest], [maker.account])
    with pytest.raises(UsageError, match="at least one document"):
        await transfers.create(mine, [], [maker.account])


async def test_a_node_without_identity_sends_nothing(new_node: NewNode, maker: Node) -> None:
    mine = new_node("Mine", identity=False)
    await deposited(mine, "a", b"content")
    with pytest.raises(Conflict, match="holds no identity"):
        await transfers.create(mine, ["a"], [maker.account])


async def test_a_document_that_was_damaged_on_disk_is_not_sent(mine: Node, maker: Node) -> None:
    stored = await deposited(mine, "a", b"content")
    await mine.blobs.delete(stored.blob)
    await mine.blobs.put(stored.blob, pieces(b"damaged"))
    with pytest.raises(HeaderInvalid):
        await transfers.create(mine, ["a"], [maker.account])
    assert (await mine.store.counts())["transfers"] == 0
    assert await paths(mine.blobs) == [stored.blob]


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.02, 0.05])
async def test_a_transfer_that_is_cancelled_at_any_moment_is_made_whole_or_not_at_all(
    mine: Node, maker: Node, moment: float
) -> None:
    await deposited(mine, "a", DATA)
    creating = asyncio.create_task(transfers.create(mine, ["a"], [maker.account]))
    await asyncio.sleep(moment)
    creating.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(creating, 60)
    for transfer in await mine.store.transfers(None, None, 10):
        assert len(await packet_of(mine, transfer)) > transfer.size
        assert len(await jobs_due(mine.store, mine.now(), 60, 10)) == 1
    counts = await mine.store.counts()
    assert counts["statements"] == 1 + counts["transfers"]


# --- delivering ------------------------------------------------------------------------------------------------------


async def test_a_delivery_brings_the_packet_and_is_noted(mine: Node, maker: Node) -> None:
    transfer = await sent(mine, content=DATA)
    await transfers.deliver(mine, transfer.id, maker.account)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.DELIVERED
    arrived = await maker.store.transfer(transfer.id)
    assert (arrived.direction, arrived.peer, arrived.packet) == (Direction.RECEIVED, mine.account, transfer.packet)
    assert await packet_of(maker, arrived) == await packet_of(mine, transfer)


@pytest.mark.parametrize("call", ["announce", "send_packet"])
@pytest.mark.parametrize("fault", ["cut", "lose"])
async def test_a_delivery_that_is_tried_again_is_one_transfer(
    mine: Node, maker: Node, paper: Paper, call: str, fault: str
) -> None:
    transfer = await sent(mine)
    getattr(paper.wire, fault).add(call)
    for _ in range(2):
        with suppress(NodeUnavailable):
            await transfers.deliver(mine, transfer.id, maker.account)
    paper.wire.cut.clear()
    paper.wire.lose.clear()
    for _ in range(3):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.DELIVERED
    counts = await maker.store.counts()
    assert (counts["transfers"], counts["jobs"]) == (1, 1)
    assert len(await paths(maker.blobs)) == 1


async def test_a_node_that_has_the_packet_does_not_get_it_again(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await sent(mine)
    for _ in range(2):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert [call for call, _ in paper.wire.calls] == ["announce", "send_packet", "announce"]


async def test_deliveries_at_once_are_one_transfer(mine: Node, maker: Node) -> None:
    transfer = await sent(mine, content=DATA[:2_000_000])
    await asyncio.gather(*(transfers.deliver(mine, transfer.id, maker.account) for _ in range(6)))
    counts = await maker.store.counts()
    assert (counts["transfers"], counts["jobs"], counts["statements"]) == (1, 1, 1)
    assert len(await paths(maker.blobs)) == 1


async def test_a_member_without_an_endpoint_or_suspended_gets_nothing(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await sent(mine)
    paper.ledger.members[maker.address] = replace(paper.ledger.members[maker.address], endpoint="")
    with pytest.raises(NotFound, match="Maker has published no endpoint yet"):
        await transfers.deliver(mine, transfer.id, maker.account)
    paper.ledger.suspend(maker.address, paper.clock())
    with pytest.raises(NotMember):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert paper.wire.calls == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-1], DigestMismatch),
        (lambda data: data + b"x", DigestMismatch),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DigestMismatch),
        (lambda data: data[:100], HeaderInvalid),
        (lambda data: b"", HeaderInvalid),
        (lambda data: b"not age at all\n" + data, HeaderInvalid),
        (lambda data: data.replace(b"\n--- ", b"\n-> x\n\n--- ", 1), DigestMismatch),
    ],
)
async def test_a_packet_that_was_changed_on_the_way_is_refused_and_the_right_one_taken(
    mine: Node, maker: Node, paper: Paper, change: object, error: type[DocexError]
) -> None:
    transfer = await sent(mine, content=DATA[:2_000_000])
    paper.wire.change = change
    with pytest.raises(error):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert await paths(maker.blobs) == []
    assert (await maker.store.counts())["jobs"] == 0
    assert (await maker.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.PENDING
    paper.wire.change = None
    await transfers.deliver(mine, transfer.id, maker.account)
    assert len(await paths(maker.blobs)) == 1


@pytest.mark.parametrize("by", ["its own time", "the node's patience"])
async def test_a_transfer_that_is_not_answered_in_time_expires_and_leaves_no_job(
    mine: Node, maker: Node, paper: Paper, by: str
) -> None:
    own = by == "its own time"
    mine = replace(mine, limits=Limits(transfer_patience=None if own else 60))
    await deposited(mine, "a", b"content")
    transfer = await transfers.create(mine, ["a"], [maker.account], expires=paper.clock() + 60 if own else None)
    assert transfer.expires == paper.clock() + 60
    (deliver,) = await jobs_due(mine.store, paper.clock() + 59)
    assert deliver.kind == "deliver"
    paper.clock.time += 60
    (expire,) = await jobs_due(mine.store, paper.clock(), limit=1)
    await work_on(mine, expire, paper.clock)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.EXPIRED
    assert (await mine.store.counts())["jobs"] == 0
    await transfers.deliver(mine, transfer.id, maker.account)  # one that was claimed before
    assert paper.wire.calls == []


async def test_a_delivery_that_comes_too_late_expires_by_itself(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "a", b"content")
    transfer = await transfers.create(mine, ["a"], [maker.account], expires=paper.clock() + 60)
    paper.clock.time += 60
    await transfers.deliver(mine, transfer.id, maker.account)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.EXPIRED
    assert paper.wire.calls == []


async def test_nothing_expires_before_its_time_whenever_that_is_looked_at(
    mine: Node, maker: Node, paper: Paper
) -> None:
    await deposited(mine, "a", b"content")
    transfer = await transfers.create(mine, ["a"], [maker.account], expires=paper.clock() + 60)
    assert await transfers.expire(mine, transfer.id) == 60
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.PENDING
    paper.clock.time += 60
    assert await transfers.expire(mine, transfer.id) is None
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.EXPIRED


async def test_a_receipt_that_comes_too_late_is_evidence_all_the_same(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "a", b"content")
    transfer = await transfers.create(mine, ["a"], [maker.account], expires=paper.clock() + 60)
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    paper.clock.time += 60
    await transfers.expire(mine, transfer.id)
    await receipts.give_back(maker, transfer.id)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.ACCEPTED


# --- announced -------------------------------------------------------------------------------------------------------


def announcement(
    sender: str = "Mine",
    *to: str,
    issuer: str | None = None,
    claimed: str | None = None,
    at: int,
    size: int = 1000,
    packet_digest: str | None = None,
    notary: str = NETWORK.notary_account,
) -> str:
    addressees = tuple(Addressee(key_id_of(name), account_of(name)) for name in to or ("Maker",))
    claim = Transfer(
        packet_digest or digest_of("packet"),
        size,
        digest_of("packet statement"),
        claimed or account_of(sender),
        addressees,
        notary,
    )
    return statement.issue(keys_of(sender)[0], issuer or account_of(sender), claim, at).token


async def test_an_announcement_is_kept_and_its_repetition_changes_nothing(
    mine: Node, maker: Node, paper: Paper
) -> None:
    token = announcement(at=paper.clock())
    first = await transfers.announced(maker, token)
    assert (first.direction, first.peer, first.blob) == (Direction.RECEIVED, mine.account, None)
    assert [(each.account, each.state) for each in first.deliveries] == [(maker.account, DeliveryState.PENDING)]
    paper.clock.time += 100
    assert await transfers.announced(maker, token) == first
    assert (await maker.store.counts())["transfers"] == 1


async def test_of_several_addressees_a_node_keeps_its_own_part(mine: Node, maker: Node, paper: Paper) -> None:
    taken = await transfers.announced(maker, announcement("Mine", "Third", "Maker", at=paper.clock()))
    assert [each.account for each in taken.deliveries] == [maker.account]


async def test_announcements_that_are_refused(mine: Node, maker: Node, paper: Paper) -> None:
    now = paper.clock()

    async def refused(token: str, error: type[DocexError], match: str) -> None:
        with pytest.raises(error, match=match):
            await transfers.announced(maker, token)

    good = announcement(at=now)
    header, payload, _ = good.split(".")
    await refused("", StatementInvalid, "not a compact JWS")
    await refused("Prüfung", StatementInvalid, "not a compact JWS")
    await refused(f"{header}.{payload}.{'A' * 86}", SignatureInvalid, "does not hold")
    document = statement.issue(mine.signer, mine.account, Document(digest_of("x"), 1, "x", "text/plain"), now)
    await refused(document.token, StatementInvalid, "not a document statement")
    await refused(announcement("Mine", "Third", at=now), Forbidden, "not addressed to")
    await refused(announcement(claimed=account_of("Third"), at=now), Forbidden, "not signed by the sender")
    await refused(announcement("Stranger", at=now), Forbidden, "not an active member")
    await refused(
        announcement("Stranger", issuer=mine.account, claimed=mine.account, at=now),
        Forbidden,
        "not a valid signing key",
    )
    await refused(announcement(at=now + CLOCK_SKEW + 1), StatementInvalid, "in the future")
    await refused(announcement(at=now, size=maker.limits.packet_size + 1), LimitExceeded, "are not taken")
    elsewhere = caip10(1, mine.address)
    await refused(announcement(issuer=elsewhere, claimed=elsewhere, at=now), UsageError, "on chain 1")
    paper.ledger.retire(mine.address, mine.signer.kid, now)
    await refused(good, Forbidden, "not a valid signing key")
    paper.ledger.suspend(mine.address, now)
    await refused(good, Forbidden, "not an active member")
    counts = await maker.store.counts()
    assert (counts["transfers"], counts["statements"]) == (0, 0)


async def test_the_sender_can_not_be_made_to_receive_its_own_transfer(mine: Node, maker: Node) -> None:
    transfer = await sent(mine)
    with pytest.raises(Forbidden, match="not addressed"):
        await transfers.announced(mine, await token_of(mine, transfer))
    with pytest.raises(NotFound, match="no such transfer was announced"):
        await arrivals.take_packet(mine, transfer.id, pieces(b""))


async def test_a_member_that_calls_is_tried_at_once(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await sent(maker, mine.account)
    (job,) = await jobs_due(maker.store, paper.clock())
    await maker.store.retry(job.key, paper.clock() + 3600, "down")
    await transfers.announced(maker, await token_of(mine, await sent(mine)))
    assert [each.argument for each in await jobs_due(maker.store, paper.clock())] == [f"{transfer.id} {mine.account}"]


# --- taking the packet -----------------------------------------------------------------------------------------------


async def test_a_packet_nobody_announced_is_refused(mine: Node, maker: Node) -> None:
    transfer = await sent(mine)
    with pytest.raises(NotFound, match="there is no transfer"):
        await arrivals.take_packet(maker, transfer.id, pieces(await packet_of(mine, transfer)))
    assert await paths(maker.blobs) == []


@pytest.mark.parametrize("identity", [True, False])
async def test_a_stranger_s_header_does_not_take_the_place_of_the_sender_s(
    mine: Node, new_node: NewNode, identity: bool
) -> None:
    """Brought first, with other stanzas, it would have had the transfer rejected, or never wanted again."""
    maker = new_node("Maker", identity=identity)
    transfer = await sent(mine)
    await transfers.announced(maker, await token_of(mine, transfer))
    data = await packet_of(mine, transfer)
    header = read_header(io.BytesIO(data)).raw
    stranger = parse_recipient(keys_of("Stranger")[1].recipient)
    forged = make_header([stranger])[0] + data[len(header) :]
    with pytest.raises(DigestMismatch, match="header"):
        await arrivals.take_packet(maker, transfer.id, pieces(forged))
    await arrivals.take_packet(maker, transfer.id, pieces(data))  # the sender's own is still taken


async def test_a_packet_that_was_stored_but_not_noted_is_taken(mine: Node, maker: Node) -> None:
    """A crash between the store and the database: the next delivery finds the blob there."""
    transfer = await sent(mine)
    await transfers.announced(maker, await token_of(mine, transfer))
    data = await packet_of(mine, transfer)
    await maker.blobs.put(f"transfers/received/{transfer.id[7:]}.age", pieces(data))
    taken = await arrivals.take_packet(maker, transfer.id, pieces(data))
    assert taken.blob == f"transfers/received/{transfer.id[7:]}.age"
    assert await arrivals.take_packet(maker, transfer.id, pieces(b"not read any more")) == taken


async def test_a_node_without_identity_takes_what_it_can_not_open(mine: Node, new_node: NewNode) -> None:
    maker = new_node("Maker", identity=False)
    transfer = await sent(mine)
    await transfers.deliver(mine, transfer.id, maker.account)
    assert (await maker.store.transfer(transfer.id)).blob is not None


async def test_a_sender_that_breaks_off_leaves_nothing(mine: Node, maker: Node) -> None:
    transfer = await sent(mine, content=DATA)
    await transfers.announced(maker, await token_of(mine, transfer))
    data = await packet_of(mine, transfer)

    async def half() -> AsyncIterator[bytes]:
        yield data[: len(data) // 2]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await arrivals.take_packet(maker, transfer.id, half())
    assert await paths(maker.blobs) == []
    assert (await maker.store.transfer(transfer.id)).blob is None


async def test_more_bytes_than_announced_are_not_read_to_their_end(mine: Node, maker: Node) -> None:
    transfer = await sent(mine)
    await transfers.announced(maker, await token_of(mine, transfer))
    data, given = await packet_of(mine, transfer), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        yield data
        while True:
            given += 1 << 20
            yield bytes(1 << 20)

    with pytest.raises(DigestMismatch):
        await asyncio.wait_for(arrivals.take_packet(maker, transfer.id, endless()), 10)
    assert given < 8 << 20


async def test_a_document_that_is_handed_on_keeps_its_issuer_s_statement(
    mine: Node, maker: Node, new_node: NewNode
) -> None:
    third = new_node("Third")
    transfer = await sent(mine)
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    received = f"received/{mine.address}/quality/cert.pdf"
    onward = await transfers.create(maker, [received], [third.account])
    assert onward.documents == transfer.documents
    await transfers.deliver(maker, onward.id, third.account)
    await receipts.open_received(third, onward.id)
    found = await deposits.find(third, f"received/{maker.address}/quality/cert.pdf")
    assert (found.statement, found.issuer) == (transfer.documents[0], mine.account)
    assert await whole(deposits.read(third, found)) == b"content"
    again = await third.store.statement(found.statement)
    assert again is not None
    assert statement.verify(again.token).kid == mine.signer.kid


async def test_documents_of_two_senders_with_one_name_do_not_fit_into_one_packet(
    mine: Node, maker: Node, new_node: NewNode
) -> None:
    third = new_node("Third")
    transfer = await sent(mine)
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    await deposited(maker, "quality/cert.pdf", b"our own")
    both = ["quality/cert.pdf", f"received/{mine.address}/quality/cert.pdf"]
    with pytest.raises(UsageError, match="in each other's place"):
        await transfers.create(maker, both, [third.account])


async def test_a_store_that_fails_leaves_the_transfer_unmade(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposited(mine, "a", DATA)

    async def fail(*_: object) -> int:
        raise StorageUnavailable("the disk is gone")

    monkeypatch.setattr(type(mine.blobs), "put", fail)
    with pytest.raises(StorageUnavailable):
        await asyncio.wait_for(transfers.create(mine, ["a"], [maker.account]), 10)
    assert (await mine.store.counts())["transfers"] == 0
