"""Jobs that call other members' nodes, and packets that are on their way in: shared fairly, whoever is slow or dead."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.state import Direction, Job
from docex.db.engine import make_engine
from docex.db.jobs import _peers_waiting
from docex.db.store import SqlStore
from tests.fixtures.databases import NewSqlite
from tests.fixtures.paper_nodes import Clock
from tests.fixtures.statements import MINE_ACCOUNT, NOW, THIRD_ACCOUNT, stored_transfer, transfer_statement

LEASE = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> SqlStore:
    return SqlStore(engine, clock)


def calls(peer: str, count: int) -> list[Job]:
    return [Job(f"{peer}:{n}", "deliver", str(n), peer=peer) for n in range(count)]


async def claimed(store: SqlStore, now: float, limit: int, each: int) -> list[str]:
    return [job.peer for job in await store.claim_calls(now, LEASE, limit, each)]


async def test_calls_are_claimed_apart_from_what_a_node_does_itself(store: SqlStore) -> None:
    own, (call,) = Job("open:1", "open", "1"), calls("dead", 1)
    await store.add_jobs([own, call])
    assert await store.claim(NOW, LEASE, 10) == [replace(own, attempts=1)]
    assert await store.claim_calls(NOW, LEASE, 10, 10) == [replace(call, attempts=1)]
    assert (await store.claim(NOW, LEASE, 10), await store.claim_calls(NOW, LEASE, 10, 10)) == ([], [])


async def test_one_member_never_takes_more_than_its_share(store: SqlStore) -> None:
    await store.add_jobs(calls("dead", 50))
    await store.add_jobs([*calls("alive", 3), *calls("slow", 1)])
    assert sorted(await claimed(store, NOW, 10, 2)) == ["alive", "alive", "dead", "dead", "slow"]
    assert await claimed(store, NOW, 10, 2) == []  # all have theirs
    for n in range(3):
        await store.finish(f"alive:{n}")
    await store.add_jobs(calls("alive", 1))
    assert await claimed(store, NOW, 10, 2) == ["alive"]
    assert await claimed(store, NOW, 10, 3) == ["dead"]
    assert await claimed(store, NOW, 0, 9) == []


async def test_the_share_is_free_again_once_its_job_is_put_off_or_its_worker_died(store: SqlStore) -> None:
    await store.add_jobs(calls("dead", 5))
    (first,) = await store.claim_calls(NOW, LEASE, 9, 1)
    await store.retry(first.key, NOW + 10, "down")
    assert await claimed(store, NOW, 9, 1) == ["dead"]
    assert await claimed(store, NOW, 9, 1) == []
    assert await claimed(store, NOW + LEASE, 9, 1) == ["dead"]


async def test_whose_first_call_waits_longest_comes_first(store: SqlStore, clock: Clock) -> None:
    for peer in ("c", "a", "b"):
        await store.add_jobs(calls(peer, 4))
        clock.time += 1
    assert await claimed(store, NOW + 9, 2, 1) == ["c", "a"]
    assert await claimed(store, NOW + 9, 2, 1) == ["b"]


async def test_of_workers_that_claim_at_once_each_gets_other_jobs(store: SqlStore) -> None:
    await store.add_jobs([job for n in range(6) for job in calls(f"peer {n}", 6)])
    found = await asyncio.gather(*(store.claim_calls(NOW, LEASE, 6, 6) for _ in range(6)))
    keys = [job.key for each in found for job in each]
    assert len(keys) == len(set(keys))


async def test_what_was_put_off_is_due_when_its_member_calls(store: SqlStore) -> None:
    await store.add_jobs([*calls("back", 2), *calls("away", 1)])
    failed, kept, away = sorted((await store.claim_calls(NOW, LEASE, 9, 2)), key=lambda job: job.peer != "back")
    for job in (failed, away):
        await store.retry(job.key, NOW + 3600, "down")
    await store.wake("back")
    await store.wake("nobody")
    assert [job.key for job in await store.claim_calls(NOW, LEASE, 9, 9)] == [failed.key]
    later = await store.claim_calls(NOW + 3599, LEASE, 9, 9)
    assert {job.key for job in later} == {failed.key, kept.key}  # whose worker gave no sign of life


async def test_a_delayed_job_is_due_later(store: SqlStore) -> None:
    await store.add_jobs([Job("clean:1", "clean", "1", delay=100)])
    assert await store.claim(NOW + 99, LEASE, 9) == []
    assert [job.key for job in await store.claim(NOW + 100, LEASE, 9)] == ["clean:1"]


async def test_a_backlog_for_one_member_costs_a_claim_nothing(new_sqlite: NewSqlite, tmp_path: Path) -> None:
    """Seen in the plan, and not in time: each member is found by a search in the index."""
    engine = make_engine(new_sqlite(tmp_path / "plan.db"))
    query = str(_peers_waiting(NOW).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    async with engine.connect() as connection:
        plan = [row[3] for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    await engine.dispose()
    assert [step for step in plan if "jobs" in step] == ["SEARCH jobs USING COVERING INDEX jobs_due (peer>?)"] * 2 + [
        "SEARCH jobs USING COVERING INDEX jobs_due (peer=?)"
    ] * 2, plan


# --- packets on their way in -----------------------------------------------------------------------------------------


@pytest.fixture
async def announced(store: SqlStore) -> list[str]:
    said = [transfer_statement(f"packet {n}") for n in range(4)]
    for each in said:
        await store.add_transfer(stored_transfer(each, direction=Direction.RECEIVED), [each], [])
    return [each.digest_text for each in said]


async def begin(store: SqlStore, transfer: str, holder: str, sender: str = MINE_ACCOUNT, *jobs: Job) -> bool:
    return await store.begin_arrival(transfer, sender, holder, LEASE, 2, jobs)


async def test_a_packet_is_on_its_way_once_and_a_sender_brings_few(store: SqlStore, announced: list[str]) -> None:
    one, two, three, other = announced
    assert await begin(store, one, "a")
    assert not await begin(store, one, "b")
    assert await begin(store, two, "b")
    assert not await begin(store, three, "c")
    assert await begin(store, other, "c", THIRD_ACCOUNT)
    await store.end_arrival(one, "b")  # not its own
    assert not await begin(store, one, "d")
    assert [await store.is_arriving(each, LEASE) for each in announced] == [True, True, False, True]
    await store.end_arrival(one, "a")
    assert await begin(store, three, "c")


async def test_an_upload_whose_process_died_ends_by_itself(store: SqlStore, announced: list[str], clock: Clock) -> None:
    assert await begin(store, announced[0], "a")
    clock.time = NOW + 50
    await store.keep_arrival(announced[0], "a", LEASE)
    clock.time = NOW + 109
    assert await store.is_arriving(announced[0], LEASE)
    assert not await begin(store, announced[0], "b")
    clock.time = NOW + 110
    assert not await store.is_arriving(announced[0], LEASE)
    assert await begin(store, announced[0], "b")
    await store.keep_arrival(announced[0], "a", LEASE)  # comes to life again: it holds it no more
    await store.end_arrival(announced[0], "a")
    assert not await begin(store, announced[0], "c")


async def test_of_uploads_begun_at_once_no_more_than_allowed_are_let_in(store: SqlStore, announced: list[str]) -> None:
    same = await asyncio.gather(*(begin(store, announced[0], f"same {n}") for n in range(8)))
    assert same.count(True) == 1
    rest = await asyncio.gather(*(begin(store, each, f"{n}") for n in range(4) for each in announced[1:]))
    assert rest.count(True) == 1


async def test_each_upload_puts_the_cleaning_off(store: SqlStore, announced: list[str], clock: Clock) -> None:
    job = Job("clean:1", "clean", "1", delay=100)
    assert await begin(store, announced[0], "a", MINE_ACCOUNT, job)
    clock.time = NOW + 60
    assert await begin(store, announced[0], "b", MINE_ACCOUNT, job)
    assert await store.claim(NOW + LEASE + 99, LEASE, 9) == []
    assert [each.key for each in await store.claim(NOW + LEASE + 100, LEASE, 9)] == ["clean:1"]
