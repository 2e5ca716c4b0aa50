"""Ether for the accounts of a network: a plain transfer anywhere, or out of nothing on a development chain."""

from __future__ import annotations

import secrets

from docex.core.account import require_checksum
from docex.core.ledger_types import TransactionInfo
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender


async def fund(sender: Sender, address: str, wei: int, *, key: str | None = None) -> TransactionInfo:
    """Transfers ``wei`` from the sender's account and returns when that is mined. Raises as ``Sender`` does."""
    key = key or f"fund:{secrets.token_hex(16)}"
    await sender.submit(key, require_checksum(address), value=wei)
    return await sender.wait(key)


async def anvil_set_balance(rpc: Rpc, address: str, wei: int) -> None:
    """Sets an account's balance on a development chain. Raises RpcError on any other: its node has no such method."""
    await rpc.call("anvil_setBalance", require_checksum(address), hex(wei))
