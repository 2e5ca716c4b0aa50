"""Members whose nodes are processes: started, killed, asked, and checked from outside."""

import asyncio
import multiprocessing
import os
import random
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import pytest

from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.service import fsck
from docex.settings import NodeSettings
from docex.wiring import kept_by_node
from tests.e2e.faults import life
from tests.fixtures.network import PASSPHRASE, Consortium, Organisation
from tests.fixtures.processes import free_port, unmeasured

TOKEN = "t" * 40
PATIENCE = float(os.environ.get("DOCEX_TEST_PATIENCE", "300"))
"""Seconds that a node may take to come up, or the members to settle: retries wait twice as long each time."""

_forks = multiprocessing.get_context("forkserver")


def _fork(target: life.Life) -> ForkServerProcess:
    _forks.set_forkserver_preload(["tests.e2e.faults.life"])
    with pytest.MonkeyPatch.context() as patch:  # the process that forks is started by the first call
        patch.setenv("DOCEX_TEST_FORKS", "1")
        for name in os.environ.keys() - unmeasured().keys():
            patch.delenv(name)
        process = _forks.Process(target=life.run, args=(target,), daemon=True)
        process.start()
    return process


@dataclass
class Member:
    """A member of the consortium and its node, which is a process while it runs.

    ``forked`` nodes start in a tenth of the time; those that are not are commands of their own. Both run `docex serve`.
    """

    consortium: Consortium
    organisation: Organisation
    folder: Path
    forked: bool = True
    given: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | ForkServerProcess | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "passphrase").write_bytes(PASSPHRASE)
        self.jump(0.0)
        self.client = self.connect()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def account(self) -> str:
        return self.organisation.account

    @property
    def settings(self) -> NodeSettings:
        names = {name.removeprefix("DOCEX_").lower(): value for name, value in self.environment().items()}
        return NodeSettings(**names)  # type: ignore[arg-type]

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def connect(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {TOKEN}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30.0, trust_env=False)

    def environment(self) -> dict[str, str]:
        return {
            "DOCEX_DATA": str(self.folder / "data"),
            "DOCEX_KEYSTORE": str(self.organisation.folder),
            "DOCEX_RPC": self.consortium.chain.url,
            "DOCEX_DEPLOYMENT": str(self.consortium.record),
            "DOCEX_CONFIRMATIONS": "1",
            "DOCEX_INTERVAL": "0.1",
            "DOCEX_PORT": str(self.port),
            "DOCEX_API_TOKEN": TOKEN,
        } | self.given

    def jump(self, seconds: float) -> None:
        """Let the clock of a forked node be wrong by so much, from now on."""
        file = self.folder / "clock"
        with file.open("r+b" if file.exists() else "wb") as clock:
            clock.write(struct.pack("d", seconds))

    def log(self, lines: int = 40) -> str:
        """The last words of the node."""
        file = self.folder / "log"
        said = file.read_text(errors="replace").splitlines()[-lines:] if file.exists() else []
        return f"--- the last lines of the log of {self.folder.name} ---\n" + "\n".join(said)

    # --- its process -------------------------------------------------------------------------------------------------

    def launch(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the node, and don't wait."""
        assert not self.running
        arguments = ("serve", "--passphrase-file", str(self.folder / "passphrase"))
        given = self.environment() | dict(environment or {})
        log, clock = self.folder / "log", str(self.folder / "clock")
        if self.forked:
            self._process = _fork(life.Life(arguments, given, str(log), clock))
            return
        clean = {name: value for name, value in unmeasured().items() if not name.startswith("DOCEX_")}
        command = [sys.executable, "-m", "docex.cli", *arguments]
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, env=clean | given, stdout=output, stderr=output)

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the node; returns when it answers."""
        self.launch(environment)
        await self.until_up()

    async def until_up(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.running, f"the node ended\n{self.log()}"
                with suppress(httpx.HTTPError):
                    if (await self.client.get("/livez")).status_code == 200:
                        return
                await asyncio.sleep(0.02)

    @property
    def exit_code(self) -> int | None:
        """How its process ended: minus the signal, as always."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode if self._process is not None else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self.exit_code is None

    async def until_dead(self) -> int:
        """Wait for the end of its process; its exit code."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while (code := self.exit_code) is None:
            assert loop.time() < deadline, f"the node does not end\n{self.log()}"
            await asyncio.sleep(0.01)
        return code

    async def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None and self.running:
            self._process.kill()
            await self.until_dead()

    # --- what it says ------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Any:
        answer = await self.client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, f"{answer.text}\n{self.log()}"
        return answer.json()

    async def until(self, what: Callable[[], Any], within: float = PATIENCE) -> None:
        """Wait until an awaitable says yes; calls that fail say nothing yet."""
        try:
            async with asyncio.timeout(within):
                while True:
                    with suppress(httpx.HTTPError):
                        if await what():
                            return
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not so within {within:.0f} seconds\n{self.log()}") from None

    # --- what it keeps -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def store(self) -> AsyncIterator[SqlStore]:
        """Its database, from outside."""
        engine = make_engine(self.settings.database_url)
        yield SqlStore(engine)
        await engine.dispose()

    async def counts(self) -> dict[str, int]:
        async with self.store() as store:
            return await store.counts()

    async def fsck(self, *, deep: bool = False, ledger: bool = False) -> fsck.Report:
        """What `docex fsck` says."""
        async with kept_by_node(self.settings, ledger=ledger) as kept:
            return await fsck.check(kept, deep=deep)


def seeded(variable: str = "DOCEX_TEST_SEED") -> tuple[random.Random, str]:
    """Randomness that a failure can be repeated with, and how."""
    seed = int(os.environ.get(variable) or random.SystemRandom().randrange(1 << 32))
    said = f"{variable}={seed}"
    print(said)
    return random.Random(seed), said
