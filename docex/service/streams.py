"""Bridges between asyncio and the packet pipeline, which runs on threads. The slower side sets the pace."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TypeVar

from docex.core.age.streams import Destination
from storage import BlobStore

T = TypeVar("T")

_PIECE = 1 << 18
"""Bytes that go from one side to the other at a time: a hand-over between threads costs more than copying so many."""
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
        self._reading: Future[bytes] | None = None  # ahead of the thread
        self._asked: Future[bytes] | None = None  # the last one
        self._primed = False
        self._ended = False
        self._stopped = False

    async def prime(self) -> None:
        """Wait for the first bytes, so that a client who sends none, or little, holds no thread (event loop only).

        From then on the iterator is read ahead of the thread: whoever primes a source reads it to its end or stops it.
        """
        if not self._primed:
            self._primed = True
            self._rest = memoryview(await self._next())

    def readable(self) -> bool:
        """True, as for every reader."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # callers pass memoryviews
        """Fill some of ``buffer``; 0 at the end of the iterator, whose errors come out here."""
        while not self._rest:
            reading = self._reading or self._ask()
            if reading is None:
                return 0
            self._reading = None
            try:
                piece = reading.result()
            except CancelledError:  # for asyncio it would mean that the reader was cancelled
                raise BrokenPipeError("nobody waits for this stream any more") from None
            self._rest = memoryview(piece)
            if self._primed:
                self._reading = self._ask()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _ask(self) -> Future[bytes] | None:
        """Have the loop bring the next piece; None when there is none."""
        if self._ended:
            return None
        asked = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        self._asked = asked
        if self._stopped:
            asked.cancel()
        return asked

    def stop(self) -> None:
        """Fail the read that a thread waits in, and all later ones, with BrokenPipeError (event loop only)."""
        self._stopped = True
        if self._asked is not None:
            self._asked.cancel()

    async def _next(self) -> bytes:
        """Some bytes, of a primed source only a few where the iterator has no more; none at its end."""
        parts, size, enough = [], 0, _PIECE if self._primed else 1
        while size < enough and not self._ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._ended = True
            else:
                parts.append(chunk)
                size += len(chunk)
        return b"".join(parts)


class _Pipe:
    """What a thread writes, as an asynchronous iterator."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(_DEPTH)
        self._held = bytearray()
        self._abandoned = False

    def write(self, data: memoryview, /) -> int:
        """Take a copy of ``data``; waits while the reader is behind."""
        if len(self._held) + len(data) < _PIECE:
            self._held += data
        else:
            self._flush()
            self._put(bytes(data))
        return len(data)

    def end(self, error: BaseException | None = None) -> None:
        if error is None:
            self._flush()
        self._put(error)

    def abandon(self) -> None:
        """The reader has gone: let the writer fail at its next write, and free it if it waits (event loop only)."""
        self._abandoned = True
        self._room.release()

    def _flush(self) -> None:
        if self._held:
            self._put(bytes(self._held))
            self._held.clear()

    def _put(self, item: bytes | BaseException | None) -> None:
        # Unlike awaiting the queue from here, this costs no hand-over as long as there is room.
        if not self._abandoned:
            self._room.acquire()
        if self._abandoned:
            raise BrokenPipeError("nobody reads this stream any more")
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while (item := await self._queue.get()) is not None:
            self._room.release()
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
