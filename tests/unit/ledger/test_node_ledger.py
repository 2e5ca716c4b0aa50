"""The ledger as a node sees it: one anchor for a batch, whatever happened to the transactions before."""

import hashlib
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from docex.core.ledger_types import KeyUse, TransactionInfo
from docex.core.transactions import TransactionRequest, TransactionStatus
from docex.errors import LedgerError, NotFound, NotMember
from docex.ledger import chain
from docex.ledger.contracts import load
from docex.ledger.memory import MemoryStore
from docex.ledger.node import NodeLedger
from docex.ledger.notary import NotaryClient
from docex.ledger.process import CHAIN_ID, LocalChain
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Alarm, Poll, Sender
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain
from tests.unit.ledger.support import FaultyRpc, Network, deployed, mine, sender_of

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
    return NodeLedger(network.rpc, deployment.directory, deployment.notary, sender, transactions, idle=0)


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
    assert await ledger.anchor(ROOT, 5) is None  # the chain knows better than the changed row, which has the nonce
    other = hashlib.sha256(b"other").digest()
    transactions._rows[key.replace(ROOT.hex(), other.hex())] = failed
    assert await ledger.anchor(other, 5) is None
    await mine(network.rpc, 2)
    await ledger.poll()
    found = await ledger.anchor(other, 5)
    assert found is not None
    assert len(transactions._rows) == 3


async def anchored_without_a_trace(network: Network, confirmations: int = 1) -> TransactionInfo:
    """What a database that is an older copy does not know of."""
    lost = sender_of(network.rpc, network.member)
    row = await NotaryClient(network.rpc, network.deployment.notary, lost).anchor(ROOT, 5)
    info = await lost.wait(row.key)
    await mine(network.rpc, confirmations)
    return info


async def test_an_anchor_that_the_database_does_not_know_of_is_taken_over(
    ledger: NodeLedger, network: Network, transactions: MemoryStore
) -> None:
    made = await anchored_without_a_trace(network, confirmations=0)
    with capture_logs() as logs:
        assert await ledger.anchor(ROOT, 5) is None
        await ledger.poll()
        assert await ledger.anchor(ROOT, 5) is None  # it is followed like any other until it is deep enough
        await mine(network.rpc)
        await ledger.poll()
        found = await ledger.anchor(ROOT, 5)
    assert found is not None
    assert (found.transaction, found.block_hash, found.anchor.block_number, found.anchor.time) == (
        made.transaction,
        made.block_hash,
        made.block_number,
        made.block_time,
    )
    assert [each["event"] for each in logs] == ["anchor_taken_over"]
    (row,) = transactions._rows.values()
    assert (row.nonce, row.attempts[0].transaction) == (0, made.transaction)
    # What comes next has the next nonce.
    await ledger.anchor(hashlib.sha256(b"next").digest(), 5)
    assert [row.nonce for row in transactions._rows.values()] == [0, 1]


async def test_a_member_that_is_suspended_by_now_still_takes_its_anchor_over(
    ledger: NodeLedger, network: Network
) -> None:
    await anchored_without_a_trace(network)
    await network.consortium.suspend(network.member.address)
    assert await ledger.anchor(ROOT, 5) is None
    await ledger.poll()
    assert await ledger.anchor(ROOT, 5) is not None


async def test_an_anchor_whose_nonce_is_kept_for_something_else_is_taken_over_once_that_moved(
    ledger: NodeLedger, sender: Sender, network: Network, transactions: MemoryStore
) -> None:
    address, target = network.member.address, LocalAccount.generate().address
    other = TransactionRequest("other", CHAIN_ID, address, target, b"", 7, 21_000)
    await transactions.reserve(other, 0)  # in the older copy: reserved, not signed
    made = await anchored_without_a_trace(network)
    assert await ledger.anchor(ROOT, 5) is None
    assert set(transactions._rows) == {"other"}
    await ledger.poll()
    assert transactions._rows["other"].nonce == 1
    assert await ledger.anchor(ROOT, 5) is None
    await ledger.poll()
    found = await ledger.anchor(ROOT, 5)
    assert found is not None
    assert found.transaction == made.transaction
    await sender.wait("other")
    assert await chain.balance(network.rpc, target) == 7


async def test_a_nonce_reserved_in_the_older_copy_for_the_same_batch_ends_in_one_anchor(
    ledger: NodeLedger, network: Network, transactions: MemoryStore
) -> None:
    """A copy from the moment between the nonce's reservation and the signature."""
    data = load("Notary").encode("anchor", ROOT, 5)
    notary, member = network.deployment.notary, network.member.address
    key = f"anchor:{CHAIN_ID}:{notary}:{ROOT.hex()}:5:0"
    await transactions.reserve(TransactionRequest(key, CHAIN_ID, member, notary, data, 0, 100_000), 0)
    made = await anchored_without_a_trace(network)
    found = None
    while found is None:
        await ledger.poll()
        found = await ledger.anchor(ROOT, 5)
        await mine(network.rpc)
    assert found.transaction == made.transaction
    head = (await chain.head(network.rpc)).number
    assert await network.notary.anchors_of(member, 0, head) == (found.anchor,)


async def test_a_reorg_that_takes_a_taken_over_anchor_away_sends_its_bytes_again(new_chain: NewChain) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        network, transactions = await deployed(rpc), MemoryStore()
        sender = sender_of(rpc, network.member, transactions, confirmations=1)
        ledger = NodeLedger(rpc, network.deployment.directory, network.deployment.notary, sender, transactions, idle=0)
        made = await anchored_without_a_trace(network)
        await ledger.anchor(ROOT, 5)
        await ledger.poll()
        assert await ledger.anchor(ROOT, 5) is not None
        await rpc.call("anvil_reorg", 2, [])
        with capture_logs() as logs:
            await ledger.poll()
        assert [(each["event"], each["kind"]) for each in logs] == [("ledger_alarm", "reorg")]
        assert await ledger.anchor(ROOT, 5) is None
        (row,) = transactions._rows.values()
        await sender.wait(row.key)
        await mine(rpc)
        await ledger.poll()
        found = await ledger.anchor(ROOT, 5)
        assert found is not None
        assert found.transaction == made.transaction
        assert found.block_hash != made.block_hash


async def test_a_transaction_that_no_sender_makes_is_not_taken_over(
    ledger: NodeLedger, network: Network, transactions: MemoryStore
) -> None:
    await network.rpc.call("anvil_impersonateAccount", network.member.address)
    call = {"from": network.member.address, "to": network.deployment.notary, "gasPrice": hex(10**10)}
    call["data"] = "0x" + load("Notary").encode("anchor", ROOT, 5).hex()
    await network.rpc.call("eth_sendTransaction", call)
    with pytest.raises(LedgerError, match=r"can't be taken over: it is not of type 2 \(EIP-1559\), or in no block"):
        await ledger.anchor(ROOT, 5)
    assert transactions._rows == {}


async def test_only_transactions_of_the_account_that_the_chain_has_can_be_taken_over(
    sender: Sender, network: Network
) -> None:
    with pytest.raises(NotFound, match="the chain has no transaction 0x0000"):
        await sender.adopt("key", bytes(32))
    made = await anchored_without_a_trace(network)
    stranger = sender_of(network.rpc, LocalAccount.generate())
    with pytest.raises(LedgerError, match=f"can't be taken over: it is not of {stranger.account}, or"):
        await stranger.adopt("key", made.transaction)


async def test_while_nothing_is_on_its_way_most_polls_leave_the_node_alone(
    network: Network, transactions: MemoryStore, anvil: LocalChain
) -> None:
    async with FaultyRpc(anvil.url) as rpc:
        asked: list[str] = []

        def ask(method: str) -> bool:
            asked.append(method)
            return False

        rpc.before = ask
        sender = sender_of(rpc, network.member, transactions)
        ledger = NodeLedger(rpc, network.deployment.directory, network.deployment.notary, sender, transactions)
        await ledger.poll()
        looked = len(asked)
        assert looked > 0
        await ledger.poll()
        assert len(asked) == looked
        await ledger.anchor(ROOT, 5)
        looked = len(asked)
        await ledger.poll()
        assert len(asked) > looked


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
