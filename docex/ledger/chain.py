"""What any reader asks of the chain itself: its head, a block, a transaction, a balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docex.core.account import parse_address
from docex.core.ledger_types import TransactionInfo
from docex.errors import LedgerError
from docex.ledger.rpc import Rpc, RpcError


@dataclass(frozen=True, slots=True)
class Block:
    """A block: number, hash, time in Unix seconds, and base fee in wei."""

    number: int
    hash: bytes
    time: int
    base_fee: int


def to_bytes(text: str) -> bytes:
    """The bytes of ``0x…`` data of an RPC answer."""
    return bytes.fromhex(text[2:])


def to_block(answer: Mapping[str, Any] | None) -> Block | None:
    """The block of an ``eth_getBlockBy…`` answer. Raises LedgerError on a chain without EIP-1559 fees."""
    if answer is None:
        return None
    if "baseFeePerGas" not in answer:
        raise LedgerError("the chain has no base fee: docex needs EIP-1559 (London or later)")
    number, time, fee = (int(answer[name], 16) for name in ("number", "timestamp", "baseFeePerGas"))
    return Block(number, to_bytes(answer["hash"]), time, fee)


async def head(rpc: Rpc) -> Block:
    """The latest block."""
    block = to_block(await rpc.call("eth_getBlockByNumber", "latest", False))
    if block is None:
        raise LedgerError("the chain has no blocks")
    return block


async def blocks(rpc: Rpc, numbers: Sequence[int]) -> dict[int, Block]:
    """The blocks with these numbers, but for those that the node doesn't have."""
    found: dict[int, Block] = {}
    answers = await rpc.batch([("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
    for number, answer in zip(numbers, answers, strict=True):
        # A number above the head is an error to some nodes and null to others.
        block = None if isinstance(answer, RpcError) else to_block(answer)
        if block is not None:
            found[number] = block
    return found


async def transaction(rpc: Rpc, transaction: bytes) -> TransactionInfo | None:
    """What the chain says about a transaction by its hash; None when it is in no block of the chain as it is now.

    Raises LedgerUnavailable when the node can't be reached.
    """
    top = await head(rpc)
    receipt = await rpc.call("eth_getTransactionReceipt", "0x" + transaction.hex())
    if receipt is None:
        return None
    number = int(receipt["blockNumber"], 16)
    block = (await blocks(rpc, [number])).get(number)
    if block is None or block.hash != to_bytes(receipt["blockHash"]):
        return None
    return TransactionInfo(
        transaction=transaction,
        block_number=number,
        block_hash=block.hash,
        block_time=block.time,
        confirmations=max(top.number - number, 0),
        succeeded=int(receipt["status"], 16) == 1,
        gas_used=int(receipt["gasUsed"], 16),
        contract=created(receipt),
    )


def created(receipt: Mapping[str, Any]) -> str | None:
    """The address of the contract that a transaction created, from its receipt."""
    address = receipt.get("contractAddress")
    return None if address is None else parse_address(address)


async def balance(rpc: Rpc, address: str) -> int:
    """An account's balance in wei at the latest block."""
    return int(await rpc.call("eth_getBalance", address, "latest"), 16)
