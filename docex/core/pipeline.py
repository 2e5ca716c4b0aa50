"""Threads that share the stages of a stream, in order and with bounded memory.

The stages are cut into tasks, and whoever is free takes the next one that can be done: the caller too, instead of
waiting. With a thread for each stage the system would spread those over the cores, and hardly move what runs for less
than a millisecond at a time: opening a packet left a third of one core unused.

The heavy tasks (hashing, Zstandard, ChaCha20-Poly1305, reading and writing) release the GIL, so threads are enough.

No signal cuts short what the crew does with its lock, lanes and threads (`docex.core.interrupts`): on the main thread a
crew is used within `held`, and its tasks are windows. So a handler raises in somebody's task, as if that had failed, or
where the caller has nothing to do: the lock is never left taken, no lane busy and no thread forgotten.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar, cast

from docex.core import interrupts
from docex.core.interrupts import held, passing

T = TypeVar("T")
R = TypeVar("R")

LAG = 4
"""Pieces that a `Hasher` may be behind, each of which must stay as it is until then."""
_LOW = 2  # results ahead of the caller; with fewer, taking more comes first
_MOST_HELPERS = 3  # no more is to be had from one stream: its serial stages bound it
_WORTH_A_TASK = 1 << 18  # bytes


class Task(Generic[R]):
    """Something that is done once, by whoever is free. `Crew.result` gives what came of it."""

    __slots__ = ("_value", "_work", "done", "error", "lane")

    def __init__(self, work: Callable[[], R], lane: _Lane) -> None:
        self.lane = lane
        self.done = False
        self.error: BaseException | None = None
        self._work: Callable[[], R] | None = work
        self._value: R | None = None

    def run(self) -> None:
        """Do it, and keep what comes of it, an error as well."""
        assert self._work is not None
        try:
            with passing():
                self._value = self._work()
        except BaseException as error:
            self.error = error
        self._work = None

    def take(self) -> R:
        """What came of it, which is then forgotten; an error is raised."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # else error and frame would keep each other, and the buffers, alive
        value, self._value = self._value, None
        return cast(R, value)


class _Lane(deque[Task[Any]]):
    """Tasks that nobody has begun. Of a ``serial`` lane one is done at a time."""

    def __init__(self, *, serial: bool) -> None:
        super().__init__()
        self.serial = serial
        self.busy = False


class Crew:
    """The caller and a few helpers, who start when there is something to share. Leaving the block ends them.

    It waits for what they are at; a second signal does not.

    Args:
        helpers: how many at most; by default one less than there are cores, but one to three.
    """

    def __init__(self, helpers: int | None = None) -> None:
        self.helpers = max(1, min(_cores() - 1, _MOST_HELPERS)) if helpers is None else helpers
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._hurried = False
        self._ordered = _Lane(serial=True)
        self._parallel = _Lane(serial=False)
        self._source = _Lane(serial=True)
        self._results: deque[Task[Any]] = deque()  # of items that were taken and not yielded
        self._taken = 0
        self._ended = False
        self._ahead = 2 * self.helpers + 4

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with held():
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for thread in self._threads:
                while thread.is_alive() and not self._hurried:
                    thread.join(interrupts.STEP)
                    interrupts.hurry()

    def in_order(self, work: Callable[[], R]) -> Task[R]:
        """Have something done; one such task at a time, in the order in which they were given."""
        task = Task(work, self._ordered)
        with held(), self._changed:
            self._ordered.append(task)
            self._changed.notify()
        return task

    def result(self, task: Task[R]) -> R:
        """What came of a task, once. Until it is done the caller helps with whatever there is."""
        with held():
            self._help_until(lambda: task.done, task.lane)
            return task.take()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """Apply ``function`` to ``items`` and yield the results in their order; once for each crew.

        An error of either comes out in its place. Closing the generator waits for the item that is being made, so that
        nothing touches the caller's streams afterwards; then ``items`` is closed, if it is a generator.
        """
        source = iter(items)
        pull = partial(self._pull, source, function)
        try:
            while (task := self._next(pull)) is not None:
                value: R = task.take()
                yield value
                del value  # while the next is made, its memory may be used again
        finally:
            with held():
                self._close()
                if isinstance(source, Generator):
                    source.close()

    def _next(self, pull: Callable[[], None]) -> Task[Any] | None:
        """The next result's task, done; None at the end of the items."""
        with held():
            self._pull_more(pull)
            self._help_until(lambda: bool(self._results or self._ended), self._source)
            if not self._results:
                return None
            task = self._results[0]
            self._help_until(lambda: task.done, task.lane)
            with self._changed:
                self._results.popleft()
            self._pull_more(pull)
            return task

    def _close(self) -> None:
        with self._changed:
            self._source.clear()
            self._parallel.clear()
            self._hurried = True  # unless this ends as it should
            while self._source.busy:
                self._changed.wait(interrupts.STEP)
                interrupts.hurry()
            self._hurried = False

    def _pull_more(self, pull: Callable[[], None]) -> None:
        """Have the next item taken, unless that is under way, or enough are here."""
        with self._changed:
            if not (self._ended or self._source or self._source.busy) and len(self._results) < self._ahead:
                self._source.append(Task(pull, self._source))
                self._changed.notify()

    def _pull(self, source: Iterator[T], function: Callable[[T], R]) -> None:
        """Take one item, and have the function applied to it."""
        try:
            task = Task(partial(function, next(source)), self._parallel)
        except StopIteration:
            self._ended = True
            return
        except BaseException as error:
            task = Task(partial(_raise, error), self._parallel)
            self._ended = True
        with held():
            self._add(task, partial(self._pull, source, function))

    def _add(self, task: Task[Any], pull: Callable[[], None]) -> None:
        with self._changed:
            self._results.append(task)
            self._parallel.append(task)
            if not self._ended and len(self._results) < self._ahead:
                self._source.append(Task(pull, self._source))
            self._changed.notify()
            start, self._taken = self._taken == 1, self._taken + 1
        if start:  # a single item, a small packet's, is not worth a thread
            self._start()

    def _start(self) -> None:
        with suppress(RuntimeError):  # no thread is to be had: the caller does everything
            for _ in range(self.helpers):
                thread = threading.Thread(target=self._help, name="docex-crew", daemon=True)
                thread.start()
                self._threads.append(thread)

    def _help_until(self, ready: Callable[[], bool], lane: _Lane) -> None:
        """Do what there is to do, of this lane before any other, until something is so."""
        while (task := self._find(ready, lane)) is not None:
            self._run(task)
            interrupts.check()  # a signal hits whatever the caller is at: what it raises is not the task's

    def _help(self) -> None:
        while (task := self._find(lambda: self._stopped)) is not None:
            self._run(task)

    def _find(self, ready: Callable[[], bool], lane: _Lane | None = None) -> Task[Any] | None:
        """Something to do; None once it is so."""
        with self._changed:
            while not ready():
                if (task := self._take(lane)) is not None:
                    return task
                self._changed.wait(interrupts.STEP)
                interrupts.check()
        return None

    def _take(self, first: _Lane | None) -> Task[Any] | None:
        lanes = [self._ordered, self._parallel, self._source]  # what is further on first: it frees buffers
        if len(self._results) < _LOW:
            lanes.reverse()  # else nothing would be there for whoever is free next
        for lane in lanes if first is None else (first, *lanes):
            if lane and not lane.busy:
                lane.busy = lane.serial
                return lane.popleft()
        return None

    def _run(self, task: Task[Any]) -> None:
        try:
            task.run()
        finally:
            with self._changed:
                task.done = True
                if task.lane.serial:
                    task.lane.busy = False
                self._changed.notify_all()


def _raise(error: BaseException) -> NoReturn:
    raise error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """The SHA-256 of a stream, taken by a crew while the caller goes on.

    Hashing costs as much as reading, encrypting and writing together, so a second core should do it. Small pieces are
    hashed at once: handing them over would cost more.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._hash = hashlib.sha256()
        self._pending: deque[Task[None]] = deque()

    def update(self, data: memoryview) -> Task[None] | None:
        """Hash ``data``; where a task is returned, ``data`` must stay as it is until that is done.

        The one that was given `LAG` pieces before is done then.
        """
        if len(data) < _WORTH_A_TASK:
            self._wait(0)
            self._hash.update(data)
            return None
        self._wait(LAG - 1)
        task = self._crew.in_order(partial(self._hash.update, data))
        self._pending.append(task)
        return task

    def digest(self) -> str:
        """``sha256:<hex>`` of everything so far."""
        self._wait(0)
        return f"sha256:{self._hash.hexdigest()}"

    def _wait(self, left: int) -> None:
        while len(self._pending) > left:
            self._crew.result(self._pending.popleft())
