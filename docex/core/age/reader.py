"""Decrypting from any binary stream, in constant memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from docex.core.age.chunking import CHUNK, NONCE_SIZE, SEALED_CHUNK, ChunkDecryptor
from docex.core.age.composition import open_header
from docex.core.age.streams import BATCH, COPY_SIZE, Destination, Source, read_into, write_all
from docex.core.age.syntax import Header, read_header
from docex.errors import HeaderInvalid, PayloadInvalid, UsageError
from keys.protocols import Unwrapper

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class DecryptingReader(io.RawIOBase):
    """Reads the plaintext of an age file; every byte it gives is authenticated.

    The constructor reads the header and the nonce. The end of file is only reported after the
    final chunk was authenticated and nothing follows it. Raises as ``open_header`` does; reading
    raises PayloadInvalid, after giving all chunks before the bad one. Does not close ``source``.

    With ``hash_payload`` the payload's digest is taken on the way.
    """

    def __init__(self, source: Source, identities: Sequence[Unwrapper], *, hash_payload: bool = False) -> None:
        super().__init__()
        self.header: Header = read_header(source)
        file_key, self.identity = open_header(self.header, identities)
        nonce = bytearray(NONCE_SIZE)
        if read_into(source, memoryview(nonce)) != NONCE_SIZE:
            raise HeaderInvalid("the file ends before its payload")
        self._hash = hashlib.sha256(nonce) if hash_payload else None
        self.payload_size = NONCE_SIZE
        self._source = source
        self._chunks = ChunkDecryptor(file_key, bytes(nonce))
        self._sealed = memoryview(bytearray(2 * SEALED_CHUNK))
        self._start = self._end = 0
        self._source_ended = False
        # The part of a chunk that a small buffer had no room for.
        self._rest = memoryview(b"")
        self._plain = memoryview(bytearray())
        self._done = False
        self._failure: PayloadInvalid | None = None

    def readable(self) -> bool:
        """True, as for every reader."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer`` (less only at the end) and return the bytes put there.

        Large buffers, best a multiple of 64 KiB, are decrypted into without a copy.
        """
        if self.closed:
            raise ValueError("the reader is closed")
        given = 0
        with memoryview(buffer) as view, view.cast("B") as target:
            try:
                while given < len(target):
                    count = self._give(target[given:])
                    given += count
                    if not count:
                        break
            except PayloadInvalid as error:
                self._failure = error
                if not given:
                    raise
        return given

    @property
    def payload_digest(self) -> str:
        """``sha256:<hex>`` of the payload (everything after the header), once read to its end.

        Raises UsageError before that or without ``hash_payload``.
        """
        if self._hash is None or not self._done:
            raise UsageError("the payload's digest is known once the reader has hashed all of it")
        return f"sha256:{self._hash.hexdigest()}"

    def readall(self) -> bytes:
        """All remaining plaintext, in memory."""
        parts = []
        while part := self.read(BATCH * CHUNK):
            parts.append(part)
        return b"".join(parts)

    def _give(self, target: memoryview) -> int:
        """Put some plaintext at the start of ``target``; 0 says that the payload has ended well."""
        if not self._rest:
            if self._failure is not None:
                raise self._failure
            if self._done:
                return 0
            if len(target) >= CHUNK:
                return self._decrypt(target)
            if not self._plain:
                self._plain = memoryview(bytearray(CHUNK))
            self._rest = self._plain[: self._decrypt(self._plain)]
        count = min(len(self._rest), len(target))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _decrypt(self, out: memoryview) -> int:
        if self._end - self._start <= SEALED_CHUNK and not self._source_ended:
            self._fill()
        available = self._end - self._start
        final = self._source_ended and available <= SEALED_CHUNK
        stop = self._end if final else self._start + SEALED_CHUNK
        sealed = self._sealed[self._start : stop]
        try:
            count = self._chunks.decrypt_into(sealed, out, final=final)
        except PayloadInvalid as error:
            count = self._decrypt_misplaced(sealed, out, error, final=not final)
        self._start = stop
        self._done = final and self._failure is None
        return count

    def _decrypt_misplaced(self, sealed: memoryview, out: memoryview, error: PayloadInvalid, *, final: bool) -> int:
        """A whole chunk may be good where its stream is not: extended, or cut after it.

        Then give its plaintext, as the age tool does, and say what is wrong on the next read.
        """
        if len(sealed) < SEALED_CHUNK:
            raise error
        count = self._chunks.decrypt_into(sealed, out, final=final)
        self._failure = PayloadInvalid(
            "bytes follow the payload's final chunk" if final else "the payload is cut: its final chunk is missing"
        )
        return count

    def _fill(self) -> None:
        """Read until the buffer (at least two sealed chunks) is full or the source has ended."""
        left = self._sealed[self._start : self._end]
        if self._end == len(self._sealed) < BATCH * SEALED_CHUNK:
            self._sealed = memoryview(bytearray(BATCH * SEALED_CHUNK))
        self._sealed[: len(left)] = left
        self._start, self._end = 0, len(left)
        fresh = self._sealed[self._end :]
        count = read_into(self._source, fresh)
        if self._hash is not None:
            self._hash.update(fresh[:count])
        self.payload_size += count
        self._end += count
        self._source_ended = count < len(fresh)


def decrypt(source: Source, destination: Destination, identities: Sequence[Unwrapper]) -> None:
    """Decrypt all of ``source`` to ``destination``, in constant memory.

    Raises NoMatchingIdentity, HeaderInvalid, HeaderMacInvalid or PayloadInvalid. In the last case
    ``destination`` may hold authenticated plaintext from before the failure: give it a final name
    only after this function has returned.
    """
    with DecryptingReader(source, identities) as reader:
        buffer = memoryview(bytearray(COPY_SIZE))
        while count := reader.readinto(buffer):
            write_all(destination, buffer[:count])
