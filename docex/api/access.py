"""Who may call: people carry the node's API token; other nodes are known by the statements they bring."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from docex.errors import LengthRequired, LimitExceeded, Unauthorised
from docex.service.node import Node

MAX_STATEMENT_BYTES = 1 << 20

_bearer = HTTPBearer(auto_error=False, description="the token in the node's data folder (`api-token`)")


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
    # Digests of equal length: the comparison tells nothing about the token, its length included.
    digests = [hashlib.sha256(text.encode()).digest() for text in (given, request.app.state.token)]
    if not hmac.compare_digest(*digests):
        raise Unauthorised("this needs the node's API token: Authorization: Bearer …")


async def read_statement(request: Request) -> str:
    """The compact JWS in a request's body.

    Raises:
        LimitExceeded: it is longer than a statement can be.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_STATEMENT_BYTES:
            raise LimitExceeded(f"a statement has at most {MAX_STATEMENT_BYTES} bytes")
    return bytes(body).decode("utf-8", "replace").strip()


def content_length(request: Request) -> int:
    """The number of bytes that the request announces.

    Raises:
        LengthRequired: it announces none.
    """
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit()):
        raise LengthRequired("send a Content-Length: the packet states the size before the bytes come")
    return int(text)


NodeOf = Annotated[Node, Depends(node_of)]
People = Depends(check_token)
