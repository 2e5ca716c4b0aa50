"""Small tools to run the stages of a stream on several threads, in order and with bounded memory.

The heavy steps (hashing, Zstandard, ChaCha20-Poly1305, reading and writing) release the GIL, so threads are enough. An
error in any stage reaches the consumer, and leaving the consumer's loop, in whatever way, ends every thread.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END = object()
_WORTH_A_THREAD = 1 << 18  # bytes


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield ``items`` in order while a thread of its own works up to ``depth`` items ahead.

    Closing it waits for the item that is being made, so that nothing touches the caller's streams afterwards; then
    ``items`` is closed, on its own thread, if it is a generator.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                ready.put(item)
                if stopped.is_set():
                    break
            if isinstance(items, Generator):
                items.close()
            ready.put(_END)
        except BaseException as error:
            ready.put(_Failure(error))

    thread = threading.Thread(target=produce, name="docex-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                try:
                    raise item.error
                finally:
                    del item  # else error and frame would keep each other, and the buffers, alive
            yield item  # type: ignore[misc]  # the queue holds T, _END and _Failure
    finally:
        stopped.set()
        while thread.is_alive():  # the producer may be waiting for room in the queue
            with suppress(queue.Empty):
                ready.get_nowait()
            thread.join(0.01)


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], workers: int, quick: Callable[[T], bool] = lambda _: False
) -> Generator[R, None, None]:
    """Apply ``function`` on ``workers`` threads and yield the results in the order of ``items``.

    Items that are ``quick`` are done on the caller's thread: handing them over would cost more.
    """
    pending: deque[Future[R] | Callable[[], R]] = deque()

    def first() -> R:
        done = pending.popleft()
        return done.result() if isinstance(done, Future) else done()

    with ThreadPoolExecutor(workers, thread_name_prefix="docex-map") as pool:
        try:
            for item in items:
                pending.append(partial(function, item) if quick(item) else pool.submit(function, item))
                if len(pending) > workers:
                    yield first()
            while pending:
                yield first()
        finally:
            for each in pending:
                if isinstance(each, Future):
                    each.cancel()


class Buffers:
    """Buffers of one size that are used again: at these speeds fresh memory costs more than the work on it.

    There are as many as are out at a time, which the stages of a pipeline bound.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()

    def take(self) -> memoryview:
        """A buffer, with whatever was in it."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return memoryview(bytearray(self._size))

    def give(self, buffer: memoryview) -> None:
        """Give back what `take` gave; nobody may use it any more."""
        self._free.put(buffer)


class Hasher:
    """The SHA-256 of a stream, taken on a thread of ``pool`` (which has one) while the caller goes on.

    Hashing costs as much as reading, encrypting and writing together, so a second core should do it. Small pieces are
    hashed at once: handing them over would cost more.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._hash = hashlib.sha256()
        self._pending: deque[Future[None]] = deque()

    def update(self, data: memoryview) -> Future[None] | None:
        """Hash ``data``; where a future is returned, ``data`` must stay as it is until that is done."""
        if len(data) < _WORTH_A_THREAD:
            self._wait(0)
            self._hash.update(data)
            return None
        self._wait(1)
        future = self._pool.submit(self._hash.update, data)
        self._pending.append(future)
        return future

    def digest(self) -> str:
        """``sha256:<hex>`` of everything so far."""
        self._wait(0)
        return f"sha256:{self._hash.hexdigest()}"

    def _wait(self, left: int) -> None:
        while len(self._pending) > left:
            self._pending.popleft().result()


def hashing_pool() -> ThreadPoolExecutor:
    """The thread that hashers share; it starts when there is something to hash on it."""
    return ThreadPoolExecutor(1, thread_name_prefix="docex-hash")
