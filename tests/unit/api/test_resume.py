"""A packet on its way over a network that breaks: real HTTP from node to node, cut at random places."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from docex.core.state import DeliveryState
from docex.errors import NodeUnavailable
from docex.outbound import reach
from docex.peers import HttpPeers
from docex.service import arrivals, transfers
from docex.service.node import Node
from docex.service.worker import work_on
from tests.fixtures.paper_nodes import NewNode, Paper, deposited, jobs_due
from tests.fixtures.proxy import running_cutter
from tests.fixtures.stores import DATA, fetched

PART = 64 << 10


@pytest.mark.parametrize("seed", range(3))
async def test_a_packet_arrives_over_a_network_that_breaks_and_only_the_part_in_flight_is_sent_again(
    url: str, node: Node, new_node: NewNode, paper: Paper, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", PART)
    chance, peers = random.Random(seed), HttpPeers(reach("loopback"))
    maker = replace(new_node("Maker"), peers=peers)
    await deposited(maker, "large", DATA[:1_500_000])
    sent = await transfers.create(maker, ["large"], [node.account])
    assert sent.blob is not None
    packet = await fetched(maker.blobs, sent.blob)
    async with running_cutter(url) as cutter:
        paper.ledger.members[node.address] = replace(paper.ledger.members[node.address], endpoint=cutter.url)
        cutter.limits = [chance.randrange(100_000, 400_000) for _ in range(5)]
        tries = 0
        async with asyncio.timeout(60):
            while (await maker.store.transfer(sent.id)).deliveries[0].state is DeliveryState.PENDING:
                tries += 1
                with suppress(NodeUnavailable):
                    await transfers.deliver(maker, sent.id, node.account)
                await asyncio.sleep(0.05)  # the broken upload may count as under way for a moment
        assert cutter.cuts == 5
        # Of a try, what the sockets hold is sent in vain.
        assert cutter.forwarded <= len(packet) + cutter.cuts * PART + tries * (128 << 10)
        await peers.close()
    arrived = await node.store.transfer(sent.id)
    assert arrived.blob is not None
    assert await fetched(node.blobs, arrived.blob) == packet


@pytest.mark.parametrize("size", [1_000_000, 1000], ids=["in parts", "in one piece"])
async def test_a_delivery_that_meets_an_upload_under_way_waits_and_has_not_failed(
    url: str, node: Node, new_node: NewNode, paper: Paper, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", PART)
    peers = HttpPeers(reach("loopback"))
    maker = replace(new_node("Maker"), peers=peers)
    paper.ledger.members[node.address] = replace(paper.ledger.members[node.address], endpoint=url)
    await deposited(maker, "large", DATA[:size])
    sent = await transfers.create(maker, ["large"], [node.account])
    stored = await maker.store.statement(sent.id)
    assert stored is not None
    await transfers.announced(node, stored.token)
    assert await node.store.begin_arrival(sent.id, maker.account, "another process", arrivals.LEASE, 1, [])
    for waited in range(3):
        now = paper.clock() + waited * transfers.UNDER_WAY_WAIT
        (job,) = await jobs_due(maker.store, now)
        assert job.attempts == 1
        await work_on(maker, job, lambda now=now: now)  # type: ignore[misc]
        (delivery,) = (await maker.store.transfer(sent.id)).deliveries
        assert (delivery.state, delivery.error, delivery.attempts) == (DeliveryState.PENDING, None, 0)
    await node.store.end_arrival(sent.id, "another process")
    (job,) = await jobs_due(maker.store, now + transfers.UNDER_WAY_WAIT)
    await work_on(maker, job)
    await peers.close()
    assert (await maker.store.transfer(sent.id)).deliveries[0].state is DeliveryState.DELIVERED
    assert (await node.store.transfer(sent.id)).blob is not None
