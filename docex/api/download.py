"""Answers with stored bytes: conditional, whole or in part, with their digests. What all downloads share."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from docex.api.conditions import conditions, quoted
from docex.api.digests import header_of
from docex.api.head import asks_for_head
from docex.api.ranges import Part, part
from docex.core.state import StoredDocument
from docex.errors import PreconditionFailed
from docex.service import deposits
from docex.service.node import Node
from docex.service.parts import read_part

_SHORT = 1 << 20
"""Bytes of a part that is read before it is sent, so that its own digest can stand in front of it."""

Read = Callable[[int, int | None], AsyncGenerator[bytes, None]]
"""Reads what is stored from an offset on, so many bytes or (None) to the end."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What there is to send. ``tag`` changes whenever the bytes do; ``digest`` is of all of them, where it is known."""

    size: int
    tag: str
    media_type: str
    digest: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def stored_document(document: StoredDocument) -> Stored:
    """A version of a document: its tag is the digest of its statement, which no other version has."""
    headers = {"docex-statement": document.statement}
    return Stored(document.size, document.statement, document.media_type, document.digest, headers)


def document_reader(node: Node, document: StoredDocument) -> Read:
    """Reads its plaintext; all of it is held against its digest at the end."""

    def read(offset: int, length: int | None) -> AsyncGenerator[bytes, None]:
        if length is None:
            return deposits.read(node, document)
        return read_part(node, document, offset, length)

    return read


async def send(request: Request, stored: Stored, read: Read) -> Response:
    """The answer to GET or HEAD: all of it, a part, or that the client has it already.

    Raises:
        PreconditionFailed: it is not what the request names in ``If-Match``.
        RangeNotSatisfiable: the part that it asks for is not there.
        BadHeader: one of these headers is malformed.
        Exception: what reading the first bytes raises; later it breaks the download off.
    """
    asked = conditions(request.headers)
    if asked.failed(stored.tag):
        raise PreconditionFailed(f"this is {stored.tag}, which If-Match does not name")
    fixed = {"etag": quoted(stored.tag), "accept-ranges": "bytes", "cache-control": "private, no-cache"}
    if asked.known(stored.tag):
        return Response(status_code=304, headers=fixed)
    headers = {**fixed, "content-disposition": "attachment", "x-content-type-options": "nosniff", **stored.headers}
    headers["content-type"] = _header_value(stored.media_type)
    if stored.digest is not None:
        headers["repr-digest"] = header_of(stored.digest)
    if asks_for_head(request):
        return Response(None, 200, _whole(headers, stored))
    wanted = part(request.headers, stored.size, stored.tag)
    if wanted is None:
        return await _stream(read(0, None), 200, _whole(headers, stored))
    return await _part(read(wanted.offset, wanted.length), headers, wanted)


def _whole(headers: dict[str, str], stored: Stored) -> dict[str, str]:
    digest = {} if stored.digest is None else {"content-digest": header_of(stored.digest)}
    return {**headers, **digest, "content-length": str(stored.size)}


async def _part(chunks: AsyncGenerator[bytes, None], headers: dict[str, str], wanted: Part) -> Response:
    headers |= {"content-range": wanted.content_range, "content-length": str(wanted.length)}
    if wanted.length > _SHORT:
        return await _stream(chunks, 206, headers)
    async with aclosing(chunks):
        data = b"".join([chunk async for chunk in chunks])
    headers["content-digest"] = header_of("sha256:" + hashlib.sha256(data).hexdigest())
    return Response(data, 206, headers)


async def _stream(chunks: AsyncGenerator[bytes, None], status: int, headers: dict[str, str]) -> Response:
    first = await anext(chunks, b"")  # what can't be opened is an error, not a broken download
    return StreamingResponse(_chain(first, chunks), status, headers)


def _header_value(media_type: str) -> str:
    """The media type where it can stand in a header: a sender may state any printable text."""
    return media_type if media_type.isascii() else "application/octet-stream"


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        if first:
            yield first
        async for chunk in rest:
            yield chunk
