"""The text of age recipients: one canonical form for each type, shared by both halves.

| type | text | data |
|---|---|---|
| mlkem768x25519 | ``age1pq1…`` | ML-KEM-768 encapsulation key (1184), X25519 point (32) |
| X25519 | ``age1…`` | X25519 point (32) |
| docex.io/rsa-oaep-256 | ``age1docexrsa1…`` | RFC 8017 A.1.1 RSAPublicKey, DER |

The last follows age's convention for recipients of plugins (``age1name1…``), so that other tools
say which plugin they miss instead of calling the text malformed. Texts are lower case: the digest of
the text is the recipient's id, and a key must not have two ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from keys import bech32
from keys.errors import RecipientInvalid, StanzaInvalid
from keys.jwk import b64url
from keys.stanza import Stanza

X25519: Final = "X25519"
HYBRID: Final = "mlkem768x25519"
RSA: Final = "docex.io/rsa-oaep-256"

# HPKE's info strings and HKDF's labels are fixed by C2SP age, "Native recipient types".
X25519_INFO: Final = b"age-encryption.org/v1/X25519"
HYBRID_INFO: Final = b"age-encryption.org/mlkem768x25519"

MLKEM_PUBLIC_SIZE: Final = 1184
HYBRID_PUBLIC_SIZE: Final = MLKEM_PUBLIC_SIZE + 32
FILE_KEY_SIZE: Final = 16
OAEP: Final = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)

_HRPS: Final = {X25519: "age", HYBRID: "age1pq", RSA: "age1docexrsa"}
_TYPES: Final = {hrp: kind for kind, hrp in _HRPS.items()}
_SIZES: Final = {X25519: 32, HYBRID: HYBRID_PUBLIC_SIZE}
_MAX_TEXT: Final = 4096


@lru_cache(1024)
def encode(kind: str, public: bytes) -> str:
    """The text of a recipient of the stanza type ``kind``; ``public`` is the table's data.

    Kept, since the checksum over a post-quantum key takes longer than all the rest of sealing a small packet.
    """
    return bech32.encode(_HRPS[kind], public)


@lru_cache(1024)
def decode(text: str) -> tuple[str, bytes]:
    """The stanza type and the public half that a recipient's text stands for.

    Raises RecipientInvalid when the text is not canonical, of an unknown type, or of a wrong size.
    """
    if len(text) > _MAX_TEXT:
        raise RecipientInvalid("not an age recipient: too long")
    try:
        hrp, public = bech32.decode(text)
    except ValueError as error:
        raise RecipientInvalid(f"not an age recipient: {error}") from None
    kind = _TYPES.get(hrp)
    if kind is None:
        raise RecipientInvalid("not an age recipient of a known type (age1…, age1pq1…, age1docexrsa1…)")
    if len(public) != _SIZES.get(kind, len(public)):
        raise RecipientInvalid(f"a recipient of type {kind} has a wrong size")
    return kind, public


def recipient_id(text: str) -> str:
    """A recipient's thumbprint: SHA-256 of its text, base64url, 43 characters."""
    return b64url(hashlib.sha256(text.encode()).digest())


def rsa_text(key: RSAPublicKey) -> str:
    """The recipient text of an RSA key.

    Raises RecipientInvalid unless the modulus is odd and has 2048 to 8192 bits, and the exponent is
    at least 65537 and below 2**32.
    """
    numbers = key.public_numbers()
    if not 2048 <= numbers.n.bit_length() <= 8192 or not numbers.n & 1 or not 65537 <= numbers.e < 1 << 32:
        raise RecipientInvalid("an RSA recipient has 2048 to 8192 bits, and an exponent of 65537 or a little more")
    return encode(RSA, key.public_bytes(Encoding.DER, PublicFormat.PKCS1))


def rsa_key(public: bytes) -> RSAPublicKey:
    """The RSA key in a recipient's data.

    Raises RecipientInvalid unless it is the canonical DER of a key that ``rsa_text`` allows.
    """
    try:
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm):
        raise RecipientInvalid("an RSA recipient does not hold an RSA public key") from None
    if not isinstance(key, RSAPublicKey) or rsa_text(key) != encode(RSA, public):
        raise RecipientInvalid("an RSA recipient does not hold a canonical RSA public key")
    return key


def rsa_bodies(stanzas: Sequence[Stanza], text: str) -> list[bytes]:
    """The bodies of the RSA stanzas for the recipient ``text``: what its private key is to decrypt.

    Shared by all backends of the type. Raises StanzaInvalid when an RSA stanza, also one for
    another key, does not have exactly one argument of 43 characters after its type, or when one for
    this key has a body of another size than the key's.
    """
    _, public = decode(text)
    size = (rsa_key(public).key_size + 7) // 8
    own = recipient_id(text)
    mine = []
    for stanza in stanzas:
        if stanza.type != RSA:
            continue
        if len(stanza.args) != 1 or len(stanza.args[0]) != len(own):
            raise StanzaInvalid(f"a {RSA} stanza has exactly two arguments, the second a key id")
        if stanza.args[0] == own:
            if len(stanza.body) != size:
                raise StanzaInvalid(f"the body of a {RSA} stanza has another size than its key")
            mine.append(stanza.body)
    return mine
