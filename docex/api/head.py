"""HEAD for every route that has GET: the same answer, asked of the same table of permissions, without its content."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

_KEY = "docex.head"


class HeadAsGet:
    """Hands a HEAD request on as GET; the server sends none of the content, since it was asked for HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", _KEY: True}
        await self._app(scope, receive, send)


def asks_for_head(request: HTTPConnection) -> bool:
    """Whether the content would be made in vain."""
    return _KEY in request.scope
