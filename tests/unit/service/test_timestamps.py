"""Timestamps of batches: asked for by a job, whatever becomes of the anchor, put into proofs, and judged as row 5."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from docex.core import proof as proofs_format
from docex.core import timestamp
from docex.core.facts import Trust
from docex.core.proof import Evidence, Network, Proof
from docex.core.state import Batch, BatchState, Job
from docex.core.verdict import Outcome, Row, iso
from docex.db.store import SqlStore
from docex.errors import UsageError
from docex.service import proofs, timestamps
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from docex.service.trust import MAX_CERTIFICATES, TrustedNetwork, TrustStore, network
from docex.service.worker import work_on
from docex.tsa import HttpTsa
from docex.verify import verify
from tests.fixtures.paper_ledger import NETWORK, TRUST, Exchange, fake_address
from tests.fixtures.paper_nodes import NewNode, Paper, deposited
from tests.fixtures.statements import NOW, document_statement, stored_document
from tests.fixtures.stock_tools import needs
from tests.fixtures.tsa import Authority, LocalTsa

pytestmark = needs("openssl")


# --- the store -------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(engine: AsyncEngine) -> SqlStore:
    return SqlStore(engine, lambda: NOW, batch_jobs=(timestamps.JOB,))


async def make_batch(store: SqlStore) -> Batch:
    said = document_statement("a", "content")
    await store.add_document(stored_document(said), [said])
    batch = await store.make_batch(10, NOW)
    assert batch is not None
    return batch


async def test_a_batch_is_made_together_with_its_job(store: SqlStore) -> None:
    batch = await make_batch(store)
    job = Job(f"timestamp:{batch.number}", "timestamp", str(batch.number), 1)
    assert await store.claim(NOW, 60, 10) == [job]


async def test_the_first_timestamp_of_a_batch_stands_in_every_state(store: SqlStore) -> None:
    batch = await make_batch(store)
    assert await store.timestamp(batch.number) is None
    for token in (b"first", b"second"):
        await store.set_timestamp(batch.number, token)
    await store.set_batch(replace(batch, state=BatchState.FINAL, block_number=1, block_time=NOW))
    assert await store.timestamp(batch.number) == b"first"
    assert await store.timestamp(batch.number + 1) is None


# --- the job ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def node(new_node: NewNode, store: SqlStore, tsa: LocalTsa) -> AsyncIterator[Node]:
    client = HttpTsa(tsa.url)
    yield new_node("Mine", store=store, tsa=client)
    await client.close()


async def anchored(node: Node) -> Batch:
    for _ in range(3):
        await anchor_waiting(node)
    (batch,) = await node.store.batches(BatchState.FINAL)
    return batch


async def work(node: Node, at: float) -> list[Job]:
    """Do the jobs that are due."""
    claimed = list(await node.store.claim(at, 60, 10))
    for job in claimed:
        await work_on(node, job, lambda: at)
    return claimed


async def test_a_timestamp_comes_with_the_proof(node: Node, authority: Authority) -> None:
    stored = await deposited(node, "a", b"content")
    batch = await anchored(node)
    assert [job.kind for job in await work(node, time.time())] == ["timestamp"]
    made = await proofs.build(node, stored.digest)
    assert made.statement.inclusion is not None
    assert made.statement.inclusion.timestamp is not None
    timestamp.verify(made.statement.inclusion.timestamp, batch.root, [authority.ca])
    assert proofs_format.parse(proofs_format.dump(made)) == made
    assert (await node.store.counts())["jobs"] == 0


async def test_a_tsa_that_is_down_holds_up_no_anchor_and_is_asked_again(
    node: Node, tsa: LocalTsa, paper: Paper
) -> None:
    stored = await deposited(node, "a", b"content")
    tsa.fail()
    batch = await anchored(node)
    (job,) = await work(node, later := float(paper.clock() + 1))
    without = await proofs.build(node, stored.digest)
    assert without.statement.anchor is not None
    assert without.statement.inclusion is not None
    assert without.statement.inclusion.timestamp is None
    assert (await node.store.counts())["jobs"] == 1
    tsa.recover()
    assert await work(node, later + 4000) == [replace(job, attempts=2)]
    made = await proofs.build(node, stored.digest)
    assert made.statement.inclusion is not None
    assert made.statement.inclusion.timestamp == await node.store.timestamp(batch.number) is not None
    assert len(tsa.asked) == 2


async def test_a_batch_with_a_timestamp_asks_for_no_other(node: Node, tsa: LocalTsa) -> None:
    await deposited(node, "a", b"content")
    batch = await anchored(node)
    for _ in range(2):
        await timestamps.fetch(node, str(batch.number))
    assert len(tsa.asked) == 1


async def test_a_node_whose_tsa_was_taken_away_is_done_with_the_job(node: Node, tsa: LocalTsa) -> None:
    await deposited(node, "a", b"content")
    await anchored(node)
    await work(replace(node, tsa=None), time.time())
    assert tsa.asked == []
    assert (await node.store.counts())["jobs"] == 0


# --- row 5 -----------------------------------------------------------------------------------------------------------


def stamped(exchange: Exchange, authority: Authority, root: bytes | None = None) -> Proof:
    evidence = exchange.evidence
    assert evidence.inclusion is not None
    token = authority.token(evidence.inclusion.root if root is None else root)
    return Proof(NETWORK, replace(evidence, inclusion=replace(evidence.inclusion, timestamp=token)))


async def row_5(
    exchange: Exchange, proof: Proof, *trusted: Authority, at: int | None = None, trust: Trust | None = TRUST
) -> Row:
    """What row 5 says; it never changes what the others decide."""
    if trust is not None and trusted:
        certificates = tuple(each.ca for each in trusted)
        trust = Trust(trust.name, trust.network, trust.confirmations, certificates)
    facts = await exchange.facts(proof)
    verdict = verify(exchange.content, proof, trust, facts, at)
    statement = proof.statement
    bare = replace(statement, inclusion=statement.inclusion and replace(statement.inclusion, timestamp=None))
    assert verdict.exit_code == verify(exchange.content, replace(proof, statement=bare), trust, facts, at).exit_code
    assert not verdict.row(5).required
    return verdict.row(5)


async def test_a_trusted_timestamp_passes_with_its_time_and_name(authority: Authority) -> None:
    exchange, before = Exchange(), int(time.time())
    row = await row_5(exchange, stamped(exchange, authority), authority)
    assert row.outcome is Outcome.PASS
    assert before <= row.details["time"] <= time.time()
    assert row.details["tsa"] == "CN=Test TSA,O=Clocks"
    assert row.reason == f"existed by {iso(row.details['time'])}, says CN=Test TSA,O=Clocks"


async def test_without_a_timestamp_or_a_trusted_tsa_nothing_is_checked(authority: Authority) -> None:
    exchange = Exchange()
    proof = stamped(exchange, authority)
    untrusted = "no time-stamping authority is trusted here: name its CA with `docex trust add --tsa-cert`"
    other = replace(proof, network=Network(NETWORK.chain_id, NETWORK.directory, fake_address("other")))
    for given, trusted, trust, reason in [
        (exchange.proof, (authority,), TRUST, "no independent timestamp in the proof"),
        (Proof(NETWORK, Evidence(exchange.document.token)), (authority,), TRUST, "no independent timestamp"),
        (proof, (), TRUST, untrusted),
        (proof, (), None, untrusted),
        (other, (authority,), TRUST, "the proof is about another network than yours, see row 4"),
    ]:
        row = await row_5(exchange, given, *trusted, trust=trust)
        assert (row.outcome, row.reason[: len(reason)]) == (Outcome.NOT_CHECKED, reason)


async def test_a_timestamp_by_another_ca_fails(authority: Authority, other_authority: Authority) -> None:
    exchange = Exchange()
    row = await row_5(exchange, stamped(exchange, authority), other_authority)
    assert row.outcome is Outcome.FAIL
    assert row.reason == "the timestamp does not hold: Verify error: unable to get local issuer certificate"


async def test_another_roots_timestamp_fails(authority: Authority) -> None:
    exchange = Exchange()
    row = await row_5(exchange, stamped(exchange, authority, bytes(32)), authority)
    assert (row.outcome, row.reason) == (Outcome.FAIL, "the timestamp is over something else than the batch root")


async def test_a_timestamp_of_a_batch_without_the_statement_fails(authority: Authority) -> None:
    exchange = Exchange()
    proof = stamped(exchange, authority)
    assert proof.statement.inclusion is not None
    moved = replace(proof.statement, inclusion=replace(proof.statement.inclusion, index=4))
    row = await row_5(exchange, replace(proof, statement=moved), authority)
    assert row.outcome is Outcome.FAIL
    assert row.reason.startswith("the statement is not in the batch")


@pytest.mark.parametrize(("ahead", "outcome"), [(200, Outcome.PASS), (400, Outcome.FAIL)])
async def test_a_statement_dated_after_its_timestamp_fails(authority: Authority, ahead: int, outcome: Outcome) -> None:
    exchange, issued_at = Exchange(), int(time.time()) + ahead
    exchange.evidence = exchange.add(exchange.mine, exchange.document_claim, issued_at)
    row = await row_5(exchange, stamped(exchange, authority), authority)
    assert row.outcome is outcome
    if outcome is Outcome.FAIL:
        assert row.reason.startswith(f"the statement says it was issued at {iso(issued_at)}, after its timestamp of ")


async def test_as_of_a_time_before_it_a_timestamp_says_nothing(authority: Authority) -> None:
    exchange = Exchange()
    row = await row_5(exchange, stamped(exchange, authority), authority, at=exchange.ledger.now)
    assert row.outcome is Outcome.NOT_CHECKED
    assert row.reason == f"timestamped only at {iso(row.details['time'])}, after {iso(exchange.ledger.now)}"


async def test_a_statement_that_nobody_signed_has_no_row_5(authority: Authority) -> None:
    exchange = Exchange()
    proof = stamped(exchange, authority)
    token = exchange.document.token[:-4] + "AAAA"
    row = await row_5(exchange, replace(proof, statement=replace(proof.statement, token=token)), authority)
    assert row.reason == "the statement's signature does not hold, see row 2"


# --- trust settings --------------------------------------------------------------------------------------------------

CONTRACTS = (NETWORK.chain_id, NETWORK.directory, NETWORK.notary)


def test_certificates_are_kept_with_their_network(
    authority: Authority, other_authority: Authority, tmp_path: Path
) -> None:
    store = TrustStore(tmp_path / "trust.json")
    both = [f"of our time-stamping authority\n{authority.ca}", other_authority.ca]
    store.add(new := network("paper", *CONTRACTS, tsa_certificates=both))
    assert store.networks() == (new,)
    assert new.trust == Trust("paper", NETWORK, 3, (authority.ca, other_authority.ca))
    assert new.to_json()["tsa_certificates"] == [authority.ca, other_authority.ca]


def test_settings_with_certificates_that_are_none_are_refused(authority: Authority, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.json")
    store.add(network("paper", *CONTRACTS, tsa_certificates=[authority.ca]))
    text = store.path.read_text()
    for old, new, message in [
        ('"tsa_certificates": [', '"tsa_certificates": [7, ', "tsa_certificates must be a list of text"),
        ('"tsa_certificates": [', '"tsa_certificates": ["", ', "one X.509 certificate in PEM"),
        ("-----BEGIN", "text\\n-----BEGIN", "kept without any text around it"),
    ]:
        store.path.write_text(text.replace(old, new, 1))
        with pytest.raises(UsageError, match=message):
            store.networks()
    store.path.write_text(text.replace('"tsa_certificates": [', '"tsa_certificates": {"a": [').replace("]", "]}", 1))
    with pytest.raises(UsageError, match="must be a list of text"):
        store.networks()


def test_a_network_has_few_certificates(authority: Authority) -> None:
    trust = Trust("paper", NETWORK, 3, (authority.ca,) * (MAX_CERTIFICATES + 1))
    with pytest.raises(UsageError, match="at most 16 TSA certificates"):
        TrustedNetwork(trust)
