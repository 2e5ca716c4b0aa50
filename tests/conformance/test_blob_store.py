"""One suite for every BlobStore: what `storage.protocol` promises, on each backend."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from storage import BlobExists, BlobNotFound, BlobStore, InvalidRange
from tests.fixtures.stores import DATA, KI, MI, NewStore, fetched, paths, source


class SourceError(Exception):
    """What a source raises in these tests."""


async def failing(data: bytes, error: BaseException) -> AsyncIterator[bytes]:
    async for chunk in source(data):
        yield chunk
    raise error


EDGES = [0, 1, 64 * KI - 1, 64 * KI, 64 * KI + 1, MI - 1, MI, MI + 1, 4 * MI - 1, 4 * MI]
EDGES += [4 * MI + 1, 8 * MI, 9 * MI]


@pytest.mark.parametrize("size", EDGES)
async def test_what_was_put_comes_back(store: BlobStore, size: int) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert await store.put("folder/blob", source(DATA[:size], 100_000)) == size
    assert await fetched(store, "folder/blob") == DATA[:size]
    info = await store.stat("folder/blob")
    assert (info.path, info.size) == ("folder/blob", size)
    assert before <= info.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert info.modified.utcoffset() == timedelta(0)
    assert [found async for found in store.list()] == [info]


@pytest.mark.parametrize("chunk", [1, 6 * MI])
async def test_any_chunk_size_is_taken(store: BlobStore, chunk: int) -> None:
    data = DATA[: 5_000 if chunk == 1 else 9 * MI]
    assert await store.put("blob", source(data, chunk)) == len(data)
    assert await fetched(store, "blob") == data


async def test_empty_chunks_change_nothing(store: BlobStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"", b"one", b"", b"two", b""):
            yield chunk

    assert await store.put("blob", chunks()) == 6
    assert await fetched(store, "blob") == b"onetwo"


async def test_a_second_process_sees_the_same(store: BlobStore, new_store: NewStore) -> None:
    await store.put("a/blob", source(b"content"))
    other = new_store()
    assert await fetched(other, "a/blob") == b"content"
    assert await other.stat("a/blob") == await store.stat("a/blob")
    await other.close()


async def test_a_path_is_written_once(store: BlobStore) -> None:
    await store.put("a/blob", source(b"first"))
    with pytest.raises(BlobExists) as caught:
        await store.put("a/blob", source(b"second"))
    assert caught.value.code == "blob_exists"
    assert await fetched(store, "a/blob") == b"first"


@pytest.mark.parametrize("size", [0, 10, 5 * MI])
async def test_of_racing_writers_exactly_one_wins(store: BlobStore, new_store: NewStore, size: int) -> None:
    other, writers = new_store(), 6
    barrier = asyncio.Barrier(writers)

    async def content(writer: int) -> AsyncIterator[bytes]:
        yield bytes([writer]) * (size + writer)
        await barrier.wait()  # all have passed every check that comes before the upload

    puts = [(store, other)[n % 2].put("a/blob", content(n)) for n in range(writers)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    winners = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert [type(r) for r in results if not isinstance(r, int)] == [BlobExists] * (writers - 1)
    assert len(winners) == 1
    assert await fetched(store, "a/blob") == bytes([winners[0]]) * (size + winners[0])
    await other.close()


@pytest.mark.parametrize("size", [0, 10, 9 * MI])
@pytest.mark.parametrize("error", [SourceError("source"), ConnectionResetError(104, "peer")], ids=repr)
async def test_a_failing_source_leaves_nothing(store: BlobStore, size: int, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await store.put("a/blob", failing(DATA[:size], error))
    assert caught.value is error
    assert await paths(store) == []
    with pytest.raises(BlobNotFound):
        await store.stat("a/blob")
    assert await store.put("a", source(b"the folder is gone as well")) == 26


@pytest.mark.parametrize("size", [0, 10, 9 * MI])
async def test_a_put_cancelled_while_waiting_leaves_nothing(store: BlobStore, size: int) -> None:
    waiting = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        async for chunk in source(DATA[:size]):
            yield chunk
        waiting.set()
        await asyncio.Event().wait()

    put = asyncio.create_task(store.put("a/blob", stalled()))
    await waiting.wait()
    assert await paths(store) == []
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert await paths(store) == []
    assert await store.put("a", source(b"again")) == 5


@pytest.mark.parametrize("size", [10, 5 * MI])
async def test_a_put_cancelled_at_any_moment_is_whole_or_absent(store: BlobStore, size: int) -> None:
    outcomes = set()
    for delay in range(40):
        put = asyncio.create_task(store.put(f"a/{delay}", source(DATA[:size], MI)))
        await asyncio.sleep(delay * 0.0007)
        put.cancel()
        try:
            await put
        except asyncio.CancelledError:
            outcomes.add("absent")
            with pytest.raises(BlobNotFound):
                await store.stat(f"a/{delay}")
        else:
            outcomes.add("whole")
            assert await fetched(store, f"a/{delay}") == DATA[:size]
    assert "absent" in outcomes


async def test_a_blob_being_written_is_invisible(store: BlobStore) -> None:
    async def watching() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield DATA[:MI]
            assert await paths(store) == []
            with pytest.raises(BlobNotFound):
                await store.stat("a/blob")

    assert await store.put("a/blob", watching()) == 6 * MI


async def test_memory_stays_constant(store: BlobStore) -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MI)

    tracemalloc.start()
    try:
        assert await store.put("large", large()) == 64 * MI
        async with store.open("large") as reader:
            assert sum([len(chunk) async for chunk in reader]) == 64 * MI
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MI


@pytest.mark.parametrize("offset", [0, 1, MI - 1, MI, 5 * MI - 1, 5 * MI, 5 * MI + 1, 1 << 40])
@pytest.mark.parametrize("length", [None, 0, 1, MI + 1, 5 * MI, 1 << 40])
async def test_ranges_are_slices(ranged: BlobStore, offset: int, length: int | None) -> None:
    end = None if length is None else offset + length
    assert await fetched(ranged, "blob", offset, length) == DATA[: 5 * MI][offset:end]


@pytest.fixture
async def ranged(store: BlobStore) -> BlobStore:
    await store.put("blob", source(DATA[: 5 * MI], MI))
    return store


async def test_a_range_of_an_empty_blob_is_empty(store: BlobStore) -> None:
    await store.put("blob", source(b""))
    for offset, length in ((0, None), (0, 5), (3, None), (3, 5)):
        assert await fetched(store, "blob", offset, length) == b""


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1)])
async def test_a_negative_range_is_refused(store: BlobStore, offset: int, length: int | None) -> None:
    await store.put("blob", source(b"content"))
    with pytest.raises(InvalidRange):
        async with store.open("blob", offset, length):
            pass


async def test_a_reader_tells_of_the_whole_blob_and_may_stop_early(store: BlobStore) -> None:
    await store.put("blob", source(DATA))
    async with store.open("blob", 3, 5 * MI) as reader:
        assert reader.info == await store.stat("blob")
        async for chunk in reader:
            assert chunk == DATA[3 : 3 + len(chunk)]
            break


NAMES = ["a-b", "a.b", "a/b-c", "a/b/c-d", "a/b/c/d", "a0"]
NAMES += ["b/é", "b/ü/x", "b/日本語/1.age", "b/😀"]


async def test_a_listing_is_in_path_order_and_by_folder(store: BlobStore) -> None:
    for name in random.Random(2).sample(NAMES, len(NAMES)):
        await store.put(name, source(name.encode()))
    assert await paths(store) == NAMES == sorted(NAMES)
    below_a = ["a/b-c", "a/b/c-d", "a/b/c/d"]
    assert await paths(store, "a") == await paths(store, "a/") == below_a
    assert await paths(store, "a/b") == ["a/b/c-d", "a/b/c/d"]
    assert await paths(store, "b/日本語") == ["b/日本語/1.age"]
    assert await paths(store, "a0") == []
    assert await paths(store, "nowhere/at/all") == []


async def test_a_listing_goes_beyond_one_page(store: BlobStore) -> None:
    names = [f"many/{number:04}" for number in range(300)]
    for start in range(0, len(names), 20):
        await asyncio.gather(*(store.put(n, source(b"x")) for n in names[start : start + 20]))
    assert await paths(store, "many") == names
