import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from docex.core.assets import (
    Accepted,
    AnchoredStatement,
    Asset,
    AssetEvent,
    AssetKind,
    AssetSpec,
    AssetState,
    Bundled,
    Created,
    Linked,
    Offer,
    Offered,
    Part,
    Recalled,
    Rejected,
    Split,
    Transformed,
    Unbundled,
    Withdrawn,
)
from docex.core.merkle import Tree, leaf_hash
from docex.core.transactions import StoredTransaction
from docex.errors import Conflict, LedgerRejected, LedgerUnavailable, NotFound, NotMember, UsageError
from docex.ledger import chain
from docex.ledger.asset_events import to_event, to_kind, to_state
from docex.ledger.assets import AssetsClient
from docex.ledger.contracts import load
from docex.ledger.sender import Sender
from tests.unit.ledger.support import Network, funded

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
TREE = Tree(map(leaf_hash, DIGESTS))
TRANSFER, RECEIPT, REASON = (hashlib.sha256(name).digest() for name in (b"transfer", b"receipt", b"reason"))
ORE = AssetSpec(AssetKind.LOT, "KGM", 40_000_000, 40_000_000)


@dataclass
class Goods:
    """The contract as a mine and a fab use it."""

    network: Network
    mine: str
    fab: str
    ours: AssetsClient
    theirs: AssetsClient
    senders: dict[AssetsClient, Sender]
    keys: int = 0

    def evidence(self, index: int) -> AnchoredStatement:
        return AnchoredStatement(self.mine, TREE.root, 3, index, DIGESTS[index], tuple(TREE.inclusion_path(index)))

    async def done(
        self, client: AssetsClient, call: Callable[..., Awaitable[StoredTransaction]], *arguments: Any
    ) -> tuple[AssetEvent, ...]:
        """Does a call once, and says what came of it."""
        self.keys += 1
        row = await call(*arguments, key=f"call {self.keys}")
        info = await self.senders[client].wait(row.key)
        return await client.made_by(info.transaction)

    async def created(self, *specs: AssetSpec) -> int:
        first, *_ = await self.done(self.ours, self.ours.create, specs, self.evidence(0))
        assert isinstance(first, Created)
        return first.id


@pytest.fixture
async def goods(network: Network) -> Goods:
    assert network.deployment.assets is not None
    fab = await funded(network.rpc)
    await network.consortium.admit(fab.address, "Fab GmbH")
    row = await network.notary.anchor(TREE.root, 3)
    await network.sender.wait(row.key)
    _, _, sender = network.as_account(fab)
    ours = AssetsClient(network.rpc, network.deployment.assets, network.sender)
    theirs = AssetsClient(network.rpc, network.deployment.assets, sender)
    senders = {ours: network.sender, theirs: sender}
    assert await ours.made_by((await network.sender.wait(row.key)).transaction) == (), "an anchor is no asset's event"
    return Goods(network, network.member.address, fab.address, ours, theirs, senders)


async def test_lots_and_components_are_created_with_their_evidence(goods: Goods) -> None:
    chip = AssetSpec(AssetKind.COMPONENT, "H87", 1_000_000)
    events = await goods.done(goods.ours, goods.ours.create, [ORE, chip], goods.evidence(1))
    at = [event.at for event in events]
    assert list(events) == [
        Created(at[0], 1, goods.mine, ORE),
        Linked(at[1], 1, goods.mine, DIGESTS[1], goods.mine),
        Created(at[2], 2, goods.mine, chip),
        Linked(at[3], 2, goods.mine, DIGESTS[1], goods.mine),
    ]
    assert await goods.ours.asset(2) == Asset(
        2, goods.mine, AssetKind.COMPONENT, AssetState.LIVE, False, 0, "H87", 1_000_000, 0, None
    )
    assert await goods.ours.holder(1) == goods.mine
    assert await goods.ours.is_linked(1, goods.mine, DIGESTS[1])
    assert not await goods.ours.is_linked(1, goods.mine, DIGESTS[0])
    assert await goods.ours.count() == 2
    assert await goods.ours.notary() == goods.network.deployment.notary


async def test_what_never_was_is_told_as_nothing(goods: Goods) -> None:
    assert await goods.ours.asset(9) is None
    assert await goods.ours.holder(9) is None
    assert await goods.ours.offer_of(9) is None
    assert await goods.ours.children(9) == ()
    assert await goods.ours.recall_of(9, goods.mine) is None
    with pytest.raises(NotFound, match="the chain has no transaction 0x0000"):
        await goods.ours.made_by(bytes(32))


async def test_custody_moves_by_acceptance_and_stays_on_rejection(goods: Goods) -> None:
    lot = await goods.created(ORE)
    (offered,) = await goods.done(goods.ours, goods.ours.offer, lot, goods.fab, TRANSFER)
    assert offered == Offered(offered.at, lot, goods.mine, goods.fab, TRANSFER)
    assert await goods.ours.offer_of(lot) == Offer(goods.fab, TRANSFER)
    (rejected,) = await goods.done(goods.theirs, goods.theirs.reject, lot, TRANSFER, RECEIPT)
    assert rejected == Rejected(rejected.at, lot, goods.mine, goods.fab, TRANSFER, RECEIPT)
    assert await goods.ours.holder(lot) == goods.mine
    (offered,) = await goods.done(goods.ours, goods.ours.offer, lot, goods.fab)
    assert offered == Offered(offered.at, lot, goods.mine, goods.fab, None)
    (withdrawn,) = await goods.done(goods.ours, goods.ours.withdraw, lot)
    assert withdrawn == Withdrawn(withdrawn.at, lot, goods.mine, goods.fab, None)
    await goods.done(goods.ours, goods.ours.offer, lot, goods.fab)
    (accepted,) = await goods.done(goods.theirs, goods.theirs.accept, lot)
    assert accepted == Accepted(accepted.at, lot, goods.mine, goods.fab, None, None)
    assert await goods.ours.holder(lot) == goods.fab
    assert await goods.ours.offer_of(lot) is None


async def test_goods_are_split_transformed_bundled_and_unbundled(goods: Goods) -> None:
    lot = await goods.created(ORE)
    parts = (Part(10_000_000, 10_000_000), Part(30_000_000, 30_000_000))
    (split,) = await goods.done(goods.ours, goods.ours.split, lot, parts)
    assert split == Split(split.at, lot, goods.mine, lot + 1, parts)
    wafers = (AssetSpec(AssetKind.LOT, "H87", 5_000_000, 9_000_000),)
    (made,) = await goods.done(goods.ours, goods.ours.transform, [lot + 1], wafers)
    assert made == Transformed(made.at, goods.mine, lot + 3, (lot + 1,), wafers, 1_000_000)
    (bundled,) = await goods.done(goods.ours, goods.ours.bundle, [lot + 2, lot + 3], "Halle 7, Süd")
    assert bundled == Bundled(bundled.at, lot + 4, goods.mine, (lot + 2, lot + 3), "Halle 7, Süd")
    assert await goods.ours.children(lot + 4) == (lot + 2, lot + 3)
    assert await goods.ours.asset(lot + 4) == Asset(
        lot + 4, goods.mine, AssetKind.BUNDLE, AssetState.LIVE, False, 1, "", 0, 0, None
    )
    inside = await goods.ours.asset(lot + 3)
    assert inside is not None
    assert inside.bundle == lot + 4
    (linked,) = await goods.done(goods.ours, goods.ours.link, [lot + 3], goods.evidence(2))
    assert linked == Linked(linked.at, lot + 3, goods.mine, DIGESTS[2], goods.mine)
    (unbundled,) = await goods.done(goods.ours, goods.ours.unbundle, lot + 4)
    assert unbundled == Unbundled(unbundled.at, lot + 4, goods.mine)
    states = [await goods.ours.asset(lot + number) for number in range(5)]
    assert [asset.state for asset in states if asset is not None] == [
        AssetState.SPLIT,
        AssetState.TRANSFORMED,
        AssetState.LIVE,
        AssetState.LIVE,
        AssetState.UNBUNDLED,
    ]


async def test_a_recall_is_told_with_its_statement(goods: Goods) -> None:
    lot = await goods.created(ORE)
    (recalled,) = await goods.done(goods.ours, goods.ours.recall, lot, REASON)
    assert recalled == Recalled(recalled.at, lot, goods.mine, REASON)
    assert await goods.ours.recall_of(lot, goods.mine) == REASON
    asset = await goods.ours.asset(lot)
    assert asset is not None
    assert asset.recalled


async def test_all_events_are_found_in_order_over_several_ranges(goods: Goods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docex.ledger.assets.RANGE", 2)
    lot = await goods.created(ORE)
    await goods.done(goods.ours, goods.ours.offer, lot, goods.fab)
    await goods.done(goods.theirs, goods.theirs.accept, lot)
    last = (await chain.head(goods.network.rpc)).number
    events = await goods.ours.events(goods.network.deployment.block, last)
    assert [type(event) for event in events] == [Created, Linked, Offered, Accepted]
    assert list(events) == sorted(events, key=lambda event: event.at)
    at = events[-1].at
    block = (await chain.blocks(goods.network.rpc, [at.block_number]))[at.block_number]
    assert block.hash == at.block_hash
    assert await goods.ours.made_by(at.transaction) == (events[-1],)
    assert await goods.ours.events(at.block_number, at.block_number) == (events[-1],)


async def test_asking_again_with_the_same_key_creates_nothing_more(goods: Goods) -> None:
    first = await goods.ours.create([ORE], goods.evidence(0), key="the ore")
    again = await goods.ours.create([ORE], goods.evidence(0), key="the ore")
    assert again.attempts == first.attempts
    await goods.network.sender.wait("the ore")
    assert await goods.ours.count() == 1
    with pytest.raises(Conflict, match="belongs to another transaction"):
        await goods.ours.create([replace(ORE, quantity=1, mass=0)], goods.evidence(0), key="the ore")


async def test_a_refusal_is_told_by_name_before_anything_is_sent(goods: Goods) -> None:
    lot = await goods.created(ORE)
    with pytest.raises(LedgerRejected, match=rf"^NotHolder\(id={lot}, account={goods.fab}\)$"):
        await goods.theirs.offer(lot, goods.mine, key="theft")
    with pytest.raises(LedgerRejected, match=r"^MassExceeded\(outputs=40000001, inputs=40000000\)$"):
        await goods.ours.transform([lot], [AssetSpec(AssetKind.LOT, "H87", 1, 40_000_001)], key="gain")
    with pytest.raises(LedgerRejected, match=r"^NotAnchored\("):
        await goods.ours.create([ORE], replace(goods.evidence(0), size=4), key="forged")
    stranger = await funded(goods.network.rpc)
    _, _, sender = goods.network.as_account(stranger)
    with pytest.raises(NotMember):
        await AssetsClient(goods.network.rpc, goods.ours.address, sender).create([ORE], goods.evidence(0), key="k")


async def test_what_no_contract_could_take_is_told(goods: Goods) -> None:
    for unit in ("", "kgm", "KGMX", "K G", "ÄÖÜ"):
        with pytest.raises(UsageError, match="is no unit: its code has 1 to 3 digits and capital letters"):
            await goods.ours.create([replace(ORE, unit=unit)], goods.evidence(0), key="k")
    with pytest.raises(UsageError, match="a contract takes no such value"):
        await goods.ours.create([replace(ORE, quantity=2**128)], goods.evidence(0), key="k")
    reader = AssetsClient(goods.network.rpc, goods.ours.address)
    with pytest.raises(UsageError, match="this client of the Assets has no account to write with"):
        await reader.withdraw(1, key="k")


def test_an_event_that_the_contract_does_not_have_is_none_of_ours() -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    contract = load("Assets")
    transfer = (contract.topic("Transfer"), bytes(32), bytes(32), bytes(32))
    assert to_event(contract, chain.Log(address, transfer, b"", 1, bytes(32), 0, bytes(32))) is None
    assert to_event(contract, chain.Log(address, (REASON,), b"", 1, bytes(32), 0, bytes(32))) is None


def test_a_kind_or_state_that_there_is_not_is_the_node_s_fault() -> None:
    with pytest.raises(LedgerUnavailable, match="the kind of an asset was asked for, not 3"):
        to_kind(3)
    with pytest.raises(LedgerUnavailable, match="the state of an asset was asked for, not 5"):
        to_state(5)
