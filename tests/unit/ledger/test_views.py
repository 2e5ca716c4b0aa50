"""Views that are asked together: one request, each caller its answer, and nobody another's failure."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from docex.errors import LedgerUnavailable
from docex.ledger.views import Call, Views

TO = "0x" + "11" * 20
A, B, C = ((TO, name) for name in (b"a", b"b", b"c"))


class Node:
    """Answers each call with its data, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[list[Call]] = []
        self.failure: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        self.requests.append(list(calls))
        await self.answering.wait()
        if self.failure is not None:
            raise self.failure
        return [data for _, data in calls]


async def test_what_is_asked_in_one_turn_is_one_request_and_asked_twice_is_asked_once() -> None:
    node = Node()
    views = Views(node.ask)
    answers = await asyncio.gather(views.answers([A, B]), views.answers([B, C]), views.answers([]))
    assert list(answers) == [[b"a", b"b"], [b"b", b"c"], []]
    assert node.requests == [[A, B, C]]


async def test_an_answer_is_never_that_of_an_earlier_request() -> None:
    node = Node()
    views = Views(node.ask)
    node.answering.clear()
    first = asyncio.create_task(views.answers([A]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(views.answers([A]))
    await asyncio.sleep(0.01)
    assert node.requests == [[A], [A]]
    node.answering.set()
    assert await first == await second == [b"a"]


async def test_each_caller_hears_that_a_request_failed_and_the_next_is_a_new_one() -> None:
    node = Node()
    views = Views(node.ask)
    node.failure = LedgerUnavailable("it is away")
    for outcome in await asyncio.gather(views.answers([A, B]), views.answers([B]), return_exceptions=True):
        assert outcome is node.failure
    node.failure = None
    assert await views.answers([B]) == [b"b"]


async def test_a_caller_that_gives_up_takes_the_answer_from_nobody() -> None:
    node = Node()
    views = Views(node.ask)
    node.answering.clear()
    leaving, staying = (asyncio.create_task(views.answers([A, B])) for _ in range(2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    node.answering.set()
    assert await staying == [b"a", b"b"]
    assert node.requests == [[A, B]]


async def test_where_the_request_is_given_up_nobody_waits_for_ever() -> None:
    node = Node()
    views = Views(node.ask)
    node.answering.clear()
    waiting = asyncio.create_task(views.answers([A]))
    await asyncio.sleep(0.01)
    (sending,) = views._sending
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
