"""EIP-1559 transactions: built and encoded by eth_account, signed by whatever holds the account's key."""

from __future__ import annotations

import asyncio

from eth_hash.auto import keccak

from docex.core.account import require_checksum
from docex.core.transactions import Attempt, TransactionRequest
from docex.ledger import kept_recursion_limit
from docex.ledger.market import Fees
from keys.protocols import AccountSigner


async def sign(
    signer: AccountSigner, request: TransactionRequest, nonce: int, *, number: int, fees: Fees, block: int
) -> Attempt:
    """Signs a request: the bytes to send, and their hash.

    The private key stays with ``signer``, which sees the 32 bytes to sign. It may be a remote one and take its time, so
    it runs in a thread. Raises KeysError as ``sign_digest`` does.
    """
    with kept_recursion_limit():
        from eth_account.typed_transactions.dynamic_fee_transaction import DynamicFeeTransaction

    fields: dict[str, object] = {
        "type": 2,
        "chainId": request.chain_id,
        "nonce": nonce,
        "maxPriorityFeePerGas": fees.tip,
        "maxFeePerGas": fees.max_fee,
        "gas": request.gas,
        "to": b"" if request.to is None else require_checksum(request.to),
        "value": request.value,
        "data": request.data,
    }
    digest = DynamicFeeTransaction.from_dict(fields).hash()
    r, s, y_parity = await asyncio.to_thread(signer.sign_digest, digest)
    signed = DynamicFeeTransaction.from_dict(fields | {"v": y_parity, "r": r, "s": s})
    # EIP-2718: the type, then the payload; the transaction's hash is Keccak-256 of both.
    raw = bytes([DynamicFeeTransaction.transaction_type]) + signed.payload()
    return Attempt(nonce, number, keccak(raw), raw, fees.max_fee, fees.tip, block)
