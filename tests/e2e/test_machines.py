"""One node of several processes on one database: APIs and workers share the work, and any of them may be killed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from docex.core.state import BatchState
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger import chain
from docex.ledger.notary import NotaryClient
from docex.ledger.process import CHAIN_ID
from docex.ledger.rpc import Rpc
from tests.fixtures.network import Consortium, Join, Organisation, RunningNode, StartNode
from tests.fixtures.processes import Process

DOCUMENTS = 24


async def until(done: Callable[[], Awaitable[Any]], within: float = 120.0) -> None:
    async with asyncio.timeout(within):
        while not await done():
            await asyncio.sleep(0.1)


class Machines:
    """Two APIs and two workers of one member."""

    def __init__(self, consortium: Consortium, member: Organisation, folder: Path, database: str) -> None:
        self.apis = [Process(consortium, member, folder, "--api", DOCEX_DATABASE=database) for _ in range(2)]
        self.workers = [Process(consortium, member, folder, "--worker", DOCEX_DATABASE=database) for _ in range(2)]
        self.all = [*self.apis, *self.workers]

    async def send(self, name: str, to: Organisation, api: int) -> tuple[str, str]:
        """Deposit at one API, transfer at the other; ids of the transfer and the document's statement."""
        one, other = self.apis[api % 2], self.apis[(api + 1) % 2]
        async with one.client() as client:
            answer = await client.put(f"/api/v1/documents/{name}", content=name.encode() * 1000)
            assert answer.status_code == 201, answer.text
        async with other.client() as client:
            wanted = {"documents": [name], "to": [to.account]}
            sent = await client.post("/api/v1/transfers", json=wanted)
            assert sent.status_code == 202, sent.text
        return sent.json()["id"], answer.json()["digest"]

    def calls(self, worker: int, node: RunningNode) -> bool:
        """Whether a worker has a connection to a node."""
        port = int(node.url.rsplit(":", 1)[1])
        found = psutil.Process(self.workers[worker].id).net_connections("tcp")
        return any(each.raddr and each.raddr.port == port for each in found)


async def check_ledger(consortium: Consortium, member: Organisation, database: str) -> None:
    """Every statement is in one batch, each batch was anchored once, and no nonce was spent twice or for nothing."""
    engine = make_engine(database)
    try:
        store, transactions = SqlStore(engine), SqlTransactionStore(engine)
        counts = await store.counts()
        batches = await store.batches(BatchState.FINAL)
        assert sum(each.size for each in batches) == counts["statements"]
        assert counts["batches"] == len(batches)
        assert await transactions.unsettled(CHAIN_ID, member.address) == []
        async with Rpc(consortium.chain.url) as rpc:
            notary = NotaryClient(rpc, consortium.deployment.notary)
            anchors = await notary.anchors_of(member.address, 0, (await chain.head(rpc)).number)
            spent = int(await rpc.call("eth_getTransactionCount", member.address, "latest"), 16)
        assert sorted(each.root for each in anchors) == sorted(each.root for each in batches)
        published = 3  # transactions of the member's own before the node started
        assert spent == published + len(batches)
    finally:
        await engine.dispose()


async def finished(store: SqlStore) -> bool:
    counts = await store.counts()
    return (counts["receipts"], counts["jobs"], counts["statements_not_final"]) == (DOCUMENTS, 0, 0)


@pytest.mark.timeout(400)
async def test_two_apis_and_two_workers_share_a_database_and_the_loss_of_either_loses_nothing(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path, database_url: str
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    recipient = await start_node(maker)
    machines = Machines(consortium, mine, tmp_path, database_url)
    await consortium.set_endpoint(mine, machines.apis[1].url)
    engine = make_engine(database_url)
    store = SqlStore(engine)
    try:
        await asyncio.gather(*(each.start() for each in machines.all))
        names = [f"lot/{number}" for number in range(DOCUMENTS)]
        sent = await asyncio.gather(*(machines.send(name, maker, n) for n, name in enumerate(names)))
        await until(lambda: asyncio.sleep(0, machines.calls(0, recipient) and machines.calls(1, recipient)))
        machines.workers[0].kill()
        machines.apis[0].kill()
        async with machines.apis[1].client() as client:
            for name, (transfer, _) in zip(names, sent, strict=True):
                content = (await client.get(f"/api/v1/documents/{name}")).content
                assert content == name.encode() * 1000
                shown = (await client.get(f"/api/v1/transfers/{transfer}")).json()
                assert shown["deliveries"][0]["state"] in ("pending", "delivered", "accepted")
        await until(lambda: finished(store))
        async with machines.apis[1].client() as client:
            shown = (await client.get("/api/v1/transfers?limit=1000")).json()["transfers"]
            assert {each["id"]: each["deliveries"][0]["state"] for each in shown} == {
                transfer: "accepted" for transfer, _ in sent
            }
            for _, digest in sent:
                made = (await client.get(f"/api/v1/proofs/{digest}")).json()
                assert made["statement"]["anchor"] is not None
        counts = await recipient.node.store.counts()
        assert [counts[name] for name in ("documents", "transfers", "receipts")] == [DOCUMENTS] * 3
        await check_ledger(consortium, mine, database_url)
        assert [each.terminate() for each in (machines.apis[1], machines.workers[1])] == [143, 143]
    finally:
        for process in machines.all:
            process.kill()
        await engine.dispose()


async def test_a_worker_answers_only_whether_it_can_work(join: Join, consortium: Consortium, tmp_path: Path) -> None:
    worker = Process(consortium, await join("Mine AG"), tmp_path, "--worker")
    try:
        await worker.start()
        async with worker.client() as client:
            assert (await client.get("/readyz")).json()["status"] == "ok"
            for path in ("/api/v1/documents", "/openapi.json", "/docs"):
                assert (await client.get(path)).status_code == 404
        assert worker.log.startswith("worker of eip155:31337:0x"), worker.log
        assert f" at {worker.url}\n" in worker.log
    finally:
        worker.kill()
