"""The ledger as a node's use cases see it (`docex.service.ports.Ledger`)."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from docex.core.ledger_types import Anchor, Member, PublishedKey
from docex.core.proof import LedgerEvidence, Proof
from docex.core.state import Anchored
from docex.core.transactions import StoredTransaction, TransactionStatus, TransactionStore
from docex.errors import LedgerRejected, NotMember
from docex.ledger.directory import DirectoryClient
from docex.ledger.evidence import collect_evidence
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender

log = structlog.get_logger(__name__)


class NodeLedger:
    """Directory and Notary for one account. ``sender`` and ``transactions`` must share one store."""

    def __init__(self, rpc: Rpc, directory: str, notary: str, sender: Sender, transactions: TransactionStore) -> None:
        self._rpc = rpc
        self._directory = DirectoryClient(rpc, directory)
        self._notary = NotaryClient(rpc, notary, sender)
        self._sender = sender
        self._transactions = transactions

    async def member(self, account: str) -> Member | None:
        """See the protocol."""
        return await self._directory.member(account)

    async def keys(self, account: str) -> Sequence[PublishedKey]:
        """See the protocol."""
        return await self._directory.keys(account)

    async def was_active_at(self, account: str, time: int) -> bool:
        """See the protocol."""
        return await self._directory.was_active_at(account, time)

    async def poll(self) -> None:
        """See the protocol."""
        for alarm in (await self._sender.poll()).alarms:
            log.error("ledger_alarm", kind=alarm.kind, transaction=alarm.key, message=alarm.message)

    async def anchor(self, root: bytes, size: int) -> Anchored | None:
        """See the protocol."""
        number = 0
        while True:  # a transaction that failed for good (suspended for a while, say) gets a successor
            key = f"anchor:{self._sender.chain_id}:{self._notary.address}:{root.hex()}:{size}:{number}"
            row = await self._transactions.find(key)
            if row is None or row.status is not TransactionStatus.FAILED:
                break
            number += 1
        if row is None:
            row = await self._notary.anchor(root, size, key=key)
        return _anchored(self._sender.account, root, size, row)

    async def evidence(self, proof: Proof) -> LedgerEvidence:
        """See the protocol."""
        return await collect_evidence(self._rpc, proof)

    async def check(self) -> None:
        """See the protocol."""
        await self._rpc.chain_id()
        member = await self._directory.member(self._sender.account)
        if member is None or not member.active:
            raise NotMember(
                f"the account {self._sender.account} is not an active member: ask the consortium to admit it"
            )


def _anchored(member: str, root: bytes, size: int, row: StoredTransaction) -> Anchored | None:
    if row.status is not TransactionStatus.FINAL or row.block is None:
        return None
    if not row.block.succeeded:
        raise LedgerRejected(f"the anchor transaction 0x{row.block.transaction.hex()} failed")
    anchor = Anchor(member, root, size, row.block.number, row.block.time)
    return Anchored(anchor, row.block.transaction, row.block.hash)
