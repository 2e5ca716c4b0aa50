"""What the rest of docex asks of a key, whatever holds it: a keystore, an HSM, Azure Key Vault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from keys.stanza import Stanza


@runtime_checkable
class Signer(Protocol):
    """Signs statements (RFC 7515)."""

    @property
    def alg(self) -> str:
        """JWS algorithm: ``Ed25519`` (RFC 9864), ``ES256`` or ``ES256K``."""

    @property
    def public_jwk(self) -> dict[str, str]:
        """Public key as a JWK (RFC 7517) with the members of RFC 7638 section 3.2 only."""

    @property
    def kid(self) -> str:
        """RFC 7638 SHA-256 thumbprint of ``public_jwk``: base64url, 43 characters."""

    def sign(self, message: bytes) -> bytes:
        """Raw JWS signature of ``message`` (64 bytes for each of the algorithms above).

        Raises KeysError when the key can't be reached or refuses.
        """


@runtime_checkable
class Unwrapper(Protocol):
    """An age identity: finds and opens the stanza that was wrapped for it."""

    @property
    def recipient(self) -> str:
        """The public half: canonical age recipient text."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The 16-byte file key, or None when no stanza is for this identity.

        Stanzas of other types are ignored. Raises StanzaInvalid when a stanza of this identity's
        own type is malformed (C2SP age asks to reject the file), KeysError when the key can't be
        reached.
        """


@runtime_checkable
class AccountSigner(Protocol):
    """A ledger account (secp256k1)."""

    @property
    def address(self) -> str:
        """The account's address with its EIP-55 checksum."""

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        """Signature of a 32-byte digest: ``(r, s, y_parity)`` with the lower ``s`` (EIP-2).

        Raises KeysUsageError when the digest does not have 32 bytes, KeysError when the key can't
        be reached.
        """
