"""Encrypting to any binary stream, in constant memory."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from docex.core.age.chunking import CHUNK, NONCE_SIZE, SEALED_CHUNK, TAG, ChunkEncryptor
from docex.core.age.composition import make_header
from docex.core.age.streams import BATCH, COPY_SIZE, Destination, Source, read_into, write_all
from docex.core.recipients import Recipient
from docex.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class EncryptingWriter:
    """Writes an age file: the header at once, the payload as plaintext arrives.

    Only ``close`` writes the final chunk, so what an aborted writer leaves never opens. Leaving a
    ``with`` block by an exception aborts. Everything written after the constructor returns is
    payload. Not thread-safe.

    ``hash_payload=False`` leaves the payload's digest to the caller (another thread may take it).
    Raises as ``make_header`` does.
    """

    def __init__(
        self,
        destination: Destination,
        recipients: Sequence[Recipient],
        *,
        allow_mixed: bool = False,
        hash_payload: bool = True,
    ) -> None:
        self.header, file_key = make_header(recipients, allow_mixed=allow_mixed)
        self.payload_size = 0
        self._destination = destination
        self._hash = hashlib.sha256() if hash_payload else None
        nonce = secrets.token_bytes(NONCE_SIZE)
        self._chunks = ChunkEncryptor(file_key, nonce)
        # The last chunk is held back: it is the final one if nothing follows.
        self._held = bytearray()
        self._out = memoryview(bytearray(nonce))
        self._used = NONCE_SIZE
        self._state = "open"
        write_all(destination, memoryview(self.header))

    def write(self, data: ReadableBuffer, /) -> int:
        """Encrypt ``data``; return its size. Raises UsageError after ``close`` or ``abort``."""
        self._check_open()
        try:
            with memoryview(data) as view, view.cast("B") as plain:
                self._encrypt(plain)
                return len(plain)
        except BaseException:
            self._state = "aborted"
            raise

    def close(self) -> None:
        """Write the final chunk. A second call, or one after ``abort``, does nothing."""
        if self._state != "open":
            return
        self._state = "aborted"
        out = self._room(len(self._held) + TAG)
        self._used += self._chunks.encrypt_into(memoryview(self._held), out, final=True)
        self._flush()
        self._state = "closed"

    def abort(self) -> None:
        """Give up: no final chunk, so that what was written can never be opened as a whole."""
        if self._state == "open":
            self._state = "aborted"

    @property
    def payload_digest(self) -> str:
        """``sha256:<hex>`` of the payload (everything after the header), once closed.

        This is the packet's ciphertext digest: a header rebuilt for a new recipient leaves it as it
        is. Raises UsageError before ``close`` or with ``hash_payload=False``.
        """
        if self._hash is None or self._state != "closed":
            raise UsageError("the payload's digest is known once the writer has hashed and closed")
        return f"sha256:{self._hash.hexdigest()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _check_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer is {self._state}")

    def _encrypt(self, plain: memoryview) -> None:
        held = self._held
        taken = min(CHUNK - len(held), len(plain))
        if len(held) + len(plain) <= CHUNK:
            held += plain
            return
        if held:
            held += plain[:taken]
            with memoryview(held) as chunk:
                self._seal(chunk)
            held.clear()
        else:
            taken = 0
        stop = taken + (len(plain) - taken - 1) // CHUNK * CHUNK
        for start in range(taken, stop, BATCH * CHUNK):
            self._seal(plain[start : min(start + BATCH * CHUNK, stop)])
        held += plain[stop:]

    def _seal(self, plain: memoryview) -> None:
        """Encrypt whole chunks, none of them the last, and write them once a batch is full."""
        out = self._room(len(plain) // CHUNK * SEALED_CHUNK)
        self._used += self._chunks.encrypt_into(plain, out)
        if self._used >= BATCH // 2 * SEALED_CHUNK:
            self._flush()

    def _room(self, size: int) -> memoryview:
        """Room for ``size`` more bytes; grown as needed, since most documents are small."""
        needed = self._used + size
        if needed > len(self._out):
            grown = memoryview(bytearray(needed))
            grown[: self._used] = self._out[: self._used]
            self._out = grown
        return self._out[self._used :]

    def _flush(self) -> None:
        ready = self._out[: self._used]
        if self._hash is not None:
            self._hash.update(ready)
        self.payload_size += len(ready)
        self._used = 0
        write_all(self._destination, ready)


def encrypt(
    source: Source,
    destination: Destination,
    recipients: Sequence[Recipient],
    *,
    allow_mixed: bool = False,
) -> None:
    """Encrypt all of ``source`` to ``destination``, in constant memory.

    Raises as ``EncryptingWriter`` does; what stands in ``destination`` then can't be opened.
    """
    with EncryptingWriter(destination, recipients, allow_mixed=allow_mixed, hash_payload=False) as writer:
        buffer = memoryview(bytearray(COPY_SIZE))
        while count := read_into(source, buffer):
            writer.write(buffer[:count])
