"""EIP-1559 transactions, signed by whatever holds the account's key."""

from __future__ import annotations

import asyncio

from docex.core.account import ADDRESS_SIZE, address_bytes, format_address, require_checksum
from docex.core.keccak import keccak
from docex.core.transactions import Attempt, TransactionRequest
from docex.errors import LedgerError
from docex.ledger import answers
from docex.ledger.market import Fees
from keys.protocols import AccountSigner

_TYPE = b"\x02"


async def sign(
    signer: AccountSigner, request: TransactionRequest, nonce: int, *, number: int, fees: Fees, block: int
) -> Attempt:
    """Signs a request: the bytes to send, and their hash.

    The private key stays with ``signer``, which sees the 32 bytes to sign. It may be a remote one and take its time, so
    it runs in a thread. Raises KeysError as ``sign_digest`` does.
    """
    fields = _fields(request, nonce, fees)
    r, s, y_parity = await asyncio.to_thread(signer.sign_digest, keccak(_encode(fields)))
    raw = _encode([*fields, y_parity, r, s])
    return Attempt(nonce, number, keccak(raw), raw, fees.max_fee, fees.tip, block)


def rebuild(answer: object, key: str, chain_id: int, account: str) -> tuple[TransactionRequest, Attempt]:
    """The request and the signed bytes of a mined transaction, from an ``eth_getTransactionByHash`` answer.

    Raises LedgerError when it is not the account's, or the bytes don't have its hash: one that ``sign`` did not make
    (of another type, or with an access list).
    """
    transaction, read = answers.data(answers.field(answer, "hash"), 32), answers.fields(answer)
    refusal = f"the transaction 0x{transaction.hex()} can't be taken over"
    if read.get("type") != "0x2" or read.get("blockNumber") is None:
        raise LedgerError(f"{refusal}: it is not of type 2 (EIP-1559), or in no block")
    nonce, gas, block, y_parity = (
        answers.number(answers.field(answer, name)) for name in ("nonce", "gas", "blockNumber", "yParity")
    )
    value, max_fee, tip, r, s = (
        answers.number(answers.field(answer, name), answers.WORD)
        for name in ("value", "maxFeePerGas", "maxPriorityFeePerGas", "r", "s")
    )
    to = None if answers.field(answer, "to") is None else _address(answer, "to")
    data = answers.data(answers.field(answer, "input"))
    request = TransactionRequest(key, chain_id, account, to, data, value, gas)
    raw = _encode([*_fields(request, nonce, Fees(max_fee, tip)), y_parity, r, s])
    if keccak(raw) != transaction or _address(answer, "from") != account:
        raise LedgerError(f"{refusal}: it is not of {account}, or does not have the parts that the node tells")
    return request, Attempt(nonce, 0, transaction, raw, max_fee, tip, block)


def _address(answer: object, name: str) -> str:
    return format_address(answers.data(answers.field(answer, name), ADDRESS_SIZE))


def _fields(request: TransactionRequest, nonce: int, fees: Fees) -> list[object]:
    """What EIP-1559 has signed, in its order; the access list is empty."""
    to = b"" if request.to is None else address_bytes(require_checksum(request.to))
    return [request.chain_id, nonce, fees.tip, fees.max_fee, request.gas, to, request.value, request.data, []]


def _encode(fields: list[object]) -> bytes:
    """EIP-2718: the type, then the payload; the transaction's hash is Keccak-256 of both."""
    import rlp

    return _TYPE + bytes(rlp.encode(fields))
