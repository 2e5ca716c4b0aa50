"""The rules that several use cases share: who is a member, with which keys, and when."""

import time
from dataclasses import fields, replace

import pytest

from docex.core import statement
from docex.core.claims import Receipt
from docex.core.ledger_types import KeyUse
from docex.core.statement import Statement
from docex.errors import Forbidden, LedgerUnavailable, NotMember, StatementInvalid, UsageError
from docex.service.node import (
    CLOCK_SKEW,
    Network,
    Node,
    active_member,
    address_on,
    check_signer,
    printable,
    recipient_of,
)
from keys.identity import HybridIdentity
from tests.fixtures.paper_nodes import START, UNAVAILABLE, NewNode, Paper, account_of, keys_of
from tests.fixtures.statements import digest_of


@pytest.fixture
def mine(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


def said(node: Node, at: int | None = None) -> Statement:
    body = Receipt(digest_of("transfer"), digest_of("packet"), (), "accepted")
    return statement.issue(node.signer, node.account, body, node.now() if at is None else at)


def test_the_account_names_chain_and_address(mine: Node) -> None:
    assert mine.account == account_of("Mine") == f"eip155:31337:{mine.address}"


def test_the_clock_is_the_system_s_unless_given(mine: Node) -> None:
    (field,) = (each for each in fields(Node) if each.name == "now")
    assert callable(field.default)
    assert abs(field.default() - time.time()) < 5


@pytest.mark.parametrize(
    "account", ["nobody", "eip155:1:0x", "eip155:31337:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"]
)
def test_an_account_that_is_none_is_refused(mine: Node, account: str) -> None:
    with pytest.raises(UsageError):
        address_on(mine, account)


def test_an_account_of_another_chain_is_refused(mine: Node) -> None:
    elsewhere = replace(mine, network=Network(1, mine.network.directory, mine.network.notary))
    with pytest.raises(UsageError, match=r"chain 31337; this node's ledger is chain 1$"):
        address_on(elsewhere, mine.account)


async def test_an_active_member_is_found(mine: Node, maker: Node) -> None:
    member = await active_member(mine, maker.account)
    assert (member.account, member.endpoint) == (maker.address, "https://maker.example")


async def test_strangers_and_suspended_members_are_no_members(mine: Node, maker: Node, paper: Paper) -> None:
    with pytest.raises(NotMember, match="is not known to the Directory"):
        await active_member(mine, account_of("Nobody"))
    paper.ledger.suspend(maker.address, paper.clock())
    with pytest.raises(NotMember, match="is suspended in the Directory"):
        await active_member(mine, maker.account)


# --- recipient keys --------------------------------------------------------------------------------------------------


async def test_the_newest_recipient_key_that_is_valid_is_used(mine: Node, maker: Node, paper: Paper) -> None:
    old = keys_of("Maker")[1].recipient
    assert (await recipient_of(mine, maker.account)).text == old
    newer, same_block, future = (HybridIdentity(bytes([n]) * 32).recipient for n in range(3))
    now = paper.clock()
    paper.ledger.publish(maker.address, KeyUse.RECIPIENT, newer.encode(), since=now)
    assert (await recipient_of(mine, maker.account)).text == newer
    paper.ledger.publish(maker.address, KeyUse.RECIPIENT, same_block.encode(), since=now)
    paper.ledger.publish(maker.address, KeyUse.RECIPIENT, future.encode(), since=now + 1)
    assert (await recipient_of(mine, maker.account)).text == same_block


async def test_retired_keys_and_signing_keys_are_not_sealed_to(mine: Node, maker: Node, paper: Paper) -> None:
    paper.ledger.published[maker.address] = [
        replace(key, valid_until=paper.clock()) if key.use is KeyUse.RECIPIENT else key
        for key in paper.ledger.published[maker.address]
    ]
    with pytest.raises(NotMember, match=r"^Maker .* has published no recipient key that is valid now$"):
        await recipient_of(mine, maker.account)


@pytest.mark.parametrize("material", [b"\xff\xfe", b"age1pq1notakey", b"age1", b" "])
async def test_a_published_recipient_that_is_none_is_its_member_s_fault(
    mine: Node, maker: Node, paper: Paper, material: bytes
) -> None:
    paper.ledger.publish(maker.address, KeyUse.RECIPIENT, material, since=paper.clock())
    with pytest.raises(NotMember, match=r"^the recipient key that Maker"):
        await recipient_of(mine, maker.account)


# --- signers ---------------------------------------------------------------------------------------------------------


async def test_a_member_s_valid_key_passes(mine: Node, maker: Node, paper: Paper) -> None:
    await check_signer(mine, said(maker), paper.clock())
    await check_signer(mine, said(maker, paper.clock() + CLOCK_SKEW), paper.clock())


async def test_a_statement_of_the_future_is_refused(mine: Node, maker: Node, paper: Paper) -> None:
    with pytest.raises(StatementInvalid, match="dated in the future"):
        await check_signer(mine, said(maker, paper.clock() + CLOCK_SKEW + 1), paper.clock())


async def test_membership_and_key_are_those_of_the_time_asked_for(mine: Node, maker: Node, paper: Paper) -> None:
    now = paper.clock()
    paper.ledger.suspend(maker.address, now)
    paper.ledger.retire(maker.address, maker.signer.kid, now - 10)
    await check_signer(mine, said(maker), now - 11)
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await check_signer(mine, said(maker), now - 10)
    with pytest.raises(Forbidden, match="was not an active member"):
        await check_signer(mine, said(maker), now)
    with pytest.raises(Forbidden, match="was not an active member"):
        await check_signer(mine, said(maker), START - 1)


async def test_a_key_that_was_not_published_or_is_for_something_else_is_refused(
    mine: Node, maker: Node, paper: Paper
) -> None:
    thief = keys_of("Thief")[0]
    stolen = statement.issue(thief, maker.account, said(maker).body, paper.clock())
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await check_signer(mine, stolen, paper.clock())
    paper.ledger.published[maker.address] = [
        replace(key, use=KeyUse.RECIPIENT) for key in paper.ledger.published[maker.address]
    ]
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await check_signer(mine, said(maker), paper.clock())


async def test_another_member_s_key_does_not_speak_for_this_one(mine: Node, maker: Node, paper: Paper) -> None:
    forged = statement.issue(mine.signer, maker.account, said(maker).body, paper.clock())
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await check_signer(mine, forged, paper.clock())


async def test_without_the_ledger_nothing_is_decided(mine: Node, maker: Node, paper: Paper) -> None:
    paper.ledger.down = UNAVAILABLE
    with pytest.raises(LedgerUnavailable):
        await check_signer(mine, said(maker), paper.clock())


def test_texts_of_others_lose_what_neither_statements_nor_databases_take() -> None:
    assert printable("Prüfung\n\0\ud800\u202e ok") == "Prüfung???? ok"
