import hashlib

import pytest

from docex.core.ledger_types import KeyUse, Member, MembershipPeriod, PublishedKey
from docex.errors import LedgerError, LedgerRejected, NotMember, UsageError
from docex.ledger import chain
from docex.ledger.contracts import ContractRejected
from docex.ledger.directory import DirectoryClient
from docex.ledger.rpc import Rpc
from tests.unit.ledger.support import Network, funded

JWK = b'{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
STRANGER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def key_id(material: bytes) -> bytes:
    return hashlib.sha256(material).digest()


async def test_a_member_is_admitted_suspended_and_readmitted(network: Network) -> None:
    account = (await funded(network.rpc)).address
    admitted = await network.consortium.admit(account, "Fab GmbH")
    assert admitted.succeeded
    expected = Member(account, "Fab GmbH", "", True, admitted.block_time)
    assert await network.directory.member(account) == expected
    assert await network.directory.is_active(account)

    suspended = await network.consortium.suspend(account)
    member = await network.directory.member(account)
    assert member is not None
    assert not member.active
    assert not await network.directory.is_active(account)

    readmitted = await network.consortium.readmit(account)
    assert await network.directory.periods(account) == (
        MembershipPeriod(admitted.block_time, suspended.block_time),
        MembershipPeriod(readmitted.block_time, None),
    )
    assert await network.directory.was_active_at(account, readmitted.block_time)
    assert not await network.directory.was_active_at(account, admitted.block_time - 1)


async def test_members_are_listed_in_the_order_of_admission_over_several_pages(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docex.ledger.directory.PAGE", 2)
    accounts = [network.member.address]
    for number in range(3):
        accounts.append((await funded(network.rpc)).address)
        await network.consortium.admit(accounts[-1], f"Member {number}")
    members = await network.directory.members()
    assert [member.account for member in members] == accounts
    assert [member.name for member in members] == ["Mine AG", "Member 0", "Member 1", "Member 2"]


async def test_an_unknown_account_is_no_member_and_has_nothing(network: Network) -> None:
    assert await network.directory.member(STRANGER) is None
    assert await network.directory.keys(STRANGER) == ()
    assert await network.directory.key(STRANGER, bytes(32)) is None
    assert await network.directory.periods(STRANGER) == ()
    assert not await network.directory.was_active_at(STRANGER, 2**63)


async def test_keys_are_published_and_retired(network: Network) -> None:
    account = network.member.address
    published = await network.directory.publish_key(KeyUse.SIGNING, JWK)
    since = published.block_time
    await network.directory.publish_key(KeyUse.RECIPIENT, b"age1pq1x", since=since + 1000, until=since + 2000)
    signing = PublishedKey(key_id(JWK), KeyUse.SIGNING, JWK, since, None)
    recipient = PublishedKey(key_id(b"age1pq1x"), KeyUse.RECIPIENT, b"age1pq1x", since + 1000, since + 2000)
    assert await network.directory.keys(account) == (signing, recipient)
    assert await network.directory.key(account, key_id(JWK)) == signing

    await network.directory.retire_key(key_id(JWK), until=since + 500)
    retired = await network.directory.key(account, key_id(JWK))
    assert retired is not None
    assert retired.valid_until == since + 500
    for time in (since - 1, since, since + 499, since + 500, since + 1000, since + 1999, since + 2000):
        for key in (retired, recipient):
            assert key.valid_at(time) is await network.directory.key_valid_at(account, key.key_id, time)


async def test_an_open_ended_key_stays_valid() -> None:
    key = PublishedKey(bytes(32), KeyUse.SIGNING, JWK, 10, None)
    assert [key.valid_at(time) for time in (9, 10, 2**63)] == [False, True, True]


async def test_a_member_sets_its_endpoint(network: Network) -> None:
    await network.directory.set_endpoint("https://mine.example/api")
    member = await network.directory.member(network.member.address)
    assert member is not None
    assert member.endpoint == "https://mine.example/api"


async def test_the_same_key_admits_once(network: Network) -> None:
    account = (await funded(network.rpc)).address
    first = await network.consortium.admit(account, "Fab GmbH", key="admit fab")
    again = await network.consortium.admit(account, "Fab GmbH", key="admit fab")
    assert again.transaction == first.transaction


async def test_refusals_name_the_contract_s_error(network: Network) -> None:
    with pytest.raises(ContractRejected, match=r"^AlreadyAdmitted\(account=0x") as admitted:
        await network.consortium.admit(network.member.address, "Twice")
    assert admitted.value.name == "AlreadyAdmitted"
    assert admitted.value.arguments == {"account": network.member.address}
    assert admitted.value.code == "ledger_rejected"
    with pytest.raises(LedgerRejected, match=r"^BadNameLength\(length=0, max=128\)$"):
        await network.consortium.admit(STRANGER, "")
    with pytest.raises(LedgerRejected, match=r"^OwnableUnauthorizedAccount\(account=0x"):
        await network.directory.admit(STRANGER, "By a member")
    with pytest.raises(LedgerRejected, match=r"^UnknownKey\(account=0x[0-9a-fA-F]{40}, keyId=0x(00){32}\)$"):
        await network.directory.retire_key(bytes(32))


async def test_a_stranger_can_t_publish_keys(network: Network) -> None:
    stranger = await funded(network.rpc)
    directory, _, _ = network.as_account(stranger)
    with pytest.raises(NotMember, match=f"{stranger.address} is not an active member"):
        await directory.publish_key(KeyUse.SIGNING, JWK)
    assert await chain.balance(network.rpc, stranger.address) == 100 * 10**18


async def test_without_an_account_there_is_no_writing(rpc: Rpc) -> None:
    with pytest.raises(UsageError, match="no account to write with"):
        await DirectoryClient(rpc, STRANGER).set_endpoint("https://x.example")


async def test_an_address_without_a_contract_is_an_error(rpc: Rpc) -> None:
    with pytest.raises(LedgerError, match=f"there is no contract at {STRANGER} on the chain of http://127.0.0.1"):
        await DirectoryClient(rpc, STRANGER).members()


async def test_a_mistyped_contract_address_is_refused(rpc: Rpc) -> None:
    with pytest.raises(UsageError, match="not in its checksum form"):
        DirectoryClient(rpc, STRANGER.lower())
