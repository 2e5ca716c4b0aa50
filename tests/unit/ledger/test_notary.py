import hashlib

import pytest

from docex.core.ledger_types import Anchor, Revocation
from docex.core.merkle import Tree, leaf_hash
from docex.errors import LedgerRejected, NotMember, UsageError
from docex.ledger import chain
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc
from tests.unit.ledger.support import Network, funded

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(5)]
TREE = Tree(map(leaf_hash, DIGESTS))
REASON = hashlib.sha256(b"why").digest()


async def anchored(network: Network, root: bytes = TREE.root, size: int = TREE.size) -> Anchor:
    row = await network.notary.anchor(root, size)
    info = await network.sender.wait(row.key)
    return Anchor(network.member.address, root, size, info.block_number, info.block_time)


async def test_a_batch_is_anchored(network: Network) -> None:
    account = network.member.address
    assert await network.notary.anchor_of(account, TREE.root, TREE.size) is None
    anchor = await anchored(network)
    assert await network.notary.anchor_of(account, TREE.root, TREE.size) == anchor
    assert await network.notary.anchor_of(account, TREE.root, TREE.size + 1) is None


async def test_the_anchoring_transaction_is_found(network: Network) -> None:
    row = await network.notary.anchor(TREE.root, TREE.size)
    info = await network.sender.wait(row.key)
    anchor = await network.notary.anchor_of(network.member.address, TREE.root, TREE.size)
    assert anchor is not None
    assert await network.notary.anchoring_transaction(anchor) == info.transaction
    assert await chain.transaction(network.rpc, info.transaction) == info
    elsewhere = Anchor(anchor.member, anchor.root, anchor.size + 1, anchor.block_number, anchor.time)
    assert await network.notary.anchoring_transaction(elsewhere) is None
    unborn = Anchor(anchor.member, anchor.root, anchor.size, anchor.block_number + 10_000, anchor.time)
    assert await network.notary.anchoring_transaction(unborn) is None


async def test_asking_again_for_the_same_anchor_is_the_same_transaction(network: Network) -> None:
    first = await network.notary.anchor(TREE.root, TREE.size)
    again = await network.notary.anchor(TREE.root, TREE.size)
    assert again.key == first.key
    assert again.attempts == first.attempts


async def test_a_second_anchor_is_refused_by_name(network: Network) -> None:
    await anchored(network)
    with pytest.raises(
        LedgerRejected, match=rf"^AlreadyAnchored\(member={network.member.address}, root=0x.*, size=5\)"
    ):
        await network.notary.anchor(TREE.root, TREE.size, key="another")
    with pytest.raises(LedgerRejected, match=r"^EmptyBatch\(\)$"):
        await network.notary.anchor(TREE.root, 0)


async def test_only_a_member_anchors(network: Network) -> None:
    _, notary, _ = network.as_account(await funded(network.rpc))
    with pytest.raises(NotMember, match="is not an active member"):
        await notary.anchor(TREE.root, TREE.size)
    await network.consortium.suspend(network.member.address)
    with pytest.raises(NotMember) as error:
        await network.notary.anchor(TREE.root, TREE.size)
    assert error.value.code == "not_member"


async def test_the_contract_verifies_every_statement_of_a_batch(network: Network) -> None:
    anchor = await anchored(network)
    for index, digest in enumerate(DIGESTS):
        path = TREE.inclusion_path(index)
        answer = await network.notary.verify(anchor.member, TREE.root, TREE.size, index, digest, path)
        assert answer == anchor


async def test_the_contract_says_why_a_statement_is_not_included(network: Network) -> None:
    anchor = await anchored(network)
    path = TREE.inclusion_path(2)
    with pytest.raises(LedgerRejected, match=r"^RootMismatch\("):
        await network.notary.verify(anchor.member, TREE.root, 5, 2, REASON, path)
    with pytest.raises(LedgerRejected, match=r"^WrongPathLength\(index=2, size=5, length=2\)$"):
        await network.notary.verify(anchor.member, TREE.root, 5, 2, DIGESTS[2], path[:-1])
    with pytest.raises(LedgerRejected, match=r"^IndexOutOfRange\(index=5, size=5\)$"):
        await network.notary.verify(anchor.member, TREE.root, 5, 5, DIGESTS[2], path)
    with pytest.raises(LedgerRejected, match=r"^NotAnchored\("):
        await network.notary.verify(anchor.member, TREE.root, 6, 2, DIGESTS[2], path)


async def test_all_anchors_of_a_member_are_found_over_several_ranges(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docex.ledger.notary.RANGE", 2)
    anchors = [await anchored(network, hashlib.sha256(bytes([n])).digest(), n) for n in (1, 2, 3)]
    last = (await chain.head(network.rpc)).number
    account = network.member.address
    assert await network.notary.anchors_of(account, network.deployment.block, last) == tuple(anchors)
    assert await network.notary.anchors_of(account, anchors[1].block_number, last) == tuple(anchors[1:])
    assert await network.notary.anchors_of(network.deployment.notary, 0, last) == ()


async def test_a_statement_is_revoked_by_its_issuer(network: Network) -> None:
    await anchored(network)
    account, digest, path = network.member.address, DIGESTS[3], TREE.inclusion_path(3)
    assert await network.notary.revocation_of(account, digest) is None
    row = await network.notary.revoke(
        digest, REASON, root=TREE.root, size=5, index=3, path=path, effective=1_000_000_000
    )
    info = await network.sender.wait(row.key)
    expected = Revocation(account, digest, 1_000_000_000, info.block_time, REASON)
    assert await network.notary.revocation_of(account, digest) == expected
    with pytest.raises(LedgerRejected, match=r"^AlreadyRevoked\("):
        await network.notary.revoke(digest, REASON, root=TREE.root, size=5, index=3, path=path, key="again")


async def test_another_member_can_t_revoke(network: Network) -> None:
    await anchored(network)
    other = await funded(network.rpc)
    await network.consortium.admit(other.address, "Other")
    _, notary, _ = network.as_account(other)
    with pytest.raises(LedgerRejected, match=r"^NotAnchored\(member=" + other.address):
        await notary.revoke(DIGESTS[0], REASON, root=TREE.root, size=5, index=0, path=TREE.inclusion_path(0))


async def test_the_notary_names_its_directory(network: Network) -> None:
    assert await network.notary.directory() == network.deployment.directory


async def test_without_an_account_there_is_no_writing(rpc: Rpc) -> None:
    notary = NotaryClient(rpc, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
    with pytest.raises(UsageError, match="no account to write with"):
        await notary.anchor(TREE.root, 5)
