"""The chain as a sender sees it at one moment: its head, its fees, and how far the account has got."""

from __future__ import annotations

from dataclasses import dataclass

from docex.core.transactions import Attempt
from docex.errors import LedgerError
from docex.ledger import answers
from docex.ledger.chain import FEE, to_block
from docex.ledger.rpc import Rpc, RpcError


@dataclass(frozen=True, slots=True)
class Fees:
    """What an attempt pays at most: ``max_fee`` a unit of gas, of which ``tip`` to the block's maker, in wei."""

    max_fee: int
    tip: int

    def raised_from(self, attempt: Attempt) -> Fees:
        """These fees, or a quarter more than ``attempt`` paid where that is higher.

        Nodes take a replacement only when both fees rise by a tenth or more; the one wei is for chains without fees.
        """
        return Fees(
            max(self.max_fee, attempt.max_fee * 5 // 4 + 1),
            max(self.tip, attempt.tip * 5 // 4 + 1),
        )


@dataclass(frozen=True, slots=True)
class Market:
    """``count``: how many of the account's transactions are in blocks, so the next nonce to be mined."""

    head: int
    fees: Fees
    count: int


async def read(rpc: Rpc, account: str) -> Market:
    """Asks the node, in one batch. Raises as ``Rpc.call`` does."""
    latest, count, tip = await rpc.batch(
        [
            ("eth_getBlockByNumber", ("latest", False)),
            ("eth_getTransactionCount", (account, "latest")),
            ("eth_maxPriorityFeePerGas", ()),
        ]
    )
    for answer in (latest, count):
        if isinstance(answer, RpcError):
            raise answer
    block = to_block(latest)
    if block is None:
        raise LedgerError("the chain has no blocks")
    # A chain without a fee market may lack the method.
    wei = 0 if isinstance(tip, RpcError) else answers.number(tip, FEE)
    # Twice the base fee stays enough for six full blocks: it grows by an eighth each.
    return Market(block.number, Fees(2 * block.base_fee + wei, wei), answers.number(count))
