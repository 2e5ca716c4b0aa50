"""What is asked of the node before a nonce is spent: gas, fees, and whether the account can pay."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from docex.core.transactions import TransactionRequest
from docex.errors import LedgerRejected, LedgerUnavailable
from docex.ledger import answers, chain, market
from docex.ledger.market import Market
from docex.ledger.rpc import Rpc, RpcError

MAX_GAS: Final = 1 << 24
"""The most that a transaction may take (EIP-7825); those that are sent here take far less."""


async def request(rpc: Rpc, wanted: TransactionRequest) -> tuple[TransactionRequest, Market]:
    """The request, its ``gas`` estimated where it is 0, and the chain at this moment.

    Raises LedgerRejected or NotMember with the contract's reason when the transaction would revert, LedgerRejected when
    the account can't pay for it, LedgerUnavailable when the node can't be reached.
    """
    if not wanted.gas:
        wanted = replace(wanted, gas=await _estimate(rpc, wanted))
    now = await market.read(rpc, wanted.account)
    cost, balance = wanted.value + wanted.gas * now.fees.max_fee, await chain.balance(rpc, wanted.account)
    if balance < cost:
        raise LedgerRejected(f"the account {wanted.account} has {balance} wei, the transaction may take {cost}")
    return wanted, now


async def _estimate(rpc: Rpc, wanted: TransactionRequest) -> int:
    call = {"from": wanted.account, "data": "0x" + wanted.data.hex(), "value": hex(wanted.value)}
    if wanted.to is not None:
        call["to"] = wanted.to
    try:
        estimate = answers.number(await rpc.call("eth_estimateGas", call))
    except RpcError as error:
        raise error.reason() from None
    if not (least := _intrinsic(wanted)) <= estimate <= MAX_GAS:
        # Signed with it, the transaction would be refused for good, and hold up all behind it.
        raise LedgerUnavailable(
            f"the ledger node estimates {estimate} gas where such a transaction takes {least} to {MAX_GAS}"
        )
    return min(estimate * 5 // 4, MAX_GAS)  # the state may differ by the time it is mined


def _intrinsic(wanted: TransactionRequest) -> int:
    """Gas that a transaction takes before any code runs (Yellow Paper section 6.2, EIP-2028)."""
    zeros = wanted.data.count(0)
    return 21_000 + 4 * zeros + 16 * (len(wanted.data) - zeros) + (0 if wanted.to else 32_000)
