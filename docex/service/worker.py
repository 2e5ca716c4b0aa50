"""The work that must survive a crash: jobs in the database, claimed for a while, done, or due again later.

A job is written in the same database transaction as the state that calls for it, and every job may be done twice
without harm, so there is no moment at which a crash loses or doubles work, and any number of workers can share one
database.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from docex.core.state import DeliveryState, Job
from docex.errors import DocexError
from docex.failpoints import Failpoint, reached
from docex.service import anchoring, arrivals, fair, once, receipts, revocations, timestamps, transfers
from docex.service.node import Node, printable
from keys import KeysError
from storage import StorageError

PAUSE = 0.05
"""Seconds between being woken and looking for work: what comes meanwhile is found together."""
LEASE = 20.0
"""Seconds that a job stays with a worker that gives no sign of life; one that works renews it."""
FIRST_RETRY = 1.0
LAST_RETRY = 3600.0
CONCURRENT = 8
"""Jobs at a time that a worker does by itself."""
CALLS = 32
"""Jobs at a time that call other members' nodes: they mostly wait for them, and some for long."""
CALLS_EACH = 8
"""Of these, how many may call one member's node while not half of them are taken; then one, so that some are left."""

log = structlog.get_logger(__name__)


async def run(node: Node, interval: float, clock: Callable[[], float] = time.time) -> None:
    """Work until cancelled: look for due jobs and for statements to anchor every ``interval`` seconds."""
    async with asyncio.TaskGroup() as group:  # ends when both have: jobs are given back before the database closes
        group.create_task(_repeat(lambda: anchoring.anchor_waiting(node), interval))
        group.create_task(_work(node, interval, clock, _claim))
        group.create_task(_work(node, interval, clock, _claim_calls))
        group.create_task(_repeat(lambda: once.sweep(node), once.SWEEP))


Claim = Callable[[Node, float, int], Awaitable[Sequence[Job]]]


async def _claim(node: Node, now: float, busy: int) -> Sequence[Job]:
    return await node.store.claim(now, LEASE, CONCURRENT - busy)


async def _claim_calls(node: Node, now: float, busy: int) -> Sequence[Job]:
    """Jobs that call other nodes, such that some which hang or are slow hold up none of the others."""
    shared = await node.store.claim_calls(now, LEASE, CALLS // 2 - busy, CALLS_EACH)
    return [*shared, *await node.store.claim_calls(now, LEASE, CALLS - busy - len(shared), 1)]


async def _work(node: Node, interval: float, clock: Callable[[], float], take: Claim) -> None:
    busy: set[asyncio.Task[None]] = set()
    free = asyncio.Event()  # a job has ended, so there is room for the next; or there is a new one

    def ended(task: asyncio.Task[None]) -> None:
        busy.discard(task)
        free.set()

    async def claim() -> None:
        for job in await take(node, clock(), len(busy)):
            reached(Failpoint.JOB_CLAIMED)
            task = asyncio.create_task(work_on(node, job, clock))
            busy.add(task)
            task.add_done_callback(ended)

    try:
        with node.wake.waking(free):
            await _repeat(claim, interval, free)
    finally:
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def _repeat(step: Callable[[], Awaitable[object]], interval: float, wake: asyncio.Event | None = None) -> None:
    """Run a step every ``interval`` seconds, and at once when woken, until cancelled.

    What goes wrong is logged once and tried again: the state is in the database.
    """
    wake = wake or asyncio.Event()
    failure = ""
    while True:
        try:
            await step()
            failure = ""
        except Exception as error:  # the loop must outlive whatever a step runs into
            if failure != (failure := repr(error)):
                log.warning("step_failed", error=failure)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), interval)
            await asyncio.sleep(min(interval, PAUSE))
        wake.clear()


async def work_on(node: Node, job: Job, clock: Callable[[], float] = time.time) -> None:
    """Do one job; when it fails, it is due again later, and at once when the worker is stopped meanwhile.

    One that has to wait for something says for how many seconds: that is no failure, and holds up no other job.
    """
    try:
        async with _kept(node, job, clock):
            wait = await _HANDLERS[job.kind](node, job.argument)
    except asyncio.CancelledError:
        await _noted(job, node.store.postpone(job.key, clock()))
        raise
    except Exception as error:  # a job is never lost, whatever it runs into
        await _noted(job, _failed(node, job, error, clock))
    else:
        reached(Failpoint.JOB_DONE)
        done = node.store.finish(job.key) if wait is None else node.store.postpone(job.key, clock() + wait)
        await _noted(job, done)


async def _failed(node: Node, job: Job, error: Exception, clock: Callable[[], float]) -> None:
    """Put a job off: exponential backoff with full jitter, an hour at most."""
    text = printable(f"{error.code}: {error}" if isinstance(error, _EXPECTED) else repr(error))[:500]
    log.warning("job_failed", job=job.key, attempts=job.attempts, error=text)
    ceiling = min(LAST_RETRY, FIRST_RETRY * 2 ** min(job.attempts, 20))
    delay = random.uniform(FIRST_RETRY / 2, ceiling)  # noqa: S311 - spreads load, keeps no secret
    await node.store.retry(job.key, clock() + delay, text)
    reached(Failpoint.JOB_PUT_OFF)
    if job.kind in ("deliver", "ask"):
        transfer, _, account = job.argument.partition(" ")
        account = account or node.account  # who asks for a header is its addressee
        await node.store.set_delivery(transfer, account, DeliveryState.PENDING, text)


async def _noted(job: Job, note: Awaitable[None]) -> None:
    """Write down how a job went. Where that fails its lease runs out, and it is done again."""
    try:
        await note
    except Exception as error:
        log.warning("job_not_noted", job=job.key, error=repr(error))


@asynccontextmanager
async def _kept(node: Node, job: Job, clock: Callable[[], float]) -> AsyncIterator[None]:
    """Renew a job's lease for as long as it takes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            await _noted(job, node.store.keep(job.key, clock() + LEASE))

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])


async def _deliver(node: Node, argument: str) -> float | None:
    transfer, _, account = argument.partition(" ")
    return await transfers.deliver(node, transfer, account)


_EXPECTED = (DocexError, KeysError, StorageError)
_HANDLERS: dict[str, Callable[[Node, str], Awaitable[float | None]]] = {
    "ask": fair.ask,
    "deliver": _deliver,
    "open": receipts.open_received,
    "clean": arrivals.clean,
    "expire": transfers.expire,
    "return": receipts.give_back,
    "revoke": revocations.record,
    timestamps.JOB: timestamps.fetch,
}
