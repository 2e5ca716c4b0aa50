"""Packing: documents become a tar stream in reused buffers, hashed and stated on the way. See docs/packet.md."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from docex.core import claims, compression, names, statement, tar
from docex.core.claims import Addressee, Document, Packet
from docex.core.pipeline import Buffers, Crew, Hasher, Task
from docex.core.statement import Statement
from docex.errors import DigestMismatch, LimitExceeded, UsageError
from keys import Signer

DOCUMENT_PREFIX = "document/"
STATEMENTS_NAME = "statements.jws"
MAX_DOCUMENTS = 10_000
MAX_STATEMENTS_BYTES = 16 << 20

_ANY_DIGEST = "sha256:" + 64 * "0"


class DocumentStream(Protocol):
    """Where a document's bytes come from: any raw or buffered binary file will do."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill up to ``len(buffer)`` bytes and return how many; 0 only at the end."""


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A document to seal. With ``statement``, one that is signed already: its bytes must match what it says."""

    path: str
    size: int
    open: Callable[[], AbstractContextManager[DocumentStream]]
    media_type: str = "application/octet-stream"
    kind: str = "other"
    supersedes: str | None = None
    statement: Statement | None = None

    def claim(self, digest: str) -> Document:
        """What a `document` statement says about it, once its digest (``sha256:<hex>``) is known."""
        folder, name = names.split(self.path)
        return Document(digest, self.size, name, self.media_type, folder, self.kind, self.supersedes)


def check_documents(documents: Sequence[DocumentSource]) -> None:
    """See that these can be sealed into one packet, before the first byte is read.

    Raises:
        UsageError: there is none, or two have the same name.
        NameInvalid: a path is not allowed.
        LimitExceeded: there are too many.
        StatementInvalid: a size, media type, kind or digest is not one that a statement can have.
    """
    if not documents:
        raise UsageError("a packet needs at least one document")
    if len(documents) > MAX_DOCUMENTS:
        raise LimitExceeded(f"a packet holds at most {MAX_DOCUMENTS} documents")
    paths = names.DistinctPaths()
    for document in documents:
        if not paths.add(names.check_path(document.path)):
            raise UsageError(f"{document.path!r} and another document would be in each other's place on some systems")
        claims.from_json(Document.TYPE, claims.to_json(document.claim(_ANY_DIGEST)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the tar stream in a buffer that is used again; until ``hashed`` is done, a hasher reads it, too.

    ``random`` says that it will not compress.
    """

    data: memoryview
    random: bool
    hashed: Task[None] | None


class Packer:
    """Writes the tar stream into reused buffers of one frame each, hashing documents on the way."""

    def __init__(
        self,
        documents: Sequence[DocumentSource],
        to: tuple[Addressee, ...],
        signer: Signer,
        issuer: str,
        now: int,
        progress: Callable[[int], object],
        crew: Crew,
    ) -> None:
        self._documents = documents
        self._to = to
        self._signer = signer
        self._issuer = issuer
        self._now = now
        self._progress = progress
        self._crew = crew
        self._hashed: Task[None] | None = None
        self._buffers = Buffers(compression.FRAME_SIZE)
        self._buffer = self._buffers.take()
        self._used = 0
        self.statements: list[Statement] = []
        self.packet: Statement | None = None

    def recycle(self, chunk: Chunk) -> None:
        """Give a chunk's buffer back, once it is hashed."""
        if chunk.hashed is not None:
            self._crew.result(chunk.hashed)
        self._buffers.give(chunk.data)

    def chunks(self) -> Iterator[Chunk]:
        """The tar stream in chunks of `compression.FRAME_SIZE` bytes, the last one shorter."""
        for document in self._documents:
            yield from self._put(tar.header(DOCUMENT_PREFIX + document.path, document.size))
            digest = yield from self._copy(document)
            yield from self._put(tar.padding(document.size))
            self.statements.append(self._state(document, digest))
        claim = Packet(tuple(each.digest_text for each in self.statements), self._issuer, self._to)
        self.packet = statement.issue(self._signer, self._issuer, claim, self._now)
        lines = "".join(each.token + "\n" for each in (*self.statements, self.packet)).encode("ascii")
        if len(lines) > MAX_STATEMENTS_BYTES:
            raise LimitExceeded(f"the statements of the packet are longer than {MAX_STATEMENTS_BYTES} bytes")
        yield from self._put(tar.header(STATEMENTS_NAME, len(lines)) + lines + tar.padding(len(lines)) + tar.END)
        if self._used:
            yield self._chunk()

    def _copy(self, document: DocumentSource) -> Generator[Chunk, None, str]:
        hasher = Hasher(self._crew)
        start, left = self._used, document.size
        with document.open() as stream:
            while left:
                room = self._buffer[self._used : self._used + left]
                count = stream.readinto(room) or 0
                if not count:
                    raise DigestMismatch(f"{document.path!r} ended {left} bytes before its size of {document.size}")
                left -= count
                self._used += count
                self._progress(count)
                if self._used == len(self._buffer):
                    self._hashed = hasher.update(self._buffer[start:])
                    yield self._swap()
                    start = 0
            hasher.update(self._buffer[start : self._used])
            if stream.readinto(memoryview(bytearray(1))):
                raise DigestMismatch(f"{document.path!r} has more bytes than its size of {document.size}")
        return hasher.digest()

    def _state(self, document: DocumentSource, digest: str) -> Statement:
        if document.statement is not None:
            claim = document.statement.body
            if not isinstance(claim, Document) or (claim.path, claim.size) != (
                document.path,
                document.size,
            ):
                raise UsageError(f"the statement given for {document.path!r} is about something else")
            if claim.digest != digest:
                raise DigestMismatch(f"{document.path!r} does not have the digest in its statement")
            return document.statement
        return statement.issue(self._signer, self._issuer, document.claim(digest), self._now)

    def _put(self, data: bytes) -> Iterator[Chunk]:
        view = memoryview(data)
        while view:
            part = view[: len(self._buffer) - self._used]
            self._buffer[self._used : self._used + len(part)] = part
            self._used += len(part)
            view = view[len(part) :]
            if self._used == len(self._buffer):
                yield self._swap()

    def _swap(self) -> Chunk:
        full = self._chunk()
        self._buffer, self._used, self._hashed = self._buffers.take(), 0, None
        return full

    def _chunk(self) -> Chunk:
        data = self._buffer[: self._used]
        return Chunk(data, compression.looks_random(data), self._hashed)
