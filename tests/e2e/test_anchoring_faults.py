"""Every statement is anchored exactly once: nodes are killed between any two steps, chains stop in mid-work."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, cast

import pytest

from docex.core.state import BatchState
from docex.ledger.process import bound_to_parent
from docex.ledger.rpc import Rpc
from docex.service import worker
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from tests.e2e.anchoring_lives import DONE, KILLED, Life
from tests.e2e.anchoring_stage import Stage, staged
from tests.fixtures.anvil import NewChain
from tests.fixtures.databases import NewSqlite

ROOT = Path(__file__).parents[2]
STOPPED = float(os.environ.get("DOCEX_TEST_STOPPED", "1"))
"""Seconds that the chain is stopped for."""
PATIENCE = 60.0


@pytest.fixture
async def stage(new_chain: NewChain, new_sqlite: NewSqlite, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(new_chain(), new_sqlite(tmp_path / "docex.db"), tmp_path) as made:
        yield made


# --- the node is killed ----------------------------------------------------------------------------------------------


class Lives:
    """The process that gives a node its lives."""

    def __init__(self, process: "subprocess.Popen[str]", words: IO[bytes]) -> None:
        self._process, self._words = process, words

    async def live(self, life: Life) -> str:
        return await asyncio.to_thread(self._live, life)

    def _live(self, life: Life) -> str:
        print(json.dumps(asdict(life)), file=self._process.stdin, flush=True)
        end = cast("IO[str]", self._process.stdout).readline().strip()
        if end not in (KILLED, DONE):
            self._words.seek(0)
            pytest.fail(f"a life ended with {end!r}: {self._words.read().decode(errors='replace')[-3000:]}")
        return end


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    command = bound_to_parent([sys.executable, "-m", "tests.e2e.anchoring_lives"])
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True
        )
        with process:
            yield Lives(process, words)


async def test_a_node_killed_after_any_step_goes_on_and_anchors_once(stage: Stage, lives: Lives) -> None:
    for calls in range(1, 200):
        await stage.deposit(2)
        end = await lives.live(replace(stage.life, calls=calls))
        if end == DONE:
            break
        await stage.anchor(stage.node())
    assert end == DONE
    assert calls > 15
    assert len(await stage.check()) == calls


async def test_a_node_killed_in_every_one_of_its_lives_comes_to_an_end_too(stage: Stage, lives: Lives) -> None:
    await stage.deposit(7)
    for calls in range(1, 200):
        if await lives.live(replace(stage.life, calls=calls)) == DONE:
            break
    assert calls > 10
    assert [batch.size for batch in await stage.check()] == [2, 2, 2, 1]


async def test_a_node_killed_at_any_moment_while_statements_come_in_anchors_each_once(
    stage: Stage, lives: Lives
) -> None:
    async def mining() -> None:
        while True:
            await stage.mine()
            await asyncio.sleep(0.05)

    miner = asyncio.create_task(mining())
    for number in range(16):
        life = asyncio.create_task(lives.live(replace(stage.life, seconds=0.03 + number * 0.017)))
        while not life.done():
            await stage.deposit(1)
            await asyncio.sleep(0.02)
        assert await life == KILLED
    miner.cancel()
    assert await lives.live(stage.life) == DONE
    await stage.check()


# --- the chain stops -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def working(node: Node) -> AsyncIterator[None]:
    """The node's worker, running."""
    task = asyncio.create_task(worker.run(node, 0.02))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until_final(stage: Stage) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await stage.all_final():
            await asyncio.sleep(0.05)


async def deposit_for(stage: Stage, seconds: float) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        await stage.deposit(1)
        await asyncio.sleep(max(0.05, seconds / 100))


@pytest.mark.parametrize("how", ["frozen", "restarted"])
async def test_a_chain_stopped_in_mid_work_loses_and_doubles_nothing(
    new_chain: NewChain, new_sqlite: NewSqlite, tmp_path: Path, how: str
) -> None:
    private = new_chain(state=tmp_path / "chain.json", block_time=0.05)
    async with staged(private, new_sqlite(tmp_path / "docex.db"), tmp_path) as stage:
        async with Rpc(private.url, timeout=1.0) as impatient, working(stage.node(impatient)):
            await deposit_for(stage, 0.5)
            if how == "frozen":
                assert private.pid is not None
                os.kill(private.pid, signal.SIGSTOP)
                await deposit_for(stage, STOPPED)
                assert not await stage.all_final()
                os.kill(private.pid, signal.SIGCONT)
            else:
                await asyncio.to_thread(private.stop)
                await deposit_for(stage, STOPPED)
                assert not await stage.all_final()
                private.start()
            await deposit_for(stage, 0.2)
            await until_final(stage)
        await stage.check()


async def test_a_chain_that_mines_nothing_for_a_while_loses_and_doubles_nothing(
    new_chain: NewChain, new_sqlite: NewSqlite, tmp_path: Path
) -> None:
    async with staged(new_chain(), new_sqlite(tmp_path / "docex.db"), tmp_path) as stage:
        await stage.rpc.call("evm_setAutomine", False)
        node = stage.node()
        await stage.deposit(5)
        for _ in range(5):
            assert await anchor_waiting(node) == 0
        for batch in await stage.store.batches(BatchState.SEALED):
            row = await stage.transactions.find(f"anchor:31337:{stage.life.notary}:{batch.root.hex()}:{batch.size}:0")
            assert row is not None
            (attempt,) = row.attempts
            await stage.rpc.call("anvil_dropTransaction", "0x" + attempt.transaction.hex())  # and the pool forgets
        assert [batch.size for batch in await stage.anchor(node)] == [2, 2, 1]
        await stage.check()
