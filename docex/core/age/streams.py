"""Encrypting and decrypting streams over any binary stream, in constant memory."""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from docex.core.age.chunking import (
    CHUNK,
    NONCE_SIZE,
    SEALED_CHUNK,
    TAG,
    ChunkDecryptor,
    ChunkEncryptor,
)
from docex.core.age.composition import make_header, open_header
from docex.core.age.syntax import Header, LineSource, read_header
from docex.core.recipients import Recipient
from docex.errors import HeaderInvalid, PayloadInvalid, UsageError
from keys.protocols import Unwrapper

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# 16 chunks a call: the calls' own cost vanishes, and both buffers still fit a core's cache.
_BATCH = 16
_COPY_SIZE = 4 * CHUNK


class Source(LineSource, Protocol):
    """A binary stream to read from; ``readinto`` is used where it exists."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; empty at the end."""


class Destination(Protocol):
    """A binary stream to write to; a short count (a raw file) is followed by another call."""

    def write(self, data: memoryview, /) -> int | None:
        """Take ``data``, whose memory is reused after the call; return the bytes taken."""


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
        _write_all(destination, memoryview(self.header))

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
        for start in range(taken, stop, _BATCH * CHUNK):
            self._seal(plain[start : min(start + _BATCH * CHUNK, stop)])
        held += plain[stop:]

    def _seal(self, plain: memoryview) -> None:
        """Encrypt whole chunks, none of them the last, and write them once a batch is full."""
        out = self._room(len(plain) // CHUNK * SEALED_CHUNK)
        self._used += self._chunks.encrypt_into(plain, out)
        if self._used >= _BATCH // 2 * SEALED_CHUNK:
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
        _write_all(self._destination, ready)


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
        if _read_into(source, memoryview(nonce)) != NONCE_SIZE:
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
        while part := self.read(_BATCH * CHUNK):
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
        self._done = final
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
        """Read until more than one sealed chunk is at hand, or the source has ended."""
        left = self._sealed[self._start : self._end]
        if self._end == len(self._sealed) < _BATCH * SEALED_CHUNK:
            self._sealed = memoryview(bytearray(_BATCH * SEALED_CHUNK))
        self._sealed[: len(left)] = left
        self._start, self._end = 0, len(left)
        while self._end <= SEALED_CHUNK:
            fresh = self._sealed[self._end :]
            count = _read_into(self._source, fresh)
            if self._hash is not None:
                self._hash.update(fresh[:count])
            self.payload_size += count
            self._end += count
            if count < len(fresh):
                self._source_ended = True
                break


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
        buffer = memoryview(bytearray(_COPY_SIZE))
        while count := _read_into(source, buffer):
            writer.write(buffer[:count])


def decrypt(source: Source, destination: Destination, identities: Sequence[Unwrapper]) -> None:
    """Decrypt all of ``source`` to ``destination``, in constant memory.

    Raises NoMatchingIdentity, HeaderInvalid, HeaderMacInvalid or PayloadInvalid. In the last case
    ``destination`` may hold authenticated plaintext from before the failure: give it a final name
    only after this function has returned.
    """
    with DecryptingReader(source, identities) as reader:
        buffer = memoryview(bytearray(_COPY_SIZE))
        while count := reader.readinto(buffer):
            _write_all(destination, buffer[:count])


def _read_into(source: Source, buffer: memoryview) -> int:
    """Fill ``buffer`` from ``source``, less only at its end; return the bytes read."""
    readinto = getattr(source, "readinto", None)
    filled = 0
    while filled < len(buffer):
        if readinto is not None:
            count = readinto(buffer[filled:])
        else:
            data = source.read(len(buffer) - filled)
            count = len(data)
            buffer[filled : filled + count] = data
        if not count:
            break
        filled += count
    return filled


def _write_all(destination: Destination, data: memoryview) -> None:
    while len(data):
        count = destination.write(data)
        data = data[len(data) if count is None else count :]
