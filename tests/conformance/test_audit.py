"""A check of a whole node on each database and each store, through the statements that are written for both."""

import time

import pytest
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core.state import DeliveryState, Job
from docex.db.models import DeliveryRow, DocumentRow, JobRow, StatementRow
from docex.db.store import SqlStore
from docex.service import fsck_packets
from docex.service.fsck import GRACE, Code, Keeping, check
from docex.service.node import Node
from docex.service.transfers import create
from storage import BlobStore
from tests.fixtures.paper_nodes import NewNode, account_of, deposited, jobs_due
from tests.fixtures.stores import paths, source


@pytest.fixture
def node(new_node: NewNode, engine: AsyncEngine, store: BlobStore) -> Node:
    new_node("Maker")
    return new_node("Mine", store=SqlStore(engine), blobs=store)


def keeping(node: Node, later: int = 0) -> Keeping:
    assert isinstance(node.store, SqlStore)
    return Keeping(node.store, node.blobs, node.address, True, lambda: int(time.time()) + later)


async def test_a_sound_node_is_sound(node: Node) -> None:
    for n in range(3):
        await deposited(node, f"folder/{n}", b"content")
        await deposited(node, f"folder/{n}", b"other content")
    await create(node, ["folder/1"], [account_of("Maker")])
    await node.store.make_batch(5, node.now())
    found = await check(keeping(node), deep=True, repair=True)
    assert (found.findings, found.counts["packets"], found.counts["statements_queued"]) == ((), 7, 2)


async def test_damage_is_found_and_what_derives_is_mended(
    node: Node, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fsck_packets, "PAGE", 2)
    stored = [await deposited(node, "a", content) for content in (b"first", b"second", b"third")]
    sent = await create(node, ["a"], [account_of("Maker")])
    await node.store.make_batch(10, node.now())
    await node.blobs.put("documents/a/left.age", source(b"behind"))
    await node.blobs.delete(stored[1].blob)
    async with engine.begin() as connection:
        await connection.execute(delete(JobRow))
        await connection.execute(update(DocumentRow).values(newest=False))
        await connection.execute(update(StatementRow).where(StatementRow.leaf == 2).values(leaf=None))
    found = await check(keeping(node, GRACE + 60), repair=True)
    expected = {Code.PACKET_MISSING, Code.ORPHAN, Code.NEWEST_VERSION, Code.BATCH_LEAVES, Code.STUCK}
    assert {each.code for each in found.findings} == expected
    assert (found.remaining, len(found.findings)) == (1, 5)
    found = await check(keeping(node), deep=True)
    assert [each.subject for each in found.findings] == ["a version 2"]
    assert (await node.store.document("a")).version == 3
    assert len(await paths(node.blobs)) == 3
    assert [job.argument for job in await jobs_due(node.store, 2**40, 60, 10)] == [f"{sent.id} {account_of('Maker')}"]


async def test_states_follow_receipts(node: Node, engine: AsyncEngine) -> None:
    assert isinstance(node.store, SqlStore)
    await deposited(node, "a", b"content")
    sent = await create(node, ["a"], [account_of("Maker")])
    await node.store.settle(sent.id, account_of("Maker"), DeliveryState.REJECTED)  # it has no receipt
    assert (await node.store.transfer(sent.id)).deliveries[0].state is DeliveryState.PENDING
    async with engine.begin() as connection:
        await connection.execute(update(DeliveryRow).values(receipt=sent.id))
    await node.store.settle(sent.id, account_of("Maker"), DeliveryState.REJECTED)
    assert (await node.store.transfer(sent.id)).deliveries[0].state is DeliveryState.REJECTED


async def test_pages_of_jobs_and_deliveries_go_on_behind_the_last(node: Node) -> None:
    assert isinstance(node.store, SqlStore)
    await deposited(node, "a", b"content")
    sent = {(await create(node, ["a"], [account_of("Maker")])).id for _ in range(3)}
    jobs = await node.store.jobs_from("", 2)
    jobs = [*jobs, *await node.store.jobs_from(jobs[-1].key, 2)]
    assert {each.argument.partition(" ")[0] for each in jobs} == sent
    for job in jobs:
        await node.store.finish(job.key)
    page = await node.store.undelivered(("", ""), 2)
    page = [*page, *await node.store.undelivered(page[-1], 2)]
    assert {transfer for transfer, _ in page} == sent
    await node.store.add_jobs([Job(jobs[0].key, "deliver", jobs[0].argument)])
    assert len(await node.store.undelivered(("", ""), 10)) == 2
