"""Ledger accounts: EIP-55 addresses and CAIP-10 account ids (``eip155:<chain id>:<address>``).

The checksum of EIP-55 is a Keccak-256 hash over the lowercase digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from docex.core.keccak import keccak
from docex.errors import UsageError

NAMESPACE: Final = "eip155"
ADDRESS_SIZE: Final = 20
"""Length of an address in bytes."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CAIP10 = re.compile(r"eip155:([1-9][0-9]{0,31}):(0x[0-9a-fA-F]{40})")


@dataclass(frozen=True, slots=True)
class Account:
    """An account on one chain; ``str()`` gives its CAIP-10 text. ``address`` has its EIP-55 checksum."""

    chain_id: int
    address: str

    def __post_init__(self) -> None:
        """Raises UsageError when the chain id is not positive or the address lacks its checksum."""
        if self.chain_id < 1:
            raise UsageError(f"a chain id is a positive number, not {self.chain_id}")
        require_checksum(self.address)

    def __str__(self) -> str:
        return f"{NAMESPACE}:{self.chain_id}:{self.address}"


@lru_cache(4096)  # the same few accounts again and again, and the checksum is a hash
def parse_caip10(text: str) -> Account:
    """The account that a CAIP-10 account id names.

    Strict, so that an account has one spelling and texts can be compared: another namespace, leading zeros, or an
    address without its EIP-55 checksum raise UsageError.
    """
    match = _CAIP10.fullmatch(text)
    if match is None:
        raise UsageError(f"not a CAIP-10 account: {text[:100]!r} (expected eip155:<chain id>:<address>)")
    return Account(int(match[1]), match[2])


def caip10(chain_id: int, address: str) -> str:
    """The CAIP-10 account id of an address, as ``iss`` of statements has it. Raises UsageError as ``Account`` does."""
    return str(Account(chain_id, address))


def format_address(raw: bytes) -> str:
    """The EIP-55 text of a 20-byte address. Raises UsageError for another length."""
    if len(raw) != ADDRESS_SIZE:
        raise UsageError(f"an address has {ADDRESS_SIZE} bytes, not {len(raw)}")
    digits = raw.hex()
    nibbles = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(
        digit.upper() if nibble >= "8" else digit for digit, nibble in zip(digits, nibbles, strict=False)
    )


def parse_address(text: str) -> str:
    """The EIP-55 form of an address that a person typed.

    All-lowercase and all-capital digits carry no checksum and are accepted (EIP-55); mixed ones must match theirs.
    Raises UsageError otherwise.
    """
    if _ADDRESS.fullmatch(text) is None:
        raise UsageError(f"not an address: {text[:100]!r} (expected 0x and 40 hexadecimal digits)")
    address = format_address(bytes.fromhex(text[2:]))
    if text[2:] not in (address[2:], text[2:].lower(), text[2:].upper()):
        raise UsageError(f"the address {text} does not match its checksum: a digit is wrong")
    return address


def require_checksum(text: str) -> str:
    """``text`` itself when it is an address in its EIP-55 form; raises UsageError otherwise."""
    if parse_address(text) != text:
        raise UsageError(f"the address {text} is not in its checksum form {parse_address(text)}")
    return text


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address. Raises UsageError as ``parse_address`` does."""
    return bytes.fromhex(parse_address(address)[2:])
