from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core import claims
from docex.core.claims import (
    Addressee,
    Body,
    Document,
    Grant,
    Link,
    Packet,
    Receipt,
    Revocation,
    Transfer,
)
from docex.core.encoding import b64url
from docex.errors import StatementInvalid

ACCOUNT = "eip155:31337:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
OTHER = "eip155:1:0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
NOTARY = "eip155:31337:0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
KEY = b64url(bytes(32))
DOCUMENT = Document(D1, 3, "a.pdf", "application/pdf")
BODIES: list[Body] = [
    DOCUMENT,
    Document(D1, 0, "Prüfbericht.pdf", "text/plain", "2026/Q3", "quality", D2),
    Packet((D1, D2), ACCOUNT, (Addressee(KEY, OTHER),)),
    Transfer(D1, 10, D2, ACCOUNT, (Addressee(KEY), Addressee(b64url(b"x" * 32), OTHER)), NOTARY),
    Transfer(D1, 10, D2, ACCOUNT, (Addressee(KEY),), NOTARY, D1, fair=True),
    Receipt(D1, D2, (), "received"),
    Receipt(D1, D2, (), "rejected", "unreadable"),
    Receipt(D1, D2, (D1,), "accepted"),
    Grant(D1, Addressee(KEY)),
    Revocation(D1, "recalled", 1_780_000_000),
    Link("eip155:1/erc721:0x06012c8cf97BEaD5deAe237070F9587f8E7A266d/771769", D1),
]


def wire(body: Body) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(claims.to_json(body)))
    return made


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.TYPE)
def test_every_type_reads_what_it_writes(body: Body) -> None:
    assert claims.from_json(body.TYPE, wire(body)) == body
    assert claims.TYPES[body.TYPE] is type(body)


def test_there_is_an_example_of_each_type() -> None:
    assert {body.TYPE for body in BODIES} == claims.TYPES.keys()


def test_the_wire_form_leaves_out_what_is_not_known() -> None:
    assert claims.to_json(DOCUMENT) == {
        "digest": D1,
        "size": 3,
        "name": "a.pdf",
        "media_type": "application/pdf",
        "folder": "",
        "kind": "other",
    }
    assert claims.to_json(Packet((D1,), ACCOUNT, (Addressee(KEY), Addressee(KEY, OTHER)))) == {
        "documents": [D1],
        "from": ACCOUNT,
        "to": [{"key": KEY}, {"key": KEY, "account": OTHER}],
    }


def test_a_documents_path_is_its_folder_and_name() -> None:
    assert DOCUMENT.path == "a.pdf"
    assert replace(DOCUMENT, folder="x/y").path == "x/y/a.pdf"


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.TYPE)
def test_members_that_are_not_known_or_missing_are_refused(body: Body) -> None:
    made = wire(body)
    with pytest.raises(StatementInvalid, match=rf"{body.TYPE}: members missing or not known: 'more'"):
        claims.from_json(body.TYPE, made | {"more": 1})
    optional = {"document": {"kind", "folder", "supersedes"}, "receipt": {"reason"}, "transfer": {"header", "fair"}}
    for name in made.keys() - optional.get(body.TYPE, set()):
        with pytest.raises(StatementInvalid, match=f"missing or not known: '{name}'"):
            claims.from_json(body.TYPE, {key: value for key, value in made.items() if key != name})


JUNK: list[Any] = [
    None,
    True,
    1.5,
    -1,
    1 << 63,
    "",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    [{}],
    ["a"],
    {"a": 1},
    [D1, D1],
    "a" * 1025,
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:20])
@pytest.mark.parametrize("body", BODIES[1:], ids=lambda body: body.TYPE)
def test_a_member_of_the_wrong_form_is_refused_by_name(body: Body, junk: Any) -> None:
    made = wire(body)
    for name in made:
        if (name, junk) in (("folder", ""), ("opened", []), ("fair", True)):
            continue
        with pytest.raises(StatementInvalid, match=rf"^{body.TYPE}\.{name}: "):
            claims.from_json(body.TYPE, made | {name: junk})


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:20])
def test_a_claim_must_be_an_object(junk: Any) -> None:
    for kind in claims.TYPES:
        with pytest.raises(StatementInvalid):
            claims.from_json(kind, junk)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"digest": "1" * 64}, "digest: not a digest"),
        ({"digest": "sha256:" + "A" * 64}, "digest: not a digest"),
        ({"digest": "md5:" + "1" * 32}, "digest: not a digest"),
        ({"size": True}, "whole number"),
        ({"name": "../a"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"folder": "/etc"}, "folder"),
        ({"folder": "a/../b"}, "folder"),
        ({"media_type": "text/plain\nX: y"}, "printable text"),
        ({"kind": "quality "}, "one of quality, conformity"),
        ({"folder": "/".join(["a" * 255] * 3 + ["a" * 200]), "name": "b" * 255}, "longer than 1024 bytes"),
        ({"folder": "/".join("a" * 16)}, "more than 16 parts"),
    ],
)
def test_a_document_claim_is_read_strictly(change: dict[str, Any], why: str) -> None:
    with pytest.raises(StatementInvalid, match=why):
        claims.from_json("document", wire(DOCUMENT) | change)


def test_a_fair_transfer_names_the_header_that_it_holds_back() -> None:
    made = wire(Transfer(D1, 10, D2, ACCOUNT, (Addressee(KEY),), NOTARY, D1, fair=True))
    assert made["fair"] is True
    del made["header"]
    with pytest.raises(StatementInvalid, match="a fair one names the header"):
        claims.from_json("transfer", made)
    with pytest.raises(StatementInvalid, match=r"transfer\.fair: must be true, or left out"):
        claims.from_json("transfer", made | {"header": D1, "fair": False})


@pytest.mark.parametrize("more", [{"opened": [D1]}, {"reason": "because"}])
def test_a_receipt_of_a_ciphertext_opened_nothing(more: dict[str, Any]) -> None:
    with pytest.raises(StatementInvalid, match="of a ciphertext nothing was opened"):
        claims.from_json("receipt", wire(Receipt(D1, D2, (), "received")) | more)


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ([{"key": b64url(bytes(31))}], "32 bytes in base64url"),
        ([{"key": KEY + "="}], "canonical"),
        ([{"key": KEY}, {"key": KEY}], "twice"),
        ([{"key": KEY, "account": "eip155:1:0x70997970c51812dc3a010c7d01b50e0d17dc79c8"}], "checksum"),
        ([{"key": KEY, "account": "acme"}], "not a CAIP-10 account"),
        ([{"account": OTHER}], "missing or not known: 'key'"),
        ([KEY], "must be an object"),
        ([], "1 to 10000 items"),
    ],
)
def test_addressees_are_read_strictly(to: Any, why: str) -> None:
    with pytest.raises(StatementInvalid, match=rf"^packet\.to: .*{why}"):
        claims.from_json("packet", wire(BODIES[2]) | {"to": to})


def test_a_list_has_a_limit() -> None:
    digests = [f"sha256:{number:064x}" for number in range(10_001)]
    made = wire(BODIES[2])
    body = claims.from_json("packet", made | {"documents": digests[1:]})
    assert isinstance(body, Packet)
    assert len(body.documents) == 10_000
    with pytest.raises(StatementInvalid, match="1 to 10000 items"):
        claims.from_json("packet", made | {"documents": digests})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([D1, KEY, ACCOUNT, "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "account", "digest", "to", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(BODIES), st.data())
def test_any_json_is_a_claim_or_refused(body: Body, data: st.DataObject) -> None:
    made = wire(body)
    for name in data.draw(st.sets(st.sampled_from(sorted(made)))):
        made[name] = data.draw(json_values)
    try:
        read = claims.from_json(body.TYPE, made)
    except StatementInvalid:
        return
    assert claims.from_json(body.TYPE, wire(read)) == read
