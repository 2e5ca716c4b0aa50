"""Every statement is anchored exactly once: chains reorganise, also deeper than agreed, and databases are restored."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from docex.core import proof
from docex.core.facts import Trust, collect_facts
from docex.core.proof import Network
from docex.core.state import BatchState
from docex.core.verdict import Overall
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger import chain
from docex.ledger.deploy import deploy
from docex.ledger.funding import anvil_set_balance
from docex.ledger.process import LocalChain
from docex.ledger.reader import open_reader
from docex.ledger.rpc import Rpc
from docex.service.anchoring import anchor_waiting
from docex.settings import NodeSettings
from docex.verify import Content, verify
from keys.account import LocalAccount
from tests.e2e.anchoring_stage import Stage, staged
from tests.fixtures.anvil import NewChain
from tests.fixtures.databases import NewSqlite
from tests.fixtures.network import Consortium, serving
from tests.unit.ledger.support import ETHER, mine, sender_of

PATIENCE = 60.0
CONTENT = b"%PDF-1.7 quality certificate"
DOCUMENT = Content("sha256:" + hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
async def stage(new_chain: NewChain, new_sqlite: NewSqlite, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(new_chain(), new_sqlite(tmp_path / "docex.db"), tmp_path) as made:
        yield made


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


# --- and the proofs --------------------------------------------------------------------------------------------------


async def founded(private: LocalChain, folder: Path) -> Consortium:
    admin, record = LocalAccount.generate(), folder / "deployment.json"
    async with Rpc(private.url) as rpc:
        await anvil_set_balance(rpc, admin.address, 1000 * ETHER)
        return Consortium(private, admin, await deploy(rpc, sender_of(rpc, admin), record), record)


@asynccontextmanager
async def mining(rpc: Rpc) -> AsyncIterator[None]:
    async def go_on() -> None:
        while True:
            await mine(rpc)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(go_on())
    yield
    task.cancel()
    await asyncio.wait([task])


async def judged(value: Any, rpc_url: str, network: Network) -> Overall:
    made = proof.parse(json.dumps(value).encode())
    async with open_reader(rpc_url, network) as reader:
        facts = await collect_facts(made, reader)
    return verify(DOCUMENT, made, Trust("test", network, confirmations=2), facts).overall


async def test_after_a_deep_reorg_a_node_hands_out_proofs_of_the_new_anchor(
    new_chain: NewChain, tmp_path: Path
) -> None:
    consortium = await founded(new_chain(), tmp_path)
    url, deployment = consortium.chain.url, consortium.deployment
    network = Network(deployment.chain_id, deployment.directory, deployment.notary)
    organisation = await consortium.join(tmp_path / "keystore", "Mine AG")
    settings = NodeSettings(
        data=tmp_path / "data",
        keystore=organisation.folder,
        rpc=url,
        deployment=consortium.record,
        confirmations=2,
        interval=0.05,
        port=0,
    )
    async with Rpc(url) as rpc, serving(organisation, settings) as node:
        document = await node.deposit("cert.pdf", CONTENT)
        path = f"proofs/{document['digest']}"
        async with mining(rpc):
            before = await node.until(path, lambda it: it["statement"]["anchor"], PATIENCE)
        assert await judged(before, url, network) is Overall.VALID
        anchor = before["statement"]["anchor"]
        await mine(rpc, 2)
        depth = (await chain.head(rpc)).number - anchor["block_number"] + 1
        await rpc.call("anvil_reorg", depth, [])
        assert await judged(before, url, network) is Overall.INVALID
        await node.deposit("another.pdf", b"content")  # so that the node looks at the chain at once
        await node.until(path, lambda it: not it["statement"]["anchor"], PATIENCE)
        async with mining(rpc):
            after = await node.until(path, lambda it: it["statement"]["anchor"], PATIENCE)
        assert await judged(after, url, network) is Overall.VALID
        assert await judged(before, url, network) is Overall.INVALID
        assert after["statement"]["inclusion"] == before["statement"]["inclusion"]
        assert after["statement"]["anchor"]["transaction"] == anchor["transaction"]
        assert after["statement"]["anchor"]["block_hash"] != anchor["block_hash"]
