"""The adversary holds a genuine receipt and shows it where it was not given: for another transfer, recipient, chain,
or for the contracts of another consortium on the same chain, which has the same members with the same keys.
"""

from dataclasses import replace

import pytest

from docex.core import statement
from docex.core.account import caip10
from docex.core.claims import Receipt, Transfer
from docex.core.digest import sha256
from docex.core.proof import Evidence, Network, Proof
from docex.core.state import DeliveryState, StoredTransfer
from docex.core.statement import Statement
from docex.errors import DigestMismatch, DocexError, Forbidden, NotFound, UsageError
from docex.service import receipts, transfers
from docex.service.node import Node
from docex.verify import Outcome, Trust, Verdict, verify
from tests.fixtures.paper_ledger import NETWORK, TRUST, Exchange, fake_address
from tests.fixtures.paper_nodes import NewNode, deposited

PASS, FAIL, NOT_CHECKED = Outcome


# --- at a node -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def delivered(mine: Node, path: str, *to: Node) -> StoredTransfer:
    await deposited(mine, path, b"content")
    transfer = await transfers.create(mine, [path], [each.account for each in to])
    for each in to:
        await transfers.deliver(mine, transfer.id, each.account)
        await receipts.open_received(each, transfer.id)
    return transfer


async def token_of(node: Node, digest: str) -> str:
    stored = await node.store.statement(digest)
    assert stored is not None
    return stored.token


async def receipt_of(node: Node, transfer: StoredTransfer) -> Statement:
    digest = (await node.store.transfer(transfer.id)).deliveries[0].receipt
    assert digest is not None
    return statement.verify(await token_of(node, digest))


async def refused(node: Node, token: str, error: type[DocexError], match: str) -> None:
    before = await node.store.counts()
    with pytest.raises(error, match=match):
        await receipts.take(node, token)
    assert await node.store.counts() == before


async def test_a_receipt_settles_its_own_transfer_and_no_other_of_the_same_documents(mine: Node, maker: Node) -> None:
    first, second = await delivered(mine, "a", maker), await delivered(mine, "a", maker)
    await receipts.take(mine, (await receipt_of(maker, first)).token)
    states = [(await mine.store.transfer(each.id)).deliveries[0].state for each in (first, second)]
    assert states == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    receipt = await receipt_of(maker, first)
    assert isinstance(receipt.body, Receipt)
    moved = replace(receipt.body, transfer=second.id)
    # The signature is over the transfer's digest: put another there, and it is nobody's statement.
    header, _, signature = receipt.token.split(".")
    other = statement.issue(mine.signer, maker.account, replace(moved, packet=second.packet), receipt.issued_at)
    forged = ".".join([header, other.token.split(".")[1], signature])
    await refused(mine, forged, DocexError, "signature")
    await refused(mine, other.token, Forbidden, "not a valid signing key")
    resigned = statement.issue(maker.signer, maker.account, moved, receipt.issued_at)
    await refused(mine, resigned.token, DigestMismatch, "another packet than its transfer")


async def test_a_receipt_settles_its_own_recipient_s_delivery_and_no_other(
    mine: Node, maker: Node, new_node: NewNode
) -> None:
    third, rival = new_node("Third"), new_node("Rival")
    transfer = await delivered(mine, "a", maker, third)
    receipt = await receipt_of(maker, transfer)
    await receipts.take(mine, receipt.token)
    states = [each.state for each in (await mine.store.transfer(transfer.id)).deliveries]
    assert states == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    assert isinstance(receipt.body, Receipt)
    in_thirds_name = statement.issue(maker.signer, third.account, receipt.body, receipt.issued_at)
    await refused(mine, in_thirds_name.token, Forbidden, "not a valid signing key")
    by_a_rival = statement.issue(rival.signer, rival.account, receipt.body, receipt.issued_at)
    await refused(mine, by_a_rival.token, Forbidden, "not an addressee")
    await refused(rival, receipt.token, NotFound, "no transfer")


async def test_a_receipt_from_another_chain_is_refused(mine: Node, maker: Node) -> None:
    transfer = await delivered(mine, "a", maker)
    receipt = await receipt_of(maker, transfer)
    elsewhere = maker.account.replace("eip155:31337:", "eip155:1:")
    other = statement.issue(maker.signer, elsewhere, receipt.body, receipt.issued_at)
    await refused(mine, other.token, Forbidden, "not an addressee")


@pytest.mark.parametrize(
    ("chain_id", "notary", "error"),
    [(31337, fake_address("another notary"), Forbidden), (1, NETWORK.notary, UsageError)],
    ids=["contract", "chain"],
)
async def test_a_transfer_is_not_taken_on_another_network_so_nobody_answers_for_it_there(
    mine: Node, new_node: NewNode, chain_id: int, notary: str, error: type[DocexError]
) -> None:
    maker = new_node("Maker")
    elsewhere = replace(maker, network=replace(maker.network, chain_id=chain_id, notary=notary))
    transfer = await delivered(mine, "a", maker)
    with pytest.raises((error, Forbidden), match=r"not addressed|made for the Notary"):
        await transfers.announced(elsewhere, await token_of(mine, transfer.id))


# --- at an auditor ---------------------------------------------------------------------------------------------------


class Two(Exchange):
    """Two consortia on one chain with the same members and keys. The exchange took place in the other one."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        notary = caip10(network.chain_id, network.notary)
        claim = replace(self.transfer_claim, notary=notary, header=self.packet, fair=True)
        self.elsewhere = self.add(self.mine, claim)
        receipt = replace(self.receipt_claim, transfer=str(sha256(self.elsewhere.token.encode())))
        # Genuine statements: anybody can anchor them here again.
        self.replayed = self.add(self.maker, receipt, anchored_by=self.rival)
        self.ciphertext = self.add(self.maker, replace(receipt, outcome="received", opened=()), anchored_by=self.rival)

    async def judge(self, main: Evidence, *related: Evidence) -> Verdict:
        made = Proof(NETWORK, main, related)
        return verify(self.content, made, TRUST, await self.facts(made))


ELSEWHERE = [
    replace(NETWORK, notary=fake_address("another notary")),
    replace(NETWORK, chain_id=1),
]


@pytest.mark.parametrize("network", ELSEWHERE, ids=["contract", "chain"])
async def test_a_receipt_given_elsewhere_shows_no_delivery_here(network: Network) -> None:
    two = Two(network)
    row = (await two.judge(two.evidence, two.elsewhere, two.replayed)).row(7)
    assert (row.outcome, "made for the Notary" in row.reason) == (NOT_CHECKED, True), row
    row = (await two.judge(two.evidence, *two.delivery, two.elsewhere, two.replayed)).row(7)
    assert (row.outcome, len(row.details["receipts"])) == (PASS, 1)


@pytest.mark.parametrize("network", ELSEWHERE, ids=["contract", "chain"])
async def test_a_transfer_made_elsewhere_is_not_valid_here_nor_are_its_receipts(network: Network) -> None:
    two = Two(network)
    for main, related in (
        (two.elsewhere, (two.replayed,)),
        (two.replayed, (two.elsewhere,)),
        (two.ciphertext, (two.elsewhere,)),
    ):
        made = Proof(NETWORK, main, related)
        verdict = verify(None, made, TRUST, await two.facts(made))
        assert (verdict.row(4).outcome, verdict.exit_code) == (FAIL, 1), verdict
        assert "made for the Notary" in verdict.row(4).reason
        assert verdict.row(7).outcome is NOT_CHECKED


async def test_with_another_transfer_beside_it_a_receipt_is_still_for_its_own() -> None:
    two = Two(ELSEWHERE[0])
    genuine, _ = two.delivery
    verdict = await two.judge(two.evidence, genuine, two.replayed)
    assert "the transfer it acknowledges is not in the proof" in verdict.row(7).reason
    verdict = verify(None, made := Proof(NETWORK, two.replayed, (genuine,)), TRUST, await two.facts(made))
    assert verdict.row(4).outcome is NOT_CHECKED
    assert verdict.exit_code == 3


async def test_where_it_was_given_it_counts() -> None:
    two = Two(ELSEWHERE[0])
    two.ledger.served = ELSEWHERE[0]
    made = Proof(ELSEWHERE[0], two.replayed, (two.elsewhere,))
    there = Trust("elsewhere", ELSEWHERE[0], TRUST.confirmations)
    assert verify(None, made, there, await two.facts(made)).exit_code == 0


def test_a_transfer_can_not_leave_open_where_it_is_meant() -> None:
    claim = Exchange().transfer_claim
    assert isinstance(claim, Transfer)
    with pytest.raises(DocexError, match=r"transfer\.notary"):
        statement.issue(Exchange().mine.signer, Exchange().mine.issuer, replace(claim, notary=""), 0)
