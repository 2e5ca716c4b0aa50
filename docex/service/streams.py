"""Bridges between asyncio and the packet pipeline, which runs on threads. The slower side sets the pace."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TypeVar

from docex.core.age.streams import Destination
from storage import BlobStore

T = TypeVar("T")

_DEPTH = 4
# Apart from asyncio's own pool: a pipeline waits for storage, which may work on that pool. Made when needed, and many:
# a client that sends slowly holds one for as long.
_threads = ThreadPoolExecutor(256, thread_name_prefix="docex-stream")


class AsyncSource(io.RawIOBase):
    """A raw binary stream, for a thread, over an asynchronous iterator that belongs to ``loop``."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._chunks = chunks
        self._loop = loop
        self._rest = memoryview(b"")
        self._reading: Future[bytes | None] | None = None
        self._stopped = False

    async def prime(self) -> None:
        """Wait for the first bytes, so that a client who sends none holds no thread (event loop only)."""
        while not self._rest and (chunk := await self._next()) is not None:
            self._rest = memoryview(chunk)

    def readable(self) -> bool:
        """True, as for every reader."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # callers pass memoryviews
        """Fill some of ``buffer``; 0 at the end of the iterator, whose errors come out here."""
        while not self._rest:
            self._reading = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if self._stopped:
                self._reading.cancel()
            try:
                chunk = self._reading.result()
            except CancelledError:  # for asyncio it would mean that the reader was cancelled
                raise BrokenPipeError("nobody waits for this stream any more") from None
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def stop(self) -> None:
        """Fail the read that a thread waits in, and all later ones, with BrokenPipeError (event loop only)."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)


class _Pipe:
    """What a thread writes, as an asynchronous iterator."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_DEPTH)
        self._abandoned = False

    def write(self, data: memoryview, /) -> int:
        """Take a copy of ``data``; waits while the reader is behind."""
        self._put(bytes(data))
        return len(data)

    def end(self, error: BaseException | None = None) -> None:
        self._put(error)

    def abandon(self) -> None:
        """The reader has gone: let the writer fail at its next write, and free it if it waits (event loop only)."""
        self._abandoned = True
        while not self._queue.empty():
            self._queue.get_nowait()

    def _put(self, item: bytes | BaseException | None) -> None:
        if self._abandoned:
            raise BrokenPipeError("nobody reads this stream any more")
        asyncio.run_coroutine_threadsafe(self._queue.put(item), self._loop).result()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item


async def _ended(thread: asyncio.Future[T]) -> None:
    """Wait until a thread has ended, however often that is cancelled: it must not outlive the streams it works on."""
    while not thread.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([thread])
    thread.exception()  # read, so that asyncio does not report it as lost


async def write_blob(
    blobs: BlobStore, path: str, produce: Callable[[Destination], T], source: AsyncSource | None = None
) -> T:
    """Run ``produce`` on a thread and store what it writes under ``path``; its result, once the blob is durable.

    When either side fails nothing is stored; a ``source`` that ``produce`` reads is stopped then, so that nobody waits
    for a client who sends no more. Raises what ``produce`` or the store raises.
    """
    pipe = _Pipe(asyncio.get_running_loop())

    def run() -> T:
        try:
            result = produce(pipe)
        except BaseException as error:
            pipe.end(error if isinstance(error, Exception) else BrokenPipeError(f"the pipeline ended: {error!r}"))
            raise
        pipe.end()
        return result

    thread = asyncio.get_running_loop().run_in_executor(_threads, run)
    try:
        async with aclosing(pipe.chunks()) as chunks:
            await blobs.put(path, chunks)
    except BaseException:
        pipe.abandon()
        if source is not None:
            source.stop()
        await _ended(thread)
        raise
    return await thread


async def on_thread(function: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Run a pipeline that reads through `AsyncSource` on a thread; waits for its end even when cancelled.

    Then ``undo`` gets a result that nobody takes any more, on a thread as well: what ends the threads behind a pipeline
    waits for them, and they may wait for the event loop.
    """
    future = asyncio.get_running_loop().run_in_executor(_threads, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        if undo is not None and future.exception() is None:
            await _ended(asyncio.get_running_loop().run_in_executor(_threads, undo, future.result()))
        raise
