"""Calls counted by several processes on one database."""

import asyncio

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.db.models import CallRow
from docex.db.store import SqlStore


async def rows(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(CallRow)) or 0


async def test_counts_of_all_processes_add_up(sql_store: SqlStore) -> None:
    assert await sql_store.add_calls(7, {}) == {}
    assert await sql_store.add_calls(7, {"a": 3, "b": 1}) == {"a": 3, "b": 1}
    assert await sql_store.add_calls(7, {"a": 2, "c": -1}) == {"a": 5, "c": -1}
    assert await sql_store.add_calls(8, {"a": 1}) == {"a": 1}
    assert await sql_store.add_calls(7, {"a": 1}) == {"a": 6}  # by a process whose clock is behind


async def test_counts_added_at_once_lose_nothing(sql_store: SqlStore) -> None:
    names = [f"{number:032}" for number in range(20)]
    added = [dict.fromkeys(names if turn % 2 else reversed(names), 1) for turn in range(10)]
    await asyncio.gather(*(sql_store.add_calls(7, each) for each in added))
    assert await sql_store.add_calls(7, dict.fromkeys(names, 0)) == dict.fromkeys(names, 10)


async def test_thousands_of_callers_are_settled_and_forgotten(sql_store: SqlStore, engine: AsyncEngine) -> None:
    assert len(await sql_store.add_calls(7, {f"{number:032}": number for number in range(1200)})) == 1200
    assert await rows(engine) == 1200
    await sql_store.add_calls(8, {"a": 1})
    assert await rows(engine) == 1201
    await sql_store.add_calls(9, {"a": 1})
    assert await rows(engine) == 2
