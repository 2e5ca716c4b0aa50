"""Proofs: everything an auditor needs for one statement, put together from what this node keeps."""

from __future__ import annotations

from docex.core import merkle, proof
from docex.core.state import BatchState, StoredStatement
from docex.errors import NotFound
from docex.service.node import Node


async def build(node: Node, digest: str) -> proof.Proof:
    """The proof for a statement, named by its own digest or by that of the document it is about.

    Statements about it (transfers that carried the document, with their receipts) come along. What is not final on the
    ledger yet has no anchor in the proof.

    Raises:
        NotFound: there is no such statement here.
    """
    stored = await node.store.statement(digest)
    if stored is None:
        document = await node.store.document_by_digest(digest)
        stored = await node.store.statement(document.statement) if document else None
    if stored is None:
        raise NotFound(f"there is no statement or document with the digest {digest}")
    related = []
    for transfer in await node.store.transfers_of(stored.digest):
        for related_digest in (transfer.id, *(each.receipt for each in transfer.deliveries if each.receipt)):
            found = await node.store.statement(related_digest)
            assert found is not None
            related.append(await _evidence(node, found))
    network = proof.Network(node.network.chain_id, node.network.directory, node.network.notary)
    return proof.Proof(network, await _evidence(node, stored), tuple(related))


async def _evidence(node: Node, stored: StoredStatement) -> proof.Evidence:
    if stored.batch is None or stored.leaf is None:
        return proof.Evidence(stored.token, None, None)
    batch = await node.store.batch(stored.batch)
    if batch.state is not BatchState.FINAL:
        return proof.Evidence(stored.token, None, None)
    assert batch.transaction is not None
    assert batch.block_hash is not None
    assert batch.block_number is not None
    assert batch.block_time is not None
    leaves = [merkle.leaf_hash(leaf) for leaf in await node.store.batch_leaves(batch.number)]
    path = merkle.inclusion_path(leaves, stored.leaf)
    return proof.Evidence(
        stored.token,
        proof.Inclusion(stored.leaf, batch.size, batch.root, tuple(path)),
        proof.AnchorClaim(node.address, batch.transaction, batch.block_number, batch.block_hash, batch.block_time),
    )
