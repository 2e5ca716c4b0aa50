"""The bridge between asyncio and threads: it keeps pace, it ends with either side, and it never hangs."""

import asyncio
import io
import logging
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from docex.core.age.streams import Destination
from docex.core.pipeline import Crew
from docex.service import streams
from docex.service.streams import AsyncSource, on_thread, write_blob
from storage import BlobExists, StorageUnavailable
from storage.local import LocalStore
from tests.fixtures.paper_nodes import pieces
from tests.fixtures.stores import DATA, fetched, paths

PATIENCE = 60.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    made = LocalStore(tmp_path / "store")
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No thread works on, and asyncio lost no exception."""
    yield
    deadline = time.monotonic() + PATIENCE
    while streams._threads._idle_semaphore._value < len(streams._threads._threads):
        assert time.monotonic() < deadline, "a stream's thread still works"
        time.sleep(0.01)
    assert not [each for each in threading.enumerate() if each.name.startswith("docex-crew")]
    assert [
        each.getMessage() for each in caplog.records if each.name == "asyncio" and each.levelno >= logging.ERROR
    ] == []


def copy_from(source: io.RawIOBase) -> Callable[[Destination], str]:
    def produce(destination: Destination) -> str:
        buffer = memoryview(bytearray(100_000))
        while count := source.readinto(buffer):
            destination.write(buffer[:count])
        return "the result"

    return produce


def source_of(chunks: AsyncIterator[bytes]) -> AsyncSource:
    return AsyncSource(chunks, asyncio.get_running_loop())


async def refused(awaited: Awaitable[object], error: type[BaseException], match: str | None = None) -> None:
    with pytest.raises(error, match=match):
        await asyncio.wait_for(awaited, PATIENCE)


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 60_000, 1 << 20])
async def test_a_thread_reads_what_the_loop_brings(size: int) -> None:
    data = DATA[: 3_000 if size < 100 else 3_000_000]
    raw = source_of(pieces(data, size))
    assert raw.readable()
    buffered = io.BufferedReader(raw, 1 << 16)
    assert await on_thread(buffered.read) == data


async def test_empty_chunks_are_no_end() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"", b"one", b"", b"", b"two", b""):
            yield chunk

    assert await on_thread(source_of(chunks()).readall) == b"onetwo"


async def test_priming_waits_for_the_first_bytes_and_loses_none() -> None:
    asked = asyncio.Event()
    send = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b""
        asked.set()
        await send.wait()
        yield b"first"
        yield b"second"

    raw = source_of(chunks())
    priming = asyncio.create_task(raw.prime())
    await asked.wait()
    assert not priming.done()
    send.set()
    await priming
    await raw.prime()
    assert await on_thread(raw.readall) == b"firstsecond"


async def test_priming_an_empty_stream_ends() -> None:
    raw = source_of(pieces(b""))
    await raw.prime()
    assert await on_thread(raw.readall) == b""


async def test_what_the_iterator_raises_comes_out_of_the_read() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"data"
        raise ConnectionResetError("the client went away")

    await refused(on_thread(source_of(chunks()).readall), ConnectionResetError, "went away")


async def test_a_stopped_source_fails_the_read_that_waits_and_all_later_ones() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"data"
        await asyncio.sleep(3600)

    raw = source_of(chunks())
    buffer = memoryview(bytearray(10))
    assert await on_thread(lambda: raw.readinto(buffer)) == 4
    reading = asyncio.create_task(on_thread(lambda: raw.readinto(buffer)))
    await asyncio.sleep(0.05)
    raw.stop()
    await refused(reading, BrokenPipeError)
    await refused(on_thread(lambda: raw.readinto(buffer)), BrokenPipeError)


# --- threads ---------------------------------------------------------------------------------------------------------


async def test_a_cancelled_caller_waits_for_its_thread_and_the_result_is_undone() -> None:
    go, undone = threading.Event(), list[object]()
    work = asyncio.create_task(on_thread(lambda: go.wait(PATIENCE), undo=undone.append))
    await asyncio.sleep(0.02)
    for _ in range(3):  # however often
        work.cancel()
        await asyncio.sleep(0.02)
        assert not work.done()
    go.set()
    await refused(work, asyncio.CancelledError)
    assert undone == [True]


async def test_what_fails_on_a_thread_after_its_caller_was_cancelled_is_not_undone() -> None:
    go, undone = threading.Event(), list[object]()

    def fail() -> None:
        go.wait(PATIENCE)
        raise ValueError("too late")

    work = asyncio.create_task(on_thread(fail, undo=undone.append))
    await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.sleep(0.02)
    go.set()
    await refused(work, asyncio.CancelledError)
    assert undone == []


async def test_a_result_nobody_takes_is_undone_on_a_thread_that_may_wait_for_the_loop() -> None:
    """The client goes while the packet is being opened: the thread behind it still reads through the loop."""
    reached, go = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        for n in range(1000):
            if n == 1:
                reached.set()
                await go.wait()
            yield b"x" * 1000

    raw = source_of(chunks())

    def read_all() -> Iterator[bytes]:
        while data := raw.read(1000):
            yield data

    def worked_on() -> Iterator[bytes]:
        with Crew(1) as crew:
            yield from crew.map(bytes, read_all())

    def open_ahead() -> Iterator[bytes]:
        ahead = worked_on()
        assert [next(ahead), next(ahead)] == [b"x" * 1000] * 2
        return ahead

    work = asyncio.create_task(on_thread(open_ahead, undo=lambda ahead: ahead.close()))  # type: ignore[attr-defined]
    await reached.wait()
    work.cancel()
    go.set()
    await refused(work, asyncio.CancelledError)


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_what_a_thread_writes_is_stored_and_its_result_returned(store: LocalStore) -> None:
    assert await write_blob(store, "blob", copy_from(source_of(pieces(DATA)))) == "the result"
    assert await fetched(store, "blob") == DATA


async def test_a_buffer_that_is_reused_after_a_write_changes_nothing(store: LocalStore) -> None:
    def produce(destination: Destination) -> None:
        buffer = bytearray(b"first")
        destination.write(memoryview(buffer))
        buffer[:] = b"wrong"

    await write_blob(store, "blob", produce)
    assert await fetched(store, "blob") == b"first"


async def test_when_the_pipeline_fails_nothing_is_stored(store: LocalStore) -> None:
    def produce(destination: Destination) -> None:
        destination.write(memoryview(DATA))
        raise ValueError("it does not compress")

    await refused(write_blob(store, "blob", produce), ValueError, "does not compress")
    assert await paths(store) == []


async def test_when_the_pipeline_is_told_to_exit_nothing_is_stored(store: LocalStore) -> None:
    def produce(destination: Destination) -> None:
        destination.write(memoryview(DATA))
        raise KeyboardInterrupt

    await refused(write_blob(store, "blob", produce), BrokenPipeError, "KeyboardInterrupt")
    assert await paths(store) == []


async def test_when_the_source_fails_nothing_is_stored(store: LocalStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError("the client went away")

    source = source_of(chunks())
    await refused(write_blob(store, "blob", copy_from(source), source), ConnectionResetError)
    assert await paths(store) == []


class Broken(LocalStore):
    """Takes some bytes, then fails."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(root)
        self.after = after

    async def put(self, path: str, chunks: AsyncIterable[bytes]) -> int:
        async for chunk in chunks:
            self.after -= len(chunk)
            if self.after < 0:
                break
        raise StorageUnavailable("the disk is gone")


@pytest.mark.parametrize("after", [-1, 1_000_000, 1 << 40])
async def test_when_the_store_fails_the_pipeline_ends(tmp_path: Path, after: int) -> None:
    store = Broken(tmp_path / "broken", after)
    source = source_of(pieces(DATA))
    await refused(write_blob(store, "blob", copy_from(source), source), StorageUnavailable, "disk is gone")
    await store.close()


async def test_when_the_store_fails_nobody_waits_for_a_client_who_sends_no_more(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DATA
        await asyncio.sleep(3600)

    store = Broken(tmp_path / "broken", 1_000_000)
    source = source_of(chunks())
    await refused(write_blob(store, "blob", copy_from(source), source), StorageUnavailable)
    await store.close()


async def test_a_path_that_is_taken_is_an_error_before_the_client_has_sent_all(store: LocalStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DATA[: 2 << 20]
        await asyncio.sleep(3600)

    await write_blob(store, "blob", copy_from(source_of(pieces(b"first"))))
    source = source_of(chunks())
    await refused(write_blob(store, "blob", copy_from(source), source), BlobExists)
    assert await fetched(store, "blob") == b"first"


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.01, 0.05])
async def test_a_cancelled_upload_ends_and_leaves_nothing(store: LocalStore, moment: float) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield DATA[:200_000]
            await asyncio.sleep(0.001)

    source = source_of(chunks())
    upload = asyncio.create_task(write_blob(store, "blob", copy_from(source), source))
    await asyncio.sleep(moment)
    upload.cancel()
    await refused(upload, asyncio.CancelledError)
    assert await paths(store) == []


async def test_a_writer_is_held_back_while_the_store_is_slow(tmp_path: Path) -> None:
    written = 0
    stored = asyncio.Event()

    class Slow(LocalStore):
        async def put(self, path: str, chunks: AsyncIterable[bytes]) -> int:
            iterator = aiter(chunks)
            await anext(iterator)
            await stored.wait()
            return sum([len(chunk) async for chunk in iterator])

    def produce(destination: Destination) -> None:
        nonlocal written
        for _ in range(50):
            destination.write(memoryview(DATA[:1000] * 300))
            written += 1

    store = Slow(tmp_path / "slow")
    upload = asyncio.create_task(write_blob(store, "blob", produce))
    await asyncio.sleep(0.2)
    assert written <= 8
    stored.set()
    async with asyncio.timeout(PATIENCE):
        await upload
    assert written == 50
    await store.close()


async def test_more_slow_uploads_than_a_thread_pool_usually_has_hold_nobody_up(store: LocalStore) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.sleep(3600)

    sources = [source_of(trickle()) for _ in range(100)]
    slow = [
        asyncio.create_task(write_blob(store, f"slow/{n}", copy_from(source), source))
        for n, source in enumerate(sources)
    ]
    async with asyncio.timeout(PATIENCE):
        await write_blob(store, "fast", copy_from(source_of(pieces(DATA))))
    for each in slow:
        each.cancel()
    for each in slow:
        with suppress(asyncio.CancelledError):
            await each
    assert await paths(store) == ["fast"]


async def test_memory_stays_constant_for_a_large_upload(store: LocalStore) -> None:
    block, blocks = DATA[: 1 << 20], 256

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(blocks):
            yield block

    process, highest = psutil.Process(), 0
    before = process.memory_info().rss

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    await write_blob(store, "blob", copy_from(source_of(chunks())))
    watching.cancel()
    assert (await store.stat("blob")).size == blocks << 20
    assert highest - before < 64 << 20
