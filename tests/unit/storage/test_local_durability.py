"""What the local backend leaves on the disk: after success, failure, cancellation and a crash."""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from storage import BlobNotFound, PathConflict, StorageFull, StorageUnavailable
from storage.local import LocalStore
from tests.fixtures.stores import DATA, MI, fetched, source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "new" / "store"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalStore]:
    opened = LocalStore(root)
    yield opened
    await opened.close()


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def in_proc(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def recorded(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """Note the calls that matter for durability, in their order."""
    calls: list[str] = []

    def note(name: str, tell: Callable[..., str]) -> None:
        real = getattr(os, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            told = tell(*args, **kwargs).replace(str(root), "root")
            calls.append(f"{name} {told}")
            return result

        monkeypatch.setattr(os, name, noting)

    note("fsync", in_proc)
    note("mkdir", lambda path, *_, dir_fd=None: f"{in_proc(dir_fd)}/{path}" if dir_fd else str(path))
    note("link", lambda _, path, dst_dir_fd, **__: f"{in_proc(dst_dir_fd)}/{path}")
    return calls


async def test_content_is_durable_before_its_name_and_both_before_the_return(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = recorded(monkeypatch, root)
    await store.put("a/b/c", source(b"content"))
    draft = calls[0].removeprefix("fsync root/.incoming/")
    assert len(draft) == 32
    assert calls == [
        f"fsync root/.incoming/{draft}",
        "mkdir root/a",
        "fsync root",
        "mkdir root/a/b",
        "fsync root/a",
        "link root/a/b/c",
        "fsync root/a/b",
    ]


async def test_a_deletion_is_durable_before_the_return(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("a/b", source(b"content"))
    calls = recorded(monkeypatch, root)
    await store.delete("a/b")
    assert calls == ["fsync root/a"]
    assert everything(root) == [".incoming"]


def test_the_root_is_durable_with_all_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, tmp_path)
    LocalStore(tmp_path / "x" / "y")._folder.close()
    assert calls == [
        "mkdir root/x",
        "fsync root",
        "mkdir root/x/y",
        "fsync root/x",
        "mkdir root/x/y/.incoming",
    ]


async def test_only_the_owner_may_read(store: LocalStore, root: Path) -> None:
    await store.put("a/b", source(b"content"))
    modes = [(root / path).stat().st_mode & 0o777 for path in (".", ".incoming", "a", "a/b")]
    assert modes == [0o700, 0o700, 0o700, 0o600]


@pytest.mark.parametrize("failing_call", range(1, 5))
async def test_a_failing_sync_fails_the_put_and_leaves_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    calls, real = 0, os.fsync

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(errno.EIO, "the disk is broken")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageUnavailable, match=r"^'a/b/c': input/output failed \(errno 5\)$"):
        await store.put("a/b/c", source(b"content"))
    assert everything(root) == [".incoming"]
    await store.put("a/b/c", source(b"content"))


async def test_a_device_without_space_is_reported_as_full(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real ENOSPC: the draft is written to the device that never has room.
    monkeypatch.setattr(store._folder, "create", lambda _: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(StorageFull, match=r"^'a/b': no space is left$"):
        await store.put("a/b", source(b"content"))
    assert everything(root) == [".incoming"]


async def test_a_start_spares_the_drafts_of_living_writers(store: LocalStore, root: Path) -> None:
    async def with_restart() -> AsyncIterator[bytes]:
        yield DATA[:MI]
        yield DATA[MI : 2 * MI]  # the first is written once there is a second
        (root / ".incoming" / "folder").mkdir()  # not a draft at all
        other = LocalStore(root)
        assert len(everything(root / ".incoming")) == 2
        await other.close()
        yield DATA[2 * MI :]

    assert await store.put("blob", with_restart()) == len(DATA)
    assert await fetched(store, "blob") == DATA


async def test_a_draft_taken_for_a_dead_ones_is_made_anew(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    removed: list[Path] = []

    def overtaken(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(Path(in_proc(descriptor)))
            removed[0].unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    assert await store.put("a/b", source(DATA)) == len(DATA)
    assert removed
    assert await fetched(store, "a/b") == DATA
    assert everything(root) == [".incoming", "a", "a/b"]


async def test_a_file_system_without_locks_is_found_by_the_check(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StorageUnavailable):
        await store.check()
    assert everything(root) == [".incoming"]


@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_put_cancelled_while_publishing_leaves_nothing(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, cancels: int
) -> None:
    linked, go_on, real = threading.Event(), threading.Event(), os.link

    def slow(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        linked.set()
        go_on.wait(60)

    monkeypatch.setattr(os, "link", slow)
    put = asyncio.create_task(store.put("a/b", source(b"content")))
    await asyncio.to_thread(linked.wait, 60)
    assert (root / "a/b").exists()
    for _ in range(cancels):
        put.cancel()
        await asyncio.sleep(0.01)
    assert not put.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert everything(root) == [".incoming"]


async def test_a_folder_that_vanishes_before_the_link_is_made_again(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls, always = os.link, 0, False

    def link(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1 or always:
            (root / "a").rmdir()  # as a delete does with a folder it leaves empty
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", link)
    assert await store.put("a/b", source(b"content")) == 7
    assert calls == 2
    await store.delete("a/b")
    always = True
    with pytest.raises(StorageUnavailable, match="its folder keeps vanishing"):
        await store.put("a/b", source(b"content"))
    assert everything(root) == [".incoming"]


async def test_folders_a_crash_left_hollow_are_in_nobodys_way(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/d").mkdir()
    with pytest.raises(BlobNotFound):
        await store.stat("a")
    assert await store.put("a", source(b"content")) == 7
    (root / "e/f").mkdir(parents=True)
    real = os.rmdir

    def filled_meanwhile(path: str, *, dir_fd: int) -> None:
        (root / "e/f/blob").touch()
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", filled_meanwhile)
    with pytest.raises(PathConflict):
        await store.put("e", source(b"content"))
    assert everything(root) == [".incoming", "a", "e", "e/f", "e/f/blob"]
