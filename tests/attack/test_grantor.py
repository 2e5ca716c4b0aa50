"""Someone with access to a packet, or with none, passes it on in ways that nobody with access agreed to."""

from __future__ import annotations

import hashlib
import io
import time
from itertools import pairwise

import pytest

from docex.core import statement
from docex.core.age import encode_header, parse_recipient, read_header
from docex.core.claims import Addressee, Grant
from docex.core.grant import Granter, GrantInvalid, Grants, Reheaded, extend_header, parse_grants, read_detached
from docex.core.packet import Discard, Opened, open_packet
from docex.core.statement import Statement
from docex.errors import (
    DocexError,
    HeaderInvalid,
    HeaderMacInvalid,
    NoMatchingIdentity,
    NotAddressee,
    PayloadInvalid,
    SignatureInvalid,
    StatementInvalid,
)
from tests.attack import forge
from tests.attack.forge import MAKER, MALLORY, MINE, NOW, Actor

THIRD = forge.actor("Third Ltd")
ONE = {"a": b"first", "b": b"other"}
PACKET, OTHER = forge.seal(ONE, MINE, MAKER), forge.seal(ONE, MINE, MAKER)


def split(data: bytes) -> tuple[bytes, bytes]:
    header = read_header(io.BytesIO(data)).raw
    return header, data[len(header) :]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(split(data)[1]).hexdigest()


def widened(data: bytes, *to: Actor, by: Actor = MAKER) -> bytes:
    header, payload = split(data)
    return (
        extend_header(read_header(io.BytesIO(header)), [by.identity], [parse_recipient(each.recipient) for each in to])
        + payload
    )


def grant(by: Actor, to: Actor, data: bytes = PACKET, *, name: Actor | None = None) -> Statement:
    return statement.issue(by.signer, (name or by).account, Grant(digest(data), to.addressee), NOW)


def opened(data: bytes, by: Actor, *grants: Statement, granters: tuple[Granter, ...] = ()) -> Opened:
    given = Grants(grants and parse_grants("\n".join(each.token for each in grants).encode()), granters)
    return given.check(forge.open_(data, by, granted=given.keys)[0])


def test_an_honest_grant_holds() -> None:
    result = opened(widened(PACKET, THIRD), THIRD, grant(MAKER, THIRD))
    assert result.addressee == THIRD.addressee
    assert result.packet.body == opened(PACKET, MAKER).packet.body  # whom the sender addressed stays as it was


def test_a_grant_for_another_packet() -> None:
    """Also with the same documents, from the same sender to the same addressee."""
    data = widened(PACKET, THIRD)
    with pytest.raises(GrantInvalid, match="about another packet"):
        opened(data, THIRD, grant(MAKER, THIRD, OTHER))
    with pytest.raises(GrantInvalid, match="about another packet"):
        opened(data, THIRD, grant(MAKER, THIRD), grant(MAKER, THIRD, OTHER))


def test_a_grant_replayed_for_another_key() -> None:
    data = widened(PACKET, THIRD, MALLORY)
    with pytest.raises(NotAddressee):
        opened(data, MALLORY, grant(MAKER, THIRD))


def test_a_grant_without_a_stanza() -> None:
    with pytest.raises(NoMatchingIdentity):
        opened(PACKET, THIRD, grant(MAKER, THIRD))


def test_a_grant_replayed_for_a_packet_sealed_again() -> None:
    """Other members' statements in a packet of Mallory's own making, to the key that was granted once."""
    data = forge.packed(forge.archive(ONE, *forge.honest(ONE, MINE, MAKER)), THIRD)
    with pytest.raises(GrantInvalid, match="about another packet"):
        opened(data, THIRD, grant(MAKER, THIRD))


def test_a_packet_sealed_again_with_a_grant_is_the_granters_doing() -> None:
    """Whoever could open a packet can vouch for access to what was in it; it stands in the grant who did."""
    data = forge.packed(forge.archive(ONE, *forge.honest(ONE, MINE, MAKER)), THIRD)
    said = grant(MAKER, THIRD, data)
    result = opened(data, THIRD, said)
    assert Grants((said,)).chain(result) == (said,)
    assert said.issuer == MAKER.account


def test_a_grant_by_an_outsider() -> None:
    data = widened(PACKET, THIRD, MALLORY)
    for by in (MALLORY, THIRD):
        with pytest.raises(GrantInvalid, match="neither the packet's sender nor one of its addressees"):
            opened(data, THIRD, grant(by, THIRD))


def test_outsiders_who_grant_each_other() -> None:
    data = widened(PACKET, THIRD, MALLORY)
    circle = (grant(MALLORY, THIRD), grant(THIRD, MALLORY))
    with pytest.raises(GrantInvalid, match="neither"):
        opened(data, THIRD, *circle)
    with pytest.raises(GrantInvalid, match=f"by {MALLORY.account}"):  # nor beside a grant that holds
        opened(data, THIRD, grant(MAKER, THIRD), grant(MALLORY, MALLORY))


def test_a_grant_on_without_the_grant_before_it() -> None:
    data = widened(PACKET, THIRD, MALLORY)
    with pytest.raises(GrantInvalid, match=f"by {THIRD.account}"):
        opened(data, MALLORY, grant(THIRD, MALLORY))
    assert opened(data, MALLORY, grant(THIRD, MALLORY), grant(MAKER, THIRD)).addressee == MALLORY.addressee


def test_a_grant_forged_in_the_name_of_the_sender() -> None:
    with pytest.raises(GrantInvalid, match=f"in the name of {MINE.account} is signed by key {MALLORY.signer.kid}"):
        opened(widened(PACKET, THIRD), THIRD, grant(MALLORY, THIRD, name=MINE))


def test_a_grant_forged_in_the_name_of_an_addressee() -> None:
    """A packet does not say with what keys its addressees sign: public files do, and the Directory."""
    data, forged = widened(PACKET, THIRD), grant(MALLORY, THIRD, name=MAKER)
    known = Granter(MAKER.account, MAKER.signer.kid, MAKER.addressee.key)
    with pytest.raises(GrantInvalid, match=f"in the name of {MAKER.account} is signed by key {MALLORY.signer.kid}"):
        opened(data, THIRD, forged, granters=(known,))
    result = opened(data, THIRD, forged)
    assert Grants((forged,)).unchecked((forged,), result.packet) == (forged,)


def test_a_grant_changed_anywhere() -> None:
    token = grant(MAKER, THIRD).token
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        with pytest.raises(StatementInvalid):
            parse_grants(changed.encode())
    for stop in range(len(token)):
        with pytest.raises(StatementInvalid):
            parse_grants(token[:stop].encode())


def test_a_grant_that_is_not_signed_or_signed_for_something_else() -> None:
    said = grant(MAKER, THIRD)
    header, payload, _ = said.token.split(".")
    other = grant(MAKER, MALLORY).token.split(".")[2]
    with pytest.raises(SignatureInvalid):
        parse_grants(f"{header}.{payload}.{other}".encode())
    made = forge.payload(MAKER, said.body)
    for changes in ({"alg": "none"}, {"alg": "EdDSA"}, {"crit": ["exp"]}, {"typ": "JWT"}):
        with pytest.raises(StatementInvalid):
            parse_grants(forge.token(MAKER, forge.header(MAKER, **changes), made).encode())


def test_a_statement_that_is_no_grant() -> None:
    """A receipt or packet statement names keys and packets, too."""
    for each in forge.honest(ONE, MINE, THIRD):
        with pytest.raises(GrantInvalid, match="where a grant should"):
            parse_grants(each.token.encode())


@pytest.mark.parametrize("order", [1, -1])
def test_as_many_grants_as_there_can_be_take_no_time(order: int) -> None:
    """A chain of 1,000, each with an account of its own, in either order."""
    data = widened(PACKET, THIRD)
    names = [MAKER, *(Actor(MALLORY.signer, MALLORY.identity, forge.actor(str(n)).account) for n in range(998))]
    chain = [
        statement.issue(
            each.signer, each.account, Grant(digest(PACKET), Addressee(MALLORY.addressee.key, to.account)), 0
        )
        for each, to in pairwise(names)
    ]
    chain.append(grant(names[-1], THIRD))
    started = time.process_time()
    assert opened(data, THIRD, *chain[::order]).addressee == THIRD.addressee
    assert time.process_time() - started < 4


# --- headers apart from their packets


def reheaded(header: bytes, data: bytes, by: Actor) -> Opened:
    source = io.BytesIO(data)
    read_header(source)
    return open_packet(
        Reheaded(read_detached(io.BytesIO(header)).raw, source), [by.identity], Discard(), granted=[by.addressee.key]
    )


def test_a_header_of_another_packet() -> None:
    header = split(widened(OTHER, THIRD))[0]
    with pytest.raises(PayloadInvalid):
        reheaded(header, PACKET, THIRD)
    assert reheaded(header, OTHER, THIRD).payload_digest == digest(OTHER)


def test_a_stanza_of_another_packet() -> None:
    mine, other = (read_header(io.BytesIO(widened(each, THIRD))) for each in (PACKET, OTHER))
    for stanzas in ([mine.stanzas[0], other.stanzas[1]], [*mine.stanzas, other.stanzas[1]]):
        header = encode_header(stanzas, bytes(16))  # who does not know the file key can't make the MAC
        with pytest.raises(HeaderMacInvalid):
            reheaded(header, PACKET, THIRD)


def test_a_header_cut_or_extended_anywhere() -> None:
    header = split(widened(PACKET, THIRD))[0]
    for stop in range(len(header)):
        with pytest.raises(HeaderInvalid):
            reheaded(header[:stop], PACKET, THIRD)
    for more in (b"\n", b"\0", header, PACKET):
        with pytest.raises(HeaderInvalid, match="more than a header"):
            reheaded(header + more, PACKET, THIRD)


@pytest.mark.parametrize("what", [b"", b"\n", grant(MAKER, THIRD).token.encode(), b"%PDF-1.7\n", bytes(4096)])
def test_a_header_that_is_none(what: bytes) -> None:
    with pytest.raises(HeaderInvalid):
        reheaded(what, PACKET, THIRD)


def test_a_header_changed_anywhere() -> None:
    header = split(widened(PACKET, THIRD))[0]
    for place in range(len(header)):
        changed = bytearray(header)
        changed[place] ^= 1
        with pytest.raises(DocexError) as caught:
            reheaded(bytes(changed), PACKET, THIRD)
        assert isinstance(caught.value, HeaderInvalid | HeaderMacInvalid | NoMatchingIdentity)


def test_a_packet_cut_behind_a_good_header() -> None:
    header = split(widened(PACKET, THIRD))[0]
    start = len(split(PACKET)[0])
    for stop in range(start, len(PACKET)):
        with pytest.raises((HeaderInvalid, PayloadInvalid)):
            reheaded(header, PACKET[:stop], THIRD)
    for stop in range(start):
        with pytest.raises(HeaderInvalid):
            reheaded(header, PACKET[:stop], THIRD)


def test_a_header_is_not_extended_by_who_can_not_open_it() -> None:
    with pytest.raises(NoMatchingIdentity):
        widened(PACKET, MALLORY, by=MALLORY)
    header = split(PACKET)[0]
    changed = header[:-44] + (b"A" if header[-44:-43] != b"A" else b"B") + header[-43:]
    with pytest.raises(HeaderMacInvalid):
        extend_header(read_header(io.BytesIO(changed)), [MAKER.identity], [parse_recipient(THIRD.recipient)])
