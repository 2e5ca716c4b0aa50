"""Packets: documents signed, packed, compressed and encrypted in one pass, and the way back. See docs/packet.md.

    seal:  read and tar ─▶ hash ─▶ compress ─▶ encrypt and write
    open:  read and decrypt ─▶ decompress ─▶ untar ─▶ hash ─▶ hand on

A crew of threads shares the stages, with a few reused buffers between them: memory is constant, and two cores are used.
Opening hands out bytes before the statements at the end of the packet have been checked: whoever calls `open_packet`
keeps them under temporary names until it returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

from docex.core import compression, statement, tar
from docex.core.account import parse_caip10
from docex.core.age import DecryptingReader, EncryptingWriter
from docex.core.age.streams import Destination, Source
from docex.core.claims import Addressee, Document, Packet
from docex.core.digest import sha256
from docex.core.interrupts import held, passing
from docex.core.packing import (
    DOCUMENT_PREFIX,
    MAX_DOCUMENTS,
    MAX_STATEMENTS_BYTES,
    STATEMENTS_NAME,
    Chunk,
    DocumentSource,
    DocumentStream,
    Packer,
    check_documents,
)
from docex.core.pipeline import LAG, Crew
from docex.core.recipients import Recipient, recipient_id
from docex.core.statement import Statement
from docex.core.unpacking import Discard, DocumentReader, DocumentSink, Found, unpack
from docex.errors import DigestMismatch, NotAddressee, NotFound, StatementInvalid, UsageError
from keys import KeysError, Signer, Unwrapper

__all__ = [
    "DEFAULT_MAX_SIZE",
    "DOCUMENT_PREFIX",
    "MAX_DOCUMENTS",
    "MAX_STATEMENTS_BYTES",
    "STATEMENTS_NAME",
    "Discard",
    "DocumentReader",
    "DocumentSink",
    "DocumentSource",
    "DocumentStream",
    "Opened",
    "Sealed",
    "key_id",
    "open_document",
    "open_packet",
    "seal",
]

DEFAULT_MAX_SIZE = 1 << 40  # bytes of plaintext; callers who know better set less


@dataclass(frozen=True, slots=True)
class Sealed:
    """What sealing gives: the statements, and digest and size of the payload (all of the packet behind its header).

    The digest is None when it was not asked for.
    """

    documents: tuple[Statement, ...]
    packet: Statement
    payload_digest: str | None
    payload_size: int
    header_size: int
    header_digest: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening gives: the checked statements, in the order of the documents, and which addressee opened it.

    The payload's digest is None when it was not asked for.
    """

    documents: tuple[Statement, ...]
    packet: Statement
    payload_digest: str | None
    payload_size: int
    addressee: Addressee


def _ignore(_: int) -> None:
    """Progress that nobody watches."""


def key_id(recipient: str) -> str:
    """The key id of a recipient: SHA-256 over its canonical text, base64url."""
    return recipient_id(recipient)


def seal(
    documents: Sequence[DocumentSource],
    destination: Destination,
    recipients: Sequence[tuple[Recipient, str | None]],
    *,
    signer: Signer,
    issuer: str,
    now: int,
    hash_payload: bool = True,
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
        hash_payload: take the payload's digest, which a transfer statement needs; it costs as much as the encryption.
        progress: called with the number of document bytes of each step, on the thread that reads them.

    Raises:
        UsageError: no document, no recipient, one of them twice, or an account that is none.
        NameInvalid: a path is not allowed.
        StatementInvalid: a size, media type, kind or digest is not one that a statement can have.
        LimitExceeded: more than `MAX_DOCUMENTS` documents, or statements of more than `MAX_STATEMENTS_BYTES`.
        DigestMismatch: a document does not have the size or digest that was stated for it.
        KeysError, OSError: from the signer, the documents or the destination.
    """
    check_documents(documents)
    for account in (issuer, *(account for _, account in recipients if account is not None)):
        parse_caip10(account)
    to = tuple(Addressee(key_id(recipient.text), account) for recipient, account in recipients)
    if len({addressee.key for addressee in to}) != len(to):
        raise UsageError("the same recipient is named twice")
    with held():
        with passing():
            keys = [recipient for recipient, _ in recipients]
            writer = EncryptingWriter(destination, keys, hash_payload=hash_payload)
        with writer:
            with Crew() as crew:
                packer = Packer(documents, to, signer, issuer, now, progress, crew)
                _write(writer, packer, crew)
            with passing():
                writer.close()
    assert packer.packet is not None  # the generator ran to its end
    return Sealed(
        tuple(packer.statements),
        packer.packet,
        writer.payload_digest if hash_payload else None,
        writer.payload_size,
        len(writer.header),
        str(sha256(writer.header)),
    )


def _write(writer: EncryptingWriter, packer: Packer, crew: Crew) -> None:
    with closing(crew.map(_framed, packer.chunks())) as frames:
        for chunk, pieces in frames:
            with passing():
                for piece in pieces:
                    writer.write(piece)
            packer.recycle(chunk)


def _framed(chunk: Chunk) -> tuple[Chunk, list[bytes | memoryview]]:
    return chunk, compression.compress_frame(chunk.data, random=chunk.random)


def open_packet(
    source: Source,
    identities: Sequence[Unwrapper],
    sink: DocumentSink,
    *,
    max_size: int = DEFAULT_MAX_SIZE,
    granted: Sequence[str] = (),
    hash_payload: bool = True,
    progress: Callable[[int], object] = _ignore,
) -> Opened:
    """Decrypt a packet, hand its documents to ``sink``, and check everything that the packet itself can settle.

    That is, in this order: (1) header and payload are authentic; (2) the Zstandard frames and the tar archive are
    within their limits and hold documents and statements only; (3) each statement is well-formed and its signature
    holds under the key it carries; (4) documents and `document` statements match one to one, by path, size and
    digest; (5) the `packet` statement is by the sender it names and binds exactly these documents; (6) the key that
    opened the packet is one of the addressees, or in ``granted``. Whose keys signed is for the Directory to say
    (`docex.verify`).

    Args:
        source: the packet's bytes.
        identities: the keys to try.
        sink: takes the documents; nothing it got may be used before this function returns.
        max_size: the largest number of plaintext bytes to accept.
        granted: key ids that checked `grant` statements add to the addressees.
        hash_payload: take the payload's digest, to hold it against a transfer statement.
        progress: called with the number of document bytes of each step.

    Raises:
        PacketError: (a subclass) the packet is damaged, hostile, or not for these identities.
        StatementInvalid: a statement is malformed, or not the one that should stand in its place.
        SignatureInvalid: the signature of a statement does not hold.
        DigestMismatch: a document does not match its statement.
        LimitExceeded: the packet is larger than allowed.
        KeysError, OSError: from an identity, the source or the sink.
    """
    reader = DecryptingReader(source, identities, hash_payload=hash_payload)
    frames = compression.FrameReader(reader, max_size)
    with held(), Crew() as crew, closing(_decompressed(frames, crew)) as chunks:
        found, lines = unpack(tar.TarReader(tar.ChunkReader(chunks)), sink, progress, crew)
    statements = _check_statements(statement.parse_lines(lines, MAX_DOCUMENTS + 1), found)
    documents, packet = statements[:-1], statements[-1]
    addressee = _check_packet(packet, documents, _opening_keys(reader, identities), granted)
    digest = reader.payload_digest if hash_payload else None
    return Opened(documents, packet, digest, reader.payload_size, addressee)


def _decompressed(reader: compression.FrameReader, crew: Crew) -> Generator[memoryview, None, None]:
    """The archive, frame by frame. A chunk may be used until `LAG` more have been taken: a hasher may be behind."""
    used: deque[memoryview] = deque()
    with closing(crew.map(reader.decompress, reader.frames())) as contents:
        for content in contents:
            yield content
            used.append(content)
            if len(used) > LAG:
                reader.recycle(used.popleft())


def open_document(source: Source, identities: Sequence[Unwrapper], path: str) -> DocumentReader:
    """One document of a packet as a stream, for a packet that was checked before and a digest that is known.

    Neither statements nor digests are checked here: compare the bytes with the document's statement.

    Raises:
        PacketError: (a subclass) the packet is damaged or not for these identities.
        NotFound: the packet has no such document.
    """
    frames = compression.FrameReader(DecryptingReader(source, identities), DEFAULT_MAX_SIZE)

    def all_chunks() -> Generator[memoryview, None, None]:
        with Crew() as crew:
            yield from _decompressed(frames, crew)

    chunks = all_chunks()
    archive = tar.TarReader(tar.ChunkReader(chunks))
    with held(), ExitStack() as failed:
        failed.callback(chunks.close)
        while entry := archive.next():
            if entry.path == DOCUMENT_PREFIX + path:
                failed.pop_all()
                return DocumentReader(chunks, archive)
            while archive.read():
                pass
    raise NotFound(f"the packet has no document {path!r}")


def _check_statements(tokens: Sequence[str], found: Sequence[Found]) -> tuple[Statement, ...]:
    """Verify the statements, one for each document and the packet's own, stopping at the first that does not hold."""
    if not found or len(tokens) != len(found) + 1:
        raise StatementInvalid(f"the packet has {len(found)} documents but {len(tokens)} statements")
    documents = []
    for token, actual in zip(tokens, found, strict=False):
        documents.append(each := statement.verify(token))
        _check_match(each, actual)
    return *documents, statement.verify(tokens[-1])


def _check_match(each: Statement, actual: Found) -> None:
    claim = each.body
    if not isinstance(claim, Document):
        raise StatementInvalid(f"a {each.type} statement stands where one about {actual.path!r} should")
    if claim.path != actual.path:
        raise StatementInvalid(f"the statement for {actual.path!r} is about {claim.path!r}")
    if claim.size != actual.size or claim.digest != actual.digest:
        raise DigestMismatch(f"{actual.path!r} is not the document that was signed: its size or digest differs")


def _opening_keys(reader: DecryptingReader, identities: Sequence[Unwrapper]) -> Iterator[str]:
    """The key ids of the identities that open the packet: the one that did, then others as they are asked for.

    A member who changed its key may hold two, and only one of them need be addressed.
    """
    yield key_id(reader.identity.recipient)
    for identity in identities:
        with suppress(KeysError):
            if identity is not reader.identity and identity.unwrap(reader.header.stanzas) is not None:
                yield key_id(identity.recipient)


def _check_packet(
    packet: Statement, documents: Sequence[Statement], keys: Iterator[str], granted: Sequence[str]
) -> Addressee:
    claim = packet.body
    if not isinstance(claim, Packet):
        raise StatementInvalid("the last statement of a packet must be its packet statement")
    if claim.sender != packet.issuer:
        raise StatementInvalid("the packet statement is not signed by the sender that it names")
    if claim.documents != tuple(each.digest_text for each in documents):
        raise StatementInvalid("the packet statement binds other documents than the packet holds")
    addressees = {addressee.key: addressee for addressee in claim.to}
    for key in keys:
        if key in addressees:
            return addressees[key]
        if key in granted:
            return Addressee(key)
    raise NotAddressee(
        f"this key opens the packet, but its sender {claim.sender} did not address it to this key: "
        "someone else may have sealed or granted it again"
    )
