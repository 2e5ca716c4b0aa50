"""The adversary wants the one half without giving the other: the header without a receipt, or a receipt for nothing.

Recipients bring receipts that are not theirs to give, or are for something else; senders keep the header.
"""

from dataclasses import replace

import pytest

from docex.core import statement
from docex.core.claims import Body, Receipt
from docex.core.state import BatchState, DeliveryState, StoredTransfer
from docex.errors import Conflict, DigestMismatch, DocexError, Forbidden, NodeUnavailable, NotFound, StatementInvalid
from docex.service import fair, receipts, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from tests.fixtures.paper_nodes import CHAIN, START, NewNode, Paper, deposited, endpoint_of
from tests.fixtures.statements import digest_of


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


@pytest.fixture
def rival(new_node: NewNode) -> Node:
    return new_node("Rival")


async def offered(mine: Node, *to: Node, content: bytes = b"content") -> StoredTransfer:
    """The ciphertext is at each recipient's node; none has given its receipt."""
    await deposited(mine, "a", content)
    transfer = await transfers.create(mine, ["a"], [each.account for each in to], fair=True)
    for each in to:
        assert await transfers.deliver(mine, transfer.id, each.account) == fair.FIRST_WAIT
    return transfer


def receipt(by: Node, transfer: StoredTransfer, /, **changed: object) -> str:
    body: Body = replace(Receipt(transfer.id, transfer.packet, (), "received"), **changed)  # type: ignore[arg-type]
    return statement.issue(by.signer, by.account, body, by.now()).token


async def settle(mine: Node) -> None:
    while await mine.store.make_batch(1000, mine.now()) or await mine.store.batches(BatchState.SEALED):
        await anchor_waiting(mine)


async def releases_nothing(mine: Node, paper: Paper, transfer: StoredTransfer, *to: Node) -> None:
    """Whatever is anchored now, and however often it is tried: payloads have left, and nothing else."""
    await settle(mine)
    for each in to:
        for _ in range(2):
            assert await transfers.deliver(mine, transfer.id, each.account) is not None
    assert {len(data) for _, data in paper.wire.sent} == {transfer.size}
    assert "send_header" not in [call for call, _ in paper.wire.calls]


async def test_a_receipt_over_another_ciphertext_releases_nothing(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    with pytest.raises(DigestMismatch, match="another packet"):
        await receipts.take(mine, receipt(maker, transfer, packet=digest_of("another")))
    await releases_nothing(mine, paper, transfer, maker)


async def test_a_receipt_by_another_member_releases_nothing(mine: Node, maker: Node, rival: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    with pytest.raises(Forbidden, match="not an addressee"):
        await receipts.take(mine, receipt(rival, transfer))
    in_makers_name = statement.issue(
        rival.signer, maker.account, Receipt(transfer.id, transfer.packet, (), "received"), mine.now()
    )
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await receipts.take(mine, in_makers_name.token)
    await releases_nothing(mine, paper, transfer, maker)


async def test_a_receipt_for_another_transfer_releases_that_one_alone(mine: Node, maker: Node, paper: Paper) -> None:
    first, second = await offered(mine, maker), await offered(mine, maker)
    await fair.ask(maker, second.id)
    with pytest.raises(NotFound):
        await receipts.take(mine, receipt(maker, first, transfer=digest_of("no transfer")))
    await settle(mine)
    assert await transfers.deliver(mine, first.id, maker.account) is not None
    assert await transfers.deliver(mine, second.id, maker.account) is None
    states = [(await mine.store.transfer(each.id)).deliveries[0].state for each in (first, second)]
    assert states == [DeliveryState.PENDING, DeliveryState.DELIVERED]
    assert [call for call, _ in paper.wire.calls].count("send_header") == 1


async def test_a_receipt_that_says_more_or_less_than_the_ciphertext_releases_nothing(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    for changed in ({"opened": (digest_of("content"),)}, {"reason": "so far"}):
        with pytest.raises(StatementInvalid, match="of a ciphertext"):
            await receipts.take(mine, receipt(maker, transfer, **changed))
    with pytest.raises(DigestMismatch, match="other documents"):  # accepted, without having opened anything
        await receipts.take(mine, receipt(maker, transfer, outcome="accepted"))
    await releases_nothing(mine, paper, transfer, maker)


async def test_one_recipient_s_receipt_does_not_release_the_header_to_another(
    mine: Node, maker: Node, rival: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker, rival)
    await fair.ask(maker, transfer.id)
    digest = (await mine.store.transfer(transfer.id)).deliveries[0].ciphertext_receipt
    assert digest is not None
    genuine = await mine.store.statement(digest)
    assert genuine is not None
    await receipts.take(mine, genuine.token)  # by whoever has seen it, in a proof perhaps: it is the maker's
    await settle(mine)
    assert await transfers.deliver(mine, transfer.id, rival.account) is not None
    assert await transfers.deliver(mine, transfer.id, maker.account) is None
    headers = [endpoint for call, endpoint in paper.wire.calls if call == "send_header"]
    assert headers == [endpoint_of("Maker")]


async def test_a_receipt_that_can_not_be_checked_later_releases_nothing(mine: Node, maker: Node, paper: Paper) -> None:
    """Signed with a good key, which is retired before the receipt is anchored."""
    transfer = await offered(mine, maker)
    await fair.ask(maker, transfer.id)
    paper.ledger.retire(maker.address, maker.signer.kid, START + 1)
    await settle(mine)
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert "send_header" not in [call for call, _ in paper.wire.calls]


async def test_a_recipient_suspended_before_the_anchor_gets_nothing(mine: Node, maker: Node, paper: Paper) -> None:
    transfer = await offered(mine, maker)
    await fair.ask(maker, transfer.id)
    paper.ledger.suspend(maker.address, START)
    await settle(mine)
    with pytest.raises(DocexError, match="suspended"):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert "send_header" not in [call for call, _ in paper.wire.calls]


async def test_a_second_receipt_does_not_replace_the_first(mine: Node, maker: Node) -> None:
    transfer = await offered(mine, maker)
    await fair.ask(maker, transfer.id)
    with pytest.raises(Conflict, match="a receipt never changes"):
        await receipts.take(mine, receipt(maker, transfer))


async def test_a_header_goes_to_the_address_in_the_directory_and_to_no_other(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await fair.ask(maker, transfer.id)
    await settle(mine)
    paper.ledger.admit(maker.address, "Maker", "https://moved.example")
    with pytest.raises(NodeUnavailable, match=r"moved\.example"):
        await transfers.deliver(mine, transfer.id, maker.account)
    assert transfer.id.startswith("sha256:")
    assert maker.account.startswith(f"eip155:{CHAIN}:")
    assert "send_header" not in [call for call, _ in paper.wire.calls]


async def test_a_sender_that_keeps_the_header_leaves_a_receipt_that_says_ciphertext(
    mine: Node, maker: Node, paper: Paper
) -> None:
    transfer = await offered(mine, maker)
    await fair.ask(maker, transfer.id)
    paper.clock.time += maker.limits.header_patience + 1
    assert await fair.ask(maker, transfer.id) is None
    delivery = (await maker.store.transfer(transfer.id)).deliveries[0]
    assert (delivery.state, delivery.receipt) == (DeliveryState.WITHHELD, None)
    assert delivery.ciphertext_receipt is not None
    said = await mine.store.statement(delivery.ciphertext_receipt)
    assert said is not None
    body = statement.verify(said.token).body
    assert body == Receipt(transfer.id, transfer.packet, (), "received")  # all that the sender has in its hands
