"""A disk that is full, with database, packets and log on it, and that has room again later.

As root the disk is a small tmpfs. Everywhere the kernel's limit on the size of files makes one of any folder: then
every write of the node fails, whatever it is for.
"""

import asyncio
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.faults.accounts import under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import Member

pytestmark = pytest.mark.timeout(420)

_CAP_SYS_ADMIN = 21
_SIZE = 32 << 20


def may_mount() -> bool:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return os.geteuid() == 0 and found is not None and bool(int(found[1], 16) >> _CAP_SYS_ADMIN & 1)


class Disk(Protocol):
    folder: Path

    def fill(self, member: Member) -> None: ...

    def free(self, member: Member) -> None: ...


class Tmpfs:
    """A file system of `_SIZE` bytes, filled by a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, member: Member) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def free(self, member: Member) -> None:
        (self.folder / "ballast").unlink()


class Limit:
    """A limit on what the node's process may write: no file gets longer than nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _set(self, member: Member, size: int) -> None:
        _, most = resource.prlimit(member.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(member.pid, resource.RLIMIT_FSIZE, (size, most))

    def fill(self, member: Member) -> None:
        self._set(member, 0)

    def free(self, member: Member) -> None:
        self._set(member, resource.RLIM_INFINITY)


@pytest.fixture(params=["limit", *(["tmpfs"] if may_mount() else [])])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limit":
        yield Limit(folder)
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=True)
    try:
        yield Tmpfs(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_loses_nothing_and_all_goes_on_once_it_has_room(new_member: NewMember, disk: Disk) -> None:
    mine, maker = await new_member("Mine", folder=disk.folder / "Mine"), await new_member("Maker")
    await asyncio.gather(mine.start(), maker.start())
    codes: set[str] = set()

    async def deposit() -> None:
        answer = await mine.client.put("/api/v1/documents/too-much", content=bytes(10))
        if answer.status_code != 201:
            assert answer.status_code == 503, answer.text
            codes.add(answer.json()["type"].rpartition(":")[2])

    async def fails(part: str) -> bool:
        answer = await mine.client.get("/readyz")
        return answer.status_code == 503 and answer.json()["parts"][part] != "ok"

    async with under_load(mine, maker) as said:
        for _ in range(2):
            await asyncio.sleep(1.0)
            disk.fill(mine)
            await mine.until(lambda: fails("storage"))
            await asyncio.gather(*(deposit() for _ in range(8)))
            _, path, version, _ = said.deposits[0]
            assert (await mine.client.get(f"/api/v1/documents/{path}?version={version}")).status_code == 200
            await asyncio.sleep(1.0)
            disk.free(mine)
        assert codes
        assert codes <= {"storage_full", "database_unavailable"}
