from __future__ import annotations

import gc
import hashlib
import io
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.pipeline import Hasher, hashing_pool, map_ordered, prefetch


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("docex-")}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = own_threads()
    yield
    assert own_threads() == before


class Failure(Exception):
    pass


def failing(after: int, error: BaseException) -> Iterator[int]:
    yield from range(after)
    raise error


@given(st.lists(st.integers()), st.integers(1, 4), st.integers(1, 4))
def test_stages_keep_what_comes_and_its_order(items: list[int], depth: int, workers: int) -> None:
    assert list(prefetch(items, depth)) == items
    assert list(map_ordered(str, items, workers)) == list(map(str, items))
    assert list(map_ordered(str, prefetch(map(abs, items), depth), workers)) == [str(abs(item)) for item in items]


def test_order_holds_when_later_items_are_done_first() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 2 == 0 else 0)
        return item

    assert list(map_ordered(slow_first, range(10), 2)) == list(range(10))


def test_prefetch_works_ahead_but_only_so_far() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            made.append(number)
            yield number

    with closing(prefetch(items(), 3)) as stage:
        assert next(stage) == 0
        deadline = time.monotonic() + 60
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert made == [0, 1, 2, 3, 4]  # the one taken, three in the queue, one that waits for room


def test_mapping_holds_no_more_than_its_workers_need() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    with closing(map_ordered(str, items(), 2)) as stage:
        assert list(islice(stage, 5)) == ["0", "1", "2", "3", "4"]
        assert len(taken) == 7


def test_both_run_on_other_threads() -> None:
    here = threading.current_thread()
    assert here not in list(prefetch((threading.current_thread() for _ in range(3)), 1))
    assert here not in list(map_ordered(lambda _: threading.current_thread(), range(3), 2))


@pytest.mark.parametrize("after", [0, 1, 2, 5])
@pytest.mark.parametrize("error", [Failure("x"), OSError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_error_of_the_source_reaches_the_consumer_after_the_items_before_it(
    after: int, error: BaseException
) -> None:
    got: list[int] = []
    with pytest.raises(type(error)) as caught:
        got.extend(prefetch(failing(after, error), 2))
    assert caught.value is error
    assert got == list(range(after))
    with pytest.raises(type(error)):
        list(map_ordered(str, prefetch(failing(after, error), 2), 2))


def test_an_error_of_a_worker_reaches_the_consumer_in_its_place() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise Failure(item)
        return item

    got: list[int] = []
    with closing(prefetch(count(), 2)) as ahead, pytest.raises(Failure, match="3"):
        got.extend(map_ordered(fail_at_three, ahead, 2))
    assert got == [0, 1, 2]


def test_a_stop_iteration_of_a_stage_does_not_pass_for_its_end() -> None:
    def stops(_: int) -> int:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(map_ordered(stops, range(3), 2))
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(prefetch((stops(item) for item in range(3)), 2))


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_consumer_may_stop_at_any_time(taken: int) -> None:
    with closing(prefetch(count(), 2)) as ahead, closing(map_ordered(str, ahead, 2)) as stage:
        assert len(list(islice(stage, taken))) == taken


def test_a_consumer_that_fails_ends_the_threads() -> None:
    def fail(_: str) -> None:
        raise Failure

    with pytest.raises(Failure), closing(prefetch(count(), 1)) as ahead, closing(map_ordered(str, ahead, 2)) as stage:
        fail(next(stage))


def test_a_forgotten_stage_ends_its_thread() -> None:
    stage = prefetch(count(), 1)
    assert next(stage) == 0
    assert own_threads()
    del stage
    gc.collect()


def test_a_stage_that_was_never_started_has_no_thread() -> None:
    prefetch(count(), 1).close()
    map_ordered(str, count(), 1).close()


def test_closing_waits_for_a_source_that_blocks_and_then_closes_it() -> None:
    release, closed = threading.Event(), threading.Event()

    def blocking() -> Iterator[int]:
        try:
            yield 0
            release.wait(10)
            yield 1
        finally:
            closed.set()

    stage = prefetch(blocking(), 1)
    assert next(stage) == 0
    threading.Timer(0.1, release.set).start()
    stage.close()
    assert closed.is_set()


def test_a_source_that_fails_while_the_consumer_stops_is_no_error() -> None:
    waiting = threading.Event()

    def late() -> Iterator[int]:
        yield 0
        waiting.wait(10)
        raise Failure

    stage = prefetch(late(), 1)
    assert next(stage) == 0
    threading.Timer(0.05, waiting.set).start()
    stage.close()


def test_a_source_left_in_the_middle_of_a_document_closes_it() -> None:
    stream = io.BytesIO(bytes(100))

    def read() -> Iterator[bytes]:
        with stream:
            while True:
                yield stream.read(1)

    with closing(prefetch(read(), 2)) as stage:
        next(stage)
    assert stream.closed


def test_an_error_keeps_no_buffer_alive() -> None:
    class Buffer:
        pass

    alive: list[weakref.ref[Any]] = []

    def items() -> Iterator[Buffer]:
        alive.append(weakref.ref(buffer := Buffer()))
        yield buffer
        del buffer
        raise Failure

    gc.disable()
    try:
        with pytest.raises(Failure):
            deque(prefetch(items(), 1), maxlen=0)
        assert alive[0]() is None
    finally:
        gc.enable()


@given(st.lists(st.integers(0, 1 << 19), max_size=12))
def test_a_digest_is_the_same_whichever_thread_takes_it(sizes: list[int]) -> None:
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    with hashing_pool() as pool:
        hasher = Hasher(pool)
        for piece in pieces:
            hasher.update(memoryview(piece))
        assert hasher.digest() == "sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()


def test_a_hasher_has_at_most_two_pieces_under_way_and_says_when_one_may_be_reused() -> None:
    with hashing_pool() as pool:
        hasher, gate = Hasher(pool), threading.Event()
        pool.submit(gate.wait, 10)
        piece = bytearray(b"a" * (1 << 18))
        futures = [hasher.update(memoryview(piece)) for _ in range(2)]
        threading.Timer(0.05, gate.set).start()
        assert not any(each.done() for each in futures if each)
        last = hasher.update(memoryview(piece))
        assert futures[0] is not None
        assert futures[0].done()
        assert last is not None
        last.result()
        piece[:] = bytes(len(piece))
        assert hasher.digest() == "sha256:" + hashlib.sha256(b"a" * (3 << 18)).hexdigest()


def test_small_pieces_start_no_thread() -> None:
    with hashing_pool() as pool:
        assert Hasher(pool).update(memoryview(bytes(1000))) is None
        assert not [thread for thread in own_threads() if thread.name.startswith("docex-hash")]
