"""Proofs: everything an auditor needs for one statement, put together from what this node keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from docex.core import merkle, proof
from docex.core import statement as statements
from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Receipt, Revocation, Transfer
from docex.core.state import Batch, BatchState, StoredStatement, StoredTransfer
from docex.errors import Conflict, NotFound
from docex.service.node import Node
from docex.service.visible import find_statement


async def build(node: Node, digest: str, *, standalone: bool = False, within: Folders = EVERYTHING) -> proof.Proof:
    """The proof for a statement, named by its own digest or by that of the document it is about.

    Statements about it come along: what revokes or replaces it, and transfers that carried it, with their receipts; of
    a transfer its receipts, and of a receipt the transfer, without which it says nothing.
    What is not final on the ledger yet has no anchor in the proof. The timestamp of the statement's batch is there as
    soon as the node has it.

    A ``standalone`` proof also holds what shows, from the latest block's hash on, that the ledger says all of this; it
    leaves out what is not final yet.

    For a caller who is kept to folders it leaves out transfers with documents from elsewhere, whose receipts name them.
    What takes a document back is part of its proof wherever that lies: without it, the proof would say too much.

    Raises:
        NotFound: there is no such statement here, or not in these folders.
        Conflict: a standalone proof is asked for, and the statement is not final on the ledger yet.
        UsageError, LedgerError: a standalone proof can't be made (see `ports.Ledger.stand_alone`).
    """
    stored = await find_statement(node, digest, within)
    if stored is None:
        document = await node.store.document_by_digest(digest, within)
        stored = await node.store.statement(document.statement) if document else None
    if stored is None:
        raise NotFound(f"there is no statement or document with the digest {digest}")
    collected = _Collected(node, {})
    related = [await collected.evidence(each) for each in await _related(node, stored, within)]
    network = proof.Network(node.network.chain_id, node.network.directory, node.network.notary)
    main = await _timestamped(node, stored, await collected.evidence(stored))
    made = proof.Proof(network, main, tuple(related))
    return await _standing_alone(node, made) if standalone else made


async def _timestamped(node: Node, stored: StoredStatement, evidence: proof.Evidence) -> proof.Evidence:
    """With the timestamp of its batch, where there is one; no row asks for one of a related statement."""
    if evidence.inclusion is None or stored.batch is None:
        return evidence
    token = await node.store.timestamp(stored.batch)
    return replace(evidence, inclusion=replace(evidence.inclusion, timestamp=token))


async def _standing_alone(node: Node, made: proof.Proof) -> proof.Proof:
    if made.statement.anchor is None:
        raise Conflict("the statement is not final on the ledger yet: ask again later")
    final = replace(made, related=tuple(each for each in made.related if each.anchor is not None))
    return await node.ledger.stand_alone(final)


async def evidence(node: Node, stored: StoredStatement) -> proof.Evidence:
    """A statement with its inclusion and anchor, once its batch is final."""
    return await _Collected(node, {}).evidence(stored)


async def _related(node: Node, stored: StoredStatement, within: Folders) -> list[StoredStatement]:
    """Its transfers, each before its receipts, then what takes it back; oldest first, the newest that fit."""
    notices = await node.store.taking_back([stored.digest])
    notices = sorted(notices, key=lambda each: each.type == Revocation.TYPE)  # the one revocation is always among them
    chosen = [each.digest for each in notices][-proof.MAX_RELATED :]
    for transfer in reversed(await _transfers(node, stored, within)):
        group = [each for each in (transfer.id, *_receipts(transfer, stored)) if each != stored.digest]
        chosen = [*group[: proof.MAX_RELATED - len(chosen)], *chosen]
    found = [await node.store.statement(each) for each in chosen]
    return [each for each in found if each is not None]


def _receipts(transfer: StoredTransfer, about: StoredStatement) -> list[str]:
    """All receipts for a transfer itself; for a document, those of ciphertexts only where there is no final one."""
    found: list[str] = []
    if about.type == Receipt.TYPE:
        return found
    for each in transfer.deliveries:
        if each.ciphertext_receipt and (each.receipt is None or about.type == Transfer.TYPE):
            found.append(each.ciphertext_receipt)
        if each.receipt:
            found.append(each.receipt)
    return found


async def _transfers(node: Node, stored: StoredStatement, within: Folders) -> Sequence[StoredTransfer]:
    """The transfers that carried a document; the one that a transfer or receipt statement is about."""
    if stored.type not in (Transfer.TYPE, Receipt.TYPE):
        return await node.store.transfers_of(stored.digest, within)
    body = statements.parse(stored.token).body
    try:
        return [await node.store.transfer(body.transfer if isinstance(body, Receipt) else stored.digest, within)]
    except NotFound:  # a statement that is kept by itself
        return []


@dataclass(frozen=True, slots=True)
class _Collected:
    """Evidence for statements of one proof, which are often in the same batches."""

    node: Node
    batches: dict[int, tuple[Batch, merkle.Tree]]

    async def evidence(self, stored: StoredStatement) -> proof.Evidence:
        if stored.batch is None or stored.leaf is None:
            return proof.Evidence(stored.token)
        if stored.batch not in self.batches:
            leaves = [merkle.leaf_hash(leaf) for leaf in await self.node.store.batch_leaves(stored.batch)]
            self.batches[stored.batch] = await self.node.store.batch(stored.batch), merkle.Tree(leaves)
        batch, tree = self.batches[stored.batch]
        if batch.state is not BatchState.FINAL:
            return proof.Evidence(stored.token)
        return proof.Evidence(
            stored.token,
            proof.Inclusion(stored.leaf, batch.size, batch.root, tree.inclusion_path(stored.leaf)),
            _anchor(self.node.address, batch),
        )


def _anchor(member: str, batch: Batch) -> proof.AnchorClaim:
    assert batch.transaction is not None
    assert batch.block_hash is not None
    assert batch.block_number is not None
    assert batch.block_time is not None
    return proof.AnchorClaim(member, batch.transaction, batch.block_number, batch.block_hash, batch.block_time)
