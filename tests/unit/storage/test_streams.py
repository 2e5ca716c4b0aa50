"""Cutting streams anew, and waiting for work that can't be stopped."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.streams import blocks, gathered, uninterrupted


async def stream(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(chunks=st.lists(st.binary(max_size=20), max_size=20), size=st.integers(1, 25))
async def test_blocks_are_slices_of_the_whole(chunks: list[bytes], size: int) -> None:
    whole = b"".join(chunks)
    expected = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert [block async for block in blocks(stream(chunks), size)] == expected


async def test_a_block_is_given_before_more_is_asked_for() -> None:
    asked = 0

    async def counting() -> AsyncIterator[bytes]:
        nonlocal asked
        for _ in range(9):
            asked += 1
            yield b"four"

    async for block in blocks(counting(), 8):
        assert len(block) == 8 or asked == 9
        assert asked <= 9
        if asked <= 2:
            assert asked == 2


@given(chunks=st.lists(st.binary(max_size=20), max_size=20), size=st.integers(1, 25))
async def test_short_chunks_are_gathered_and_long_ones_left_alone(chunks: list[bytes], size: int) -> None:
    given = [block async for block in gathered(stream(chunks), size)]
    assert b"".join(given) == b"".join(chunks)
    assert all(size <= len(block) < size + 20 for block in given[:-1])
    assert b"" not in given
    (only,) = [block async for block in gathered(stream([b"long enough"]), 11)]
    assert only == b"long enough"


async def test_work_gives_its_result_or_error() -> None:
    async def failing() -> None:
        raise LookupError

    assert await uninterrupted(asyncio.ensure_future(asyncio.sleep(0, "result"))) == "result"
    with pytest.raises(LookupError):
        await uninterrupted(asyncio.ensure_future(failing()))


@pytest.mark.parametrize("ending", ["result", "error", "cancelled"])
@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancelled_wait_goes_on_to_the_end_of_the_work(ending: str, cancels: int) -> None:
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(_wait(work))
    await asyncio.sleep(0)
    for number in range(cancels):
        waiting.cancel(f"cancel {number}")
        await asyncio.sleep(0.001)
    assert not waiting.done()
    if ending == "result":
        work.set_result("unused")
    elif ending == "error":
        work.set_exception(LookupError())
    else:
        work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()


async def _wait(work: asyncio.Future[str]) -> str:
    return await uninterrupted(work)
