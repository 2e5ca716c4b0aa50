"""The application: routes, errors, and the worker beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI

from docex import __version__
from docex.api import api_keys, documents, exchange, health, problems, revocations, statements, transfers
from docex.api.permissions import check_caller, ways_to_authenticate
from docex.service import worker
from docex.service.node import Node

_DESCRIPTION = """
Deposit documents, hand them to other members so that only they can read them, and fetch proofs that anyone can check.
"""


def make_app(node: Node, token: str, *, interval: float) -> FastAPI:
    """The API of a node; its worker runs while the application does.

    Args:
        node: what it serves.
        token: the operator's bearer token, with which the first API keys are made.
        interval: seconds between two looks for work.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(worker.run(node, interval))
        try:
            yield
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    # No interactive docs page: it would load scripts from elsewhere. The OpenAPI is at /openapi.json.
    app = FastAPI(
        title="docex",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_caller)],  # of every route, whichever module adds it
        docs_url=None,
        redoc_url=None,
    )
    app.state.node = node
    app.state.authenticators = ways_to_authenticate(node, token)
    app.state.arriving = {}
    problems.install(app)
    for module in (health, documents, transfers, statements, revocations, api_keys, exchange):
        app.include_router(module.router)
    return app
