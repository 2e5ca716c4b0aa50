"""What a local folder holds after its writer was killed or ran into a limit, in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.local import LocalStore
from tests.fixtures.stores import MI, fetched, paths, source

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def run(root: Path, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in its own process, with what it needs to put a blob into the folder."""
    head = f"""
import asyncio, os, resource, signal, sys
from pathlib import Path
from storage import *
from storage.local import LocalStore
async def source(count, then=lambda: None):
    for _ in range(count):
        yield bytes(1 << 20)
    then()
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
store = LocalStore(Path({str(root)!r}))
"""
    command = [sys.executable, "-c", head + program]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)


def test_a_full_disk_fails_the_put_and_leaves_nothing(root: Path) -> None:
    done = run(
        root,
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))
try:
    asyncio.run(store.put("a/b", source(4)))
except StorageFull as error:
    print(error.code, error)
""",
    )
    assert done.stdout == "storage_full 'a/b': the size limit for one file is reached\n"
    assert everything(root) == [".incoming"]


CRASHES = {
    "while writing": ("source(3, die)", "", False),
    "before it is linked": ("source(3)", "os.link = die", False),
    "before its entry is synced": (
        "source(3)",
        "link = os.link; os.link = lambda *a, **k: (link(*a, **k), setattr(os, 'fsync', die))",
        True,
    ),
    "before the draft is removed": ("source(3)", "os.unlink = die", True),
}


@pytest.mark.parametrize("moment", CRASHES)
async def test_a_crash_leaves_a_whole_blob_or_none_and_the_next_start_clears_the_rest(root: Path, moment: str) -> None:
    chunks, before, stored = CRASHES[moment]
    done = run(root, f"{before}\nasyncio.run(store.put('a/b', {chunks}))")
    assert done.returncode == -signal.SIGKILL
    assert len(everything(root / ".incoming")) == 1
    store = LocalStore(root)
    assert everything(root / ".incoming") == []
    assert await paths(store) == (["a/b"] if stored else [])
    if stored:
        assert await fetched(store, "a/b") == bytes(3 * MI)
    else:
        assert await store.put("a", source(b"no folder is in the way")) == 23
    await store.close()
