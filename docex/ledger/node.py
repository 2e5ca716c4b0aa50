"""The ledger as a node's use cases see it (`docex.service.ports.Ledger`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import structlog

from docex.core.ledger_types import Anchor, Member, PublishedKey
from docex.core.proof import Inclusion, Proof
from docex.core.state import Anchored
from docex.core.transactions import StoredTransaction, TransactionStatus, TransactionStore
from docex.errors import LedgerError, LedgerRejected, NotMember
from docex.ledger.directory import DirectoryClient
from docex.ledger.evidence import stand_alone
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender

log = structlog.get_logger(__name__)

IDLE: Final = 15.0
"""Seconds between looks at the chain while nothing is on its way: about a block, and cheap at a hosted node."""


class NodeLedger:
    """Directory and Notary for one account."""

    def __init__(
        self,
        rpc: Rpc,
        directory: str,
        notary: str,
        sender: Sender,
        transactions: TransactionStore,
        *,
        idle: float = IDLE,
    ) -> None:
        """``sender`` and ``transactions`` must share one store. ``idle``: seconds, see IDLE."""
        self._rpc = rpc
        self._directory = DirectoryClient(rpc, directory)
        self._notary = NotaryClient(rpc, notary, sender)
        self._sender = sender
        self._transactions = transactions
        self._idle = idle
        self._rests_until = 0.0

    async def member(self, account: str) -> Member | None:
        """See the protocol."""
        return await self._directory.member(account)

    async def members(self) -> Sequence[Member]:
        """See the protocol."""
        return await self._directory.members()

    async def keys(self, account: str) -> Sequence[PublishedKey]:
        """See the protocol."""
        return await self._directory.keys(account)

    async def key(self, account: str, key_id: bytes) -> PublishedKey | None:
        """See the protocol."""
        return await self._directory.key(account, key_id)

    async def was_active_at(self, account: str, time: int) -> bool:
        """See the protocol."""
        return await self._directory.was_active_at(account, time)

    async def poll(self) -> None:
        """See the protocol. While nothing is on its way, most calls leave the node alone (see IDLE)."""
        if time.monotonic() < self._rests_until and not await self._transactions.unsettled(
            self._sender.chain_id, self._sender.account
        ):
            return
        for alarm in (await self._sender.poll()).alarms:
            log.error("ledger_alarm", kind=alarm.kind, transaction=alarm.key, message=alarm.message)
        self._rests_until = time.monotonic() + self._idle

    async def waits(self) -> bool:
        """See the protocol."""
        rows = await self._transactions.unsettled(self._sender.chain_id, self._sender.account)
        return any(row.status is TransactionStatus.PENDING for row in rows)

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
            try:
                row = await self._notary.anchor(root, size, key=key)
            except (LedgerRejected, NotMember) as refusal:
                row = await self._take_over(root, size, key, refusal)
        return _anchored(self._sender.account, root, size, row)

    async def revoke(self, statement: bytes, revocation: bytes, effective: int, inclusion: Inclusion) -> bool:
        """See the protocol."""
        number = 0
        while True:  # as for anchors: one that failed for good gets a successor
            key = f"revoke:{self._sender.chain_id}:{self._notary.address}:{statement.hex()}:{number}"
            row = await self._transactions.find(key)
            if row is None or row.status is not TransactionStatus.FAILED:
                break
            number += 1
        if row is None:
            # Recorded already, then by this account from elsewhere: the Notary takes no second one, nor is it needed.
            if await self._notary.revocation_of(self._sender.account, statement) is not None:
                return True
            row = await self._notary.revoke(
                statement,
                revocation,
                root=inclusion.root,
                size=inclusion.size,
                index=inclusion.index,
                path=inclusion.path,
                effective=effective,
                key=key,
            )
        return row.status is TransactionStatus.FINAL

    async def _take_over(self, root: bytes, size: int, key: str, refusal: LedgerError) -> StoredTransaction | None:
        """The transaction that anchored a batch without this database knowing, followed from now on as our own.

        None while its nonce is kept for something else here. Raises ``refusal`` when there is no such transaction.
        """
        entry = await self._notary.anchor_of(self._sender.account, root, size)
        transaction = None if entry is None else await self._notary.anchoring_transaction(entry)
        if transaction is None:
            raise refusal
        row = await self._sender.adopt(key, transaction)
        if row is not None:
            log.warning("anchor_taken_over", transaction="0x" + transaction.hex(), root=root.hex())
        return row

    async def stand_alone(self, proof: Proof) -> Proof:
        """See the protocol."""
        return await stand_alone(self._rpc, proof)

    async def check(self) -> None:
        """See the protocol."""
        await self._rpc.chain_id()
        member = await self._directory.member(self._sender.account)
        if member is None or not member.active:
            raise NotMember(
                f"the account {self._sender.account} is not an active member: ask the consortium to admit it"
            )


def _anchored(member: str, root: bytes, size: int, row: StoredTransaction | None) -> Anchored | None:
    if row is None or row.status is not TransactionStatus.FINAL or row.block is None:
        return None
    anchor = Anchor(member, root, size, row.block.number, row.block.time)
    return Anchored(anchor, row.block.transaction, row.block.hash)
