"""Age recipients: the public halves that a packet is encrypted to (docs/packet.md, "Encryption").

``parse_recipient`` gives the recipient a text stands for; ``wrap`` makes its stanza.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from docex.errors import UsageError
from keys import errors as key_errors
from keys import recipient as text_form
from keys.stanza import Stanza

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_ENC_SIZE = 1120
_FIELD = 2**255 - 19


class RecipientInvalid(UsageError):
    """A text is not an age recipient, or the key in it can't be encrypted to."""

    code = "recipient_invalid"


class MixedRecipients(UsageError):
    """Post-quantum and other recipients on one packet: it would be as weak as the weakest."""

    code = "mixed_recipients"


class Recipient(Protocol):
    """A public half that can wrap a file key."""

    @property
    def text(self) -> str:
        """Canonical recipient text."""

    @property
    def post_quantum(self) -> bool:
        """Whether a future quantum computer is kept out."""

    def wrap(self, file_key: bytes) -> Stanza:
        """A fresh stanza with the 16-byte file key for this recipient."""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class X25519Recipient:
    """Recipient of type X25519 (C2SP age, "The X25519 recipient type")."""

    public: bytes
    post_quantum: ClassVar[bool] = False
    _key: x25519.X25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise RecipientInvalid unless ``public`` is a point in its one spelling that keeps a secret.

        RFC 7748 reads other spellings too, but an identity derives its keys from the canonical one.
        """
        if int.from_bytes(self.public, "little") >= _FIELD:
            raise RecipientInvalid("not an X25519 public key in its canonical form")
        try:
            key = x25519.X25519PublicKey.from_public_bytes(self.public)
            x25519.X25519PrivateKey.generate().exchange(key)
        except ValueError:
            raise RecipientInvalid("not an X25519 public key, or a low-order point") from None
        object.__setattr__(self, "_key", key)

    @property
    def text(self) -> str:
        """Canonical text: ``age1…``."""
        return text_form.encode(text_form.X25519, self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza with a fresh ephemeral share."""
        ephemeral = x25519.X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        hkdf = HKDF(SHA256(), 32, salt=share + self.public, info=text_form.X25519_INFO)
        wrap_key = hkdf.derive(ephemeral.exchange(self._key))
        body = ChaCha20Poly1305(wrap_key).encrypt(bytes(12), file_key, None)
        return Stanza(text_form.X25519, (_base64(share),), body)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class HybridRecipient:
    """Recipient of type mlkem768x25519, post-quantum: docex's default."""

    public: bytes
    post_quantum: ClassVar[bool] = True
    _key: MLKEM768X25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise RecipientInvalid unless ``public`` is an ML-KEM-768 key, then an X25519 point."""
        split = text_form.MLKEM_PUBLIC_SIZE
        point = X25519Recipient(self.public[split:])
        try:
            kem = mlkem.MLKEM768PublicKey.from_public_bytes(self.public[:split])
        except ValueError:
            raise RecipientInvalid("not an ML-KEM-768 encapsulation key") from None
        object.__setattr__(self, "_key", MLKEM768X25519PublicKey(kem, point._key))

    @property
    def text(self) -> str:
        """Canonical text: ``age1pq1…``."""
        return text_form.encode(text_form.HYBRID, self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza with a fresh HPKE encapsulation (C2SP age, "mlkem768x25519 …")."""
        sealed = _SUITE.encrypt(file_key, self._key, text_form.HYBRID_INFO)
        return Stanza(text_form.HYBRID, (_base64(sealed[:_ENC_SIZE]),), sealed[_ENC_SIZE:])

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class RsaRecipient:
    """Recipient of type docex.io/rsa-oaep-256, for keys that live in Azure Key Vault.

    ``public`` is an RFC 8017 RSAPublicKey in DER.
    """

    public: bytes
    post_quantum: ClassVar[bool] = False
    _key: RSAPublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise RecipientInvalid unless ``public`` is a canonical RSA key of 2048 to 8192 bits."""
        try:
            key = text_form.rsa_key(self.public)
        except key_errors.RecipientInvalid as error:
            raise RecipientInvalid(str(error)) from None
        object.__setattr__(self, "_key", key)

    @property
    def text(self) -> str:
        """Canonical text: ``age1docexrsa1…``."""
        return text_form.encode(text_form.RSA, self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza that names the key id; its body is RSA-OAEP-SHA256 of the file key."""
        body = self._key.encrypt(file_key, text_form.OAEP)
        return Stanza(text_form.RSA, (text_form.recipient_id(self.text),), body)

    def __str__(self) -> str:
        return self.text


_CLASSES: dict[str, type[X25519Recipient | HybridRecipient | RsaRecipient]] = {
    text_form.X25519: X25519Recipient,
    text_form.HYBRID: HybridRecipient,
    text_form.RSA: RsaRecipient,
}


def parse_recipient(text: str) -> X25519Recipient | HybridRecipient | RsaRecipient:
    """The recipient that a canonical text (``age1…``, ``age1pq1…``, ``age1docexrsa1…``) stands for.

    Raises RecipientInvalid.
    """
    try:
        kind, public = text_form.decode(text)
    except key_errors.RecipientInvalid as error:
        raise RecipientInvalid(str(error)) from None
    return _CLASSES[kind](public)


def recipient_id(text: str) -> str:
    """A recipient's thumbprint: SHA-256 of its canonical text, base64url, 43 characters."""
    return text_form.recipient_id(text)


def check_mix(post_quantum: Sequence[bool]) -> None:
    """Raise MixedRecipients when post-quantum and other recipients meet (C2SP age: SHOULD NOT)."""
    if len(set(post_quantum)) > 1:
        raise MixedRecipients(
            "post-quantum and other recipients on one packet: a quantum computer could open it"
            " through the weaker; seal two packets, or allow the mix explicitly"
        )
