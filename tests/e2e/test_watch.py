"""People follow transfers on the command line: over a network that breaks, and to an end that nobody signed for."""

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docex.core import statement
from docex.core.claims import Receipt
from docex.peers import HttpPeers
from docex.service import arrivals, transfers
from keys.local import export_without_identity, open_keystore
from tests.e2e.test_access import docex
from tests.fixtures.network import PASSPHRASE, Consortium, Join, Organisation, StartNode
from tests.fixtures.proxy import running_cutter
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA

PART = 1 << 20
CONTENT = DATA[: 4 << 20]


async def test_who_watches_sees_how_far_a_packet_is_while_its_connections_break(
    join: Join, start_node: StartNode, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (arrivals, transfers):
        monkeypatch.setattr(module, "PART", PART)
    monkeypatch.setattr(transfers, "NOTED_EVERY", 0.0)
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker, publish=False)
    await sender.deposit("large", CONTENT)
    async with running_cutter(recipient.url) as cutter:
        await consortium.set_endpoint(maker, cutter.url)
        cutter.limits = [5 << 19, *[0] * 100]  # then none gets anywhere for a while
        transfer = await sender.transfer(["large"], maker)
        environment = os.environ | {"DOCEX_NODE": sender.url, "DOCEX_API_TOKEN": sender.token}
        command = [sys.executable, "-m", "docex.cli", "transfers", "watch", transfer["id"], "--json"]
        watching = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
        assert watching.stdout is not None
        lines = []
        try:
            async with asyncio.timeout(90):
                while line := await watching.stdout.readline():
                    lines.append(json.loads(line))
                    if 0 < lines[-1]["sent"] < transfer["size"] and lines[-1]["error"] is not None:
                        cutter.limits.clear()
                assert await watching.wait() == 0
        finally:
            if watching.returncode is None:
                watching.kill()
                await watching.wait()
        assert isinstance(sender.node.peers, HttpPeers)
        await sender.node.peers.close()  # the cutter waits for the end of its connections
    (broken, *_) = [each for each in lines if each["error"] is not None]
    assert (broken["state"], broken["error"].partition(": ")[0]) == ("pending", "node_unavailable")
    assert 0 < broken["sent"] < transfer["size"]
    assert (lines[-1]["state"], lines[-1]["sent"], lines[-1]["error"]) == ("accepted", transfer["size"], None)
    assert cutter.forwarded < transfer["size"] + PART + (1 << 20)
    path = f"received/{mine.address}/large"
    assert (await recipient.client.get(f"/api/v1/documents/{path}")).content == CONTENT


async def test_a_transfer_that_nobody_takes_expires_and_a_late_receipt_still_counts(
    join: Join, start_node: StartNode, tmp_path: Path
) -> None:
    mine, maker, third = await join("Mine AG"), await join("Maker Ltd"), await join("Third")
    export_without_identity(maker.folder, tmp_path / "server", PASSPHRASE)
    server = Organisation(open_keystore(tmp_path / "server", PASSPHRASE), tmp_path / "server")
    sender, recipient = await start_node(mine), await start_node(server)  # which opens nothing by itself
    await sender.deposit("a", b"content")
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    to = ("--to", maker.account, "--to", third.account, "--expires", at)  # the third one has no node
    transfer = json.loads(await docex(sender.url, sender.token, "transfer", "a", *to, "--json"))["id"]
    watching = asyncio.create_task(docex(sender.url, sender.token, "transfers", "watch", transfer, code=1, output=True))
    await sender.until(f"transfers/{transfer}", lambda it: it["deliveries"][0]["state"] == "delivered")
    await sender.until(f"transfers/{transfer}", lambda it: it["deliveries"][1]["error"])
    await transfers.expire(replace(sender.node, now=lambda: int(time.time()) + 3600), transfer)  # an hour later
    assert [each.split(": ")[1].partition(" ")[0] for each in (await watching).splitlines()[-2:]] == ["expired"] * 2
    shown = await docex(sender.url, sender.token, "transfers", "show", transfer)
    assert shown.count("  expired ") == shown.count(": expired") == 2
    assert "no endpoint yet" in shown
    assert (await sender.node.store.counts())["jobs"] == 1  # it is not tried any more; that hour is still to come
    arrived = await recipient.get(f"transfers/{transfer}")
    assert [each["state"] for each in arrived["deliveries"]] == ["delivered"]  # it waits for its own people
    claim = Receipt(transfer, arrived["packet"], (digest_of("content"),), "accepted")
    receipt = statement.issue(maker.keystore.signer, maker.account, claim, int(time.time()))
    assert (await recipient.client.post("/api/v1/receipts", content=receipt.token)).status_code == 201
    late = await sender.until(f"transfers/{transfer}", lambda it: it["deliveries"][0]["receipt"])
    assert [each["state"] for each in late["deliveries"]] == ["accepted", "expired"]
