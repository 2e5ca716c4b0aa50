"""The document store API under a second prefix, for clients that put ``/api/v1`` before every path."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/kaleido/api/v1"


class AlsoUnderPrefix:
    """Hands what comes to `PREFIX` and one of some paths on as if it had come to that path: one route, one table."""

    def __init__(self, app: ASGIApp, heads: frozenset[str]) -> None:
        """``heads``: first parts of the paths that are there under the prefix."""
        self._app = app
        self._heads = heads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/"):
            path = scope["path"].removeprefix(PREFIX)
            if path.split("/")[1] in self._heads:
                scope = {**scope, "path": path, "raw_path": scope["raw_path"].removeprefix(PREFIX.encode())}
        await self._app(scope, receive, send)
