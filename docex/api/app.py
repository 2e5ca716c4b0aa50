"""The applications of a node: the API, the worker, or both in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

from fastapi import Depends, FastAPI

from docex import __version__
from docex.api import (
    api_keys,
    documents,
    exchange,
    health,
    kaleido,
    metrics,
    problems,
    revocations,
    statements,
    transfers,
)
from docex.api.described import describing
from docex.api.head import HeadAsGet
from docex.api.kaleido.events import Events
from docex.api.kaleido.prefix import AlsoUnderPrefix
from docex.api.limits import ShowsQuota
from docex.api.permissions import Authenticator, check_caller, ways_to_authenticate
from docex.service.node import Node
from docex.service.readiness import Readiness
from docex.service.worker import run

_DESCRIPTION = """
Deposit documents, hand them to other members so that only they can read them, and fetch proofs that anyone can check.
"""


def make_app(node: Node, token: str, *, interval: float, worker: bool = True) -> FastAPI:
    """The API of a node; unless told otherwise, its worker runs while the application does.

    Args:
        node: what it serves.
        token: the operator's bearer token, with which the first API keys are made.
        interval: seconds between two looks for work.
        worker: False where other processes on the same database work (`make_worker`).
    """
    authenticators = ways_to_authenticate(node, token)
    events = Events(node, authenticators)
    # No interactive docs page: it would load scripts from elsewhere. The OpenAPI is at /openapi.json.
    app = FastAPI(
        title="docex",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=_telling(events, _working(node, interval) if worker else lambda _: nullcontext()),
        dependencies=[Depends(check_caller)],  # of every route, whichever module adds it
        docs_url=None,
        redoc_url=None,
    )
    _prepare(app, node, authenticators)
    app.add_middleware(HeadAsGet)
    app.add_middleware(AlsoUnderPrefix, heads=kaleido.HEADS)
    problems.install(app)
    for module in (health, metrics, documents, transfers, statements, revocations, api_keys, exchange, kaleido):
        app.include_router(module.router)
    app.mount("/socket.io", events)
    app.openapi = describing(app)  # type: ignore[method-assign] # as its documentation has it
    return app


def make_worker(node: Node, *, interval: float) -> FastAPI:
    """The worker of a node by itself. Of the API it has what tells whether it can work, which needs no token."""
    dependencies = [Depends(check_caller)]
    app = FastAPI(lifespan=_working(node, interval), dependencies=dependencies, openapi_url=None)  # so no docs either
    _prepare(app, node, ())
    app.add_middleware(HeadAsGet)
    problems.install(app)
    for module in (health, metrics):
        app.include_router(module.router)
    return app


def _prepare(app: FastAPI, node: Node, authenticators: Sequence[Authenticator]) -> None:
    """What health and metrics need."""
    app.state.node = node
    app.state.authenticators = authenticators
    app.state.scrapers = node.limits.scrapers
    app.state.readiness = Readiness(node)
    app.state.meter = metrics.Meter()
    app.add_middleware(ShowsQuota)
    app.add_middleware(metrics.Measured, meter=app.state.meter)  # innermost: it sees which route served


_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def _telling(events: Events, around: _Lifespan) -> _Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with around(app):
            try:
                yield
            finally:
                await events.close()

    return lifespan


def _working(node: Node, interval: float) -> _Lifespan:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(run(node, interval))
        try:
            yield
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working

    return lifespan
