"""Small asyncio pieces that the backends share."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TypeVar

T = TypeVar("T")


async def blocks(chunks: AsyncIterable[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """Cut a stream anew: blocks of `size` bytes, the last 1 to `size`; none for an empty stream.

    A backend then pays its cost per call (a thread hop, a request) once a block, whatever the
    source yields.
    """
    held = bytearray()
    async for chunk in chunks:
        view = memoryview(chunk)
        while len(held) + len(view) >= size:
            missing = size - len(held)
            block = b"".join((held, view[:missing]))
            held.clear()
            view = view[missing:]
            yield block
        held += view
    if held:
        yield bytes(held)


async def gathered(chunks: AsyncIterable[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """Join short chunks of a stream to blocks of at least `size` bytes, the last one less; none for an empty stream.

    A chunk that is as long by itself is not copied.
    """
    held: list[bytes] = []
    length = 0
    async for chunk in chunks:
        held.append(chunk)
        length += len(chunk)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    if length:
        yield b"".join(held)


async def uninterrupted(work: asyncio.Future[T]) -> T:
    """Await `work` to its end even when cancelled meanwhile, then raise the cancellation.

    A thread can't be stopped and a sent request can't be called back: to clean up after either, one
    has to know how it ended.
    """
    cancellation: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is None:
        return work.result()
    if not work.cancelled():
        work.exception()  # marks it as seen: the cancellation is what the caller hears of
    raise cancellation
