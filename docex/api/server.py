"""The HTTP server around the application."""

from __future__ import annotations

from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from docex.api.connections import ConnectionLimits, Crowd, LimitedProtocol


def configured(app: ASGIApp, *, grace: int = 5, limits: ConnectionLimits | None = None) -> uvicorn.Config:
    """How a node is served. It ends at most ``grace`` seconds after it was told to."""
    # uvicorn only calls it, for each connection.
    protocol: Any = partial(LimitedProtocol, limits=limits or ConnectionLimits(), crowd=Crowd())
    return uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace,
        proxy_headers=False,  # whose X-Forwarded-For counts is the node's own setting: uvicorn trusts all of loopback
    )
