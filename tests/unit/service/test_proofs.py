"""Proofs: put together from what the node keeps, complete once all is final, and never more than a reader takes."""

from dataclasses import replace

import pytest

from docex.core import merkle, proof, statement
from docex.core.claims import Document
from docex.core.state import DeliveryState, Direction, StoredDocument
from docex.errors import NotFound
from docex.service import proofs, receipts, revocations, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from tests.fixtures.paper_nodes import NETWORK, NewNode, deposited
from tests.fixtures.statements import (
    MAKER_ACCOUNT,
    digest_of,
    document_statement,
    receipt_statement,
    stored_document,
    stored_transfer,
    transfer_statement,
)


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def anchored(*nodes: Node) -> None:
    for node in nodes:
        for _ in range(3):
            await anchor_waiting(node)


def check(evidence: proof.Evidence, member: str) -> None:
    """The evidence leads from the statement to a root that this member anchored."""
    assert evidence.inclusion is not None
    assert evidence.anchor is not None
    leaf = merkle.leaf_hash(statement.parse(evidence.token).digest)
    inclusion = evidence.inclusion
    merkle.verify_inclusion(leaf, inclusion.index, inclusion.size, inclusion.path, inclusion.root)
    assert evidence.anchor.member == member


async def test_before_the_anchor_is_final_a_proof_has_the_statement_alone(node: Node) -> None:
    stored = await deposited(node, "a", b"content")
    for _ in range(2):
        made = await proofs.build(node, stored.digest)
        assert (made.statement.inclusion, made.statement.anchor, made.related) == (None, None, ())
        await node.store.make_batch(10, node.now())
    assert made.network == proof.Network(NETWORK.chain_id, NETWORK.directory, NETWORK.notary)


async def test_a_proof_is_found_by_document_and_by_statement(node: Node) -> None:
    stored = [await deposited(node, f"{n}", f"content {n}".encode()) for n in range(7)]
    await anchored(node)
    for each in stored:
        made = await proofs.build(node, each.digest)
        assert made == await proofs.build(node, each.statement)
        assert statement.parse(made.statement.token).digest_text == each.statement
        check(made.statement, node.address)
        assert proof.parse(proof.dump(made)) == made


@pytest.mark.parametrize("digest", [digest_of("nothing"), ""])
async def test_of_what_is_not_there_is_no_proof(node: Node, digest: str) -> None:
    with pytest.raises(NotFound, match="no statement or document"):
        await proofs.build(node, digest)


async def test_transfers_and_receipts_come_along_on_both_sides(node: Node, new_node: NewNode) -> None:
    maker, third = new_node("Maker"), new_node("Third")
    stored = await deposited(node, "a", b"content")
    transfer = await transfers.create(node, ["a"], [maker.account, third.account])
    for each in (maker, third):
        await transfers.deliver(node, transfer.id, each.account)
        await receipts.open_received(each, transfer.id)
        await receipts.give_back(each, transfer.id)
    await anchored(node, maker)
    made = await proofs.build(node, stored.digest)
    said = [statement.verify(each.token) for each in made.related]
    assert [(each.type, each.issuer) for each in said] == [
        ("transfer", node.account),
        ("receipt", maker.account),
        ("receipt", third.account),
    ]
    for evidence in (made.statement, *made.related):
        check(evidence, node.address)
    theirs = await proofs.build(maker, stored.digest)
    assert theirs.statement.token == made.statement.token
    assert [statement.parse(each.token).type for each in theirs.related] == ["transfer", "receipt"]
    for evidence in (theirs.statement, *theirs.related):
        check(evidence, maker.address)
    of_receipt = await proofs.build(maker, said[1].digest_text)
    assert (of_receipt.statement.token, [each.token for each in of_receipt.related]) == (said[1].token, [said[0].token])
    of_transfer = await proofs.build(node, transfer.id)
    assert [each.token for each in of_transfer.related] == [each.token for each in said[1:]]


async def test_a_receipt_that_is_kept_by_itself_has_a_proof_by_itself(node: Node) -> None:
    receipt = receipt_statement(transfer_statement())
    await node.store.add_statements([receipt])
    made = await proofs.build(node, receipt.digest_text)
    assert (made.statement.token, made.related) == (receipt.token, ())


async def test_of_more_transfers_than_a_proof_holds_the_newest_come_along(node: Node) -> None:
    document = document_statement("a.pdf")
    await node.store.add_document(stored_document(document), [document])
    expected: list[str] = []
    for n in range(proof.MAX_RELATED // 2 + 3):
        said = transfer_statement(f"packet {n}")
        row = replace(stored_transfer(said, document, direction=Direction.SENT), created=1_790_000_000 + n)
        await node.store.add_transfer(row, [said], [])
        receipt = receipt_statement(said)
        await node.store.add_receipt(row.id, MAKER_ACCOUNT, DeliveryState.ACCEPTED, receipt, [])
        expected += [said.token, receipt.token]
    made = await proofs.build(node, document.digest_text)
    assert [each.token for each in made.related] == expected[-proof.MAX_RELATED :]
    assert len(proof.parse(proof.dump(made)).related) == proof.MAX_RELATED


async def test_what_replaces_a_document_is_in_its_proof(node: Node) -> None:
    old = await deposited(node, "a", b"old")
    new = await deposited(node, "a", b"new", supersedes=old.statement)
    await anchored(node)
    made = await proofs.build(node, old.statement)
    assert [digest_of(each.token) for each in made.related] == [new.statement]
    assert made.related[0].anchor is not None
    assert (await proofs.build(node, new.statement)).related == ()


async def test_the_revocation_of_a_document_is_in_its_proof(node: Node) -> None:
    document = await deposited(node, "a", b"content")
    await anchored(node)
    newer = await deposited(node, "a", b"newer", supersedes=document.statement)
    revocation = await revocations.revoke(node, document.statement, "the wrong lot")
    latest = await deposited(node, "a", b"latest", supersedes=document.statement)
    await anchored(node)
    made = await proofs.build(node, document.statement)
    digests = [digest_of(each.token) for each in made.related]
    assert digests == [newer.statement, latest.statement, revocation.digest_text]
    for evidence in made.related:
        check(evidence, node.address)
    assert (await proofs.build(node, revocation.digest_text)).related == ()


async def test_the_revocation_has_its_place_however_much_else_there_is(node: Node) -> None:
    document = await deposited(node, "a", b"content")
    await anchored(node)
    revocation = await revocations.revoke(node, document.statement, "the wrong lot")
    for n in range(proof.MAX_RELATED):
        claim = replace(claim_of(document), name=f"{n}", supersedes=document.statement)
        said = statement.issue(node.signer, node.account, claim, node.now())
        await node.store.add_document(stored_document(said), [said])
    made = await proofs.build(node, document.statement)
    assert len(made.related) == proof.MAX_RELATED
    assert made.related[-1].token == revocation.token


def claim_of(document: StoredDocument) -> Document:
    return Document(document.digest, document.size, document.path, document.media_type)
