from __future__ import annotations

import gc
import hashlib
import io
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import count, islice
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core.pipeline import LAG, Crew, Hasher

T = TypeVar("T")
R = TypeVar("R")


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "docex-crew"}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = own_threads()
    yield
    assert own_threads() == before


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        time.sleep(0.001)


class Failure(Exception):
    pass


def failing(after: int, error: BaseException) -> Iterator[int]:
    yield from range(after)
    raise error


def mapped(function: Callable[[T], R], items: Iterable[T], helpers: int = 1) -> Generator[R, None, None]:
    with Crew(helpers) as crew:
        yield from crew.map(function, items)


@settings(deadline=None)
@given(st.lists(st.integers()), st.integers(0, 3))
def test_results_come_in_the_order_of_the_items(items: list[int], helpers: int) -> None:
    assert list(mapped(str, items, helpers)) == list(map(str, items))


def test_order_holds_when_later_items_are_done_first() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 2 == 0 else 0)
        return item

    assert list(mapped(slow_first, range(10), 2)) == list(range(10))


@pytest.mark.parametrize("helpers", [1, 2])
def test_helpers_work_ahead_but_only_so_far(helpers: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            made.append(number)
            yield number

    with closing(mapped(str, items(), helpers)) as results:
        assert list(islice(results, 3)) == ["0", "1", "2"]
        limit = 3 + 2 * helpers + 4
        wait_until(lambda: len(made) >= limit)
        time.sleep(0.02)
        assert made == list(range(limit))


def test_without_helpers_the_caller_does_everything_when_it_is_needed() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    with Crew(0) as crew:
        results = crew.map(lambda item: (item, threading.current_thread()), items())
        assert next(results) == (0, threading.current_thread())
        assert made == [0]
        assert list(results) == [(number, threading.current_thread()) for number in (1, 2)]


def test_a_single_item_starts_no_thread() -> None:
    with Crew(1) as crew:
        assert list(crew.map(str, [1])) == ["1"]
        assert not own_threads()


def test_the_caller_works_on_the_rest_while_a_helper_is_at_its_item() -> None:
    here, at = threading.current_thread(), threading.Event()

    def work(item: int) -> str:
        if item == 2:  # whoever has it waits until the other one has done an item behind it
            assert at.wait(60)
        elif item > 2:
            at.set()
        return threading.current_thread().name

    who = list(mapped(work, range(6)))
    assert at.is_set()
    assert set(who) <= {here.name, "docex-crew"}


def test_who_waits_for_a_task_does_it() -> None:
    with Crew(0) as crew:
        first, second = crew.in_order(lambda: threading.current_thread()), crew.in_order(lambda: 2)
        assert crew.result(second) == 2
        assert first.done
        assert crew.result(first) is threading.current_thread()


def test_tasks_in_order_are_done_one_at_a_time_whoever_does_them() -> None:
    done: list[int] = []
    busy = threading.Lock()

    def work(number: int) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        done.append(number)
        busy.release()

    with Crew(2) as crew:
        tasks = []
        for number in crew.map(int, range(30)):
            tasks.append(crew.in_order(partial(work, number)))
        for task in reversed(tasks):
            crew.result(task)
    assert done == list(range(30))


@pytest.mark.parametrize("helpers", [0, 2])
@pytest.mark.parametrize("after", [0, 1, 2, 5])
@pytest.mark.parametrize("error", [Failure("x"), OSError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_error_of_the_source_reaches_the_consumer_after_the_items_before_it(
    after: int, error: BaseException, helpers: int
) -> None:
    got: list[int] = []
    with pytest.raises(type(error)) as caught:
        got.extend(mapped(int, failing(after, error), helpers))
    assert caught.value is error
    assert got == list(range(after))


def test_an_error_of_the_function_reaches_the_consumer_in_its_place() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise Failure(item)
        return item

    got: list[int] = []
    with pytest.raises(Failure, match="3"):
        got.extend(mapped(fail_at_three, count()))
    assert got == [0, 1, 2]


def test_an_error_of_a_task_reaches_who_asks_for_it() -> None:
    with Crew(1) as crew:
        task = crew.in_order(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            crew.result(task)


def test_a_stop_iteration_of_a_stage_does_not_pass_for_its_end() -> None:
    def stops(_: int) -> int:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(mapped(stops, range(3)))
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(mapped(int, (stops(item) for item in range(3))))


def test_a_ctrl_c_in_the_middle_of_somebody_s_task_ends_the_caller_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts without it
    try:
        with Crew(0) as crew:
            crew.in_order(lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                crew.result(crew.in_order(int))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("taken", [0, 1, 2, 7])
def test_a_consumer_may_stop_at_any_time(taken: int) -> None:
    with closing(mapped(str, count(), 2)) as results:
        assert len(list(islice(results, taken))) == taken


def test_a_consumer_that_fails_ends_the_threads() -> None:
    def consume() -> None:
        with closing(mapped(str, count(), 2)) as results:
            deque(islice(results, 3), maxlen=0)
            assert own_threads()
            raise Failure

    with pytest.raises(Failure):
        consume()


def test_a_forgotten_stage_ends_its_thread() -> None:
    results = mapped(str, count())
    assert list(islice(results, 2)) == ["0", "1"]
    assert own_threads()
    del results
    gc.collect()


def test_a_stage_that_was_never_started_has_no_thread() -> None:
    mapped(str, count()).close()


def test_where_no_thread_is_to_be_had_the_caller_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(mapped(str, range(10))) == list(map(str, range(10)))


def blocking_second(release: threading.Event, then: Callable[[], int]) -> Iterator[int]:
    """Blocks in its third item, which a helper takes."""
    yield 0
    yield 1
    assert release.wait(60)
    yield then()


def test_closing_waits_for_a_source_that_blocks_and_then_closes_it() -> None:
    release, closed = threading.Event(), threading.Event()

    def blocking() -> Iterator[int]:
        try:
            yield from blocking_second(release, lambda: 2)
            yield 3
        finally:
            closed.set()

    results = mapped(str, blocking())
    assert list(islice(results, 2)) == ["0", "1"]
    threading.Timer(0.1, release.set).start()
    results.close()
    assert closed.is_set()


def test_a_source_that_fails_while_the_consumer_stops_is_no_error() -> None:
    release = threading.Event()

    def fail() -> int:
        raise Failure

    results = mapped(str, blocking_second(release, fail))
    assert list(islice(results, 2)) == ["0", "1"]
    threading.Timer(0.05, release.set).start()
    results.close()


def test_a_source_left_in_the_middle_of_a_document_closes_it() -> None:
    stream = io.BytesIO(bytes(100))

    def read() -> Iterator[bytes]:
        with stream:
            while True:
                yield stream.read(1)

    with closing(mapped(bytes, read())) as results:
        next(results)
    assert stream.closed


@pytest.mark.parametrize("helpers", [0, 1])
def test_an_error_keeps_no_buffer_alive(helpers: int) -> None:
    class Buffer:
        pass

    alive: list[weakref.ref[Any]] = []

    def items() -> Iterator[Buffer]:
        for _ in range(3):
            alive.append(weakref.ref(buffer := Buffer()))
            yield buffer
            del buffer
        raise Failure

    def same(buffer: Buffer) -> Buffer:
        return buffer

    gc.disable()
    try:
        with pytest.raises(Failure):
            deque(mapped(same, items(), helpers), maxlen=0)
        assert [each() for each in alive] == [None, None, None]
    finally:
        gc.enable()


@settings(deadline=None)
@given(st.lists(st.integers(0, 1 << 19), max_size=12), st.integers(0, 2))
def test_a_digest_is_the_same_whoever_takes_it(sizes: list[int], helpers: int) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    with Crew(helpers) as crew:
        hasher = Hasher(crew)
        for piece in crew.map(bytes, pieces):
            hasher.update(memoryview(piece))
        assert hasher.digest() == "sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()


def test_a_hasher_is_only_so_far_behind_and_says_when_a_piece_may_be_reused() -> None:
    piece = bytearray(b"a" * (1 << 18))
    with Crew(0) as crew:  # nobody hashes before somebody waits
        hasher = Hasher(crew)
        tasks = [hasher.update(memoryview(piece)) for _ in range(LAG)]
        assert [each.done for each in tasks if each] == [False] * LAG
        last = hasher.update(memoryview(piece))
        assert [each.done for each in tasks if each] == [True, *[False] * (LAG - 1)]
        assert last is not None
        crew.result(last)
        piece[:] = bytes(len(piece))
        assert hasher.digest() == "sha256:" + hashlib.sha256(b"a" * ((LAG + 1) << 18)).hexdigest()


def test_small_pieces_are_hashed_at_once() -> None:
    with Crew(1) as crew:
        assert Hasher(crew).update(memoryview(bytes(1000))) is None
        assert not own_threads()
