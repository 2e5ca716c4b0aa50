"""What a local folder may hold that no store put there, and that nothing leads out of it."""

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage import (
    BlobNotFound,
    PathConflict,
    StorageUnavailable,
)
from storage.folder import Folder
from storage.local import LocalStore
from tests.fixtures.stores import DATA, MI, fetched, paths, source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalStore]:
    before = descriptors()
    opened = LocalStore(root)
    yield opened
    await opened.close()
    assert descriptors() == before


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"not the store's")
    return folder


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def absent(store: LocalStore, path: str) -> None:
    with pytest.raises(BlobNotFound):
        await store.stat(path)
    with pytest.raises(BlobNotFound):
        await fetched(store, path)
    with pytest.raises(BlobNotFound):
        await store.delete(path)


async def test_a_symlinked_folder_leads_nowhere(store: LocalStore, root: Path, outside: Path) -> None:
    await store.put("a/b", source(b"content"))
    (root / "link").symlink_to(outside)
    (root / "a/link").symlink_to(root)
    for path in ("link/secret", "a/link/a/b"):
        await absent(store, path)
    for path in ("link/new", "link/deep/new", "a/link/new", "link"):
        with pytest.raises(PathConflict):
            await store.put(path, source(b"x"))
    assert await paths(store) == ["a/b"]
    assert await paths(store, "link") == await paths(store, "a/link") == []
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert sorted(p.name for p in root.iterdir()) == [".incoming", "a", "link"]


async def test_a_symlinked_file_is_no_blob(store: LocalStore, root: Path, outside: Path) -> None:
    (root / "link").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "new")
    for path in ("link", "dangling"):
        await absent(store, path)
        with pytest.raises(PathConflict):
            await store.put(path, source(b"x"))
    assert await paths(store) == []
    assert (outside / "secret").read_bytes() == b"not the store's"
    assert not (outside / "new").exists()


async def test_a_symlink_swapped_in_between_two_steps_leads_nowhere(
    store: LocalStore, root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def swapped(path: str, mode: int, *, dir_fd: int) -> None:
        real(path, mode, dir_fd=dir_fd)
        os.rmdir(path, dir_fd=dir_fd)
        os.symlink(outside, path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", swapped)
    with pytest.raises(PathConflict):
        await store.put("a/b", source(b"x"))
    assert [p.name for p in outside.iterdir()] == ["secret"]


def test_a_symlinked_area_for_drafts_is_refused(root: Path, outside: Path) -> None:
    root.mkdir()
    (root / ".incoming").symlink_to(outside)
    before = descriptors()
    with pytest.raises(StorageUnavailable):
        LocalStore(root)
    assert descriptors() == before
    assert (outside / "secret").exists()


async def test_the_root_itself_may_be_a_symlink(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    store = LocalStore(tmp_path / "link")
    (tmp_path / "link").unlink()  # the store stays where it began
    await store.put("a", source(b"content"))
    await store.close()
    assert (outside / "a").read_bytes() == b"content"


async def test_pipes_and_sockets_are_no_blobs(store: LocalStore, root: Path) -> None:
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(root)  # a socket's path is limited to 108 bytes
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    for path in ("pipe", "socket"):
        await absent(store, path)
        with pytest.raises(PathConflict):
            await store.put(path, source(b"x"))
    assert await paths(store) == []


async def test_foreign_names_are_passed_over_with_a_warning(
    store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store.put("a/b", source(b"content"))
    for name in (b"back\\slash", b"u\xcc\x88", b"not utf-8 \xff", b"a/new\nline"):
        (root / os.fsdecode(name)).touch()
    assert await paths(store) == ["a/b"]
    assert "passed over 4 entries whose names are no valid paths" in caplog.text


async def test_what_another_program_put_is_listed_and_read(store: LocalStore, root: Path) -> None:
    (root / "a").mkdir()
    (root / "a/foreign.pdf").write_bytes(DATA[: 3 * MI])
    assert await paths(store) == ["a/foreign.pdf"]
    assert await fetched(store, "a/foreign.pdf", 5, 2 * MI) == DATA[5 : 5 + 2 * MI]


async def test_a_listing_goes_on_where_things_vanish(store: LocalStore, root: Path) -> None:
    for name in ("a", "b", "c/d", "e"):
        await store.put(name, source(b"x"))
    walk = store._folder.walk(())
    assert next(walk).path == "a"
    for name in ("b", "c/d"):
        await store.delete(name)
    assert [info.path for info in walk] == ["e"]
    assert [info.path for info in store._folder.walk(("e",))] == []


async def test_a_listing_that_fails_or_ends_early_releases_its_folders(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a/b/c", source(b"x"))
    before = descriptors()
    async for _ in store.list():
        break
    listing = store.list()
    await anext(listing)
    await listing.aclose()  # type: ignore[attr-defined]  # an async generator, as every backend's
    real, calls = os.scandir, 0

    def failing(descriptor: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.EIO, "the disk is broken")
        return real(descriptor)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(StorageUnavailable):
        await paths(store)
    assert calls == 3
    assert descriptors() == before


async def test_a_file_cut_short_while_read_is_an_error(store: LocalStore, root: Path) -> None:
    await store.put("blob", source(DATA))
    async with store.open("blob") as reader:
        await anext(reader.chunks)
        os.truncate(root / "blob", MI)
        with pytest.raises(StorageUnavailable, match="was cut short by another program"):
            await anext(reader.chunks)


async def test_nothing_is_read_after_the_reader_is_closed(store: LocalStore) -> None:
    await store.put("blob", source(DATA))
    async with store.open("blob") as reader:
        await anext(reader.chunks)
    with pytest.raises(StopAsyncIteration):
        await anext(reader.chunks)


async def test_an_open_that_is_cancelled_leaves_no_descriptor(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("blob", source(b"x"))
    before, started, real = descriptors(), threading.Event(), store._folder.open

    def slow(parts: tuple[str, ...]) -> tuple[int, os.stat_result]:
        opened = real(parts)
        started.set()
        time.sleep(0.05)
        return opened

    monkeypatch.setattr(store._folder, "open", slow)
    for path, pause in (("blob", 0.01), ("absent", 0.0)):
        reading = asyncio.create_task(fetched(store, path))
        await asyncio.to_thread(started.wait, 60)
        await asyncio.sleep(pause)
        reading.cancel()
        with pytest.raises((asyncio.CancelledError, BlobNotFound)):
            await reading
    assert descriptors() == before


async def test_a_failed_open_that_is_cancelled_is_a_cancellation(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def failing(parts: tuple[str, ...]) -> tuple[int, os.stat_result]:
        started.set()
        go_on.wait(60)
        raise BlobNotFound("late")

    monkeypatch.setattr(store._folder, "open", failing)
    reading = asyncio.create_task(fetched(store, "blob"))
    await asyncio.to_thread(started.wait, 60)
    reading.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await reading


def test_a_root_that_can_not_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageUnavailable, match=str(root)):
            LocalStore(root)


async def test_a_root_that_is_gone_is_found_by_the_check(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    await store.check()
    (tmp_path / "store/.incoming").rmdir()
    (tmp_path / "store").rmdir()
    with pytest.raises(StorageUnavailable):
        await store.check()
    with pytest.raises(StorageUnavailable):
        await store.put("a", source(b"x"))
    await store.close()


def test_a_closed_folder_reaches_no_stranger(root: Path) -> None:
    folder = Folder(root)
    folder.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.stat(("a",))
