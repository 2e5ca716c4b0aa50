"""Who may call: people carry the node's API token; other nodes are known by the statements they bring."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from docex.core.statement import MAX_TOKEN_BYTES
from docex.errors import DocexError, LengthRequired, LimitExceeded, Unauthorised
from docex.service.node import Node

PATIENCE = 60.0
"""Seconds that a client may take for the next bytes of a body."""
SLOWEST = 10_000
"""Bytes a second that a client must send on the whole, once it has used up its patience."""

_MAX_DIGITS = 19

_bearer = HTTPBearer(auto_error=False, description="the token in the node's data folder (`api-token`)")


class TooSlow(DocexError):
    """A client stopped sending in the middle of a body."""

    code = "too_slow"


def node_of(request: Request) -> Node:
    """The node that this application serves."""
    node = request.app.state.node
    assert isinstance(node, Node)
    return node


def check_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let a request pass that carries the API token.

    Raises:
        Unauthorised: it carries none, or another one.
    """
    given = credentials.credentials if credentials else ""
    if not given:  # else it would be right where, by some mistake, the node's own token is empty
        raise Unauthorised("this needs the node's API token: Authorization: Bearer …")
    # Digests of equal length: the comparison tells nothing about the token, its length included.
    digests = [hashlib.sha256(text.encode()).digest() for text in (given, request.app.state.token)]
    if not hmac.compare_digest(*digests):
        raise Unauthorised("this needs the node's API token: Authorization: Bearer …")


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
    async for chunk in body(request):
        data += chunk
        if len(data) > limit:
            raise LimitExceeded(f"at most {limit} bytes are taken here")
    return bytes(data)


async def body(request: Request) -> AsyncIterator[bytes]:
    """The bytes of a request as they come.

    Raises:
        TooSlow: the client sent nothing for `PATIENCE` seconds, or less than `SLOWEST` bytes a second beyond that.
        ClientDisconnect: it went away.
    """
    chunks = aiter(request.stream())
    waited, size = 0.0, 0
    while True:
        start = monotonic()
        try:
            async with asyncio.timeout(min(PATIENCE, PATIENCE + size / SLOWEST - waited)):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise TooSlow(f"less than {SLOWEST} bytes a second came, or nothing for {PATIENCE:.0f} seconds") from None
        if chunk is None:
            return
        waited += monotonic() - start  # what the node itself takes between two reads is not the client's fault
        size += len(chunk)
        yield chunk


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
People = Depends(check_token)
