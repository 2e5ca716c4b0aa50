"""Calls a minute, counted in memory and settled through a database between processes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.errors import TooManyCalls
from docex.service import call_limits
from docex.service.call_limits import SHARE, CallLimits, Kind, Quota, Rates
from tests.fixtures.databases import NewSqlite

START = 60 * 30_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


class Counted:
    """A store in memory that tells what it was asked for; ``down`` makes it fail."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, dict[str, int]]] = []
        self.others = 0
        self.down = False

    async def add_calls(self, window: int, counts: Mapping[str, int]) -> Mapping[str, int]:
        self.asked.append((window, dict(counts)))
        if self.down:
            raise OSError("gone")
        return {name: count + self.others for name, count in counts.items()}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def counted() -> Counted:
    return Counted()


@pytest.fixture
async def calls(counted: Counted, clock: Clock) -> AsyncIterator[CallLimits]:
    made = CallLimits(counted, Rates(caller=32, address=3, member=0), clock)
    yield made
    await made.close()


async def test_what_is_left_is_told_and_then_refused_until_the_minute_turns(calls: CallLimits, clock: Clock) -> None:
    clock.now += 20.5
    assert [calls.take(Kind.ADDRESS, "a") for _ in range(3)] == [
        Quota(Kind.ADDRESS, 3, remaining, 40) for remaining in (2, 1, 0)
    ]
    with pytest.raises(TooManyCalls, match=r"at most 3 calls a minute are taken from one address: .* 40 sec") as caught:
        calls.take(Kind.ADDRESS, "a")
    assert caught.value.seconds == 40
    assert calls.none_left(Kind.ADDRESS, 40) == Quota(Kind.ADDRESS, 3, 0, 40)
    assert calls.take(Kind.ADDRESS, "b") == Quota(Kind.ADDRESS, 3, 2, 40)  # others are not touched
    assert calls.take(Kind.CALLER, "a") == Quota(Kind.CALLER, 32, 31, 40)
    clock.now += 39.5
    assert calls.take(Kind.ADDRESS, "a") == Quota(Kind.ADDRESS, 3, 2, 60)


async def test_no_limit_is_no_count(calls: CallLimits) -> None:
    assert calls.take(Kind.MEMBER, "a") is None
    calls.give_back(Kind.MEMBER, "a")


async def test_a_call_can_be_given_back(calls: CallLimits) -> None:
    for _ in range(10):
        calls.take(Kind.ADDRESS, "a")
        calls.give_back(Kind.ADDRESS, "a")


async def test_few_calls_write_nothing(calls: CallLimits, counted: Counted) -> None:
    calls.take(Kind.CALLER, "a")
    await asyncio.sleep(0)
    await calls.close()
    assert counted.asked == []


async def test_many_calls_are_settled_together_and_those_of_others_are_learned(
    calls: CallLimits, counted: Counted
) -> None:
    counted.others = 28
    for _ in range(3):
        calls.take(Kind.CALLER, "a")
    await asyncio.sleep(0.01)  # the settlement's turn
    (window, given), *more = counted.asked
    assert (window, list(given.values()), more) == (START // 60, [3], [])
    quota = calls.take(Kind.CALLER, "a")
    assert quota is not None
    assert quota.remaining == 0
    with pytest.raises(TooManyCalls):
        calls.take(Kind.CALLER, "a")


async def test_calls_while_a_settlement_is_under_way_are_not_lost(calls: CallLimits, counted: Counted) -> None:
    for _ in range(4):
        calls.take(Kind.CALLER, "a")
    settling = asyncio.create_task(calls.settle())
    await asyncio.sleep(0)
    quota = calls.take(Kind.CALLER, "a")
    assert quota is not None
    assert quota.remaining == 32 - 5
    await settling


async def test_a_settlement_of_the_last_minute_changes_nothing_in_this_one(calls: CallLimits, clock: Clock) -> None:
    for _ in range(4):
        calls.take(Kind.CALLER, "a")
    settling = asyncio.create_task(calls.settle())
    clock.now += 60
    calls.take(Kind.CALLER, "b")
    await settling
    quota = calls.take(Kind.CALLER, "a")
    assert quota is not None
    assert quota.remaining == 31


async def test_a_database_that_is_gone_keeps_nobody_out(calls: CallLimits, counted: Counted) -> None:
    counted.down = True
    with capture_logs() as logs:
        for _ in range(3):
            calls.take(Kind.CALLER, "a")
            calls.take(Kind.CALLER, "a")
            await calls.settle()
    assert [each["event"] for each in logs] == ["calls_not_settled"]
    counted.down = False
    calls.take(Kind.CALLER, "a")
    await calls.settle()
    assert list(counted.asked[-1][1].values()) == [7]


async def test_memory_has_a_bound_whatever_addresses_come(calls: CallLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limits, "MAX_TRACKED", 5)
    for number in range(5):
        calls.take(Kind.ADDRESS, str(number))
    for number in range(5, 8):  # these share one count
        calls.take(Kind.ADDRESS, str(number))
    with pytest.raises(TooManyCalls):
        calls.take(Kind.ADDRESS, "9")
    calls.take(Kind.ADDRESS, "4")
    assert len(calls._counts) == 6


async def test_two_processes_let_through_no_more_than_the_limit_and_a_share(
    new_sqlite: NewSqlite, tmp_path: Path, clock: Clock
) -> None:
    url = new_sqlite(tmp_path / "docex.db")
    engines = [make_engine(url) for _ in range(2)]
    limit = 160
    processes = [CallLimits(SqlStore(engine), Rates(caller=limit), clock) for engine in engines]
    passed = 0
    for turn in range(4 * limit):
        try:
            processes[turn % 2].take(Kind.CALLER, "a")
            passed += 1
        except TooManyCalls:
            pass
        if turn % 10 == 9:  # in a node once a second
            for each in processes:
                await each.settle()
    # What another process has that it need not settle, and what came in between two settlements.
    assert limit <= passed <= limit + limit // SHARE + 10
    for each, engine in zip(processes, engines, strict=True):
        await each.close()
        await engine.dispose()
