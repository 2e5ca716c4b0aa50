"""A packet on its way over a network that breaks: real HTTP from node to node, cut at random places."""

import asyncio
import random
from dataclasses import replace

import pytest

from docex.core.state import DeliveryState
from docex.errors import Conflict, NodeUnavailable
from docex.outbound import reach
from docex.peers import HttpPeers
from docex.service import arrivals, transfers
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, Paper, deposited
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
                try:
                    await transfers.deliver(maker, sent.id, node.account)
                except (NodeUnavailable, Conflict):  # the broken upload may count as under way for a moment
                    await asyncio.sleep(0.05)
        assert cutter.cuts == 5
        # Of a try that is refused as long as the broken one counts as under way, what the sockets hold is sent in vain.
        assert cutter.forwarded <= len(packet) + cutter.cuts * PART + tries * (128 << 10)
        await peers.close()
    arrived = await node.store.transfer(sent.id)
    assert arrived.blob is not None
    assert await fetched(node.blobs, arrived.blob) == packet
