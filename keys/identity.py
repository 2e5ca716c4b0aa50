"""Age identities over local keys, each an Unwrapper (C2SP age, "Native recipient types").

A stanza of another type is ignored. One of the identity's own type must have the right shape,
else StanzaInvalid; one that has it but does not decrypt is for someone else.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keys import bech32, recipient
from keys._secret import Secret
from keys.errors import IdentityInvalid, RecipientInvalid, StanzaInvalid
from keys.protocols import Unwrapper
from keys.stanza import Stanza

_SECRET_SIZE = 32
_WRAPPED_SIZE = recipient.FILE_KEY_SIZE + 16
_MLKEM_SEED_SIZE = 64
_ENC_SIZE = 1120
_X25519_HRP = "AGE-SECRET-KEY-"
_HYBRID_HRP = "AGE-SECRET-KEY-PQ-"
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def decode_base64(text: str, size: int) -> bytes:
    """The ``size`` bytes of unpadded, canonical base64 ``text``; raises StanzaInvalid otherwise."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise StanzaInvalid("a stanza argument is not base64") from None
    if len(data) != size or base64.b64encode(data).rstrip(b"=") != text.encode():
        raise StanzaInvalid(f"a stanza argument is not the canonical base64 of {size} bytes")
    return data


def _share_of(stanza: Stanza, size: int) -> bytes:
    """The key share in a two-argument stanza, its body's size checked first.

    The size check keeps a body that decrypts under several keys (a partitioning oracle) out.
    """
    if len(stanza.args) != 1:
        raise StanzaInvalid(f"a {stanza.type} stanza has exactly two arguments")
    share = decode_base64(stanza.args[0], size)
    if len(stanza.body) != _WRAPPED_SIZE:
        raise StanzaInvalid(f"the body of a {stanza.type} stanza has {_WRAPPED_SIZE} bytes")
    return share


class X25519Identity(Secret):
    """Identity of the X25519 recipient type."""

    __slots__ = ("_key", "_public", "_recipient")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 secret bytes of the identity. Raises IdentityInvalid on another size."""
        if len(secret) != _SECRET_SIZE:
            raise IdentityInvalid("an X25519 identity has 32 bytes")
        self._key = x25519.X25519PrivateKey.from_private_bytes(secret)
        self._public = self._key.public_key().public_bytes_raw()
        self._recipient = recipient.encode(recipient.X25519, self._public)

    @classmethod
    def generate(cls) -> X25519Identity:
        """Make a new identity, known to this process alone."""
        return cls(secrets.token_bytes(_SECRET_SIZE))

    @property
    def recipient(self) -> str:
        """The public half: ``age1…``."""
        return self._recipient

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """See Unwrapper: C2SP age, "X25519 recipient stanza"."""
        file_key = None
        for stanza in stanzas:
            if stanza.type == recipient.X25519:
                share = _share_of(stanza, 32)
                file_key = file_key or self._open(share, stanza.body)
        return file_key

    def _open(self, share: bytes, body: bytes) -> bytes | None:
        try:
            shared = self._key.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise StanzaInvalid("an X25519 stanza holds a low-order point") from None
        hkdf = HKDF(SHA256(), 32, salt=share + self._public, info=recipient.X25519_INFO)
        try:
            return ChaCha20Poly1305(hkdf.derive(shared)).decrypt(bytes(12), body, None)
        except InvalidTag:
            return None

    def __repr__(self) -> str:
        return f"X25519Identity(recipient={self._recipient!r})"


class HybridIdentity(Secret):
    """Identity of the hybrid post-quantum type, mlkem768x25519."""

    __slots__ = ("_key", "_recipient", "_x25519")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 secret bytes of the identity. Raises IdentityInvalid on another size.

        SHAKE-256 expands them to the ML-KEM seed and the X25519 key (X-Wing's key generation).
        """
        if len(secret) != _SECRET_SIZE:
            raise IdentityInvalid("an mlkem768x25519 identity has 32 bytes")
        expanded = hashlib.shake_256(secret).digest(_MLKEM_SEED_SIZE + 32)
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_SIZE])
        self._x25519 = x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_SIZE:])
        self._key = MLKEM768X25519PrivateKey(kem, self._x25519)
        public = kem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        self._recipient = recipient.encode(recipient.HYBRID, public)

    @classmethod
    def generate(cls) -> HybridIdentity:
        """Make a new identity, known to this process alone."""
        return cls(secrets.token_bytes(_SECRET_SIZE))

    @property
    def recipient(self) -> str:
        """The public half: ``age1pq1…``."""
        return self._recipient

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """See Unwrapper: C2SP age, "mlkem768x25519 recipient stanza"."""
        file_key = None
        for stanza in stanzas:
            if stanza.type == recipient.HYBRID:
                share = _share_of(stanza, _ENC_SIZE)
                file_key = file_key or self._open(share, stanza.body)
        return file_key

    def _open(self, share: bytes, body: bytes) -> bytes | None:
        try:
            return _SUITE.decrypt(share + body, self._key, recipient.HYBRID_INFO)
        except InvalidTag:
            self._refuse_low_order(share[-32:])
            return None

    def _refuse_low_order(self, point: bytes) -> None:
        # HPKE reports every failure alike; age wants a low-order point told from a foreign stanza.
        try:
            self._x25519.exchange(x25519.X25519PublicKey.from_public_bytes(point))
        except ValueError:
            raise StanzaInvalid("an mlkem768x25519 stanza holds a low-order point") from None

    def __repr__(self) -> str:
        return f"HybridIdentity(recipient={self._recipient[:24]!r}…)"


class RsaIdentity(Secret):
    """Identity of type docex.io/rsa-oaep-256 over a local RSA key: Azure Key Vault's twin."""

    __slots__ = ("_key", "_recipient")

    def __init__(self, key: RSAPrivateKey) -> None:
        """Take an RSA key of 2048 to 8192 bits. Raises RecipientInvalid on another size."""
        self._key = key
        self._recipient = recipient.rsa_text(key.public_key())

    @classmethod
    def generate(cls, bits: int = 3072) -> RsaIdentity:
        """Make a new identity, known to this process alone."""
        return cls(generate_private_key(65537, bits))

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> RsaIdentity:
        """Read a PEM private key (PKCS #8 or #1). Raises IdentityInvalid when it holds none to use."""
        try:
            key = load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise IdentityInvalid("not a PEM private key, or its passphrase is wrong") from None
        if not isinstance(key, RSAPrivateKey):
            raise IdentityInvalid("the PEM private key is not an RSA key")
        try:
            return cls(key)
        except RecipientInvalid as error:
            raise IdentityInvalid(str(error)) from None

    @property
    def recipient(self) -> str:
        """The public half: ``age1docexrsa1…``."""
        return self._recipient

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """See Unwrapper: docs/packet.md, "Encryption"."""
        for wrapped in recipient.rsa_bodies(stanzas, self._recipient):
            try:
                file_key = self._key.decrypt(wrapped, recipient.OAEP)
            except ValueError:
                continue
            if len(file_key) != recipient.FILE_KEY_SIZE:
                raise StanzaInvalid("an RSA stanza does not hold a 16-byte file key")
            return file_key
        return None

    def __repr__(self) -> str:
        return f"RsaIdentity(recipient_id={recipient.recipient_id(self._recipient)!r})"


def parse_identity(text: str) -> X25519Identity | HybridIdentity:
    """The identity that ``AGE-SECRET-KEY-1…`` or ``AGE-SECRET-KEY-PQ-1…`` stands for.

    Raises IdentityInvalid, whose message never repeats the text.
    """
    try:
        hrp, secret = bech32.decode(text) if len(text) <= 128 else ("", b"")
    except ValueError as error:
        raise IdentityInvalid(f"not an age identity: {error}") from None
    if hrp == _HYBRID_HRP:
        return HybridIdentity(secret)
    if hrp == _X25519_HRP:
        return X25519Identity(secret)
    raise IdentityInvalid("not an age identity of a known type (AGE-SECRET-KEY-…)")


def parse_identity_file(text: str) -> list[Unwrapper]:
    """The identities of an identity file: one a line; empty lines and ``#`` comments are skipped.

    A file that holds a PEM private key gives one RSA identity. Raises IdentityInvalid, naming the
    line, also when the file holds no identity.
    """
    if text.lstrip().startswith("-----BEGIN "):
        return [RsaIdentity.from_pem(text.encode())]
    identities: list[Unwrapper] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            identities.append(parse_identity(line))
        except IdentityInvalid as error:
            raise IdentityInvalid(f"line {number}: {error}") from None
    if not identities:
        raise IdentityInvalid("the file holds no identity")
    return identities
