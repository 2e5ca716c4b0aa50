"""Revocations: only of what is one's own and final, once, and recorded with the Notary whatever happens between."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from docex.core import statement
from docex.core.claims import Revocation
from docex.core.digest import parse_digest
from docex.core.state import BatchState, Job
from docex.core.statement import Statement
from docex.db.store import SqlStore
from docex.errors import (
    Conflict,
    DocexError,
    Forbidden,
    LedgerRejected,
    NotFound,
    NotMember,
    StatementInvalid,
    UsageError,
)
from docex.service import receipts, revocations, transfers, worker
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from docex.service.revocations import LAST_TIME, WAIT, TakenBack, record, revoke, taken_back
from docex.service.worker import LEASE, work_on
from tests.fixtures.paper_nodes import START, UNAVAILABLE, NewNode, Paper, deposited, jobs_due
from tests.fixtures.statements import MINE, MINE_ACCOUNT, NOW, digest_of, document_statement, stored_document


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def settle(node: Node) -> None:
    for _ in range(3):
        await anchor_waiting(node)


async def anchored(node: Node, path: str = "a") -> str:
    """The digest of a document statement that is final on the ledger."""
    stored = await deposited(node, path, b"content")
    await settle(node)
    return str(stored.statement)


async def jobs(node: Node, at: float) -> list[Job]:
    return list(await jobs_due(node.store, at, LEASE, 100))


def claim_of(said: Statement) -> Revocation:
    assert isinstance(said.body, Revocation)
    return said.body


# --- revoke ----------------------------------------------------------------------------------------------------------


async def test_a_revocation_is_a_statement_and_a_job(node: Node, paper: Paper) -> None:
    digest = await anchored(node)
    said = await revoke(node, digest, "the wrong lot")
    assert claim_of(said) == Revocation(digest, "the wrong lot", paper.clock.time)
    assert (said.issuer, said.issued_at) == (node.account, paper.clock.time)
    assert statement.verify(said.token) == said
    kept = await node.store.statement(said.digest_text)
    assert kept is not None
    assert (kept.token, kept.type, kept.batch) == (said.token, "revocation", None)
    (job,) = await jobs(node, paper.clock.time)
    assert (job.key, job.kind, job.argument) == (f"revoke:{digest}", "revoke", said.digest_text)
    await settle(node)
    kept = await node.store.statement(said.digest_text)
    assert kept is not None
    assert kept.batch is not None
    assert (await node.store.batch(kept.batch)).state is BatchState.FINAL


@pytest.mark.parametrize("effective", [1, START, LAST_TIME])
async def test_a_revocation_takes_effect_when_it_says(node: Node, effective: int) -> None:
    said = await revoke(node, await anchored(node), "because", effective)
    assert claim_of(said).effective == effective


@pytest.mark.parametrize("effective", [0, -1, LAST_TIME + 1])
async def test_a_time_that_no_calendar_has_is_refused(node: Node, effective: int) -> None:
    with pytest.raises(UsageError, match="time of effect"):
        await revoke(node, await anchored(node), "because", effective)
    assert (await node.store.counts())["statements"] == 1


@pytest.mark.parametrize("reason", ["", "x" * 1025, "two\nlines", "\0"])
async def test_a_reason_that_is_none_is_refused(node: Node, reason: str) -> None:
    with pytest.raises(StatementInvalid, match="reason"):
        await revoke(node, await anchored(node), reason)
    assert (await node.store.counts())["statements"] == 1


async def test_what_is_not_here_is_not_revoked(node: Node) -> None:
    stored = await deposited(node, "a", b"content")
    for digest in (digest_of("nothing"), stored.digest):
        with pytest.raises(NotFound, match=f"no statement with the digest {digest}"):
            await revoke(node, digest, "because")
    with pytest.raises(UsageError):
        await revoke(node, "a", "because")


async def test_only_the_issuer_revokes(node: Node, new_node: NewNode) -> None:
    maker = new_node("Maker")
    stored = await deposited(node, "a", b"content")
    transfer = await transfers.create(node, ["a"], [maker.account])
    await transfers.deliver(node, transfer.id, maker.account)
    await receipts.open_received(maker, transfer.id)
    await settle(maker)
    for digest in (stored.statement, transfer.id):
        with pytest.raises(Forbidden, match=f"issued by {node.account}: only its issuer"):
            await revoke(maker, digest, "because")
    received = await maker.store.transfer(transfer.id)
    receipt = received.deliveries[0].receipt
    assert receipt is not None
    assert claim_of(await revoke(maker, receipt, "a mistake")).statement == receipt


async def test_what_is_not_final_on_the_ledger_yet_can_not_be_revoked(node: Node) -> None:
    stored = await deposited(node, "a", b"content")
    for _ in range(2):  # in no batch, then in one whose anchor is not final
        with pytest.raises(Conflict, match="not final on the ledger yet"):
            await revoke(node, stored.statement, "because")
        await anchor_waiting(node)
    await settle(node)
    await revoke(node, stored.statement, "because")


async def test_a_statement_is_revoked_once(node: Node, paper: Paper) -> None:
    digest, other = await anchored(node), await anchored(node, "b")
    first = await revoke(node, digest, "because")
    with pytest.raises(Conflict, match=f"revoked already, by the statement {first.digest_text}"):
        await revoke(node, digest, "again")
    await revoke(node, other, "because")
    assert (await node.store.counts())["statements"] == 4
    assert len(await jobs(node, paper.clock.time)) == 2


async def test_of_revocations_at_once_one_stands(node: Node) -> None:
    digest = await anchored(node)
    done = await asyncio.gather(*(revoke(node, digest, f"{n}") for n in range(8)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict"] * 7 + ["Statement"]
    assert (await node.store.counts())["statements"] == 2


async def test_a_revocation_is_not_revoked(node: Node) -> None:
    said = await revoke(node, await anchored(node), "because")
    await settle(node)
    with pytest.raises(UsageError, match="can't be taken back"):
        await revoke(node, said.digest_text, "I changed my mind")


# --- record ----------------------------------------------------------------------------------------------------------


async def test_the_notary_gets_the_revocation_with_its_time(node: Node, paper: Paper) -> None:
    digest = await anchored(node)
    said = await revoke(node, digest, "because", START + 7)
    assert await record(node, said.digest_text) == WAIT
    assert await record(node, said.digest_text) is None
    key = (node.address, parse_digest(digest).raw)
    assert paper.ledger.revocations == {key: (said.digest, START + 7, 2)}


async def test_the_worker_looks_again_until_the_record_is_final(node: Node, paper: Paper) -> None:
    paper.ledger.polls_until_final = 3
    digest = await anchored(node)
    await settle(node)
    await revoke(node, digest, "because")
    for n in range(4):
        paper.clock.time = now = round(START + 5000 + n * WAIT)
        (job,) = await jobs(node, now)
        await work_on(node, job, paper.clock)
        assert await jobs(node, now + WAIT - 0.1) == []
    assert (await node.store.counts())["jobs"] == 0
    assert [asked for _, _, asked in paper.ledger.revocations.values()] == [4]


async def test_a_ledger_that_is_down_is_asked_again_soon(node: Node, paper: Paper) -> None:
    said = await revoke(node, await anchored(node), "because")
    paper.ledger.down = UNAVAILABLE
    assert await record(node, said.digest_text) == WAIT
    paper.ledger.down = None
    assert paper.ledger.revocations == {}
    assert await record(node, said.digest_text) == WAIT
    assert await record(node, said.digest_text) is None


async def test_a_statement_whose_anchor_was_lost_waits_for_the_new_one(node: Node, paper: Paper) -> None:
    digest = await anchored(node)
    said = await revoke(node, digest, "because")
    (batch,) = await node.store.batches(BatchState.FINAL)
    await node.store.set_batch(replace(batch, state=BatchState.SEALED))
    assert await record(node, said.digest_text) == WAIT
    assert paper.ledger.revocations == {}
    await node.store.set_batch(batch)
    await record(node, said.digest_text)
    assert len(paper.ledger.revocations) == 1


@pytest.mark.parametrize("error", [NotMember("suspended"), LedgerRejected("AlreadyRevoked")])
async def test_what_the_ledger_refuses_is_tried_again_later(node: Node, paper: Paper, error: DocexError) -> None:
    said = await revoke(node, await anchored(node), "because")
    paper.ledger.down = error
    with pytest.raises(type(error)):
        await record(node, said.digest_text)
    (job,) = await jobs(node, paper.clock.time)
    await work_on(node, job)
    assert (await node.store.counts())["jobs"] == 1


# --- taken back ------------------------------------------------------------------------------------------------------


async def test_what_is_against_a_document_is_known(node: Node, paper: Paper) -> None:
    stands, old, both = [await anchored(node, path) for path in ("stands", "old", "both")]
    first = await deposited(node, "old", b"new", supersedes=old)
    second = await deposited(node, "old", b"newer", supersedes=old)
    newer = await deposited(node, "both", b"new", supersedes=both)
    await revoke(node, both, "because", START + 3)
    assert first.statement != second.statement
    found = await taken_back(node, [stands, old, both, digest_of("nothing")])
    assert found == {
        old: TakenBack(superseded_by=second.statement),
        both: TakenBack(superseded_by=newer.statement, revoked_from=START + 3),
    }
    assert await taken_back(node, []) == {}


async def test_what_somebody_else_says_is_not_against_it(node: Node, new_node: NewNode) -> None:
    digest = await anchored(node)
    other = new_node("Other")
    forged = statement.issue(other.signer, other.account, Revocation(digest, "a lie", 1), node.now())
    await node.store.add_revocation(digest, forged, [])
    assert await taken_back(node, [digest]) == {}
    await revoke(node, digest, "because")  # nor is it in the way
    assert list(await taken_back(node, [digest])) == [digest]


# --- the state of record, on each database ---------------------------------------------------------------------------


def revocation_of(said: Statement, reason: str = "because") -> Statement:
    return statement.issue(MINE, MINE_ACCOUNT, Revocation(said.digest_text, reason, 7), NOW)


async def test_a_revocation_is_kept_with_its_jobs(sql_store: SqlStore) -> None:
    said = document_statement("a.pdf")
    await sql_store.add_document(stored_document(said), [said])
    revocation, job = revocation_of(said), Job("revoke:1", "revoke", "1")
    await sql_store.add_revocation(said.digest_text, revocation, [job])
    (found,) = await sql_store.taking_back([said.digest_text, revocation.digest_text])
    assert (found.digest, found.token) == (revocation.digest_text, revocation.token)
    assert [each.key for each in await jobs_due(sql_store, time.time() + 1, LEASE, 10)] == ["revoke:1"]


async def test_of_revocations_written_at_once_one_is_kept(sql_store: SqlStore) -> None:
    said = document_statement("a.pdf")
    await sql_store.add_document(stored_document(said), [said])
    made = [revocation_of(said, f"{n}") for n in range(12)]
    writing = (
        sql_store.add_revocation(said.digest_text, each, [Job(f"revoke:{n}", "revoke", str(n))])
        for n, each in enumerate(made)
    )
    done = await asyncio.gather(*writing, return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict"] * 11 + ["NoneType"]
    counts = await sql_store.counts()
    assert (counts["statements"], counts["jobs"]) == (2, 1)
    (kept,) = await sql_store.taking_back([said.digest_text])
    assert kept.digest == made[done.index(None)].digest_text


def test_the_worker_knows_the_job() -> None:
    handler: Callable[..., object] = worker._HANDLERS["revoke"]
    assert handler is revocations.record
