"""A ledger account over a local secp256k1 key."""

from __future__ import annotations

import sha3
from coincurve import PrivateKey

from keys._secret import Secret
from keys.errors import KeysUsageError


def checksum_address(raw: bytes) -> str:
    """The 20 bytes of an address in text, with the EIP-55 checksum in its letters' case."""
    digits = raw.hex()
    check = sha3.keccak_256(digits.encode()).hexdigest()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, check, strict=False)
    )


class LocalAccount(Secret):
    """Signs for a ledger account with a local key (deterministic nonces, RFC 6979)."""

    __slots__ = ("_address", "_key")

    def __init__(self, secret: bytes) -> None:
        """Take the 32-byte private key. Raises KeysUsageError unless it is in the curve's range."""
        if len(secret) != 32:
            raise KeysUsageError("a secp256k1 private key has 32 bytes")
        try:
            self._key = PrivateKey(secret)
        except ValueError:
            raise KeysUsageError("not a secp256k1 private key: out of range") from None
        self._address = ""

    @classmethod
    def generate(cls) -> LocalAccount:
        """Make a new account, known to this process alone."""
        return cls(PrivateKey().secret)

    @property
    def address(self) -> str:
        """The address with its EIP-55 checksum."""
        if not self._address:
            point = self._key.public_key.format(compressed=False)[1:]
            self._address = checksum_address(sha3.keccak_256(point).digest()[-20:])
        return self._address

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """``(r, s, y_parity)`` of a 32-byte digest, with the lower ``s`` (EIP-2).

        Raises KeysUsageError when the digest does not have 32 bytes.
        """
        if len(digest) != 32:
            raise KeysUsageError("an account signs a digest of 32 bytes")
        signature = self._key.sign_recoverable(digest, hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return r, s, signature[64]

    def __repr__(self) -> str:
        return f"LocalAccount(address={self.address!r})"
