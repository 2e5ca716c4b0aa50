"""Keccak-256, Ethereum's hash, which neither ``hashlib`` nor ``cryptography`` has (NIST's SHA-3 pads otherwise).

Straight from the library that ``eth_hash`` would ask: importing that takes as long as all else a command needs.
"""

from __future__ import annotations

import sha3


def keccak(data: bytes | bytearray) -> bytes:
    """The 32 bytes of the Keccak-256 hash of ``data``."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
