"""The HTTP server around the application. What it answers by itself is a problem document, too."""

from __future__ import annotations

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from docex.api.problems import problem


def configured(app: ASGIApp, *, grace: int = 5) -> uvicorn.Config:
    """How a node is served. It ends at most ``grace`` seconds after it was told to."""
    return uvicorn.Config(app, http=_Protocol, log_config=None, access_log=False, timeout_graceful_shutdown=grace)


class _Protocol(H11Protocol):
    """HTTP/1.1 whose answer to what is none has the form of all other errors (RFC 9457)."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, and hang up."""
        answer = problem(400, "http_invalid", msg)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
