"""age v1 files (C2SP age.md, age-encryption.org/v1): what a packet is on the outside.

``syntax`` is the textual header, ``chunking`` the encrypted payload, ``composition`` joins them,
``writer`` and ``reader`` do so over binary streams. Recipient types: mlkem768x25519, X25519 and
docex.io/rsa-oaep-256; stanzas of other types are ignored.

>>> identity = parse_identity("AGE-SECRET-KEY-…")
>>> encrypt(source, destination, [parse_recipient(identity.recipient)])
>>> decrypt(source, destination, [identity])
"""

from __future__ import annotations

from docex.core.age.chunking import (
    CHUNK,
    NONCE_SIZE,
    SEALED_CHUNK,
    ChunkDecryptor,
    ChunkEncryptor,
    sealed_size,
)
from docex.core.age.composition import make_header, open_header, rewrap
from docex.core.age.reader import DecryptingReader, decrypt
from docex.core.age.syntax import (
    MAX_HEADER_SIZE,
    MAX_STANZAS,
    Header,
    encode_header,
    read_header,
)
from docex.core.age.writer import EncryptingWriter, encrypt
from docex.core.recipients import parse_recipient
from docex.errors import UsageError
from keys import errors as key_errors
from keys import identity as key_identity
from keys.protocols import Unwrapper

__all__ = [
    "CHUNK",
    "MAX_HEADER_SIZE",
    "MAX_STANZAS",
    "NONCE_SIZE",
    "SEALED_CHUNK",
    "ChunkDecryptor",
    "ChunkEncryptor",
    "DecryptingReader",
    "EncryptingWriter",
    "Header",
    "IdentityInvalid",
    "decrypt",
    "encode_header",
    "encrypt",
    "make_header",
    "open_header",
    "parse_identity",
    "parse_recipient",
    "read_header",
    "rewrap",
    "sealed_size",
]


class IdentityInvalid(UsageError):
    """A text is not an age identity. The message never repeats it."""

    code = "identity_invalid"


def parse_identity(text: str) -> Unwrapper:
    """The identity that ``AGE-SECRET-KEY-1…`` or ``AGE-SECRET-KEY-PQ-1…`` stands for.

    Raises IdentityInvalid.
    """
    try:
        return key_identity.parse_identity(text)
    except key_errors.IdentityInvalid as error:
        raise IdentityInvalid(str(error)) from None
