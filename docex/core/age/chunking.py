"""The payload of an age file: ChaCha20-Poly1305 in chunks of 64 KiB (C2SP age, "Payload").

Both classes take many chunks a call and write into the caller's buffers, so that a pipeline makes
its buffers once: at 2 GB/s, fresh memory (page faults) costs more than the cipher does.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from docex.errors import PayloadInvalid

CHUNK = 64 << 10
TAG = 16
SEALED_CHUNK = CHUNK + TAG
NONCE_SIZE = 16

_COUNTER_AT = 3
_FLAG_AT = 11


def sealed_size(plain_size: int) -> int:
    """Bytes of the payload (nonce and chunks) that ``plain_size`` bytes of plaintext become."""
    chunks = max(1, -(-plain_size // CHUNK))
    return NONCE_SIZE + plain_size + chunks * TAG


class _Stream:
    """The key of one payload and the nonce of its next chunk: an 11-byte counter, a final flag."""

    __slots__ = ("_cipher", "_counter", "_nonce")

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        key = HKDF(SHA256(), 32, salt=nonce, info=b"payload").derive(file_key)
        self._cipher = ChaCha20Poly1305(key)
        self._nonce = bytearray(12)
        self._counter = 0

    def _advance(self) -> None:
        # 2**64 chunks are 10**24 bytes: the counter's upper three bytes stay zero.
        self._counter += 1
        struct.pack_into(">Q", self._nonce, _COUNTER_AT, self._counter)


class ChunkEncryptor(_Stream):
    """Encrypts one payload, in order."""

    __slots__ = ()

    def encrypt_into(self, plain: memoryview, out: memoryview, *, final: bool = False) -> int:
        """Encrypt ``plain`` to the start of ``out``; return the bytes written.

        Without ``final``, ``plain`` holds whole chunks. With it, the last chunk (which may be
        short, and is empty only for an empty payload) is marked as the payload's end.
        """
        size, read, written = len(plain), 0, 0
        whole = (size - 1) // CHUNK if final and size else size // CHUNK
        encrypt, nonce = self._cipher.encrypt_into, self._nonce
        for _ in range(whole):
            target = out[written : written + SEALED_CHUNK]
            written += encrypt(nonce, plain[read : read + CHUNK], None, target)
            read += CHUNK
            self._advance()
        if final:
            nonce[_FLAG_AT] = 1
            rest = plain[read:]
            target = out[written : written + len(rest) + TAG]
            written += encrypt(nonce, rest, None, target)
        return written


class ChunkDecryptor(_Stream):
    """Decrypts one payload, in order."""

    __slots__ = ()

    def decrypt_into(self, sealed: memoryview, out: memoryview, *, final: bool = False) -> int:
        """Decrypt one chunk to the start of ``out``; return the bytes of plaintext.

        ``final`` says that the chunk ends its stream. Raises PayloadInvalid when the chunk is not
        authentic in this place; ``out`` then holds zeros, never unauthenticated plaintext.
        """
        size = len(sealed) - TAG
        if size < 0:
            raise PayloadInvalid("the payload is cut inside a chunk")
        if size == 0 and self._counter:
            raise PayloadInvalid("the payload ends with an empty chunk")
        target = out[:size]
        self._nonce[_FLAG_AT] = final
        try:
            self._cipher.decrypt_into(self._nonce, sealed, None, target)
        except InvalidTag:
            target[:] = bytes(size)
            raise PayloadInvalid("the payload was changed, cut or extended") from None
        self._advance()
        return size
