"""Jobs: done once they are due, put off when they fail, given back when the worker stops, and never lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from docex.core.state import DeliveryState, Job
from docex.errors import NodeUnavailable
from docex.service import transfers, worker
from docex.service.node import Node
from docex.service.worker import LAST_RETRY, LEASE, run, work_on
from storage import StorageUnavailable
from tests.fixtures.paper_nodes import NewNode, Paper, account_of, deposited, jobs_due
from tests.fixtures.statements import NOW, stored_transfer, transfer_statement


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def add(node: Node, *jobs: Job) -> None:
    said = transfer_statement()
    await node.store.add_transfer(stored_transfer(said), [said], list(jobs))


def handle(monkeypatch: pytest.MonkeyPatch, handler: Callable[[Node, str], Awaitable[None]]) -> None:
    monkeypatch.setitem(worker._HANDLERS, "open", handler)


JOB = Job("open:1", "open", "1")


async def due(node: Node, at: float) -> list[str]:
    return [each.key for each in await jobs_due(node.store, at, LEASE, 100)]


class HandlerError(Exception):
    """What a job runs into."""


async def fail(_: Node, __: str) -> None:
    raise HandlerError("on purpose")


# --- one job ---------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_done_is_gone(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    async def handler(_: Node, argument: str) -> None:
        done.append(argument)

    handle(monkeypatch, handler)
    await add(node, JOB)
    await work_on(node, JOB, lambda: NOW)
    assert done == ["1"]
    assert (await node.store.counts())["jobs"] == 0


@pytest.mark.parametrize("attempts", [1, 2, 5, 12, 13, 100_000])
async def test_a_job_that_fails_is_put_off_for_longer_each_time(
    node: Node, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    handle(monkeypatch, fail)
    await add(node, JOB)
    now = node.now()
    drawn: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        drawn.append((least, most))
        return most

    monkeypatch.setattr("random.uniform", draw)
    with capture_logs() as logs:
        await work_on(node, replace(JOB, attempts=attempts), lambda: now)
    ceiling = min(LAST_RETRY, 2.0**attempts) if attempts < 100 else LAST_RETRY
    assert drawn == [(0.5, ceiling)]
    assert await due(node, now + ceiling - 0.1) == []
    assert await due(node, now + ceiling) == ["open:1"]
    (entry,) = logs
    assert (entry["event"], entry["job"], entry["attempts"]) == ("job_failed", "open:1", attempts)
    assert entry["error"] == "HandlerError('on purpose')"


async def test_a_failed_delivery_is_shown_with_its_reason(node: Node, new_node: NewNode, paper: Paper) -> None:
    maker = new_node("Maker")
    await deposited(node, "a", b"content")
    transfer = await transfers.create(node, ["a"], [maker.account])
    (job,) = await jobs_due(node.store, NOW + 5000, LEASE, 10)
    paper.wire.nodes.clear()
    await work_on(node, job)
    (delivery,) = (await node.store.transfer(transfer.id)).deliveries
    assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, 1)
    assert delivery.error == "node_unavailable: https://maker.example can't be reached"


async def test_hostile_words_of_another_node_are_kept_harmless(node: Node, paper: Paper, new_node: NewNode) -> None:
    class Hostile:
        async def announce(self, endpoint: str, transfer: str) -> bool:
            raise NodeUnavailable("\0\ud800\nwords " + "x" * 9000)

    maker = new_node("Maker")
    await deposited(node, "a", b"content")
    transfer = await transfers.create(node, ["a"], [maker.account])
    (job,) = await jobs_due(node.store, NOW + 5000, LEASE, 10)
    await work_on(replace(node, peers=Hostile()), job)  # type: ignore[arg-type]
    error = (await node.store.transfer(transfer.id)).deliveries[0].error
    assert error is not None
    assert error.startswith("node_unavailable: ???words xxx")
    assert len(error) == 500


async def test_a_job_of_a_kind_nobody_knows_is_put_off(node: Node) -> None:
    """A newer version wrote it; this one must not lose it."""
    job = Job("novel:1", "novel", "1", attempts=1)
    await add(node, job)
    await work_on(node, job, lambda: NOW)
    assert await due(node, NOW + 10) == ["novel:1"]


async def test_a_worker_that_is_stopped_gives_its_job_back_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    started = asyncio.Event()

    async def handler(_: Node, __: str) -> None:
        started.set()
        await asyncio.sleep(3600)

    handle(monkeypatch, handler)
    await add(node, JOB)
    (job,) = await jobs_due(node.store, NOW + 5000, LEASE, 1)
    working = asyncio.create_task(work_on(node, job, lambda: NOW + 5000))
    await started.wait()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    assert working.cancelled()
    assert await due(node, NOW + 5000) == ["open:1"]


async def test_a_job_that_takes_longer_than_its_lease_is_kept(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LEASE", 0.3)
    taken: list[str] = []

    async def handler(_: Node, __: str) -> None:
        for _step in range(12):
            await asyncio.sleep(0.05)
            taken.extend(await due(node, time.time()))

    handle(monkeypatch, handler)
    await add(node, JOB)
    (job,) = await jobs_due(node.store, time.time(), 0.3, 1)
    await work_on(node, job)
    assert taken == []
    assert (await node.store.counts())["jobs"] == 0


class Forgetful:
    """A store that can't note how a job went."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __getattr__(self, name: str) -> object:
        async def refuse(*_: object) -> None:
            raise StorageUnavailable("the database is away")

        return refuse if name in {"finish", "retry", "postpone", "keep"} else getattr(self.node.store, name)


@pytest.mark.parametrize("outcome", ["done", "failed", "stopped"])
async def test_where_the_outcome_can_not_be_noted_the_lease_brings_the_job_back(
    node: Node, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr(worker, "LEASE", 0.03)

    async def handler(node: Node, argument: str) -> None:
        await asyncio.sleep(0.1)
        if outcome == "failed":
            raise HandlerError("on purpose")
        if outcome == "stopped":
            raise asyncio.CancelledError

    handle(monkeypatch, handler)
    await add(node, JOB)
    (job,) = await jobs_due(node.store, NOW + 5000, LEASE, 1)
    with capture_logs() as logs, suppress(asyncio.CancelledError):
        await work_on(replace(node, store=Forgetful(node)), job)  # type: ignore[arg-type]
    assert {"job_not_noted"} <= {each["event"] for each in logs}
    assert await due(node, NOW + 5000 + LEASE - 1) == []
    assert await due(node, NOW + 5000 + LEASE) == ["open:1"]


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def running(node: Node) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(run(node, 0.01))
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_worker_that_is_woken_works_without_waiting_for_its_time(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = asyncio.Event()

    async def handler(_: Node, __: str) -> None:
        done.set()

    handle(monkeypatch, handler)
    looked, look = asyncio.Event(), node.store.claim

    async def claim(now: float, lease: float, limit: int) -> Sequence[Job]:
        looked.set()
        return await look(now, lease, limit)

    monkeypatch.setattr(node.store, "claim", claim)
    task = asyncio.create_task(run(node, 3600))
    async with asyncio.timeout(60):
        await looked.wait()
        await add(node, JOB)
        node.wake()
        await done.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def eventually(done: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not await done():
            await asyncio.sleep(0.01)


async def test_a_worker_delivers_opens_answers_and_anchors(node: Node, new_node: NewNode) -> None:
    maker = new_node("Maker")
    await deposited(node, "a", b"content")
    tasks = [asyncio.create_task(run(each, 0.01)) for each in (node, maker)]
    transfer = await transfers.create(node, ["a"], [account_of("Maker")])

    async def settled() -> bool:
        (delivery,) = (await node.store.transfer(transfer.id)).deliveries
        counts = [await each.store.counts() for each in (node, maker)]
        idle = all((each["jobs"], each["statements_not_final"]) == (0, 0) for each in counts)
        return delivery.state is DeliveryState.ACCEPTED and idle

    await eventually(settled)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert [(await each.store.counts())["receipts"] for each in (node, maker)] == [1, 1]


async def test_a_slow_job_holds_up_no_other_and_no_more_than_eight_run_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch, running: "asyncio.Task[None]"
) -> None:
    active, highest, done = 0, 0, 0
    others = asyncio.Event()

    async def handler(_: Node, argument: str) -> None:
        nonlocal active, highest, done
        active += 1
        highest = max(highest, active)
        await (others.wait() if argument == "0" else asyncio.sleep(0.001))
        active -= 1
        done += 1

    handle(monkeypatch, handler)
    await add(node, *(Job(f"open:{n}", "open", str(n)) for n in range(40)))

    async def others_done() -> bool:
        return done == 39

    await eventually(others_done)
    assert (active, highest) == (1, worker.CONCURRENT)
    others.set()


async def test_members_whose_nodes_hang_hold_up_no_delivery_to_another(
    node: Node, monkeypatch: pytest.MonkeyPatch, running: "asyncio.Task[None]"
) -> None:
    hanging, done = 0, set()

    async def handler(_: Node, argument: str) -> None:
        nonlocal hanging
        if argument.startswith("dead"):
            hanging += 1
            await asyncio.sleep(3600)
        done.add(argument)

    monkeypatch.setitem(worker._HANDLERS, "deliver", handler)
    await add(
        node, *(Job(f"dead {peer} {n}", "deliver", "dead", peer=f"dead {peer}") for peer in range(9) for n in range(9))
    )

    async def all_hang() -> bool:
        return hanging >= worker.CALLS // 2

    await eventually(all_hang)
    await node.store.add_jobs([Job(f"alive {n}", "deliver", f"alive {n}", peer="alive") for n in range(5)])  # type: ignore[attr-defined]

    async def alive_done() -> bool:
        return len(done) == 5

    await eventually(alive_done)
    assert hanging < worker.CALLS


async def test_the_loop_outlives_what_its_steps_run_into_and_says_so_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    async def claim(*_: object) -> list[Job]:
        nonlocal attempts
        attempts += 1
        if attempts <= 5:
            raise StorageUnavailable("the database is away")
        return []

    monkeypatch.setattr(type(node.store), "claim", claim)
    with capture_logs() as logs:
        task = asyncio.create_task(run(node, 0.005))
        async with asyncio.timeout(60):
            while attempts < 8:
                await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert [each["event"] for each in logs] == ["step_failed"]


async def test_a_worker_that_stops_gives_all_its_jobs_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0

    async def handler(_: Node, __: str) -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(3600)

    handle(monkeypatch, handler)
    await add(node, *(Job(f"open:{n}", "open", str(n)) for n in range(3)))
    task = asyncio.create_task(run(node, 0.01))
    async with asyncio.timeout(60):
        while started < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert sorted(await due(node, time.time())) == ["open:0", "open:1", "open:2"]
