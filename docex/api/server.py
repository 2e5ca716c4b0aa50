"""The HTTP server around the application. What it answers by itself is a problem document, too."""

from __future__ import annotations

from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from docex.api.problems import problem

MAX_HEAD: Final = 64 << 10
"""Bytes without content that are taken in a row: request line and headers, trailers, extensions of chunks."""


def configured(app: ASGIApp, *, grace: int = 5) -> uvicorn.Config:
    """How a node is served. It ends at most ``grace`` seconds after it was told to."""
    return uvicorn.Config(
        app,
        http=_Protocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace,
        proxy_headers=False,  # whose X-Forwarded-For counts is the node's own setting: uvicorn trusts all of loopback
    )


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 with the one limit that the parser has not, and errors in the form of all others (RFC 9457)."""

    _bare = 0
    _got_on = False

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._got_on = False
        super().data_received(data)
        self._bare = 0 if self._got_on else self._bare + len(data)
        if self._bare > MAX_HEAD and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self._refuse(431, "head_too_large", f"more than {MAX_HEAD} bytes of headers came")
            self.transport.close()

    def on_headers_complete(self) -> None:
        """All headers of a request are there."""
        self._got_on = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some content is there."""
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All content is there."""
        self._got_on = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, and hang up."""
        self._refuse(400, "http_invalid", msg)
        self.transport.close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        answer = problem(status, code, detail)
        lines = [STATUS_LINE[status]]
        lines += [b"%s: %s\r\n" % each for each in (*answer.raw_headers, (b"connection", b"close"))]
        self.transport.write(b"".join([*lines, b"\r\n", bytes(answer.body)]))
