"""What a verification reads of the ledger, over an RPC URL: the ``LedgerReader`` of `docex.core.facts`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from docex.core.facts import Block
from docex.core.ledger_types import Anchor, Member, MembershipPeriod, PublishedKey, Revocation
from docex.core.proof import Network
from docex.errors import LedgerUnavailable
from docex.ledger import answers, chain
from docex.ledger.contracts import load
from docex.ledger.directory import DirectoryClient
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc


class RpcLedgerReader:
    """Reads one network; see ``docex.core.facts.LedgerReader`` for what each method answers and raises."""

    def __init__(self, rpc: Rpc, network: Network) -> None:
        self._rpc = rpc
        self._directory = DirectoryClient(rpc, network.directory)
        self._notary = NotaryClient(rpc, network.notary)
        self._anchored = load("Notary").topic("Anchored")

    async def network(self) -> Network:
        """See the protocol."""
        chain_id = await self._rpc.chain_id()
        return Network(chain_id, await self._notary.directory(), self._notary.address)

    async def head(self) -> Block:
        """See the protocol."""
        return _block(await chain.head(self._rpc))

    async def block(self, number: int) -> Block | None:
        """See the protocol."""
        found = (await chain.blocks(self._rpc, [number])).get(number)
        return None if found is None else _block(found)

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """See the protocol."""
        return await self._notary.anchor_of(member, root, size)

    async def anchors_made_by(self, transaction: bytes, block_number: int) -> Sequence[Anchor] | None:
        """See the protocol. Raises LedgerUnavailable where the node has dropped the receipts of old blocks."""
        return await self._anchors_made_by("0x" + transaction.hex(), block_number)

    async def member_of(self, account: str) -> Member | None:
        """See the protocol."""
        return await self._directory.member(account)

    async def periods_of(self, account: str) -> Sequence[MembershipPeriod]:
        """See the protocol."""
        return await self._directory.periods(account)

    async def key_of(self, account: str, key_id: bytes) -> PublishedKey | None:
        """See the protocol."""
        return await self._directory.key(account, key_id)

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """See the protocol."""
        return await self._notary.revocation_of(member, digest)

    async def _anchors_made_by(self, transaction: str, block_number: int) -> Sequence[Anchor] | None:
        answer = await self._rpc.call("eth_getTransactionReceipt", transaction)
        if answer is None:
            await self._require_absent(transaction, block_number)
            return None
        receipt = chain.to_receipt(answer)
        if receipt.block_number != block_number:
            return None
        block = (await chain.blocks(self._rpc, [block_number])).get(block_number)
        if block is None or block.hash != receipt.block_hash:
            return None
        logs = [chain.to_log(each) for each in answers.items(answers.field(answer, "logs"))]
        ours = [each for each in logs if each.address == self._notary.address and each.topics[:1] == (self._anchored,)]
        return [self._notary.anchor_in(each, block.time) for each in ours]

    async def _require_absent(self, transaction: str, block_number: int) -> None:
        """That the block is there and does not list the transaction: only then is its absence known."""
        block = await self._rpc.call("eth_getBlockByNumber", hex(block_number), False)
        if block is None or transaction in answers.items(answers.field(block, "transactions")):
            raise LedgerUnavailable(f"{self._rpc.name} has no receipt of the anchor's transaction {transaction}")


@asynccontextmanager
async def open_reader(rpc_url: str, network: Network) -> AsyncIterator[RpcLedgerReader]:
    """A reader of a network's contracts over an RPC URL, closed at the end of the block.

    Raises:
        UsageError: the URL is not an HTTP one.
    """
    async with Rpc(rpc_url) as rpc:
        yield RpcLedgerReader(rpc, network)


def _block(block: chain.Block) -> Block:
    return Block(block.number, block.hash, block.time)
