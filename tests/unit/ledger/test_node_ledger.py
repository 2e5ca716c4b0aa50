"""The ledger as a node sees it: one anchor for a batch, whatever happened to the transactions before."""

import hashlib
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from docex.core.ledger_types import KeyUse
from docex.core.transactions import TransactionStatus
from docex.errors import LedgerRejected, NotMember
from docex.ledger.memory import MemoryStore
from docex.ledger.node import NodeLedger
from docex.ledger.sender import Alarm, Poll, Sender
from keys.account import LocalAccount
from tests.unit.ledger.support import Network, mine, sender_of

ROOT = hashlib.sha256(b"root").digest()


@pytest.fixture
def transactions() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def sender(network: Network, transactions: MemoryStore) -> Sender:
    return sender_of(network.rpc, network.member, transactions, confirmations=1)


@pytest.fixture
def ledger(network: Network, sender: Sender, transactions: MemoryStore) -> NodeLedger:
    deployment = network.deployment
    return NodeLedger(network.rpc, deployment.directory, deployment.notary, sender, transactions)


async def test_members_keys_and_periods_are_the_directory_s(ledger: NodeLedger, network: Network) -> None:
    address = network.member.address
    member = await ledger.member(address)
    assert member is not None
    assert (member.name, member.active) == ("Mine AG", True)
    assert await ledger.member(LocalAccount.generate().address) is None
    await network.directory.publish_key(KeyUse.SIGNING, b"{}")
    (key,) = await ledger.keys(address)
    assert (key.use, key.material) == (KeyUse.SIGNING, b"{}")
    assert await ledger.was_active_at(address, member.admitted_at)
    assert not await ledger.was_active_at(address, member.admitted_at - 1)


async def test_a_batch_is_anchored_once_and_final_when_it_is_deep_enough(
    ledger: NodeLedger, network: Network, transactions: MemoryStore
) -> None:
    assert await ledger.anchor(ROOT, 5) is None
    for _ in range(3):
        await ledger.poll()
        assert await ledger.anchor(ROOT, 5) is None
    await mine(network.rpc)
    await ledger.poll()
    found = await ledger.anchor(ROOT, 5)
    assert found is not None
    assert found.anchor == await network.notary.anchor_of(network.member.address, ROOT, 5)
    assert await network.notary.anchoring_transaction(found.anchor) == found.transaction
    assert await ledger.anchor(ROOT, 5) == found
    assert len(transactions._rows) == 1


async def test_an_anchor_that_failed_for_good_gets_a_successor(
    ledger: NodeLedger, network: Network, transactions: MemoryStore
) -> None:
    await ledger.anchor(ROOT, 5)
    (key,) = transactions._rows
    await mine(network.rpc, 2)
    await ledger.poll()
    row = transactions._rows[key]
    assert row.block is not None
    failed = replace(row, status=TransactionStatus.FAILED, block=replace(row.block, succeeded=False))
    transactions._rows[key] = failed
    with pytest.raises(LedgerRejected, match="AlreadyAnchored"):  # the chain knows better than the changed row
        await ledger.anchor(ROOT, 5)
    other = hashlib.sha256(b"other").digest()
    transactions._rows[key.replace(ROOT.hex(), other.hex())] = failed
    assert await ledger.anchor(other, 5) is None
    await mine(network.rpc, 2)
    await ledger.poll()
    found = await ledger.anchor(other, 5)
    assert found is not None
    assert len(transactions._rows) == 3


async def test_a_suspended_member_is_told_when_it_anchors_or_is_checked(ledger: NodeLedger, network: Network) -> None:
    await ledger.check()
    await network.consortium.suspend(network.member.address)
    with pytest.raises(NotMember, match="ask the consortium"):
        await ledger.check()
    with pytest.raises(NotMember):
        await ledger.anchor(ROOT, 5)


async def test_alarms_reach_the_log(ledger: NodeLedger, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    async def poll(_: Sender) -> Poll:
        return Poll((), (Alarm("stuck", "the key", "not mined"),))

    monkeypatch.setattr(Sender, "poll", poll)
    with capture_logs() as logs:
        await ledger.poll()
    assert [(each["event"], each["kind"], each["transaction"]) for each in logs] == [
        ("ledger_alarm", "stuck", "the key")
    ]
