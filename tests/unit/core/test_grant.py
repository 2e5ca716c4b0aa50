"""Grants: headers with more recipients, and who may have given access. Abuse is in ``tests/attack/test_grantor.py``."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core import packet
from docex.core.age import Header, parse_recipient, read_header
from docex.core.age.streams import read_into
from docex.core.claims import Addressee, Grant
from docex.core.grant import (
    MAX_GRANTS,
    AlreadyRecipient,
    Granter,
    GrantInvalid,
    Grants,
    Reheaded,
    extend_header,
    issue_grants,
    parse_grants,
    read_detached,
)
from docex.core.recipients import MixedRecipients, recipient_id
from docex.core.statement import Statement
from docex.errors import HeaderInvalid, LimitExceeded, NoMatchingIdentity, NotAddressee, StatementInvalid, UsageError
from keys.identity import RsaIdentity, X25519Identity
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE, NOW, Actor

AUDITOR, BANK, RETAIL = (forge.actor(name) for name in ("Auditor", "Bank", "Retail"))
HYBRID = forge.actor("Hybrid", hybrid=True)
DOCUMENTS = {"a": b"abc"}
PACKET = forge.seal(DOCUMENTS, MINE, MAKER)
HEADER = read_header(io.BytesIO(PACKET))
PAYLOAD = PACKET[len(HEADER.raw) :]
DIGEST = "sha256:" + hashlib.sha256(PAYLOAD).hexdigest()


def extended(*to: Actor, by: Actor = MAKER, header: Header = HEADER) -> bytes:
    return extend_header(header, [by.identity], [parse_recipient(each.recipient) for each in to])


def grant(by: Actor, to: Actor, *, account: bool = True, digest: str = DIGEST) -> Statement:
    addressee = to.addressee if account else Addressee(to.addressee.key)
    (issued,) = issue_grants(by.signer, by.account, digest, [addressee], NOW)
    return issued


def granter(actor: Actor) -> Granter:
    return Granter(actor.account, actor.signer.kid, actor.addressee.key)


def opened(by: Actor, *statements: Statement, granters: tuple[Granter, ...] = ()) -> packet.Opened:
    """What docex makes of the packet when its header has a stanza for everyone, with these grants."""
    grants = Grants(statements, granters)
    data = extended(AUDITOR, BANK, RETAIL, MALLORY) + PAYLOAD
    return grants.check(forge.open_(data, by, granted=grants.keys)[0])


# --- headers


def test_more_recipients_open_the_same_payload() -> None:
    header = extended(AUDITOR, BANK)
    for each in (MAKER, AUDITOR, BANK):
        result, found = forge.open_(header + PAYLOAD, each, granted=[each.addressee.key])
        assert found == DOCUMENTS
        assert result.payload_digest == DIGEST
    again = extended(RETAIL, by=AUDITOR, header=read_header(io.BytesIO(header)))
    assert read_header(io.BytesIO(again)).stanzas[:3] == read_header(io.BytesIO(header)).stanzas


def test_who_can_open_a_packet_already_is_not_added() -> None:
    with pytest.raises(UsageError, match="the same recipient is named twice"):
        extended(AUDITOR, AUDITOR)
    with pytest.raises(AlreadyRecipient, match=f"with {MAKER.recipient[:32]}… already"):
        extended(AUDITOR, MAKER)
    with pytest.raises(UsageError, match="at least one recipient"):
        extended()
    rsa, other = RsaIdentity.generate(2048), RsaIdentity.generate(2048)
    recipients = [parse_recipient(each.recipient) for each in (rsa, other)]
    header = read_header(io.BytesIO(extend_header(HEADER, [MAKER.identity], recipients)))
    with pytest.raises(AlreadyRecipient):  # an RSA stanza names its key
        extend_header(header, [MAKER.identity], [parse_recipient(other.recipient)])


def test_one_of_my_keys_that_does_not_open_a_packet_can_be_added() -> None:
    second = X25519Identity.generate()
    header = extend_header(HEADER, [second, MAKER.identity], [parse_recipient(second.recipient)])
    assert second.unwrap(read_header(io.BytesIO(header)).stanzas) is not None


def test_a_header_is_not_extended_where_it_can_not_be() -> None:
    with pytest.raises(NoMatchingIdentity):
        extended(AUDITOR, by=BANK)
    with pytest.raises(MixedRecipients):
        extended(HYBRID)
    with pytest.raises(MixedRecipients):
        extended(AUDITOR, HYBRID)
    with pytest.raises(LimitExceeded, match="at most 1024 stanzas"):
        extend_header(
            HEADER, [MAKER.identity], [parse_recipient(X25519Identity.generate().recipient) for _ in range(1024)]
        )


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb", buffering=0)
        self.count = 0

    def readline(self, limit: int = -1, /) -> bytes:
        data = self.file.readline(limit)
        self.count += len(data)
        return data

    def read(self, size: int = -1, /) -> bytes:
        data = self.file.read(size)
        self.count += len(data)
        return data


def test_it_costs_the_same_for_a_kilobyte_and_a_gigabyte(tmp_path: Path) -> None:
    read = []
    for size in (1 << 10, 1 << 30):
        path = tmp_path / str(size)
        path.write_bytes(PACKET)
        with path.open("r+b") as file:
            file.truncate(size)  # a sparse file: nothing is stored
        source = Counting(path)
        header = read_header(source)
        new = extend_header(header, [MAKER.identity], [parse_recipient(AUDITOR.recipient)])
        source.file.close()
        read.append((source.count, len(new)))
    assert read == [(len(HEADER.raw), len(extended(AUDITOR)))] * 2


def test_a_header_that_stands_alone() -> None:
    assert read_detached(io.BytesIO(HEADER.raw)) == HEADER
    with pytest.raises(HeaderInvalid, match="more than a header"):
        read_detached(io.BytesIO(HEADER.raw + b"\n"))


@given(st.lists(st.tuples(st.sampled_from(["read", "readinto", "line"]), st.integers(1, 400))), st.integers(0, 300))
def test_a_packet_with_another_header_reads_as_one_stream(reads: list[tuple[str, int]], size: int) -> None:
    payload = b"payload without a line's end" * 10
    source = Reheaded(HEADER.raw, io.BytesIO(payload[:size]))
    expected, got = HEADER.raw + payload[:size], b""
    for kind, count in reads:
        if kind == "read":
            got += source.read(count)
        elif kind == "line":
            line = source.readline(count)
            assert line == expected[len(got) :][:count].split(b"\n")[0] + b"\n" * line.endswith(b"\n") or not line
            got += line
        else:
            buffer = bytearray(count)
            got += buffer[: read_into(source, memoryview(buffer))]
    while rest := source.read():
        got += rest
    assert got == expected


# --- statements


def test_grants_are_issued_and_read() -> None:
    issued = issue_grants(MAKER.signer, MAKER.account, DIGEST, [AUDITOR.addressee, BANK.addressee], NOW)
    assert [each.body for each in issued] == [Grant(DIGEST, AUDITOR.addressee), Grant(DIGEST, BANK.addressee)]
    assert {(each.issuer, each.kid, each.issued_at) for each in issued} == {(MAKER.account, MAKER.signer.kid, NOW)}
    text = "".join(f"{each.token}\n" for each in issued)
    assert parse_grants(text.encode()) == parse_grants(text.replace("\n", " \r\n\r\n").encode()) == issued


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        (b"", GrantInvalid, "not one to 1024 grant statements"),
        (b" \n", GrantInvalid, "not one to 1024"),
        (b"x " * (MAX_GRANTS + 1), GrantInvalid, "not one to 1024"),
        (b"x", StatementInvalid, "not a compact JWS"),
        (HEADER.raw, StatementInvalid, "not a compact JWS"),
        (PAYLOAD, StatementInvalid, "not a compact JWS"),
        (forge.document(MAKER, "a", b"").token.encode(), GrantInvalid, "a document statement stands where a grant"),
    ],
)
def test_what_is_no_grant(text: bytes, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        parse_grants(text)


# --- who may grant


def test_a_grant_by_an_addressee_or_the_sender_opens() -> None:
    for by in (MAKER, MINE):
        assert opened(AUDITOR, grant(by, AUDITOR), grant(by, BANK)).addressee == AUDITOR.addressee
    assert opened(AUDITOR, grant(MAKER, AUDITOR, account=False)).addressee == Addressee(AUDITOR.addressee.key)


def test_an_addressee_needs_no_grant_and_may_bring_one() -> None:
    assert opened(MAKER).addressee == MAKER.addressee
    assert opened(MAKER, grant(MAKER, AUDITOR)).addressee == MAKER.addressee
    grants = Grants((grant(MAKER, MAKER),))
    result, _ = forge.open_(PACKET, MAKER, granted=grants.keys)
    assert grants.chain(result) == ()


def test_without_a_grant_nothing_changes() -> None:
    result, _ = forge.open_(PACKET, MAKER, hash_payload=False)
    assert Grants().check(result) is result
    with pytest.raises(UsageError, match="without the payload's digest"):
        Grants((grant(MAKER, AUDITOR),)).check(result)


def test_access_that_was_granted_can_be_granted_on_when_all_grants_are_there() -> None:
    first, second, third = grant(MAKER, AUDITOR), grant(AUDITOR, BANK), grant(BANK, RETAIL)
    assert opened(RETAIL, third, second, first).addressee == RETAIL.addressee
    grants = Grants((third, first, second))
    data = extended(RETAIL) + PAYLOAD
    assert grants.chain(forge.open_(data, RETAIL, granted=grants.keys)[0]) == (first, second, third)
    for missing in ((third, second), (third, first), (third,)):
        with pytest.raises(GrantInvalid, match="neither the packet's sender nor one of its addressees"):
            opened(RETAIL, *missing)


def test_the_shortest_way_to_a_key_counts() -> None:
    grants = Grants((grant(MAKER, AUDITOR), grant(AUDITOR, BANK), straight := grant(MINE, BANK)))
    data = extended(BANK) + PAYLOAD
    assert grants.chain(forge.open_(data, BANK, granted=grants.keys)[0]) == (straight,)


def test_a_key_without_an_account_grants_through_the_public_file_of_its_member() -> None:
    document, _ = forge.honest(DOCUMENTS, MINE, MAKER)
    binding = forge.binding(MINE, [document], to=(Addressee(MAKER.addressee.key),))
    keyed = forge.packed(forge.archive(DOCUMENTS, document, binding), MAKER)
    header = read_header(io.BytesIO(keyed))
    payload = keyed[len(header.raw) :]
    digest = "sha256:" + hashlib.sha256(payload).hexdigest()
    data = extended(AUDITOR, BANK, header=header) + payload
    said = (grant(MAKER, AUDITOR, account=False, digest=digest), grant(AUDITOR, BANK, digest=digest))

    def check(*granters: Actor) -> packet.Opened:
        grants = Grants(said, tuple(map(granter, granters)))
        return grants.check(forge.open_(data, BANK, granted=grants.keys)[0])

    assert check(MAKER, AUDITOR).addressee == BANK.addressee
    with pytest.raises(GrantInvalid, match=f"by {AUDITOR.account}, who is neither"):
        check(MAKER)
    with pytest.raises(GrantInvalid, match=f"by {MAKER.account}, who is neither"):
        check()


def test_which_keys_stand_for_nothing_but_themselves() -> None:
    chain = (grant(MAKER, AUDITOR), grant(AUDITOR, BANK))
    sent = opened(MAKER).packet
    assert Grants(chain).unchecked(chain, sent) == chain
    assert Grants(chain, (granter(MAKER),)).unchecked(chain, sent) == chain[1:]
    assert Grants(chain).unchecked((grant(MINE, BANK),), sent) == ()


def test_a_granter_that_is_known_signs_with_its_key() -> None:
    assert opened(AUDITOR, grant(MAKER, AUDITOR), granters=(granter(MAKER),)).addressee == AUDITOR.addressee
    other = Granter(MAKER.account, recipient_id("another"), MAKER.addressee.key)
    with pytest.raises(GrantInvalid, match="not by its own"):
        opened(AUDITOR, grant(MAKER, AUDITOR), granters=(other,))
    assert opened(AUDITOR, grant(MAKER, AUDITOR), granters=(other, granter(MAKER))).addressee == AUDITOR.addressee


def test_a_sender_that_changed_its_key_is_known_by_its_public_file() -> None:
    changed = Actor(MALLORY.signer, MINE.identity, MINE.account)
    with pytest.raises(GrantInvalid, match=f"in the name of {MINE.account}"):
        opened(AUDITOR, grant(changed, AUDITOR))
    assert opened(AUDITOR, grant(changed, AUDITOR), granters=(granter(changed),)).addressee == AUDITOR.addressee


def test_grants_are_held_against_the_key_that_opened() -> None:
    data = extended(AUDITOR, BANK) + PAYLOAD
    grants = Grants((grant(MAKER, AUDITOR),))
    with pytest.raises(NotAddressee):
        forge.open_(data, BANK, granted=grants.keys)
    result, _ = forge.open_(data, BANK, granted=[BANK.addressee.key])  # said by someone else
    with pytest.raises(GrantInvalid, match="none of the grants names the key"):
        grants.check(result)
