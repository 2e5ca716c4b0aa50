"""Views of contracts asked together: calls that come in the same turn of the event loop are one request.

A request costs a node's process over half a millisecond, a call in it a fortieth of that. Nothing is remembered: every
answer is of a request that was sent after its caller asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

Call = tuple[str, bytes]
"""A contract's address, and the call's data."""


class Views:
    """Gathers calls for ``ask``, which answers many in their order, each with its result or error."""

    def __init__(self, ask: Callable[[Sequence[Call]], Awaitable[Sequence[Any]]]) -> None:
        self._ask = ask
        self._waiting: dict[Call, list[asyncio.Future[Any]]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def answers(self, calls: Sequence[Call]) -> list[Any]:
        """The answers to these calls. Raises what ``ask`` raises."""
        if not self._waiting and calls:
            task = asyncio.create_task(self._send())
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in calls]
        for call, future in zip(calls, futures, strict=True):
            self._waiting.setdefault(call, []).append(future)
        return await asyncio.gather(*futures)

    async def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        try:
            answers = await self._ask(list(waiting))
        except Exception as error:  # whatever it is, each caller hears of it
            for future in _open(waiting.values()):
                future.set_exception(error)
        else:
            for futures, answer in zip(waiting.values(), answers, strict=True):
                for future in _open([futures]):
                    future.set_result(answer)
        finally:  # ended itself: nobody would answer any more
            for future in _open(waiting.values()):
                future.cancel()


def _open(groups: Iterable[Sequence[asyncio.Future[Any]]]) -> Iterator[asyncio.Future[Any]]:
    """Those whose callers have not given up."""
    return (future for group in groups for future in group if not future.done())
