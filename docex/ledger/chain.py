"""What any reader asks of the chain itself: its head, a block, a transaction, a balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from docex.core.account import ADDRESS_SIZE, format_address
from docex.core.ledger_types import TransactionInfo
from docex.errors import LedgerError
from docex.ledger import answers
from docex.ledger.rpc import Rpc, RpcError

FEE: Final = 96
"""Bits of a fee for a unit of gas, in wei: more would be all the ether there is, many times."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block: number, hash, time in Unix seconds, and base fee in wei."""

    number: int
    hash: bytes
    time: int
    base_fee: int


def to_block(answer: object) -> Block | None:
    """The block of an ``eth_getBlockBy…`` answer. Raises LedgerError on a chain without EIP-1559 fees."""
    if answer is None:
        return None
    number, time = (answers.number(answers.field(answer, name)) for name in ("number", "timestamp"))
    if "baseFeePerGas" not in answers.fields(answer):
        raise LedgerError("the chain has no base fee: docex needs EIP-1559 (London or later)")
    fee = answers.number(answers.field(answer, "baseFeePerGas"), FEE)
    return Block(number, answers.data(answers.field(answer, "hash"), 32), time, fee)


async def head(rpc: Rpc) -> Block:
    """The latest block."""
    block = to_block(await rpc.call("eth_getBlockByNumber", "latest", False))
    if block is None:
        raise LedgerError("the chain has no blocks")
    return block


async def blocks(rpc: Rpc, numbers: Sequence[int]) -> dict[int, Block]:
    """The blocks with these numbers, but for those that the node doesn't have."""
    found: dict[int, Block] = {}
    found_there = await rpc.batch([("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
    for number, answer in zip(numbers, found_there, strict=True):
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
    where = to_receipt(receipt)
    block = (await blocks(rpc, [where.block_number])).get(where.block_number)
    if block is None or block.hash != where.block_hash:
        return None
    return TransactionInfo(
        transaction=transaction,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.time,
        confirmations=max(top.number - block.number, 0),
        succeeded=where.succeeded,
        gas_used=where.gas_used,
        contract=where.contract,
    )


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """Where a transaction was run, and what came of it; ``contract``: the address of the one that it created."""

    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    contract: str | None


def to_receipt(answer: object) -> TransactionReceipt:
    """What an ``eth_getTransactionReceipt`` answer tells."""
    number, status, gas = (answers.number(answers.field(answer, name)) for name in ("blockNumber", "status", "gasUsed"))
    address = answers.fields(answer).get("contractAddress")
    contract = None if address is None else format_address(answers.data(address, ADDRESS_SIZE))
    return TransactionReceipt(number, answers.data(answers.field(answer, "blockHash"), 32), status == 1, gas, contract)


@dataclass(frozen=True, slots=True)
class Log:
    """An event of a contract; ``index``: its position among all events of its block."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    index: int
    transaction: bytes


def to_log(answer: object) -> Log:
    """One of the logs of an ``eth_getLogs`` answer, or of a transaction receipt."""
    return Log(
        format_address(answers.data(answers.field(answer, "address"), ADDRESS_SIZE)),
        tuple(answers.data(topic, 32) for topic in answers.items(answers.field(answer, "topics"))),
        answers.data(answers.field(answer, "data")),
        answers.number(answers.field(answer, "blockNumber")),
        answers.data(answers.field(answer, "blockHash"), 32),
        answers.number(answers.field(answer, "logIndex")),
        answers.data(answers.field(answer, "transactionHash"), 32),
    )


async def balance(rpc: Rpc, address: str) -> int:
    """An account's balance in wei at the latest block."""
    return answers.number(await rpc.call("eth_getBalance", address, "latest"), answers.WORD)
