"""One suite for every BlobStore: which paths it takes, and how folders come and go."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings

from storage import BlobExists, BlobNotFound, BlobStore, InvalidPath, PathConflict
from tests.fixtures.blob_paths import INVALID_PATHS, VALID_PATHS, valid_paths
from tests.fixtures.stores import NewStore, fetched, paths, source


@pytest.mark.parametrize("path", VALID_PATHS, ids=lambda path: ascii(path)[:40])
async def test_a_valid_path_is_kept_unchanged(store: BlobStore, path: str) -> None:
    await store.put(path, source(b"content"))
    assert await paths(store) == [path]
    assert (await store.stat(path)).path == path
    assert await fetched(store, path) == b"content"
    folder = path.rpartition("/")[0]
    assert await paths(store, folder) == [path]
    await store.delete(path)
    assert await paths(store) == []


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(path=valid_paths)
async def test_any_valid_path_is_kept_unchanged(store: BlobStore, path: str) -> None:
    folder = str(uuid.uuid4())  # examples share the store
    await store.put(f"{folder}/{path}", source(path.encode()))
    assert await paths(store, folder) == [f"{folder}/{path}"]
    assert await fetched(store, f"{folder}/{path}") == path.encode()


@pytest.mark.parametrize("path", INVALID_PATHS, ids=lambda path: ascii(path)[:40])
async def test_an_invalid_path_is_refused_by_every_method(store: BlobStore, path: str) -> None:
    async def untouched() -> AsyncIterator[bytes]:
        raise AssertionError("the source was read")
        yield b""

    for call in (store.put(path, untouched()), store.stat(path), store.delete(path)):
        with pytest.raises(InvalidPath) as caught:
            await call
        assert caught.value.code == "invalid_path"
        assert len(str(caught.value)) < 200
    with pytest.raises(InvalidPath):
        async with store.open(path):
            pass
    if path != "" and not (path.endswith("/") and len(path) > 1):  # these name folders
        with pytest.raises(InvalidPath):
            await paths(store, path)
    assert await paths(store) == []


async def test_what_is_absent_is_not_found(store: BlobStore) -> None:
    await store.put("a/b/c", source(b"content"))
    for path in ("x", "a", "a/b", "a/b/c/d", "a/b/cc", "A/b/c"):
        with pytest.raises(BlobNotFound) as caught:
            await store.stat(path)
        assert caught.value.code == "blob_not_found"
        with pytest.raises(BlobNotFound):
            await store.delete(path)
        with pytest.raises(BlobNotFound):
            async with store.open(path):
                pass
    assert await paths(store) == ["a/b/c"]


async def test_a_fresh_store_is_empty_and_becomes_ready(store: BlobStore) -> None:
    assert await paths(store) == []
    with pytest.raises(BlobNotFound):
        await store.stat("a")
    with pytest.raises(BlobNotFound):
        await store.delete("a")
    await store.check()
    await store.check()
    assert await paths(store) == []


async def test_a_deleted_path_is_free_again(store: BlobStore) -> None:
    await store.put("a/b", source(b"first"))
    await store.delete("a/b")
    with pytest.raises(BlobNotFound):
        await store.delete("a/b")
    assert await store.put("a/b", source(b"second")) == 6
    assert await fetched(store, "a/b") == b"second"


async def test_a_blob_being_read_survives_or_fails_its_deletion(store: BlobStore) -> None:
    await store.put("blob", source(b"x" * 100))
    async with store.open("blob") as reader:
        await store.delete("blob")
        try:
            read = b"".join([chunk async for chunk in reader])
        except BlobNotFound:
            read = b"x" * 100
    assert read == b"x" * 100


async def test_a_path_is_a_blob_or_a_folder_never_both(store: BlobStore) -> None:
    await store.put("a/b/c", source(b"content"))
    for path in ("a", "a/b", "a/b/c/d", "a/b/c/d/e"):
        with pytest.raises(PathConflict) as caught:
            await store.put(path, source(b"in the way"))
        assert caught.value.code == "path_conflict"
    assert await paths(store) == ["a/b/c"]


async def test_a_folder_vanishes_with_its_last_blob(store: BlobStore) -> None:
    await store.put("a/b/c", source(b"1"))
    await store.put("a/d", source(b"2"))
    await store.delete("a/b/c")
    assert await store.put("a/b", source(b"now a blob")) == 10
    await store.delete("a/b")
    await store.delete("a/d")
    assert await store.put("a", source(b"now a blob")) == 10


async def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(store: BlobStore, new_store: NewStore) -> None:
    other = new_store()

    async def cycle(one: BlobStore, number: int) -> None:
        for _ in range(10):
            await one.put(f"a/b/{number}", source(b"x"))
            await one.delete(f"a/b/{number}")

    await asyncio.gather(*(cycle((store, other)[n % 2], n) for n in range(6)))
    assert await paths(store) == []
    await store.put("a/b/kept", source(b"x"))
    with pytest.raises(BlobExists):
        await other.put("a/b/kept", source(b"y"))
    await other.close()
