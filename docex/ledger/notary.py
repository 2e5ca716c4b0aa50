"""The Notary's client: anchors of batches, and revocations of statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from docex.core.account import format_address, require_checksum
from docex.core.ledger_types import Anchor, Revocation
from docex.core.transactions import StoredTransaction
from docex.errors import LedgerUnavailable, UsageError
from docex.ledger import answers, chain
from docex.ledger.contracts import load
from docex.ledger.rpc import Rpc, RpcError
from docex.ledger.sender import Sender

RANGE: Final = 2_000
"""Most blocks asked for their events at once: hosted nodes refuse more."""


class NotaryClient:
    """Reads the Notary; with a ``sender``, writes to it as the sender's account.

    Reading raises LedgerUnavailable when the node can't be reached. Writing returns as ``Sender.submit`` does: kept and
    sent, not yet mined.
    """

    def __init__(self, rpc: Rpc, address: str, sender: Sender | None = None) -> None:
        """``address``: the contract's, with its checksum (UsageError otherwise)."""
        self.address = require_checksum(address)
        self._rpc = rpc
        self._sender = sender
        self._contract = load("Notary")

    async def anchor(self, root: bytes, size: int, *, key: str | None = None) -> StoredTransaction:
        """Anchors a batch of the sender's account. The default key makes it one transaction for each (root, size).

        After one that FAILED (say, the account was suspended), a try anew takes a ``key`` of its own. Raises
        LedgerRejected (``AlreadyAnchored``) when the batch is anchored already, NotMember, and as ``Sender.submit``.
        """
        sender = self._writer()
        key = key or f"anchor:{sender.chain_id}:{self.address}:{sender.account}:{root.hex()}:{size}"
        return await sender.submit(key, self.address, self._contract.encode("anchor", root, size))

    async def revoke(
        self,
        digest: bytes,
        revocation: bytes,
        *,
        root: bytes,
        size: int,
        index: int,
        path: Sequence[bytes],
        effective: int = 0,
        key: str | None = None,
    ) -> StoredTransaction:
        """Revokes a statement of the sender's account, which its batch (root, size) includes at ``index`` by ``path``.

        ``revocation``: digest of the revocation statement; ``effective`` 0: with the transaction's block. Raises
        LedgerRejected (``AlreadyRevoked``, ``NotAnchored``, ``RootMismatch``…), NotMember, and as ``Sender.submit``.
        """
        sender = self._writer()
        key = key or f"revoke:{sender.chain_id}:{self.address}:{sender.account}:{digest.hex()}"
        data = self._contract.encode("revoke", digest, effective, revocation, root, size, index, tuple(path))
        return await sender.submit(key, self.address, data)

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """Where a member anchored a batch; None when it did not."""
        block_number, time = await self._read("anchorOf", member, root, size)
        return Anchor(member, root, size, block_number, time) if block_number else None

    async def anchors_of(self, member: str, first_block: int, last_block: int) -> tuple[Anchor, ...]:
        """The batches that a member anchored in these blocks, both included, oldest first."""
        anchors: list[Anchor] = []
        topics = [
            "0x" + self._contract.topic("Anchored").hex(),
            "0x" + bytes.fromhex(member[2:]).rjust(32, b"\0").hex(),
        ]
        for start in range(first_block, last_block + 1, RANGE):
            end = min(start + RANGE - 1, last_block)
            question = {"address": self.address, "fromBlock": hex(start), "toBlock": hex(end), "topics": topics}
            logs = [chain.to_log(each) for each in answers.items(await self._rpc.call("eth_getLogs", question))]
            blocks = await chain.blocks(self._rpc, sorted({log.block_number for log in logs}))
            for log in logs:
                if (block := blocks.get(log.block_number)) is None:  # a reorg between the two answers, say
                    raise LedgerUnavailable(f"{self._rpc.name} does not have block {log.block_number}, of an anchor")
                anchors.append(self.anchor_in(log, block.time))
        return tuple(anchors)

    async def anchoring_transaction(self, anchor: Anchor) -> bytes | None:
        """The hash of the transaction that made an anchor; None when the chain no longer has it in that block."""
        block = hex(anchor.block_number)
        indexed = ["0x" + bytes.fromhex(anchor.member[2:]).rjust(32, b"\0").hex(), "0x" + anchor.root.hex()]
        topics = ["0x" + self._contract.topic("Anchored").hex(), *indexed]
        question = {"address": self.address, "fromBlock": block, "toBlock": block, "topics": topics}
        try:
            logs = await self._rpc.call("eth_getLogs", question)
        except RpcError:
            return None  # A block above the head is an error to some nodes.
        found = [chain.to_log(each) for each in answers.items(logs)]
        return next((each.transaction for each in found if self.anchor_in(each, anchor.time) == anchor), None)

    def anchor_in(self, log: chain.Log, time: int) -> Anchor:
        """The anchor that an ``Anchored`` event tells of; ``time`` is its block's."""
        if len(log.topics) != 3 or len(log.data) != 32:
            raise answers.no_answer(log, "the event of an anchor")
        _, member, root = log.topics
        return Anchor(format_address(member[12:]), root, int.from_bytes(log.data), log.block_number, time)

    async def verify(
        self, member: str, root: bytes, size: int, index: int, digest: bytes, path: Sequence[bytes]
    ) -> Anchor:
        """Has the contract check that a member's batch includes a statement.

        Raises LedgerRejected with the contract's reason (``NotAnchored``, ``IndexOutOfRange``, ``WrongPathLength``,
        ``RootMismatch``).
        """
        block_number, time = await self._read("verify", member, root, size, index, digest, tuple(path))
        return Anchor(member, root, size, block_number, time)

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """A member's revocation of a statement; None when it did not revoke it. Ask for the statement's issuer."""
        effective, time, revocation = await self._read("revocationOf", member, digest)
        return Revocation(member, digest, effective, time, revocation) if time else None

    async def directory(self) -> str:
        """The address of the Directory that says who may write."""
        (address,) = await self._read("directory")
        return str(address)

    async def _read(self, function: str, *arguments: object) -> tuple[Any, ...]:
        data = await self._rpc.eth_call(self.address, self._contract.encode(function, *arguments))
        return self._contract.decode(function, data)

    def _writer(self) -> Sender:
        if self._sender is None:
            raise UsageError("this client of the Notary has no account to write with")
        return self._sender
