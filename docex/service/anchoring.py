"""Anchor statements: collect them into batches, bring each batch's root to the ledger, follow it until it is final.

Any number of crashes and repetitions make one anchor for each batch: its leaves are fixed in the database before
anything is sent, and the ledger side (`docex.ledger.sender`) sends one transaction for one batch.

A reorg deeper than the agreed confirmations takes final anchors away. The poll that notices it puts their batches back,
with the leaves they had, and they are anchored again like any other: a statement never gets into a second batch.
"""

from __future__ import annotations

from dataclasses import replace

from docex.core.state import Batch, BatchState
from docex.errors import LedgerError, LedgerUnavailable
from docex.failpoints import Failpoint, reached
from docex.service.node import Node


async def anchor_waiting(node: Node) -> int:
    """Make a batch of what waits and go on with every batch that is not final; how many became final.

    The ledger is asked even when there is nothing to do: what is final stays so only while its block does.

    Raises:
        LedgerError: of the first batch that could not go on; the others did. Try again later; nothing is lost.
    """
    # Behind one that is not mined another anchor would wait as well: until then its batch grows, for the same price.
    if not await node.ledger.waits() and await node.store.make_batch(node.limits.batch_size, node.now()) is not None:
        reached(Failpoint.BATCH_KEPT)
    await node.ledger.poll()
    final, failures = 0, []
    for batch in await node.store.batches(BatchState.SEALED):  # after the poll, which may put some back
        try:
            final += await _advance(node, batch)
        except LedgerUnavailable:
            raise
        except LedgerError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return final


async def _advance(node: Node, batch: Batch) -> bool:
    anchored = await node.ledger.anchor(batch.root, batch.size)
    if anchored is None:
        return False
    reached(Failpoint.BATCH_ANCHORED)
    final = await node.store.set_batch(
        replace(
            batch,
            state=BatchState.FINAL,
            transaction=anchored.transaction,
            block_number=anchored.anchor.block_number,
            block_hash=anchored.block_hash,
            block_time=anchored.anchor.time,
        )
    )
    reached(Failpoint.BATCH_FINAL)
    return final
