"""Requests that take effect once, however often they are sent: draft-ietf-httpapi-idempotency-key-header.

A caller names a request by a key of its own. The work notes its effect in the database transaction in which it takes
effect, so there is no moment at which a crash loses the one and keeps the other: a try that finds the effect tells of
it, one that finds none does the work. A try that died holds up the next for `LEASE` seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from docex.core.access import Caller
from docex.core.requests import Once
from docex.failpoints import Failpoint, reached
from docex.service.node import Node

T = TypeVar("T")

LEASE: Final = 30
"""Seconds until another try may begin when one gives no sign of life; one that works renews it."""
SWEEP: Final = 3600.0
"""Seconds between two looks for requests to forget."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that is to take effect once: digests, which tell nothing about caller, key or content."""

    id: str
    fingerprint: bytes


def wanted(caller: Caller, key: str, *request: bytes) -> Wanted:
    """A caller's request under a key: the parts of ``request`` tell it from others."""
    who = [caller.name, sorted(caller.roles), list(caller.folders.names), key]
    parts = hashlib.sha256()
    for part in request:
        parts.update(hashlib.sha256(part).digest())
    return Wanted(hashlib.sha256(json.dumps(who).encode()).hexdigest(), parts.digest())


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of a request; ``repeated`` when an earlier try had done it."""

    value: T
    repeated: bool


async def once(
    node: Node,
    request: Wanted | None,
    work: Callable[[Once | None], Awaitable[T]],
    again: Callable[[str], Awaitable[T]],
) -> Outcome[T]:
    """Do the work of a request, or tell what came of it before.

    Args:
        node: where.
        request: None where the caller gave no key: the work is done.
        work: takes effect, and notes that with what it is given, in one database transaction.
        again: makes the outcome from the effect that was noted.

    Raises:
        IdempotencyKeyReused: the key was used for another request.
        RequestUnderWay: another try is at work.
        Exception: what ``work`` or ``again`` raises; a try that failed may be made again at once, changed or not.
    """
    if request is None:
        return Outcome(await work(None), repeated=False)
    attempt = Once(request.id, secrets.token_hex(16))
    keep = node.limits.remember_requests
    effect = await node.store.begin(attempt, request.fingerprint, node.now(), LEASE, keep)
    if effect is not None:
        return Outcome(await again(effect), repeated=True)
    reached(Failpoint.REQUEST_BEGUN)
    try:
        async with _held(node, attempt):
            return Outcome(await work(attempt), repeated=False)
    except BaseException:
        reached(Failpoint.REQUEST_FAILED)
        await asyncio.shield(_noted(node.store.abandon(attempt)))
        raise


async def sweep(node: Node) -> None:
    """Forget requests that are older than a node keeps them."""
    await node.store.forget(node.now() - node.limits.remember_requests)


@asynccontextmanager
async def _held(node: Node, attempt: Once) -> AsyncIterator[None]:
    """Keep other tries from beginning for as long as this one takes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            await _noted(node.store.hold(attempt, node.now() + LEASE))

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([renewing])


async def _noted(note: Awaitable[None]) -> None:
    """Where this can't be written down, the lease runs out, and another try may begin."""
    try:
        await note
    except Exception as error:
        log.warning("request_not_noted", error=repr(error))
