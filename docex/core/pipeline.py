"""Two small tools to run the stages of a stream on several threads, in order and with bounded memory.

The heavy steps (hashing, Zstandard, ChaCha20-Poly1305, reading and writing) release the GIL, so threads are enough. An
error in any stage reaches the consumer, and leaving the consumer's loop, in whatever way, ends every thread.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END = object()


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


def map_ordered(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Apply ``function`` on ``workers`` threads and yield the results in the order of ``items``."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="docex-map") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
