"""Reads from the chain where transactions stand: which attempt is in which block, and how deep."""

from __future__ import annotations

from collections.abc import Sequence

from docex.core.ledger_types import TransactionInfo
from docex.core.transactions import BlockRef, StoredTransaction, TransactionStatus, TransactionStore
from docex.errors import LedgerRejected
from docex.failpoints import Failpoint, reached
from docex.ledger import chain
from docex.ledger.rpc import Rpc, RpcError


async def observe(rpc: Rpc, rows: Sequence[StoredTransaction]) -> dict[str, BlockRef | None]:
    """The block that holds each row now, by the rows' keys; None for a row in no block.

    A block counts only when the chain has it under its number, with that hash: a receipt read in the middle of a reorg
    may name one that it has no longer.
    """
    questions = [(row.key, attempt.transaction) for row in rows for attempt in row.attempts]
    answers = await rpc.batch(
        [("eth_getTransactionReceipt", ("0x" + transaction.hex(),)) for _, transaction in questions]
    )
    receipts = []
    for (key, transaction), answer in zip(questions, answers, strict=True):
        if isinstance(answer, RpcError):
            raise answer
        if answer is not None:
            receipts.append((key, transaction, chain.to_receipt(answer)))
    numbers = sorted({receipt.block_number for _, _, receipt in receipts})
    blocks = await chain.blocks(rpc, numbers)
    found: dict[str, BlockRef | None] = {row.key: None for row in rows}
    for key, transaction, receipt in receipts:
        block = blocks.get(receipt.block_number)
        if block is not None and block.hash == receipt.block_hash:
            found[key] = BlockRef(
                number=block.number,
                hash=block.hash,
                time=block.time,
                transaction=transaction,
                succeeded=receipt.succeeded,
                gas_used=receipt.gas_used,
                contract=receipt.contract,
            )
    return found


async def drop_lost(
    rpc: Rpc, store: TransactionStore, chain_id: int, account: str
) -> list[tuple[StoredTransaction, StoredTransaction]]:
    """Puts the account's settled rows whose block is gone back to PENDING: each as it was, and as it is now.

    The newest settled block stands for all below it: they are its ancestors. So that no row can come to stand for one
    that was lost, rows are settled only after this has run to its end, later than they were observed.
    """
    lost: list[tuple[StoredTransaction, StoredTransaction]] = []
    while (row := await store.newest_settled(chain_id, account)) is not None and row.block is not None:
        block = (await chain.blocks(rpc, [row.block.number])).get(row.block.number)
        if block is not None and block.hash == row.block.hash:
            break
        lost.append((row, await store.set_block(row.key, TransactionStatus.PENDING, None)))
        reached(Failpoint.TRANSACTION_LOST)
    return lost


def status_of(block: BlockRef | None, head: int, confirmations: int) -> TransactionStatus:
    """The status of a row that stands in ``block`` when the chain's head has the number ``head``.

    Final means ``confirmations`` blocks on top, so that a reorg of that many blocks still leaves it in place.
    """
    if block is None:
        return TransactionStatus.PENDING
    if head - block.number < confirmations:
        return TransactionStatus.MINED
    return TransactionStatus.FINAL if block.succeeded else TransactionStatus.FAILED


async def outcome(rpc: Rpc, row: StoredTransaction, block: BlockRef) -> TransactionInfo:
    """Where a mined transaction stands. Raises LedgerRejected with the contract's reason when it reverted."""
    if block.succeeded:
        return info(block, (await chain.head(rpc)).number)
    request = row.request
    call = {"from": request.account, "data": "0x" + request.data.hex()}
    call |= {"value": hex(request.value), "gas": hex(request.gas)} | ({"to": request.to} if request.to else {})
    (answer,) = await rpc.batch([("eth_call", (call, hex(block.number)))])
    reason = answer.reason() if isinstance(answer, RpcError) else "out of gas, or the state has changed since"
    raise LedgerRejected(f"the transaction {row.key!r} reverted in block {block.number}: {reason}")


def info(block: BlockRef, head: int) -> TransactionInfo:
    """What is told of a mined transaction."""
    return TransactionInfo(
        transaction=block.transaction,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.time,
        confirmations=max(head - block.number, 0),
        succeeded=block.succeeded,
        gas_used=block.gas_used,
        contract=block.contract,
    )
