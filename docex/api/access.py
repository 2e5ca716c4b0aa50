"""What the routes share: the node that they serve, and bodies read within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request

from docex.api.digests import BadHeader, ContentCheck
from docex.core.statement import MAX_TOKEN_BYTES
from docex.errors import DocexError, LengthRequired, LimitExceeded
from docex.service.node import Node

PATIENCE = 60.0
"""Seconds that a client may take for the next bytes of a body."""
SLOWEST = 10_000
"""Bytes a second that a client must send on the whole, once it has used up its patience."""

_MAX_DIGITS = 19


class TooSlow(DocexError):
    """A client stopped sending in the middle of a body."""

    code = "too_slow"


class EncodingUnknown(DocexError):
    """Content comes in an encoding that this node does not undo."""

    code = "encoding_unknown"


async def node_of(request: Request) -> Node:  # FastAPI runs what is not async on a thread
    """The node that this application serves."""
    node = request.app.state.node
    assert isinstance(node, Node)
    return node


async def read_statement(request: Request) -> str:
    """The compact JWS in a request's body.

    Raises:
        LimitExceeded: it is longer than a statement can be.
    """
    return (await read_all(request, MAX_TOKEN_BYTES)).decode("utf-8", "replace").strip()


async def read_all(request: Request, limit: int) -> bytes:
    """A short body as a whole.

    Raises:
        LimitExceeded: it has more than ``limit`` bytes.
    """
    data = bytearray()
    async for chunk in body(request, limit):
        data += chunk
    return bytes(data)


async def body(request: Request, limit: int | None = None) -> AsyncIterator[bytes]:
    """The bytes of a request as they come, held against the digests that its headers state, at the end.

    Raises:
        BadHeader, ContentDigestMismatch: the digests are malformed, or those of something else.
        LimitExceeded: more than ``limit`` bytes came; the chunk that does not fit is the last one taken.
        TooSlow: the client sent nothing for `PATIENCE` seconds, or less than `SLOWEST` bytes a second beyond that.
        ClientDisconnect: it went away.
    """
    chunks = aiter(request.stream())
    check = ContentCheck(request.headers)
    waited, size = 0.0, 0
    while True:
        start = monotonic()
        try:
            async with asyncio.timeout(min(PATIENCE, PATIENCE + size / SLOWEST - waited)):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise TooSlow(f"less than {SLOWEST} bytes a second came, or nothing for {PATIENCE:.0f} seconds") from None
        if chunk is None:
            check.finish()
            return
        waited += monotonic() - start  # what the node itself takes between two reads is not the client's fault
        size += len(chunk)
        if limit is not None and size > limit:
            raise LimitExceeded(f"at most {limit} bytes are taken here")
        check.update(chunk)
        yield chunk


def check_whole(request: Request) -> None:
    """See that the content is all of what it is to become, as it is.

    Raises:
        BadHeader: it is a part (RFC 9110 section 14.5).
        EncodingUnknown: it is encoded.
    """
    if "content-range" in request.headers:
        raise BadHeader("a part can't be put here: send the whole, without Content-Range")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise EncodingUnknown("send the document as it is, without Content-Encoding: the node compresses it")


def content_length(request: Request) -> int:
    """The number of bytes that the request announces.

    Raises:
        LengthRequired: it announces none.
    """
    text = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers:
        raise LengthRequired("send a Content-Length and no Transfer-Encoding: two lengths are one too many")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise LengthRequired("send a Content-Length: the packet states the size before the bytes come")
    return int(text)


NodeOf = Annotated[Node, Depends(node_of)]
