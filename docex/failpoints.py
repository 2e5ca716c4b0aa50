"""Named points between two durable steps at which a test can end a node's process as ``kill -9`` does.

Inert unless `arm` was called: `docex serve` does so with the names in ``DOCEX_FAILPOINTS`` (comma-separated). The list
is closed, and `tests/unit/test_failpoints.py` sees that each of them is crossed by a test.
"""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from typing import Final

from docex.errors import UsageError

VARIABLE: Final = "DOCEX_FAILPOINTS"


class Failpoint(StrEnum):
    """What has just become durable; the next step has not begun."""

    NODE_MIGRATED = "node.migrated"
    NODE_OWNED = "node.owned"
    UPLOAD_STORED = "upload.stored"
    DEPOSIT_STORED = "deposit.stored"
    DEPOSIT_KEPT = "deposit.kept"
    TRANSFER_STORED = "transfer.stored"
    TRANSFER_KEPT = "transfer.kept"
    TRANSFER_EXPIRED = "transfer.expired"
    DELIVERY_ANNOUNCED = "delivery.announced"
    DELIVERY_SENT = "delivery.sent"
    PEER_WOKEN = "peer.woken"
    ANNOUNCEMENT_KEPT = "announcement.kept"
    ARRIVAL_BEGUN = "arrival.begun"
    PART_STORED = "part.stored"
    PART_REMOVED = "part.removed"
    PARTS_CLEARED = "parts.cleared"
    ARRIVAL_TAKEN = "arrival.taken"
    PACKET_STORED = "packet.stored"
    PACKET_KEPT = "packet.kept"
    CIPHERTEXT_STORED = "ciphertext.stored"
    CIPHERTEXT_SIGNED = "ciphertext.signed"
    CIPHERTEXT_RECEIPT_TAKEN = "ciphertext_receipt.taken"
    HEADER_ASKED = "header.asked"
    HEADER_SENT = "header.sent"
    HEADER_STORED = "header.stored"
    HEADER_KEPT = "header.kept"
    CIPHERTEXT_CLEARED = "ciphertext.cleared"
    RECEIVED_KEPT = "received.kept"
    RECEIPT_KEPT = "receipt.kept"
    RECEIPT_RETURNED = "receipt.returned"
    RECEIPT_NOTED = "receipt.noted"
    RECEIPT_TAKEN = "receipt.taken"
    STATEMENTS_KEPT = "statements.kept"
    REVOCATION_KEPT = "revocation.kept"
    REVOCATION_RECORDED = "revocation.recorded"
    KEY_KEPT = "key.kept"
    REQUEST_BEGUN = "request.begun"
    REQUEST_FAILED = "request.failed"
    BATCH_KEPT = "batch.kept"
    BATCH_ANCHORED = "batch.anchored"
    BATCH_FINAL = "batch.final"
    TIMESTAMP_FETCHED = "timestamp.fetched"
    TRANSACTION_RESERVED = "transaction.reserved"
    TRANSACTION_SIGNED = "transaction.signed"
    TRANSACTION_SENT = "transaction.sent"
    TRANSACTION_MOVED = "transaction.moved"
    TRANSACTION_LOST = "transaction.lost"
    TRANSACTION_RENUMBERED = "transaction.renumbered"
    TRANSACTION_FILLED = "transaction.filled"
    TRANSACTION_ADOPTED = "transaction.adopted"
    JOB_CLAIMED = "job.claimed"
    JOB_DONE = "job.done"
    JOB_PUT_OFF = "job.put_off"


_armed: set[Failpoint] = set()


def arm(names: str) -> frozenset[Failpoint]:
    """From now on this process ends at any of these points (comma-separated names; none for none).

    Raises:
        UsageError: there is no such point.
    """
    try:
        points = {Failpoint(name.strip()) for name in names.split(",") if name.strip()}
    except ValueError as error:
        raise UsageError(f"{VARIABLE}: {error}; there are {', '.join(Failpoint)}") from None
    _armed.clear()
    _armed.update(points)
    return frozenset(points)


def reached(point: Failpoint) -> None:
    """End the process here if the point is armed."""
    if point in _armed:
        print(f"failpoint {point}", file=sys.stderr, flush=True)  # noqa: T201 - the last word of this process
        os.kill(os.getpid(), signal.SIGKILL)
