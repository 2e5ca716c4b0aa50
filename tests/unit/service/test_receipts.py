"""Receipts: what arrives is opened and checked whole; what is answered is signed once and never changes."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from docex.core import packet, statement
from docex.core.age import rewrap
from docex.core.claims import Addressee, Body, Document, Receipt, Transfer
from docex.core.recipients import parse_recipient
from docex.core.state import DeliveryState, StoredTransfer
from docex.core.statement import Statement
from docex.errors import (
    Conflict,
    DatabaseUnavailable,
    DigestMismatch,
    DocexError,
    Forbidden,
    LedgerError,
    LedgerUnavailable,
    NotFound,
    NotMember,
    SignatureInvalid,
    StatementInvalid,
)
from docex.service import arrivals, deposits, receipts, transfers
from docex.service.node import CLOCK_SKEW, Limits, Node
from storage import BlobNotFound
from tests.fixtures.paper_nodes import (
    NETWORK,
    UNAVAILABLE,
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


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def delivered(mine: Node, *to: Node, documents: int = 1) -> StoredTransfer:
    names = [f"quality/{n}.pdf" for n in range(documents)]
    for name in names:
        await deposited(mine, name, f"content of {name}".encode())
    transfer = await transfers.create(mine, names, [each.account for each in to])
    for each in to:
        await transfers.deliver(mine, transfer.id, each.account)
    return transfer


async def receipt_of(node: Node, transfer: StoredTransfer) -> Statement:
    digest = (await node.store.transfer(transfer.id)).deliveries[0].receipt
    assert digest is not None
    stored = await node.store.statement(digest)
    assert stored is not None
    return statement.verify(stored.token)


def claim_of(receipt: Statement) -> Receipt:
    assert isinstance(receipt.body, Receipt)
    return receipt.body


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_a_sound_packet_is_accepted_and_its_documents_kept(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await delivered(mine, maker, documents=3)
    await receipts.open_received(maker, transfer.id)
    receipt = await receipt_of(maker, transfer)
    digests = tuple(digest_of(f"content of quality/{n}.pdf") for n in range(3))
    assert receipt.body == Receipt(transfer.id, transfer.packet, digests, "accepted")
    assert (receipt.issuer, receipt.issued_at, receipt.kid) == (maker.account, paper.clock(), maker.signer.kid)
    assert (await maker.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.ACCEPTED
    for n in range(3):
        found = await deposits.find(maker, f"received/{mine.address}/quality/{n}.pdf")
        assert (found.issuer, found.entry, found.version) == (mine.account, f"quality/{n}.pdf", 1)
        assert await whole(deposits.read(maker, found)) == f"content of quality/{n}.pdf".encode()


async def test_equal_documents_are_acknowledged_once(mine: Node, maker: Node) -> None:
    await deposited(mine, "a", b"same")
    await deposited(mine, "b", b"same")
    transfer = await transfers.create(mine, ["a", "b"], [maker.account])
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    assert claim_of(await receipt_of(maker, transfer)).opened == (digest_of("same"),)
    await receipts.give_back(maker, transfer.id)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.ACCEPTED


async def test_opening_again_changes_nothing(mine: Node, maker: Node) -> None:
    transfer = await delivered(mine, maker)
    await receipts.open_received(maker, transfer.id)
    first = await receipt_of(maker, transfer)
    before = await maker.store.counts()
    await receipts.open_received(maker, transfer.id)
    assert await receipt_of(maker, transfer) == first
    assert await maker.store.counts() == before


async def test_opened_twice_at_once_one_receipt_stands(mine: Node, maker: Node) -> None:
    transfer = await delivered(mine, maker)
    done = await asyncio.gather(*(receipts.open_received(maker, transfer.id) for _ in range(4)), return_exceptions=True)
    assert {type(each) for each in done} <= {type(None), Conflict}
    counts = await maker.store.counts()
    assert (counts["receipts"], counts["documents"]) == (1, 1)
    await receipts.open_received(maker, transfer.id)


async def test_a_crash_between_documents_and_receipt_is_made_good(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = await delivered(mine, maker)
    with monkeypatch.context() as patch:

        async def crash(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr(type(maker.store), "add_receipt", crash)
        with pytest.raises(RuntimeError):
            await receipts.open_received(maker, transfer.id)
    assert (await maker.store.counts())["documents"] == 1
    await receipts.open_received(maker, transfer.id)
    counts = await maker.store.counts()
    assert (counts["documents"], counts["receipts"]) == (1, 1)


async def test_without_the_identity_the_packet_is_left_alone(mine: Node, new_node: NewNode) -> None:
    maker = new_node("Maker", identity=False)
    transfer = await delivered(mine, maker)
    await receipts.open_received(maker, transfer.id)
    counts = await maker.store.counts()
    assert (counts["receipts"], counts["documents"]) == (0, 0)


@pytest.mark.parametrize("error", [UNAVAILABLE, LedgerError("the node limits its callers")])
async def test_a_ledger_that_fails_is_no_reason_to_reject(
    mine: Node, maker: Node, paper: Paper, error: LedgerError
) -> None:
    transfer = await delivered(mine, maker)
    paper.ledger.down = error
    with pytest.raises(LedgerError):
        await receipts.open_received(maker, transfer.id)
    paper.ledger.down = None
    await receipts.open_received(maker, transfer.id)
    assert claim_of(await receipt_of(maker, transfer)).outcome == "accepted"


async def test_a_database_that_fails_is_no_reason_to_reject(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = await delivered(mine, maker)

    async def fail(_: object, digest: str) -> None:
        raise DatabaseUnavailable(f"no answer about {digest}")

    with monkeypatch.context() as patch:
        patch.setattr(type(maker.store), "statement", fail)
        with pytest.raises(DatabaseUnavailable):
            await receipts.open_received(maker, transfer.id)
    await receipts.open_received(maker, transfer.id)
    assert claim_of(await receipt_of(maker, transfer)).outcome == "accepted"


async def test_a_clock_that_was_put_back_is_no_reason_to_reject(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await delivered(mine, maker)
    paper.clock.time -= CLOCK_SKEW + 600
    await receipts.open_received(maker, transfer.id)
    assert claim_of(await receipt_of(maker, transfer)).outcome == "accepted"


async def test_a_store_that_fails_is_no_reason_to_reject(mine: Node, maker: Node) -> None:
    transfer = await delivered(mine, maker)
    blob = (await maker.store.transfer(transfer.id)).blob
    assert blob is not None
    await maker.blobs.delete(blob)
    with pytest.raises(BlobNotFound):
        await receipts.open_received(maker, transfer.id)
    assert (await maker.store.counts())["receipts"] == 0


# --- packets that must be rejected -----------------------------------------------------------------------------------


class Forger:
    """A member that seals what it likes, under a transfer statement that says what it likes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.documents = [("a.pdf", b"content")]
        self.seal_as = "Mine"
        self.inner_account: str | None = account_of("Maker")
        self.inner_recipients = ["Maker"]
        self.sealed: packet.Sealed | None = None
        self.statement_digest: str | None = None
        self.statements: dict[str, Statement] = {}

    def seal(self) -> bytes:
        signer, _, _ = keys_of(self.seal_as)
        out = io.BytesIO()
        sources = [
            packet.DocumentSource(path, len(data), partial(io.BytesIO, data), statement=self.statements.get(path))
            for path, data in self.documents
        ]
        to = [(parse_recipient(keys_of(name)[1].recipient), self.inner_account) for name in self.inner_recipients]
        self.sealed = packet.seal(sources, out, to, signer=signer, issuer=account_of(self.seal_as), now=self.node.now())
        return out.getvalue()

    async def hand_over(self, maker: Node, change: Callable[[bytes], bytes] = lambda data: data) -> StoredTransfer:
        """Announce the packet and bring it."""
        data = change(self.seal())
        assert self.sealed is not None
        payload = data[self.sealed.header_size :]
        claim = Transfer(
            "sha256:" + hashlib.sha256(payload).hexdigest(),
            len(payload),
            self.statement_digest or self.sealed.packet.digest_text,
            self.node.account,
            (Addressee(key_id_of("Maker"), maker.account),),
            NETWORK.notary_account,
        )
        said = statement.issue(self.node.signer, self.node.account, claim, self.node.now())
        transfer = await transfers.announced(maker, said.token)
        return await arrivals.take_packet(maker, transfer.id, pieces(data))


async def rejected(maker: Node, transfer: StoredTransfer) -> str:
    """Open it, see that nothing was kept, and return the signed reason."""
    await receipts.open_received(maker, transfer.id)
    claim = claim_of(await receipt_of(maker, transfer))
    assert (claim.transfer, claim.packet, claim.opened, claim.outcome) == (transfer.id, transfer.packet, (), "rejected")
    assert (await maker.store.counts())["documents"] == 0
    assert (await maker.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.REJECTED
    assert claim.reason is not None
    return claim.reason


async def test_a_forger_s_honest_packet_is_accepted(mine: Node, maker: Node) -> None:
    transfer = await Forger(mine).hand_over(maker)
    await receipts.open_received(maker, transfer.id)
    assert claim_of(await receipt_of(maker, transfer)).outcome == "accepted"


async def test_a_packet_that_was_sealed_to_somebody_else_is_rejected(mine: Node, maker: Node) -> None:
    """Maker's key opens it, but the packet's own statement names another addressee: somebody added a stanza."""
    forger = Forger(mine)
    forger.inner_recipients, forger.inner_account = ["Third"], account_of("Third")

    def add_stanza(data: bytes) -> bytes:
        assert forger.sealed is not None
        size = forger.sealed.header_size
        header = rewrap(data[:size], [keys_of("Third")[1]], [parse_recipient(maker.recipient)])
        forger.sealed = replace(forger.sealed, header_size=len(header))
        return header + data[size:]

    assert (await rejected(maker, await forger.hand_over(maker, add_stanza))).startswith("not_addressee: ")


async def test_a_payload_that_was_damaged_before_it_was_stated_is_rejected(mine: Node, maker: Node) -> None:
    def flip(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    assert (await rejected(maker, await Forger(mine).hand_over(maker, flip))).startswith("packet_payload_invalid: ")


async def test_another_member_s_packet_is_not_passed_off_as_one_s_own(
    mine: Node, maker: Node, new_node: NewNode
) -> None:
    new_node("Third")
    forger = Forger(mine)
    forger.seal_as = "Third"
    reason = await rejected(maker, await forger.hand_over(maker))
    assert reason.startswith("forbidden: the packet was sealed by another member")


async def test_a_transfer_statement_made_for_another_packet_is_rejected(mine: Node, maker: Node) -> None:
    forger = Forger(mine)
    forger.statement_digest = digest_of("another packet statement")
    assert (await rejected(maker, await forger.hand_over(maker))).startswith("statement_invalid: ")


async def test_a_document_signed_by_a_stranger_is_rejected(mine: Node, maker: Node) -> None:
    signer, _, _ = keys_of("Stranger")
    claim = Document(digest_of("content"), 7, "a.pdf", "application/octet-stream")
    forger = Forger(mine)
    forger.statements = {"a.pdf": statement.issue(signer, account_of("Stranger"), claim, mine.now())}
    assert (await rejected(maker, await forger.hand_over(maker))).startswith("forbidden: ")


async def test_a_document_statement_from_the_future_is_rejected(mine: Node, maker: Node) -> None:
    claim = Document(digest_of("content"), 7, "a.pdf", "application/octet-stream")
    later = mine.now() + CLOCK_SKEW + 1
    forger = Forger(mine)
    forger.statements = {"a.pdf": statement.issue(mine.signer, mine.account, claim, later)}
    assert (await rejected(maker, await forger.hand_over(maker))).startswith("statement_invalid: ")


async def test_a_packet_that_grows_beyond_the_limit_is_rejected(mine: Node, maker: Node) -> None:
    forger = Forger(mine)
    forger.documents = [("zeros", bytes(8 << 20))]
    small = replace(maker, limits=Limits(packet_size=1 << 20))
    reason = await rejected(small, await forger.hand_over(small))
    assert reason.startswith("limit_exceeded: ") or "limit" in reason


async def test_a_reason_is_always_one_that_can_be_signed(
    mine: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StatementInvalid("hostile\n\0words\u202e" + "x" * 5000)

    transfer = await delivered(mine, maker)
    monkeypatch.setattr(packet, "open_packet", fail)
    reason = await rejected(maker, transfer)
    assert reason.startswith("statement_invalid: hostile??words?xxx")
    assert len(reason) == 1000


# --- giving back -----------------------------------------------------------------------------------------------------


async def opened(mine: Node, maker: Node) -> StoredTransfer:
    transfer = await delivered(mine, maker)
    await receipts.open_received(maker, transfer.id)
    return transfer


@pytest.mark.parametrize("fault", ["cut", "lose"])
async def test_a_receipt_reaches_its_sender_however_often_it_is_tried(
    mine: Node, maker: Node, paper: Paper, fault: str
) -> None:
    transfer = await opened(mine, maker)
    getattr(paper.wire, fault).add("send_receipt")
    with pytest.raises(DocexError):
        await receipts.give_back(maker, transfer.id)
    paper.wire.cut.clear()
    paper.wire.lose.clear()
    for _ in range(2):
        await receipts.give_back(maker, transfer.id)
    (delivery,) = (await mine.store.transfer(transfer.id)).deliveries
    assert (delivery.state, delivery.receipt) == (
        DeliveryState.ACCEPTED,
        (await receipt_of(maker, transfer)).digest_text,
    )
    assert (await mine.store.counts())["receipts"] == 1


async def test_a_rejection_reaches_its_sender(mine: Node, maker: Node) -> None:
    transfer = await delivered(mine, maker)
    claim = Receipt(transfer.id, transfer.packet, (), "rejected", "not wanted")
    await receipts.take(maker, signed(maker, claim).token)
    await receipts.give_back(maker, transfer.id)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.REJECTED


async def test_a_receipt_waits_for_a_suspended_sender(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await opened(mine, maker)
    paper.ledger.suspend(mine.address, paper.clock())
    with pytest.raises(NotMember):
        await receipts.give_back(maker, transfer.id)


# --- taking ----------------------------------------------------------------------------------------------------------


def signed(by: Node, body: Body, at: int | None = None) -> Statement:
    return statement.issue(by.signer, by.account, body, by.now() if at is None else at)


async def test_receipts_that_are_refused(mine: Node, maker: Node, new_node: NewNode, paper: Paper) -> None:
    third = new_node("Third")
    transfer = await delivered(mine, maker)
    good = Receipt(transfer.id, transfer.packet, (digest_of("content of quality/0.pdf"),), "accepted")

    async def refused(said: Statement | str, error: type[DocexError], match: str) -> None:
        with pytest.raises(error, match=match):
            await receipts.take(mine, said if isinstance(said, str) else said.token)

    token = signed(maker, good).token
    await refused("", StatementInvalid, "not a compact JWS")
    await refused(token.rpartition(".")[0] + "." + "A" * 86, SignatureInvalid, "does not hold")
    await refused(
        signed(maker, Document(digest_of("x"), 1, "x", "text/plain")), StatementInvalid, "a receipt statement is needed"
    )
    await refused(signed(maker, replace(good, transfer=digest_of("x"))), NotFound, "there is no transfer")
    await refused(signed(third, good), Forbidden, "is not an addressee")
    await refused(signed(mine, good), Forbidden, "is not an addressee")
    await refused(signed(maker, replace(good, packet=digest_of("x"))), DigestMismatch, "another packet")
    await refused(signed(maker, replace(good, opened=())), DigestMismatch, "other documents")
    more = (*good.opened, digest_of("more"))
    await refused(signed(maker, replace(good, opened=more)), DigestMismatch, "other documents")
    await refused(signed(maker, good, mine.now() + CLOCK_SKEW + 1), StatementInvalid, "in the future")
    stolen = statement.issue(third.signer, maker.account, good, mine.now())
    await refused(stolen, Forbidden, "not a valid signing key")
    paper.ledger.suspend(maker.address, paper.clock())
    await refused(token, Forbidden, "not an active member")
    assert (await mine.store.counts())["receipts"] == 0
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.DELIVERED


async def test_a_receipt_can_not_be_replayed_to_another_transfer(mine: Node, maker: Node) -> None:
    first, second = await delivered(mine, maker), await delivered(mine, maker)
    await receipts.open_received(maker, first.id)
    receipt = await receipt_of(maker, first)
    await receipts.take(mine, receipt.token)
    assert (await mine.store.transfer(second.id)).deliveries[0].receipt is None
    # The same packet under a second transfer statement, as far as a receipt could tell:
    forged = replace(claim_of(receipt), transfer=second.id)
    with pytest.raises(DigestMismatch, match="another packet"):
        await receipts.take(mine, signed(maker, forged).token)


async def test_one_addressee_does_not_answer_for_another(mine: Node, maker: Node, new_node: NewNode) -> None:
    third = new_node("Third")
    transfer = await delivered(mine, maker, third)
    await receipts.open_received(third, transfer.id)
    await receipts.give_back(third, transfer.id)
    states = {each.account: each.state for each in (await mine.store.transfer(transfer.id)).deliveries}
    assert states == {maker.account: DeliveryState.DELIVERED, third.account: DeliveryState.ACCEPTED}


async def test_a_second_receipt_that_says_something_else_is_a_conflict(mine: Node, maker: Node) -> None:
    transfer = await opened(mine, maker)
    await receipts.give_back(maker, transfer.id)
    other = signed(maker, Receipt(transfer.id, transfer.packet, (), "rejected", "changed my mind"))
    for node in (mine, maker):
        with pytest.raises(Conflict, match="never changes"):
            await receipts.take(node, other.token)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.ACCEPTED


async def test_a_receipt_signed_away_from_the_node_is_kept_and_passed_on(mine: Node, new_node: NewNode) -> None:
    maker = new_node("Maker", identity=False)
    transfer = await delivered(mine, maker)
    await receipts.open_received(maker, transfer.id)
    claim = Receipt(transfer.id, transfer.packet, (digest_of("content of quality/0.pdf"),), "accepted")
    taken = await receipts.take(maker, signed(maker, claim).token)
    assert taken.deliveries[0].state is DeliveryState.ACCEPTED
    jobs = await jobs_due(maker.store, maker.now(), 60, 10)
    assert {each.kind for each in jobs} == {"open", "return"}
    await receipts.give_back(maker, transfer.id)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].receipt == taken.deliveries[0].receipt


async def test_nobody_else_acknowledges_in_a_member_s_name(mine: Node, new_node: NewNode) -> None:
    maker, third = new_node("Maker", identity=False), new_node("Third")
    transfer = await delivered(mine, maker)
    claim = Receipt(transfer.id, transfer.packet, (), "accepted")
    for other in (mine, third):
        with pytest.raises(Forbidden, match="not an addressee"):
            await receipts.take(maker, signed(other, claim).token)


async def test_what_has_not_arrived_is_not_acknowledged(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "a", b"content")
    transfer = await transfers.create(mine, ["a"], [maker.account])
    paper.wire.cut.add("send_packet")
    with suppress(DocexError):
        await transfers.deliver(mine, transfer.id, maker.account)
    claim = Receipt(transfer.id, transfer.packet, (), "accepted")
    with pytest.raises(Conflict, match="has not arrived yet"):
        await receipts.take(maker, signed(maker, claim).token)


async def test_a_receipt_that_comes_before_the_delivery_was_noted_stands(mine: Node, maker: Node, paper: Paper) -> None:
    await deposited(mine, "quality/0.pdf", b"content of quality/0.pdf")
    transfer = await transfers.create(mine, ["quality/0.pdf"], [maker.account])
    paper.wire.lose.add("send_packet")
    with suppress(DocexError):
        await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    await receipts.give_back(maker, transfer.id)
    await transfers.deliver(mine, transfer.id, maker.account)
    assert (await mine.store.transfer(transfer.id)).deliveries[0].state is DeliveryState.ACCEPTED


async def test_the_ledger_must_answer_before_a_receipt_is_taken(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await opened(mine, maker)
    token = (await receipt_of(maker, transfer)).token
    paper.ledger.down = UNAVAILABLE
    with pytest.raises(LedgerUnavailable):
        await receipts.take(mine, token)
    assert (await mine.store.counts())["receipts"] == 0


async def test_opening_keeps_no_plaintext(mine: Node, maker: Node, tmp_path: Path) -> None:
    await deposited(mine, "a", b"PLAINTEXT" * 1000)
    transfer = await transfers.create(mine, ["a"], [maker.account])
    await transfers.deliver(mine, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    for path in (tmp_path / "Maker-packets").rglob("*"):
        assert not path.is_file() or b"PLAINTEXT" not in path.read_bytes()
