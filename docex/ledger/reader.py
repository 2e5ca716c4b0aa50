"""What a verification reads of the ledger, over an RPC URL: the ``LedgerReader`` of `docex.core.facts`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from docex.core.account import format_address
from docex.core.facts import Block
from docex.core.ledger_types import Anchor, Member, MembershipPeriod, PublishedKey, Revocation
from docex.core.proof import Network
from docex.errors import LedgerUnavailable
from docex.ledger import chain
from docex.ledger.contracts import load
from docex.ledger.directory import DirectoryClient
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc

T = TypeVar("T")


class RpcLedgerReader:
    """Reads one network; see ``docex.core.facts.LedgerReader`` for what each method answers and raises."""

    def __init__(self, rpc: Rpc, network: Network) -> None:
        self._rpc = rpc
        self._directory = DirectoryClient(rpc, network.directory)
        self._notary = NotaryClient(rpc, network.notary)
        self._anchored = load("Notary").topic("Anchored")

    async def network(self) -> Network:
        """See the protocol."""
        chain_id = await _answer(self._rpc.chain_id())
        return Network(chain_id, await _answer(self._notary.directory()), self._notary.address)

    async def head(self) -> Block:
        """See the protocol."""
        return _block(await _answer(chain.head(self._rpc)))

    async def block(self, number: int) -> Block | None:
        """See the protocol."""
        found = (await _answer(chain.blocks(self._rpc, [number]))).get(number)
        return None if found is None else _block(found)

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """See the protocol."""
        return await _answer(self._notary.anchor_of(member, root, size))

    async def anchors_made_by(self, transaction: bytes, block_number: int) -> Sequence[Anchor] | None:
        """See the protocol. Raises LedgerUnavailable where the node has dropped the receipts of old blocks."""
        return await _answer(self._anchors_made_by("0x" + transaction.hex(), block_number))

    async def member_of(self, account: str) -> Member | None:
        """See the protocol."""
        return await _answer(self._directory.member(account))

    async def periods_of(self, account: str) -> Sequence[MembershipPeriod]:
        """See the protocol."""
        return await _answer(self._directory.periods(account))

    async def key_of(self, account: str, key_id: bytes) -> PublishedKey | None:
        """See the protocol."""
        return await _answer(self._directory.key(account, key_id))

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """See the protocol."""
        return await _answer(self._notary.revocation_of(member, digest))

    async def _anchors_made_by(self, transaction: str, block_number: int) -> Sequence[Anchor] | None:
        receipt = await self._rpc.call("eth_getTransactionReceipt", transaction)
        if receipt is None:
            await self._require_absent(transaction, block_number)
            return None
        if int(receipt["blockNumber"], 16) != block_number:
            return None
        block = (await chain.blocks(self._rpc, [block_number])).get(block_number)
        if block is None or block.hash != chain.to_bytes(receipt["blockHash"]):
            return None
        return [self._anchor(log, block) for log in receipt["logs"] if self._is_anchor(log)]

    async def _require_absent(self, transaction: str, block_number: int) -> None:
        """That the block is there and does not list the transaction: only then is its absence known."""
        block = await self._rpc.call("eth_getBlockByNumber", hex(block_number), False)
        if block is None or transaction in block["transactions"]:
            raise LedgerUnavailable(f"{self._rpc.name} has no receipt of the anchor's transaction {transaction}")

    def _is_anchor(self, log: Mapping[str, Any]) -> bool:
        ours = format_address(chain.to_bytes(log["address"])) == self._notary.address
        return ours and chain.to_bytes(log["topics"][0]) == self._anchored

    def _anchor(self, log: Mapping[str, Any], block: chain.Block) -> Anchor:
        _, member, root = map(chain.to_bytes, log["topics"])
        return Anchor(format_address(member[12:]), root, int(log["data"], 16), block.number, block.time)


@asynccontextmanager
async def open_reader(rpc_url: str, network: Network) -> AsyncIterator[RpcLedgerReader]:
    """A reader of a network's contracts over an RPC URL, closed at the end of the block.

    Raises:
        UsageError: the URL is not an HTTP one.
    """
    async with Rpc(rpc_url) as rpc:
        yield RpcLedgerReader(rpc, network)


async def _answer(reading: Awaitable[T]) -> T:
    """What a read returns; an answer of the wrong shape is the node's failure, and says nothing about the ledger."""
    try:
        return await reading
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise LedgerUnavailable(f"the ledger node's answer makes no sense ({type(error).__name__})") from error


def _block(block: chain.Block) -> Block:
    return Block(block.number, block.hash, block.time)
