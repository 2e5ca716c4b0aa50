"""Deposit, list and read the documents of this node.

A deposit streams once: request ─▶ hash ─▶ compress ─▶ encrypt ─▶ storage, and is acknowledged when packet and database
are durable. The packet is sealed to the member itself; each version has a blob of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress

from docex.core import names, packet
from docex.core.access import EVERYTHING, Folders
from docex.core.age.streams import Destination
from docex.core.claims import Document
from docex.core.digest import parse_digest
from docex.core.packet import DocumentReader, DocumentSource
from docex.core.recipients import parse_recipient
from docex.core.requests import NO_CONDITION, Once, Precondition
from docex.core.state import StoredDocument
from docex.errors import (
    Conflict,
    DigestMismatch,
    IdempotencyKeyReused,
    LimitExceeded,
    NameInvalid,
    NotFound,
    PreconditionFailed,
    UsageError,
)
from docex.failpoints import Failpoint, reached
from docex.service.node import Node
from docex.service.streams import AsyncSource, on_thread, write_blob
from docex.service.visible import find_statement
from storage import StorageError

MAX_PAGE = 1000
MAX_PATH_BYTES = 950  # the blob's path, which is a little longer, has to fit what stores take
_CHUNK = 1 << 18


async def deposit(
    node: Node,
    path: str,
    size: int,
    chunks: AsyncIterator[bytes],
    *,
    media_type: str = "application/octet-stream",
    kind: str = "other",
    supersedes: str | None = None,
    within: Folders = EVERYTHING,
    precondition: Precondition = NO_CONDITION,
    once: Once | None = None,
) -> StoredDocument:
    """Take a document of ``size`` bytes; returns its new version, once durable.

    Raises:
        NotFound: the path is not in the folders that the caller is kept to.
        NameInvalid: the path is not allowed.
        LimitExceeded: the document is larger than this node takes.
        DigestMismatch: there were fewer or more bytes than ``size``.
        PreconditionFailed: the newest version is not what the caller makes this one depend on; then nothing is kept.
        StatementInvalid: kind, media type or superseded statement are not of their form.
        UsageError: what is superseded is no digest, or not that of a document statement of this member.
    """
    check_place(path, within)
    if size > node.limits.document_size:
        raise LimitExceeded(f"documents of more than {node.limits.document_size} bytes are not taken")
    await check_precondition(node, path, precondition)
    if supersedes is not None:
        await _check_superseded(node, supersedes, within)
    blob = f"documents/{path}/{secrets.token_hex(16)}.age"
    source = AsyncSource(chunks, asyncio.get_running_loop())
    document = DocumentSource(path, size, lambda: nullcontext(source), media_type, kind, supersedes)
    await source.prime()
    now = node.now()

    def seal(destination: Destination) -> packet.Sealed:
        return packet.seal(
            [document],
            destination,
            [(parse_recipient(node.recipient), node.account)],
            signer=node.signer,
            issuer=node.account,
            now=now,
        )

    sealed = await write_blob(node.blobs, blob, seal, source)
    reached(Failpoint.DEPOSIT_STORED)
    statement = sealed.documents[0]
    claim = statement.body
    assert isinstance(claim, Document)
    stored = StoredDocument(
        path,
        0,
        statement.digest_text,
        claim.digest,
        size,
        media_type,
        kind,
        node.account,
        blob,
        path,
        now,
        sealed.payload_digest,
        sealed.header_size + sealed.payload_size,
    )
    try:
        kept = await node.store.add_document(stored, [statement], precondition, once)
    except (Conflict, PreconditionFailed):  # nothing names the packet
        with suppress(StorageError):
            await node.blobs.delete(blob)
        raise
    reached(Failpoint.DEPOSIT_KEPT)
    return kept


async def deposited_before(node: Node, statement: str, chunks: AsyncIterator[bytes]) -> StoredDocument:
    """The version that an earlier try of a deposit made, by its statement, if it was of these very bytes.

    Raises:
        IdempotencyKeyReused: it was of others.
    """
    stored = (await node.store.shown_as([statement]))[0]
    hasher = hashlib.sha256()
    async for chunk in chunks:
        hasher.update(chunk)
    if "sha256:" + hasher.hexdigest() != stored.digest:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another document: take a new one for each")
    return stored


def check_place(path: str, within: Folders) -> None:
    """See that a document can be deposited under a path.

    Raises:
        NameInvalid: the path is not allowed.
        NotFound: it is not in these folders.
    """
    if len(names.check_path(path).encode()) > MAX_PATH_BYTES:
        raise NameInvalid(f"the path of a deposit has at most {MAX_PATH_BYTES} bytes")
    if path not in within:
        raise _no_document(path)


async def check_precondition(node: Node, path: str, precondition: Precondition) -> None:
    """See that a precondition holds now: the store does so again, but only when all bytes are here.

    Raises:
        PreconditionFailed: it does not.
    """
    if precondition != NO_CONDITION:
        try:
            precondition.check((await node.store.document(path)).statement)
        except NotFound:
            precondition.check(None)


async def _check_superseded(node: Node, digest: str, within: Folders) -> None:
    old = await find_statement(node, str(parse_digest(digest)), within)
    if old is None or old.type != Document.TYPE or old.issuer != node.account:
        raise UsageError(f"{digest} is not a document statement of this member: it can't be superseded")


async def find(node: Node, path: str, version: int | None = None, *, within: Folders = EVERYTHING) -> StoredDocument:
    """The newest or the given version of a document.

    Raises:
        NotFound: there is none in the folders that the caller is kept to; the message does not tell whether elsewhere.
    """
    if not _storable(path) or path not in within:
        raise _no_document(path)
    try:
        return await node.store.document(path, version)
    except NotFound:
        raise _no_document(path) from None


async def remove(node: Node, path: str, *, within: Folders = EVERYTHING) -> None:
    """Show a document no more, in any version. All of them and their statements are kept: they are evidence.

    Raises:
        NotFound: there is none in the folders that the caller is kept to.
    """
    await find(node, path, within=within)
    await node.store.remove_document(path, node.now())


def _no_document(path: str) -> NotFound:
    return NotFound(f"there is no document {path!a}, or not in this version")


def _storable(text: str) -> bool:
    """Whether a database can be asked for a text: PostgreSQL takes no NUL, and none takes halves of characters."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


async def documents(
    node: Node, folder: str, after: str, limit: int, *, within: Folders = EVERYTHING
) -> Sequence[StoredDocument]:
    """The newest versions in a folder and below, by path.

    Raises:
        NameInvalid: the folder is not a path.
        UsageError: ``limit`` is not 1 to `MAX_PAGE`, or ``after`` is no path of this list.
    """
    if not _storable(after):
        raise UsageError("this cursor is not one of this list")
    if not 1 <= limit <= MAX_PAGE:
        raise UsageError(f"limit must be 1 to {MAX_PAGE}")
    return await node.store.documents(names.check_folder(folder), after, limit, within)


@asynccontextmanager
async def opened_blob(node: Node, blob: str) -> AsyncIterator[io.BufferedReader[AsyncSource]]:
    """A stored packet as a buffered stream for a thread."""
    async with node.blobs.open(blob) as reader:
        yield io.BufferedReader(AsyncSource(reader.chunks, asyncio.get_running_loop()), _CHUNK)


async def read(node: Node, document: StoredDocument) -> AsyncGenerator[bytes, None]:
    """The plaintext of a stored version. Its last bytes are held back until size and digest have been checked.

    Close it (`contextlib.aclosing`) when it is not read to its end: it holds a thread and the blob.

    Raises:
        Conflict: this node does not hold the identity that opens it.
        PacketError, DigestMismatch: the stored packet was damaged.
    """
    if node.identity is None:
        raise Conflict("this node holds no identity: download the packet and open it where the identity is")
    identity, hasher, held, size = node.identity, hashlib.sha256(), b"", 0
    async with opened_blob(node, document.blob) as source:
        stream = await on_thread(
            lambda: packet.open_document(source, [identity], document.entry), undo=DocumentReader.close
        )
        try:
            while data := await on_thread(lambda: stream.read(_CHUNK)):
                hasher.update(data)
                size += len(data)
                if held:
                    yield held
                held = data
        finally:
            await on_thread(stream.close)
    if size != document.size or "sha256:" + hasher.hexdigest() != document.digest:
        raise DigestMismatch(f"{document.path!r} is not as it was stored: its digest or size differs")
    if held:
        yield held
