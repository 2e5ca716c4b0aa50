"""`docex fsck` on the data of real nodes: one that was killed, one that runs, and one that lost something."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from keys.local import export_without_identity
from tests.fixtures.network import PASSPHRASE, Consortium, Join, RunningNode, StartNode
from tests.fixtures.processes import Process
from tests.fixtures.stores import paths


def fsck(data: Path, keystore: Path, *arguments: str, **environment: str) -> tuple[int, Any]:
    """Run the command as a person would, without a passphrase; its exit code and what it says."""
    command = [sys.executable, "-m", "docex.cli", "fsck", "--json", "--data", str(data), "--keystore", str(keystore)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCEX_")}
    done = subprocess.run(
        [*command, *arguments], env=clean | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_what_a_killed_node_leaves_is_sound_and_goes_on_after_a_repair(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    recipient = await start_node(maker)
    process = Process(consortium, mine, tmp_path)
    await consortium.set_endpoint(mine, process.url)
    data = tmp_path / "killed-data"
    await process.start()
    try:
        acknowledged = await _work_until_killed(process, recipient)
    finally:
        process.kill()
    code, report = fsck(data, mine.folder, "--deep")
    assert (code, report["findings"], report["remaining"]) == (0, [], 0)
    assert report["counts"]["documents"] >= acknowledged > 0
    _damage(data)
    code, report = fsck(data, mine.folder)
    stuck = report["found"].pop("stuck")
    assert (code, report["found"]) == (1, {"orphan": 1, "newest_version": 1})
    assert stuck >= 1
    assert fsck(data, mine.folder, "--repair")[0] == 0
    assert fsck(data, mine.folder, "--deep", "--ledger", "--rpc", consortium.chain.url)[0] == 0
    recipient = await start_node(maker)
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=process.url, headers=process.headers, trust_env=False) as client:
            async with asyncio.timeout(100):
                while True:
                    sent = (await client.get("/api/v1/transfers?limit=1000")).json()["transfers"]
                    if all(each["deliveries"][0]["state"] == "accepted" for each in sent):
                        break
                    await asyncio.sleep(0.2)
        code, report = fsck(data, mine.folder, "--ledger", "--rpc", consortium.chain.url)  # while the node runs
        assert (code, report["findings"]) == (0, [])
    finally:
        process.kill()
    code, report = fsck(recipient.settings.data, maker.folder, "--deep")
    assert (code, report["findings"], report["counts"]["transfers"]) == (0, [], len(sent))


async def _work_until_killed(process: Process, recipient: RunningNode) -> int:
    """Deposits and transfers, the last ones to a node that is down, and SIGKILL; how many were acknowledged."""
    acknowledged = 0
    async with httpx.AsyncClient(base_url=process.url, headers=process.headers, trust_env=False) as client:

        async def one(name: str) -> str:
            nonlocal acknowledged
            answer = await client.put(f"/api/v1/documents/{name}", content=os.urandom(50_000))
            assert answer.status_code == 201
            acknowledged += 1
            wanted = {"documents": [name], "to": [recipient.organisation.account]}
            assert (await client.post("/api/v1/transfers", json=wanted)).status_code == 202
            return str(answer.json()["statement"])

        first = await one("first")
        async with asyncio.timeout(60):
            while (await client.get(f"/api/v1/proofs/{first}")).json()["statement"]["anchor"] is None:
                await asyncio.sleep(0.1)
        await recipient.stop()
        await one("second")
        working = [asyncio.create_task(one(f"{n}")) for n in range(12)]
        while acknowledged < 5:
            await asyncio.sleep(0.01)
        process.kill()
        for each in await asyncio.gather(*working, return_exceptions=True):
            assert isinstance(each, str | httpx.HTTPError), each
    return acknowledged


def _damage(data: Path) -> None:
    """What the node would have left at other moments, and what only a broken disk does."""
    orphan = data / "packets" / "documents" / "lost" / "0.age"
    orphan.parent.mkdir()
    orphan.write_bytes(b"stored, and never committed")
    os.utime(orphan, (1_700_000_000, 1_700_000_000))
    with closing(sqlite3.connect(data / "docex.db", timeout=30)) as connection, connection:
        connection.execute("UPDATE documents SET newest = 0 WHERE path = 'first'")
        connection.execute("DELETE FROM jobs WHERE kind = 'deliver'")


async def test_a_recipient_who_opens_elsewhere_has_no_findings(
    join: Join, start_node: StartNode, tmp_path: Path
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    export_without_identity(maker.folder, tmp_path / "server", PASSPHRASE)
    sender = await start_node(mine)
    recipient = await start_node(maker, keystore=tmp_path / "server")
    await sender.deposit("cert.pdf", b"content")
    transfer = (await sender.transfer(["cert.pdf"], maker))["id"]
    await recipient.until(
        "transfers", lambda it: it["transfers"] and it["transfers"][0]["deliveries"][0]["state"] == "delivered"
    )
    await sender.until(f"transfers/{transfer}", lambda it: it["deliveries"][0]["state"] == "delivered")
    await recipient.stop()
    assert fsck(recipient.settings.data, tmp_path / "server", "--deep")[0] == 0
    (blob,) = await paths(recipient.node.blobs)
    (recipient.settings.data / "packets" / blob).unlink()
    code, report = fsck(recipient.settings.data, tmp_path / "server")
    assert (code, [each["code"] for each in report["findings"]]) == (1, ["packet_missing"])
