"""Timestamps on batch roots by a time-stamping authority: a second clock beside the ledger's.

Each new batch calls for one by a job, written in the same database transaction. Anchoring knows nothing of it: a TSA
that does not answer holds up no anchor, and the batch gets its timestamp later.
"""

from __future__ import annotations

from typing import Final

from docex.failpoints import Failpoint, reached
from docex.service.node import Node

JOB: Final = "timestamp"
"""The kind of the job; its argument is the batch's number."""


async def fetch(node: Node, argument: str) -> None:
    """Get a batch its timestamp, unless it has one, or the node has no TSA any more.

    Raises:
        DocexError: the TSA can't be reached, or its answer does not hold. Try again later.
    """
    number = int(argument)
    if node.tsa is None or await node.store.timestamp(number) is not None:
        return
    batch = await node.store.batch(number)
    token = await node.tsa.timestamp(batch.root)
    reached(Failpoint.TIMESTAMP_FETCHED)
    await node.store.set_timestamp(number, token)
