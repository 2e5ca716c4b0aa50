"""What is asked of the node before a nonce is spent: gas, fees, and whether the account can pay."""

from __future__ import annotations

from dataclasses import replace

from docex.core.transactions import TransactionRequest
from docex.errors import LedgerRejected
from docex.ledger import chain, market
from docex.ledger.market import Market
from docex.ledger.rpc import Rpc, RpcError


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
        # A quarter on top: the state may differ by the time it is mined.
        return int(await rpc.call("eth_estimateGas", call), 16) * 5 // 4
    except RpcError as error:
        raise error.reason() from None
