"""Every statement is anchored exactly once: nodes are killed, chains stop, forget and reorganise in mid-work."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, cast

import pytest
from structlog.testing import capture_logs

from docex.core.state import Batch, BatchState
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger import chain
from docex.ledger.funding import anvil_set_balance
from docex.ledger.notary import NotaryClient
from docex.ledger.process import LocalChain, bound_to_parent
from docex.ledger.rpc import Rpc
from docex.service import worker
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from keys.account import LocalAccount
from tests.e2e.anchoring_lives import DONE, KILLED, Life, make_node
from tests.fixtures.anvil import NewChain
from tests.fixtures.databases import NewSqlite
from tests.fixtures.statements import document_statement, stored_document
from tests.unit.ledger.support import ETHER, deployed

ROOT = Path(__file__).parents[2]
STOPPED = float(os.environ.get("DOCEX_TEST_STOPPED", "1"))
"""Seconds that the chain is stopped for."""
PATIENCE = 60.0


@dataclass
class Stage:
    """A member on a chain with its contracts, and its node's database."""

    chain: LocalChain
    rpc: Rpc
    life: Life
    store: SqlStore
    transactions: SqlTransactionStore
    said: list[bytes]

    @property
    def address(self) -> str:
        return LocalAccount(bytes.fromhex(self.life.secret)).address

    async def deposit(self, count: int) -> None:
        for _ in range(count):
            said = document_statement(f"{len(self.said)}")
            await self.store.add_document(stored_document(said), [said])
            self.said.append(said.digest)

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.call("anvil_mine", hex(blocks))

    async def all_final(self) -> bool:
        return (await self.store.counts())["statements_not_final"] == 0

    def node(self, rpc: Rpc | None = None) -> Node:
        return make_node(self.life, rpc or self.rpc, self.store, self.transactions)

    async def anchor(self, node: Node) -> list[Batch]:
        """Go on until everything is final."""
        while not await self.all_final():
            await anchor_waiting(node)
            await self.mine()
        return list(await self.store.batches(BatchState.FINAL))

    async def check(self) -> list[Batch]:
        """Every statement is in one batch, and every batch anchored once, by one transaction, where the node says."""
        assert await self.store.batches(BatchState.SEALED) == []
        batches = await self.store.batches(BatchState.FINAL)
        leaves = [leaf for batch in batches for leaf in await self.store.batch_leaves(batch.number)]
        assert sorted(leaves) == sorted(self.said)
        head = await chain.head(self.rpc)
        notary = NotaryClient(self.rpc, self.life.notary)
        anchors = await notary.anchors_of(self.address, 0, head.number)
        assert sorted((each.root, each.size, each.block_number) for each in anchors) == sorted(
            (batch.root, batch.size, batch.block_number) for batch in batches
        )
        for batch in batches:
            assert batch.transaction is not None
            info = await chain.transaction(self.rpc, batch.transaction)
            assert info is not None
            assert (info.block_hash, info.block_time) == (batch.block_hash, batch.block_time)
        count = await self.rpc.call("eth_getTransactionCount", self.address, "latest")
        assert int(count, 16) == len(batches)  # and no transaction was for nothing
        return list(batches)


@asynccontextmanager
async def staged(private: LocalChain, database: str, folder: Path) -> AsyncIterator[Stage]:
    secret = os.urandom(32)
    account, engine = LocalAccount(secret), make_engine(database)
    async with Rpc(private.url) as rpc:
        network = await deployed(rpc)
        await anvil_set_balance(rpc, account.address, 100 * ETHER)
        await network.consortium.admit(account.address, "Mine AG")
        contracts = network.deployment.directory, network.deployment.notary
        life = Life(private.url, database, *contracts, secret.hex(), str(folder / "packets"))
        yield Stage(private, rpc, life, SqlStore(engine), SqlTransactionStore(engine), [])
    await engine.dispose()


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
        async with Rpc(private.url, timeout=0.3) as impatient, working(stage.node(impatient)):
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


# --- the chain reorganises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
async def test_a_reorg_as_deep_as_the_confirmations_or_one_more_ends_in_one_anchor(stage: Stage, depth: int) -> None:
    """With three confirmations, four blocks take a final anchor away: an alarm, and it is made again."""
    stage.life = replace(stage.life, confirmations=3)
    node = stage.node()
    await stage.deposit(2)
    await stage.anchor(node)
    await stage.deposit(2)
    await anchor_waiting(node)
    await stage.mine(depth - 1)
    await anchor_waiting(node)
    before = await stage.store.batch(2)
    assert before.state is (BatchState.FINAL if depth > 3 else BatchState.SEALED)
    first = await stage.store.batch(1)
    await stage.rpc.call("anvil_reorg", depth, [])
    with capture_logs() as logs:
        await anchor_waiting(node)
    assert [(each["event"], each["kind"]) for each in logs] == [("ledger_alarm", "reorg")] * (depth > 3)
    assert await stage.store.batch(1) == first
    again = await stage.store.batch(2)
    assert (again.state, again.transaction, again.root) == (BatchState.SEALED, None, before.root)
    assert (await stage.store.counts())["statements_not_final"] == 2
    await stage.anchor(node)
    after = (await stage.check())[1]
    assert after.number == before.number
    if depth > 3:
        assert after.transaction == before.transaction
        assert after.block_hash != before.block_hash


async def test_a_chain_that_forgets_everything_after_the_contracts_gets_all_anchors_again(stage: Stage) -> None:
    snapshot = await stage.rpc.call("evm_snapshot")
    node = stage.node()
    await stage.deposit(5)
    await stage.anchor(node)
    await stage.rpc.call("evm_revert", snapshot)
    with capture_logs() as logs:
        await anchor_waiting(node)
    assert [each["kind"] for each in logs] == ["reorg"] * 3
    assert (await stage.store.counts())["statements_not_final"] == 5
    await stage.anchor(node)
    assert [batch.size for batch in await stage.check()] == [2, 2, 1]


async def test_two_workers_through_a_deep_reorg_anchor_once(stage: Stage) -> None:
    nodes = stage.node(), stage.node()
    for number in range(4):
        await stage.deposit(3)
        while not await stage.all_final():
            await asyncio.gather(*(anchor_waiting(node) for node in nodes))
            await stage.mine()
        if number < 3:
            await stage.rpc.call("anvil_reorg", 3, [])
            await asyncio.gather(*(anchor_waiting(node) for node in nodes))
    await stage.check()


# --- the database is an older copy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", range(4))
async def test_a_database_restored_from_an_older_copy_takes_its_anchors_over(stage: Stage, moment: int) -> None:
    """A copy from before the batches were made, before the anchors were sent, and from before they were final."""
    url = stage.life.database
    path = Path(url.removeprefix("sqlite+aiosqlite:///"))
    node = stage.node()
    await stage.deposit(5)
    if moment == 1:
        for _ in range(3):
            await stage.store.make_batch(2, node.now())
    for _ in range(moment - 1):
        await anchor_waiting(node)
        await stage.mine()
    older = path.with_name("older.db")
    backup(path, older)
    await stage.anchor(node)
    await stage.check()
    engine = make_engine(f"sqlite+aiosqlite:///{older}")
    stage.store, stage.transactions = SqlStore(engine), SqlTransactionStore(engine)
    stage.life = replace(stage.life, database=f"sqlite+aiosqlite:///{older}")
    restored = stage.node()
    async with asyncio.timeout(PATIENCE):
        await stage.anchor(restored)
    await stage.check()
    await stage.deposit(2)
    await stage.anchor(restored)
    await stage.check()
    await engine.dispose()


def backup(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
