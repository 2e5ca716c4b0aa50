"""Check a whole node: acknowledged = stored = anchored or queued, none missing, none twice, one receipt for a delivery.

A check reads everything by pages, in constant memory, and writes nothing unless it is to repair. It may run beside the
node that it checks: what is stored but not committed yet is younger than `GRACE`, rows that change together are written
in one transaction, and what looks wrong across two reads is read again before it counts. The same holds for repairs,
which make again what other rows say; the one thing that they remove is a packet older than `GRACE` that no row names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from docex.service import fsck_packets, fsck_statements, fsck_transfers
from docex.service.findings import Code, Finding, Findings, Report
from docex.service.fsck_packets import GRACE
from docex.service.ports import Anchors, AuditStore
from storage import BlobStore

__all__ = ["GRACE", "Code", "Finding", "Keeping", "Report", "check"]


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a node keeps: its database, its packets, and what the ledger has of it (None: do not ask).

    ``address`` is its member's. ``opens``: it holds the identity that opens what it receives; without it a packet may
    rightly wait for its receipt.
    """

    store: AuditStore
    blobs: BlobStore
    address: str
    opens: bool
    now: Callable[[], int]
    anchors: Anchors | None = None


async def check(
    node: Keeping, *, deep: bool = False, repair: bool = False, step: Callable[[int], object] = lambda _: None
) -> Report:
    """Check everything that a node keeps.

    Args:
        node: what to check.
        deep: read every packet and compare its payload's digest with the recorded one.
        repair: make again what can be derived, and remove packets older than `GRACE` seconds that nothing names.
        step: told how many more things were looked at.

    Raises:
        StorageError: the packets can't be read now.
        LedgerError: the ledger can't be asked now.
    """
    findings = Findings(repair, step)
    await fsck_statements.check_statements(node.store, findings)
    await fsck_statements.check_batches(node.store, findings, node.address, node.anchors)
    await fsck_packets.check_documents(node.store, findings)
    await fsck_transfers.check_transfers(node.store, findings)
    await fsck_transfers.check_jobs(node.store, findings, opens=node.opens, now=node.now())
    if node.anchors is not None:
        await fsck_transfers.check_revocations(node.store, findings, node.address, node.anchors)
    await fsck_packets.check_packets(node.store, node.blobs, findings, deep=deep, now=node.now)
    return findings.report()
