"""Members exchange documents over real nodes, real sockets and a real chain."""

import asyncio
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from docex.core import facts, proof, statement
from docex.core.claims import Receipt
from docex.core.proof import Network
from docex.core.verdict import Overall, Verdict
from docex.ledger.reader import RpcLedgerReader
from docex.ledger.rpc import Rpc
from docex.verify import Content, verify
from keys.local import export_without_identity, open_keystore
from tests.fixtures.network import PASSPHRASE, Consortium, Join, Organisation, RunningNode, StartNode
from tests.fixtures.problems import check_problem
from tests.fixtures.processes import Process
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA


async def settled(node: RunningNode, transfer: str, state: str = "accepted") -> Any:
    """The transfer once every addressee has answered."""
    return await node.until(
        f"transfers/{transfer}", lambda it: all(each["state"] == state for each in it["deliveries"])
    )


def is_anchored(made: Any) -> bool:
    return all(each["anchor"] for each in (made["statement"], *made["related"]))


async def proven(node: RunningNode, digest: str, related: int) -> proof.Proof:
    """The proof once all of it is final on the ledger."""
    await node.until(f"proofs/{digest}", lambda it: len(it["related"]) == related and is_anchored(it))
    return proof.parse((await node.client.get(f"/api/v1/proofs/{digest}")).content)


async def verdict(consortium: Consortium, made: proof.Proof, content: bytes) -> Verdict:
    deployment = consortium.deployment
    network = Network(deployment.chain_id, deployment.directory, deployment.notary)
    trust = facts.Trust("test", network, confirmations=1)
    async with Rpc(consortium.chain.url) as rpc:
        found = await facts.collect_facts(made, RpcLedgerReader(rpc, network))
    return verify(Content("sha256:" + hashlib.sha256(content).hexdigest(), len(content)), made, trust, found)


async def test_a_document_reaches_its_recipient_and_both_sides_can_prove_it(
    join: Join, start_node: StartNode, consortium: Consortium
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    content = b"%PDF-1.7 quality certificate"
    document = await sender.deposit("quality/cert.pdf", content, params={"kind": "quality"})
    await sender.deposit("quality/large.bin", DATA)
    transfer = await sender.transfer(["quality/cert.pdf", "quality/large.bin"], maker)
    done = await settled(sender, transfer["id"])
    received = (await recipient.get("documents"))["documents"]
    folder = f"received/{mine.address}/quality"
    assert [each["path"] for each in received] == [f"{folder}/cert.pdf", f"{folder}/large.bin"]
    assert [each["issuer"] for each in received] == [mine.account] * 2
    assert (await recipient.client.get(f"/api/v1/documents/{folder}/large.bin")).content == DATA
    theirs = await settled(recipient, transfer["id"])
    assert theirs["deliveries"][0]["receipt"] == done["deliveries"][0]["receipt"]
    for node in (sender, recipient):
        made = await proven(node, document["digest"], related=2)
        result = await verdict(consortium, made, content)
        assert result.overall is Overall.VALID, result
        assert (await verdict(consortium, made, content + b"!")).overall is Overall.INVALID
    for node in (sender, recipient):
        counts = await node.node.store.counts()
        assert (counts["jobs"], counts["receipts"]) == (0, 1)


async def test_a_recipient_that_was_down_gets_it_once_when_it_is_back(join: Join, start_node: StartNode) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    await recipient.stop()
    await sender.deposit("a", b"content")
    transfer = await sender.transfer(["a"], maker)
    failed = await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["attempts"] >= 2)
    assert failed["deliveries"][0]["state"] == "pending"
    assert failed["deliveries"][0]["error"].startswith("node_unavailable: ")
    port = int(recipient.url.rsplit(":", 1)[1])
    again = await start_node(maker, publish=False, port=port)
    done = await settled(sender, transfer["id"])
    assert done["deliveries"][0]["error"] is None
    counts = await again.node.store.counts()
    assert (counts["transfers"], counts["documents"], counts["receipts"]) == (1, 1, 1)


async def test_one_member_that_is_down_does_not_hold_up_another(join: Join, start_node: StartNode) -> None:
    mine, maker, third = await join("Mine AG"), await join("Maker Ltd"), await join("Third")
    sender, recipient = await start_node(mine), await start_node(maker)
    await sender.deposit("a", b"content")
    transfer = await sender.transfer(["a"], third, maker)
    done = await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][1]["state"] == "accepted")
    assert [each["state"] for each in done["deliveries"]] == ["pending", "accepted"]
    assert (
        "Third has published no endpoint yet"
        in (await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["error"]))["deliveries"][
            0
        ]["error"]
    )
    assert (await recipient.node.store.counts())["transfers"] == 1


async def test_a_document_that_is_handed_on_keeps_the_word_of_its_issuer(
    join: Join, start_node: StartNode, consortium: Consortium
) -> None:
    mine, maker, third = await join("Mine AG"), await join("Maker Ltd"), await join("Third")
    nodes = [await start_node(each) for each in (mine, maker, third)]
    document = await nodes[0].deposit("quality/cert.pdf", b"content")
    first = await nodes[0].transfer(["quality/cert.pdf"], maker)
    await settled(nodes[0], first["id"])
    second = await nodes[1].transfer([f"received/{mine.address}/quality/cert.pdf"], third)
    await settled(nodes[1], second["id"])
    (received,) = (await nodes[2].get("documents"))["documents"]
    assert (received["path"], received["statement"], received["issuer"]) == (
        f"received/{maker.address}/quality/cert.pdf",
        document["statement"],
        mine.account,
    )
    made = await proven(nodes[1], document["digest"], related=4)
    said = [statement.verify(each.token) for each in made.related]
    assert [(each.type, each.issuer) for each in said] == [
        ("transfer", mine.account),
        ("receipt", maker.account),
        ("transfer", maker.account),
        ("receipt", third.account),
    ]


async def test_a_packet_opened_away_from_the_node_is_acknowledged_through_it(
    join: Join, start_node: StartNode, tmp_path: Path
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    export_without_identity(maker.folder, tmp_path / "server", PASSPHRASE)
    server = Organisation(open_keystore(tmp_path / "server", PASSPHRASE), tmp_path / "server")
    sender, recipient = await start_node(mine), await start_node(server)
    await sender.deposit("a", b"content")
    transfer = await sender.transfer(["a"], maker)
    await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["state"] == "delivered")
    arrived = await recipient.until(f"transfers/{transfer['id']}", lambda it: it["arrived"])
    assert arrived["deliveries"][0]["receipt"] is None
    claim = Receipt(transfer["id"], transfer["packet"], (digest_of("content"),), "accepted")
    forged = statement.issue(mine.keystore.signer, mine.account, claim, int(time.time()))
    check_problem(await recipient.client.post("/api/v1/receipts", content=forged.token), 403, "forbidden")
    receipt = statement.issue(maker.keystore.signer, maker.account, claim, int(time.time()))
    answer = await recipient.client.post("/api/v1/receipts", content=receipt.token)
    assert answer.status_code == 201, answer.text
    done = await settled(sender, transfer["id"])
    assert done["deliveries"][0]["receipt"] == receipt.digest_text


async def test_members_that_the_consortium_does_not_know_or_has_suspended(
    join: Join, start_node: StartNode, consortium: Consortium
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    await sender.deposit("a", b"content")
    async with consortium.directory() as directory:
        await directory.suspend(mine.address)
    transfer = await sender.transfer(["a"], maker)
    failed = await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["error"])
    assert "403" in failed["deliveries"][0]["error"]
    assert "not an active member" in failed["deliveries"][0]["error"]
    assert (await recipient.node.store.counts())["transfers"] == 0
    wanted = {"documents": ["a"], "to": [mine.account]}
    await recipient.deposit("a", b"content")
    check_problem(await recipient.client.post("/api/v1/transfers", json=wanted), 422, "not_member")
    ready = await sender.client.get("/readyz")
    assert (ready.status_code, ready.json()["parts"]["rpc"].split(":")[0]) == (503, "not_member")
    async with consortium.directory() as directory:
        await directory.readmit(mine.address)
    await asyncio.sleep(1.1)  # times are whole seconds: what is signed from now on is signed by a member
    await sender.deposit("b", b"content")
    again = await sender.transfer(["b"], maker)
    await settled(sender, again["id"])
    await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["receipt"])


async def test_a_member_with_unpublished_keys_is_not_believed(join: Join, start_node: StartNode) -> None:
    mine, maker = await join("Mine AG", publish=False), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    await sender.deposit("a", b"content")
    transfer = await sender.transfer(["a"], maker)
    failed = await sender.until(f"transfers/{transfer['id']}", lambda it: it["deliveries"][0]["error"])
    assert "not a valid signing key" in failed["deliveries"][0]["error"]
    assert (await recipient.node.store.counts())["transfers"] == 0
    await recipient.deposit("b", b"content")
    wanted = {"documents": ["b"], "to": [mine.account]}
    check_problem(await recipient.client.post("/api/v1/transfers", json=wanted), 422, "not_member")


# --- kill -9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(420)
async def test_a_node_that_is_killed_in_the_middle_of_its_work_loses_and_doubles_nothing(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    recipient = await start_node(maker)
    process = Process(consortium, mine, tmp_path)
    await consortium.set_endpoint(mine, process.url)
    acknowledged: dict[str, bytes] = {}
    sent: list[str] = []

    async def work(client: httpx.AsyncClient, name: str) -> None:
        content = os.urandom(20_000)
        answer = await client.put(f"/api/v1/documents/{name}", content=content)
        assert answer.status_code == 201, answer.text
        acknowledged[name] = content
        wanted = {"documents": [name], "to": [maker.account]}
        answer = await client.post("/api/v1/transfers", json=wanted)
        assert answer.status_code == 202, answer.text
        sent.append(answer.json()["id"])

    try:
        for life, seconds in enumerate((0.0, 0.1, 0.3)):
            await process.start()
            async with process.client() as client:
                working = [asyncio.create_task(work(client, f"{life}/{n}")) for n in range(12)]
                before = len(sent)
                async with asyncio.timeout(60):
                    while len(sent) == before:  # each life sends something, however slow the machine is
                        await asyncio.sleep(0.001)
                await asyncio.sleep(seconds)
                process.kill()
                for each in await asyncio.gather(*working, return_exceptions=True):
                    assert each is None or isinstance(each, httpx.HTTPError), each
        await process.start()
        async with process.client() as client:
            for name, content in acknowledged.items():
                assert (await client.get(f"/api/v1/documents/{name}")).content == content
            # A job that was being done waits for the end of its lease; one that failed while the other node was down,
            # six times or so where starting is slow, for up to two minutes.
            async with asyncio.timeout(300):
                while True:
                    transfers = (await client.get("/api/v1/transfers?limit=1000")).json()["transfers"]
                    states = {each["id"]: each["deliveries"][0]["state"] for each in transfers}
                    if set(states.values()) == {"accepted"}:
                        break
                    await asyncio.sleep(0.2)
        assert set(sent) <= set(states)
        counts = await recipient.node.store.counts()
        assert (counts["transfers"], counts["receipts"]) == (len(states), len(states))
        assert counts["documents"] == len(states)
    finally:
        process.kill()
