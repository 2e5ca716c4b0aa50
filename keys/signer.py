"""Ed25519 signing over PyNaCl (RFC 8032, RFC 8037)."""

from __future__ import annotations

import secrets

from nacl.signing import SigningKey

from keys._secret import Secret
from keys.errors import KeysUsageError
from keys.jwk import b64url, thumbprint

_SEED_SIZE = 32


class Ed25519Signer(Secret):
    """Signs statements with a local Ed25519 key."""

    __slots__ = ("_key", "_kid", "_x")

    def __init__(self, seed: bytes) -> None:
        """Take the 32-byte private key (RFC 8032 section 5.1.5).

        Raises KeysUsageError on another size.
        """
        if len(seed) != _SEED_SIZE:
            raise KeysUsageError("an Ed25519 private key has 32 bytes")
        self._key = SigningKey(seed)
        self._x = b64url(bytes(self._key.verify_key))
        self._kid = thumbprint(self.public_jwk)

    @classmethod
    def generate(cls) -> Ed25519Signer:
        """Make a new key, known to this process alone."""
        return cls(secrets.token_bytes(_SEED_SIZE))

    @property
    def alg(self) -> str:
        """JWS algorithm: ``Ed25519`` (RFC 9864)."""
        return "Ed25519"

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public key as an OKP JWK (RFC 8037 section 2)."""
        return {"crv": "Ed25519", "kty": "OKP", "x": self._x}

    @property
    def kid(self) -> str:
        """RFC 7638 SHA-256 thumbprint, base64url."""
        return self._kid

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        return self._key.sign(message).signature

    def __repr__(self) -> str:
        return f"Ed25519Signer(kid={self._kid!r})"
