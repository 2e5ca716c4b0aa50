"""What arrives while a transaction is under way goes into the next one together.

Transactions cost much and rows in them little, on SQLite most of all, where one waits for the other. Nothing is kept
here: whoever brings an item waits until its transaction is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST = 100
"""Items of one transaction."""


class Grouped(Generic[T, R]):
    """Calls ``add`` with the items that have come meanwhile; no two of a call have the same ``key``."""

    def __init__(
        self, add: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]], key: Callable[[T], Hashable]
    ) -> None:
        """``add`` returns for each item, in order, its result or the error that its caller gets."""
        self._add = add
        self._key = key
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._working: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Have an item added; returns when it is. Giving up waiting does not take it back."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken = self._take()
                for (_, future), result in zip(taken, await self._results([item for item, _ in taken]), strict=True):
                    if future.done():  # its caller gave up
                        continue
                    if isinstance(result, BaseException):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._working = None

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        taken: dict[Hashable, tuple[T, asyncio.Future[R]]] = {}
        left = []
        for each in self._waiting:
            key = self._key(each[0])
            if key in taken or len(taken) == MOST:
                left.append(each)
            else:
                taken[key] = each
        self._waiting = left
        return list(taken.values())

    async def _results(self, items: Sequence[T]) -> Sequence[R | BaseException]:
        try:
            return await self._add(items)
        except Exception as error:  # such as a database that is gone: each caller hears of it
            return [error] * len(items)
