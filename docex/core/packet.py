"""Packets: documents signed, packed, compressed and encrypted in one pass, and the way back. See docs/packet.md.

    seal:  read and hash ─▶ tar ─▶ compress (two threads) ─▶ encrypt and write
    open:  read and decrypt ─▶ decompress (two threads) ─▶ untar, hash and hand on

The stages run on threads of their own with a few reused buffers between them, so memory is constant and two cores are
used. Opening hands out bytes before the statements at the end of the packet have been checked: whoever calls `open_packet`
keeps them under temporary names until it returns.
"""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Protocol

from docex.core import compression, names, statement, tar
from docex.core.age import DecryptingReader, EncryptingWriter
from docex.core.age.streams import Destination, Source
from docex.core.claims import Addressee, Document, Packet
from docex.core.encoding import b64url
from docex.core.pipeline import map_ordered, prefetch
from docex.core.recipients import Recipient
from docex.core.statement import Statement
from docex.errors import (
    ArchiveInvalid,
    DigestMismatch,
    LimitExceeded,
    NotAddressee,
    NotFound,
    StatementInvalid,
    UsageError,
)
from keys import Signer, Unwrapper

DOCUMENT_PREFIX = "document/"
STATEMENTS_NAME = "statements.jws"
MAX_DOCUMENTS = 10_000
MAX_STATEMENTS_BYTES = 16 << 20
DEFAULT_MAX_SIZE = 1 << 40  # bytes of plaintext; callers who know better set less

_WORKERS = 2
_AHEAD = 2
_READ_AHEAD = 1 << 18


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


@dataclass(frozen=True, slots=True)
class Sealed:
    """What sealing gives: the statements, and the digest and size of the payload (all of the packet behind its header)."""

    documents: tuple[Statement, ...]
    packet: Statement
    payload_digest: str
    payload_size: int
    header_size: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening gives: the checked statements, in the order of the documents, and which addressee opened it."""

    documents: tuple[Statement, ...]
    packet: Statement
    payload_digest: str
    payload_size: int
    addressee: Addressee


class DocumentSink(Protocol):
    """Takes the documents of a packet as they come out of it, unchecked until `open_packet` returns."""

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:
        """A document starts; returns what takes its bytes. ``path`` is safe to join to a folder."""


@dataclass(frozen=True, slots=True)
class Discard:
    """A sink for checking a packet without keeping its documents."""

    def begin(self, path: str, size: int) -> Callable[[memoryview], object]:  # noqa: ARG002 - the protocol's names
        """Ignore the document."""
        return len


def _ignore(_: int) -> None:
    """Progress that nobody watches."""


def key_id(recipient: str) -> str:
    """The key id of a recipient: SHA-256 over its canonical text, base64url."""
    return b64url(hashlib.sha256(recipient.encode("ascii")).digest())


def seal(
    documents: Sequence[DocumentSource],
    destination: Destination,
    recipients: Sequence[tuple[Recipient, str | None]],
    *,
    signer: Signer,
    issuer: str,
    now: int,
    progress: Callable[[int], object] = _ignore,
) -> Sealed:
    """Seal documents into one packet, in one pass and constant memory.

    Args:
        documents: what to seal, in this order; their paths must differ even where case and width do not count.
        destination: takes the packet's bytes. On an error it holds a prefix that can never be opened.
        recipients: each recipient key, with the CAIP-10 account of the member behind it where known.
        signer: signs a `document` statement for each document that has none, and the `packet` statement.
        issuer: the sender's CAIP-10 account.
        now: the time of the statements, seconds since the epoch.
        progress: called with the number of document bytes of each step.

    Raises:
        UsageError: no document, no recipient, or a recipient twice.
        NameInvalid: a path is not allowed.
        LimitExceeded: more than `MAX_DOCUMENTS` documents.
        DigestMismatch: a document does not have the size or digest that was stated for it.
    """
    _check_documents(documents)
    to = tuple(Addressee(key_id(recipient.text), account) for recipient, account in recipients)
    if len({addressee.key for addressee in to}) != len(to):
        raise UsageError("the same recipient is named twice")
    packer = _Packer(documents, to, signer, issuer, now, progress)
    writer = EncryptingWriter(destination, [recipient for recipient, _ in recipients])
    with writer, closing(prefetch(packer.chunks(), _AHEAD)) as chunks:
        compressed = map_ordered(lambda chunk: (chunk, compression.compress_frame(chunk)), chunks, _WORKERS)
        with closing(compressed):
            for chunk, pieces in compressed:
                for piece in pieces:
                    writer.write(piece)
                packer.recycle(chunk)
    assert packer.packet is not None  # the generator ran to its end
    return Sealed(
        tuple(packer.statements),
        packer.packet,
        writer.payload_digest,
        writer.payload_size,
        len(writer.header),
    )


def _check_documents(documents: Sequence[DocumentSource]) -> None:
    if not documents:
        raise UsageError("a packet needs at least one document")
    if len(documents) > MAX_DOCUMENTS:
        raise LimitExceeded(f"a packet holds at most {MAX_DOCUMENTS} documents")
    seen: dict[str, str] = {}
    for document in documents:
        key = names.collision_key(names.check_path(document.path))
        if (other := seen.setdefault(key, document.path)) != document.path or len(seen) == 0:
            raise UsageError(f"{document.path!r} and {other!r} would be the same file on some systems")
    if len(seen) != len(documents):
        raise UsageError("two documents have the same name")


class _Packer:
    """Writes the tar stream into reused buffers of one frame each, hashing documents on the way."""

    def __init__(
        self,
        documents: Sequence[DocumentSource],
        to: tuple[Addressee, ...],
        signer: Signer,
        issuer: str,
        now: int,
        progress: Callable[[int], object],
    ) -> None:
        self._documents = documents
        self._to = to
        self._signer = signer
        self._issuer = issuer
        self._now = now
        self._progress = progress
        # One buffer being filled, `_AHEAD` waiting, one for each worker and one being written.
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._unused = _AHEAD + _WORKERS + 3
        self._buffer = self._take_buffer()
        self._used = 0
        self.statements: list[Statement] = []
        self.packet: Statement | None = None

    def recycle(self, chunk: memoryview) -> None:
        """Give a chunk's buffer back."""
        self._free.put(chunk)

    def chunks(self) -> Iterator[memoryview]:
        """The tar stream in chunks of `compression.FRAME_SIZE` bytes, the last one shorter."""
        for document in self._documents:
            yield from self._put(tar.header(DOCUMENT_PREFIX + document.path, document.size))
            digest = yield from self._copy(document)
            yield from self._put(tar.padding(document.size))
            self.statements.append(self._state(document, digest))
        claim = Packet(tuple(each.digest_text for each in self.statements), self._issuer, self._to)
        self.packet = statement.issue(self._signer, self._issuer, claim, self._now)
        lines = "".join(each.token + "\n" for each in (*self.statements, self.packet)).encode("ascii")
        yield from self._put(tar.header(STATEMENTS_NAME, len(lines)) + lines + tar.padding(len(lines)) + tar.END)
        if self._used:
            yield self._buffer[: self._used]

    def _copy(self, document: DocumentSource) -> Generator[memoryview, None, str]:
        hasher = hashlib.sha256()
        left = document.size
        with document.open() as stream:
            while left:
                room = self._buffer[self._used : self._used + min(left, _READ_AHEAD)]
                count = stream.readinto(room) or 0
                if not count:
                    raise DigestMismatch(f"{document.path!r} ended {left} bytes before its size of {document.size}")
                hasher.update(room[:count])
                left -= count
                self._used += count
                self._progress(count)
                if self._used == len(self._buffer):
                    yield self._swap()
            if stream.readinto(memoryview(bytearray(1))):
                raise DigestMismatch(f"{document.path!r} has more bytes than its size of {document.size}")
        return "sha256:" + hasher.hexdigest()

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
        folder, name = names.split(document.path)
        claim = Document(
            digest,
            document.size,
            name,
            document.media_type,
            folder,
            document.kind,
            document.supersedes,
        )
        return statement.issue(self._signer, self._issuer, claim, self._now)

    def _put(self, data: bytes) -> Iterator[memoryview]:
        view = memoryview(data)
        while view:
            part = view[: len(self._buffer) - self._used]
            self._buffer[self._used : self._used + len(part)] = part
            self._used += len(part)
            view = view[len(part) :]
            if self._used == len(self._buffer):
                yield self._swap()

    def _swap(self) -> memoryview:
        full, self._buffer, self._used = self._buffer, self._take_buffer(), 0
        return full

    def _take_buffer(self) -> memoryview:
        if self._unused:  # made when first needed: most packets are small
            self._unused -= 1
            return memoryview(bytearray(compression.FRAME_SIZE))
        return self._free.get()


def open_packet(
    source: Source,
    identities: Sequence[Unwrapper],
    sink: DocumentSink,
    *,
    max_size: int = DEFAULT_MAX_SIZE,
    granted: Sequence[str] = (),
    progress: Callable[[int], object] = _ignore,
) -> Opened:
    """Decrypt a packet, hand its documents to ``sink``, and check everything that the packet itself can settle.

    That is, in this order: (1) header and payload are authentic; (2) the Zstandard frames and the tar archive are within
    their limits and hold documents and statements only; (3) each statement is well-formed and its signature holds under
    the key it carries; (4) documents and `document` statements match one to one, by path, size and digest; (5) the
    `packet` statement is by the sender it names and binds exactly these documents; (6) the key that opened the packet is
    one of the addressees, or in ``granted``. Whose keys signed is for the Directory to say (`docex.verify`).

    Args:
        source: the packet's bytes.
        identities: the keys to try.
        sink: takes the documents; nothing it got may be used before this function returns.
        max_size: the largest number of plaintext bytes to accept.
        granted: key ids that checked `grant` statements add to the addressees.
        progress: called with the number of document bytes of each step.

    Raises:
        PacketError: (a subclass) the packet is damaged, hostile, or not for these identities.
        StatementInvalid, SignatureInvalid: a statement does not hold.
        DigestMismatch: a document does not match its statement.
        LimitExceeded: the packet is larger than allowed.
    """
    payload = _PayloadHash(source)
    reader = DecryptingReader(payload, identities)
    frames = compression.FrameReader(reader, max_size)
    with closing(prefetch(frames.frames(), _AHEAD)) as ahead:
        chunks = map_ordered(compression.decompress, ahead, _WORKERS)
        with closing(chunks):
            found, lines = _unpack(tar.TarReader(tar.ChunkReader(chunks)), sink, progress)
    tokens = statement.parse_lines(lines, MAX_DOCUMENTS + 1)
    *documents, packet = [statement.verify(token) for token in tokens]
    _check_match(documents, found)
    addressee = _check_packet(packet, documents, key_id(reader.identity.recipient), granted)
    return Opened(tuple(documents), packet, payload.digest, payload.size, addressee)


def open_document(source: Source, identities: Sequence[Unwrapper], path: str) -> DocumentReader:
    """One document of a packet as a stream, for a packet that was checked before and a digest that is known.

    Neither statements nor digests are checked here: compare the bytes with the document's statement.

    Raises:
        PacketError: (a subclass) the packet is damaged or not for these identities.
        NotFound: the packet has no such document.
    """
    frames = compression.FrameReader(DecryptingReader(source, identities), DEFAULT_MAX_SIZE)
    chunks = prefetch(map(compression.decompress, frames.frames()), _AHEAD)
    archive = tar.TarReader(tar.ChunkReader(chunks))
    try:
        while entry := archive.next():
            if entry.path == DOCUMENT_PREFIX + path:
                return DocumentReader(chunks, archive)
            while archive.read():
                pass
        raise NotFound(f"the packet has no document {path!r}")
    except BaseException:
        chunks.close()
        raise


class DocumentReader:
    """Reads one document out of a packet; close it to end the thread behind it."""

    def __init__(self, chunks: Generator[bytes, None, None], archive: tar.TarReader) -> None:
        self._chunks = chunks
        self._archive = archive
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill up to ``len(buffer)`` bytes; 0 only at the document's end."""
        self._rest = self._rest or self._archive.read()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; empty only at the document's end."""
        data, self._rest = (self._rest or self._archive.read()), memoryview(b"")
        data, self._rest = data[:limit], data[limit:]
        return bytes(data)

    def close(self) -> None:
        """End the thread that reads ahead."""
        self._chunks.close()


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    size: int
    digest: str


def _unpack(
    archive: tar.TarReader, sink: DocumentSink, progress: Callable[[int], object]
) -> tuple[list[_Found], bytes]:
    """Hand every document to the sink; return what was found, and the statements at the end."""
    found: list[_Found] = []
    seen: set[str] = set()
    while entry := archive.next():
        if entry.path == STATEMENTS_NAME:
            if entry.size > MAX_STATEMENTS_BYTES:
                raise LimitExceeded(f"the statements of the packet are longer than {MAX_STATEMENTS_BYTES} bytes")
            lines = b"".join(iter(archive.read, b""))
            if archive.next() is not None:
                raise ArchiveInvalid("there are entries behind the statements of the packet")
            return found, lines
        if not entry.path.startswith(DOCUMENT_PREFIX):
            raise ArchiveInvalid(f"a packet does not hold {entry.path[:200]!a}")
        path = names.check_path(entry.path.removeprefix(DOCUMENT_PREFIX))
        if len(seen) == MAX_DOCUMENTS:
            raise LimitExceeded(f"a packet holds at most {MAX_DOCUMENTS} documents")
        if (key := names.collision_key(path)) in seen:
            raise ArchiveInvalid(f"the packet has {path!r} twice, or two names that some systems take for the same")
        seen.add(key)
        take, hasher = sink.begin(path, entry.size), hashlib.sha256()
        while data := archive.read():
            hasher.update(data)
            take(data)
            progress(len(data))
        found.append(_Found(path, entry.size, "sha256:" + hasher.hexdigest()))
    raise ArchiveInvalid("the packet has no statements")


def _check_match(documents: Sequence[Statement], found: Sequence[_Found]) -> None:
    if len(documents) != len(found) or not found:
        raise StatementInvalid(f"the packet has {len(found)} documents but {len(documents)} statements about documents")
    for each, actual in zip(documents, found, strict=True):
        claim = each.body
        if not isinstance(claim, Document):
            raise StatementInvalid(f"a {each.type} statement stands where one about {actual.path!r} should")
        if claim.path != actual.path:
            raise StatementInvalid(f"the statement for {actual.path!r} is about {claim.path!r}")
        if claim.size != actual.size or claim.digest != actual.digest:
            raise DigestMismatch(f"{actual.path!r} is not the document that was signed: its size or digest differs")


def _check_packet(packet: Statement, documents: Sequence[Statement], key: str, granted: Sequence[str]) -> Addressee:
    claim = packet.body
    if not isinstance(claim, Packet):
        raise StatementInvalid("the last statement of a packet must be its packet statement")
    if claim.sender != packet.issuer:
        raise StatementInvalid("the packet statement is not signed by the sender that it names")
    if claim.documents != tuple(each.digest_text for each in documents):
        raise StatementInvalid("the packet statement binds other documents than the packet holds")
    for addressee in claim.to:
        if addressee.key == key:
            return addressee
    if key in granted:
        return Addressee(key)
    raise NotAddressee(
        f"this key opens the packet, but its sender {claim.sender} did not address it to this key: "
        "someone else may have sealed or granted it again"
    )


class _PayloadHash:
    """Hashes and counts the payload of a packet as it is read: the header is read by lines, the payload is not."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hasher = hashlib.sha256()
        self.size = 0

    def readline(self, limit: int = -1, /) -> bytes:
        return self._source.readline(limit)

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._hasher.update(data)
        self.size += len(data)
        return data

    @property
    def digest(self) -> str:
        return "sha256:" + self._hasher.hexdigest()
