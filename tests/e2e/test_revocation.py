"""Statements that their issuer takes back, on real nodes and a real chain, as people see it on the command line."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from docex.core import merkle, proof, statement
from docex.core.claims import Revocation
from docex.core.digest import parse_digest
from docex.core.proof import Inclusion
from docex.core.transactions import TransactionStatus
from docex.core.verdict import iso
from docex.errors import NotMember
from docex.ledger import chain
from docex.ledger.contracts import load
from docex.ledger.memory import MemoryStore
from docex.ledger.node import NodeLedger
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from docex.service import proofs, revocations
from docex.wiring import running_node
from tests.fixtures.network import PASSPHRASE, Consortium, Join, RunningNode, StartNode
from tests.unit.cli.support import failure
from tests.unit.cli.support import run as cli
from tests.unit.ledger.support import Network, deployed, mine, sender_of


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs docex against a node, trusting the network of the tests."""

    folder: Path
    environment: dict[str, str]

    async def run(self, *words: str, code: int = 0) -> str:
        """Standard output and standard error together, once the exit code is as it should be."""
        command = [sys.executable, "-m", "docex.cli", *words]
        environment = os.environ | self.environment
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    async def verify(self, document: str, proof_file: str, *, at: int | None = None, code: int) -> str:
        """What row 6 says."""
        as_of = ("--at", iso(at)) if at is not None else ()
        verdict = json.loads(await self.run("verify", document, "--proof", proof_file, "--json", *as_of, code=code))
        row = verdict["rows"][5]
        assert row["outcome"] == ("fail" if code == 1 else "pass"), verdict
        others = [each["outcome"] for each in verdict["rows"] if each["required"] and each["number"] != 6]
        assert others == ["pass"] * 4, verdict
        return str(row["reason"])


async def shell_of(running: RunningNode, consortium: Consortium, folder: Path) -> Shell:
    environment = {
        "DOCEX_NODE": running.url,
        "DOCEX_API_TOKEN": running.token,
        "DOCEX_TRUST": str(folder / "trust.json"),
    }
    shell = Shell(folder, environment)
    if not (folder / "trust.json").exists():
        words = ("--from", str(consortium.record), "--rpc", consortium.chain.url, "--confirmations", "1")
        await shell.run("trust", "add", "tests", *words)
    return shell


async def final(running: RunningNode, digest: str, related: int = 0) -> int:
    """Wait until a statement and those about it are final; the time of its anchor."""

    def done(made: Any) -> bool:
        return len(made["related"]) == related and all(each["anchor"] for each in (made["statement"], *made["related"]))

    made = await running.until(f"proofs/{digest}", done)
    return int(made["statement"]["anchor"]["time"])


async def idle(running: RunningNode) -> None:
    """Wait until the node has nothing left to do: what it had to record is final."""
    async with asyncio.timeout(60):
        while (await running.node.store.counts())["jobs"]:
            await asyncio.sleep(0.05)


async def later_than(consortium: Consortium, moment: int) -> None:
    """Wait until the chain's own time is past a moment."""
    async with asyncio.timeout(60), Rpc(consortium.chain.url) as rpc:
        while (await chain.head(rpc)).time <= moment:
            await asyncio.sleep(0.05)


async def recorded(consortium: Consortium, member: str) -> list[dict[str, Any]]:
    """The Notary's `Revoked` events of a member."""
    topics = ["0x" + load("Notary").topic("Revoked").hex(), "0x" + bytes.fromhex(member[2:]).rjust(32, b"\0").hex()]
    async with Rpc(consortium.chain.url) as rpc:
        question = {"address": consortium.deployment.notary, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
        return list(await rpc.call("eth_getLogs", question))


async def test_a_revoked_document_fails_from_its_time_on_and_says_why(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    mine_ag = await join("Mine AG")
    node = await start_node(mine_ag)
    shell = await shell_of(node, consortium, tmp_path)
    (tmp_path / "cert.pdf").write_bytes(b"certificate")
    await shell.run("deposit", "cert.pdf", "--folder", "lots")
    document = await node.get("documents/lots/cert.pdf", params={"details": "true"})
    anchored = await final(node, document["statement"])
    await shell.run("proof", "lots/cert.pdf", "-o", "before.json")
    assert "later" not in await shell.verify("cert.pdf", "before.json", code=0)

    effective = anchored + 1
    words = ("revoke", "lots/cert.pdf", "--reason", "measured on the wrong lot", "--effective", iso(effective))
    made = json.loads(await shell.run(*words, "--json"))
    assert (made["statement"], made["effective"]) == (document["statement"], iso(effective))
    await idle(node)
    await later_than(consortium, effective)
    await final(node, document["statement"], related=1)
    await shell.run("proof", document["statement"], "-o", "after.json")
    found = proof.parse((tmp_path / "after.json").read_bytes())
    assert [statement.parse(each.token).digest_text for each in found.related] == [made["revocation"]]
    said = f"revoked by its issuer with effect from {iso(effective)}"
    for at in (None, effective):
        reason = await shell.verify("cert.pdf", "after.json", at=at, code=1)
        assert reason.startswith(f"{said}, recorded ")
        assert reason.endswith("Z: measured on the wrong lot")
    assert f"later: {said}" in await shell.verify("cert.pdf", "after.json", at=anchored, code=0)
    # The Notary says it whatever a proof leaves out.
    assert (await shell.verify("cert.pdf", "before.json", code=1)).startswith(f"{said}, recorded ")
    assert f"later: {said}" in await shell.verify("cert.pdf", "before.json", at=anchored, code=0)

    assert f"revoked from {iso(effective)}" in await shell.run("documents")
    assert "error[conflict]" in await shell.run("revoke", "lots/cert.pdf", "--reason", "again", code=1)
    (event,) = await recorded(consortium, mine_ag.address)
    assert event["topics"][2] == "0x" + parse_digest(document["statement"]).raw.hex()


async def test_a_superseded_document_fails_and_names_the_newer(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    node = await start_node(await join("Mine AG"))
    shell = await shell_of(node, consortium, tmp_path)
    (tmp_path / "cert.pdf").write_bytes(b"old")
    await shell.run("deposit", "cert.pdf")
    old = await node.get("documents/cert.pdf", params={"details": "true"})
    anchored = await final(node, old["statement"])
    await later_than(consortium, anchored)  # the newer one's anchor is of a later second, so there is a time between
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/cert.pdf").write_bytes(b"new")
    (new,) = json.loads(await shell.run("deposit", "newer/cert.pdf", "--supersedes", "cert.pdf", "--json"))
    since = await final(node, new["statement"])
    assert since > anchored
    await final(node, old["statement"], related=1)
    await shell.run("proof", old["statement"], "-o", "old.json")
    await shell.run("proof", "cert.pdf", "-o", "new.json")
    (tmp_path / "old.pdf").write_bytes(b"old")
    said = f"superseded by {new['statement']} of {iso(since)}"
    assert await shell.verify("old.pdf", "old.json", code=1) == said
    assert await shell.verify("old.pdf", "old.json", at=since, code=1) == said
    assert f"later: {said}" in await shell.verify("old.pdf", "old.json", at=since - 1, code=0)
    assert "superseded" not in await shell.verify("newer/cert.pdf", "new.json", code=0)
    details = await node.get("documents/cert.pdf", params={"details": "true", "version": 1})
    assert details["superseded_by"] == new["statement"]
    missing = ("--supersedes", "nothing.pdf")
    assert "error[not_found]" in await shell.run("deposit", "cert.pdf", *missing, code=1)


async def test_somebody_else_s_revocation_changes_nothing(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    mine_ag, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine_ag), await start_node(maker)
    (tmp_path / "cert.pdf").write_bytes(b"certificate")
    document = await sender.deposit("cert.pdf", b"certificate")
    await sender.transfer(["cert.pdf"], maker)
    await recipient.until("documents", lambda it: it["documents"])
    await final(recipient, document["statement"], related=2)
    shell = await shell_of(recipient, consortium, tmp_path)
    refused = await shell.run("revoke", document["statement"], "--reason", "a lie", code=1)
    assert "error[forbidden]" in refused
    # A rival does what the command refuses: it anchored the statement it was handed, and revokes that in its own name.
    forged = statement.issue(
        maker.keystore.signer, maker.account, Revocation(document["statement"], "a lie", 1), int(time.time())
    )
    node = recipient.node
    await node.store.add_revocation(document["statement"], forged, [])
    copy = await node.store.statement(document["statement"])
    assert copy is not None
    inclusion = (await proofs.evidence(node, copy)).inclusion
    assert inclusion is not None
    digest = parse_digest(document["statement"]).raw
    async with asyncio.timeout(60):
        while not await node.ledger.revoke(digest, forged.digest, 1, inclusion):
            await node.ledger.poll()
            await asyncio.sleep(0.05)
    assert len(await recorded(consortium, maker.address)) == 1
    await final(recipient, forged.digest_text)
    await shell.run("proof", document["statement"], "-o", "proof.json")
    with_lie = json.loads((tmp_path / "proof.json").read_bytes())
    with_lie["related"].append((await recipient.get(f"proofs/{forged.digest_text}"))["statement"])
    (tmp_path / "lie.json").write_text(json.dumps(with_lie))
    for name in ("proof.json", "lie.json"):
        assert "revoked" not in await shell.verify("cert.pdf", name, code=0)
    assert "revoked" not in await shell.run("documents")


async def test_a_node_that_ends_before_its_revocation_is_recorded_records_it_once(
    join: Join, start_node: StartNode, consortium: Consortium
) -> None:
    mine_ag = await join("Mine AG")
    first = await start_node(mine_ag)
    document = await first.deposit("cert.pdf", b"certificate")
    await final(first, document["statement"])
    await first.stop()
    async with running_node(first.settings, PASSPHRASE) as between:  # one without a worker: it ends before its work
        revocation = await revocations.revoke(between, document["statement"], "why")
    assert await recorded(consortium, mine_ag.address) == []
    again = await start_node(mine_ag, publish=False)
    await idle(again)
    for _ in range(3):  # a crash after the transaction, before the job was noted as done, has it done again
        assert await revocations.record(again.node, revocation.digest_text) is None
    (event,) = await recorded(consortium, mine_ag.address)
    assert event["data"][-64:] == revocation.digest.hex()
    made = await again.get(f"proofs/{document['statement']}")
    assert [statement.parse(each["token"]).type for each in made["related"]] == ["revocation"]


async def test_the_command_says_what_it_did(join: Join, start_node: StartNode) -> None:
    node = await start_node(await join("Mine AG"))
    old = await node.deposit("cert.pdf", b"old")
    await node.deposit("cert.pdf", b"new")
    await final(node, old["statement"])
    words = ("revoke", "cert.pdf", "--version", "1", "--reason", "the wrong lot", "--node", node.url)
    done = await asyncio.to_thread(cli, *words, DOCEX_API_TOKEN=node.token)
    assert done.exit_code == 0, done.output
    said = await node.get(f"statements/{done.stdout.strip()}")
    assert statement.parse(said["token"]).issuer == node.organisation.account
    assert done.stderr.startswith(f"{old['statement']} is revoked from 20")
    listed = await asyncio.to_thread(cli, "documents", "--node", node.url, DOCEX_API_TOKEN=node.token)
    assert listed.exit_code == 0, listed.output
    assert "revoked" not in listed.stdout  # the newest version stands


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "--effective", "yesterday"), "'yesterday' is not an ISO 8601 time"),
        (("a", "--effective", "2026-01-31T12:00:00"), "is not an ISO 8601 time with its zone"),
        (("a", "--effective", "1970-01-01T00:00:00Z"), "lies before 1970"),
        (("a", "--effective", "0001-01-01T00:00:00+14:00"), "lies before 1970"),
        (("sha256:" + "0" * 64, "--version", "2"), "--version goes with a path"),
        (("sha256:12",), "not a digest"),
    ],
)
def test_what_can_not_be_meant_is_refused_before_any_call(words: tuple[str, ...], said: str) -> None:
    done = cli("revoke", *words, "--reason", "because", "--node", "http://127.0.0.1:1", DOCEX_API_TOKEN="x")
    assert said in failure(done, "usage", 2)


# --- one record, whatever became of the transactions before ----------------------------------------------------------

DIGEST, REVOCATION = (hashlib.sha256(text).digest() for text in (b"statement", b"revocation"))
ALONE = Inclusion(0, 1, merkle.leaf_hash(DIGEST), ())


@pytest.fixture
async def network(anvil: LocalChain) -> AsyncIterator[Network]:
    async with Rpc(anvil.url, chain_id=anvil.chain_id) as rpc:
        made = await deployed(rpc)
        await made.notary.anchor(ALONE.root, 1)
        yield made


def ledger_of(network: Network, transactions: MemoryStore) -> NodeLedger:
    sender = sender_of(network.rpc, network.member, transactions, confirmations=1)
    return NodeLedger(network.rpc, network.deployment.directory, network.deployment.notary, sender, transactions)


async def test_a_revocation_is_recorded_once_and_final_when_it_is_deep_enough(network: Network) -> None:
    transactions = MemoryStore()
    ledger = ledger_of(network, transactions)
    for _ in range(3):
        assert not await ledger.revoke(DIGEST, REVOCATION, 7, ALONE)
        await ledger.poll()
    await mine(network.rpc)
    await ledger.poll()
    for _ in range(2):
        assert await ledger.revoke(DIGEST, REVOCATION, 7, ALONE)
    assert len(transactions._rows) == 1
    found = await network.notary.revocation_of(network.member.address, DIGEST)
    assert found is not None
    assert (found.effective, found.revocation) == (7, REVOCATION)


async def test_what_was_recorded_from_elsewhere_is_not_recorded_again(network: Network) -> None:
    where: dict[str, Any] = {"root": ALONE.root, "size": 1, "index": 0, "path": ()}
    await network.notary.revoke(DIGEST, REVOCATION, effective=5, **where)
    transactions = MemoryStore()
    assert await ledger_of(network, transactions).revoke(DIGEST, REVOCATION, 7, ALONE)
    assert transactions._rows == {}


async def test_a_record_that_failed_for_good_gets_a_successor(network: Network) -> None:
    """The member was suspended when the first was mined, say, and is one again."""
    transactions = MemoryStore()
    ledger = ledger_of(network, transactions)
    other = hashlib.sha256(b"another").digest()
    await network.notary.anchor(merkle.leaf_hash(other), 1)
    alone = Inclusion(0, 1, merkle.leaf_hash(other), ())
    await ledger.revoke(other, REVOCATION, 7, alone)
    await mine(network.rpc)
    await ledger.poll()
    ((key, row),) = transactions._rows.items()
    assert row.block is not None
    block = replace(row.block, succeeded=False)
    transactions._rows[key.replace(other.hex(), DIGEST.hex())] = replace(
        row, status=TransactionStatus.FAILED, block=block
    )
    assert not await ledger.revoke(DIGEST, REVOCATION, 7, ALONE)
    await mine(network.rpc)
    await ledger.poll()
    assert await ledger.revoke(DIGEST, REVOCATION, 7, ALONE)
    assert sorted(each[-2:] for each in transactions._rows) == [":0", ":0", ":1"]


async def test_a_suspended_member_can_not_record(network: Network) -> None:
    await network.consortium.suspend(network.member.address)
    with pytest.raises(NotMember):
        await ledger_of(network, MemoryStore()).revoke(DIGEST, REVOCATION, 7, ALONE)
