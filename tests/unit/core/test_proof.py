import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.account import format_address
from docex.core.proof import (
    FORMAT,
    MAX_PROOF_BYTES,
    MAX_RELATED,
    AnchorClaim,
    Evidence,
    Inclusion,
    Network,
    Proof,
    dump,
    parse,
)
from docex.core.statement import MAX_TOKEN_BYTES
from docex.errors import ProofInvalid

ADDRESS = format_address(bytes(range(20)))
NETWORK = Network(31337, ADDRESS, format_address(b"\xaa" * 20))
INCLUSION = Inclusion(2, 5, b"\1" * 32, (b"\2" * 32, b"\3" * 32))
ANCHOR = AnchorClaim(ADDRESS, b"\4" * 32, 7, b"\5" * 32, 1_700_000_000)
PROOF = Proof(NETWORK, Evidence("a.b.c", INCLUSION, ANCHOR), (Evidence("d.e.f", INCLUSION), Evidence("g.h.i")))

hashes = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20).map(format_address)
inclusions = st.builds(
    lambda size, at, root, path: Inclusion(at % size, size, root, tuple(path)),
    st.integers(1, 2**64 - 1),
    st.integers(0, 2**64),
    hashes,
    st.lists(hashes, max_size=5),
)
claims = st.builds(AnchorClaim, addresses, hashes, st.integers(1, 2**64 - 1), hashes, st.integers(0, 2**32 - 1))
tokens = st.text("abcXYZ019-_.", min_size=1, max_size=40)
evidence = st.builds(
    lambda token, inclusion, claim: Evidence(token, inclusion, claim if inclusion else None),
    tokens,
    st.none() | inclusions,
    st.none() | claims,
)
networks = st.builds(Network, st.integers(1, 2**63 - 1), addresses, addresses)
proofs = (
    st.lists(evidence, min_size=1, max_size=4, unique_by=lambda one: one.token)
    .flatmap(lambda all_: st.builds(Proof, networks, st.just(all_[0]), st.just(tuple(all_[1:]))))
)  # fmt: skip


def changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(dump(PROOF))
    change(value)
    return json.dumps(value).encode()


@given(proofs)
def test_what_is_written_reads_back_and_writes_the_same(proof: Proof) -> None:
    data = dump(proof)
    assert parse(data) == proof
    assert dump(parse(data)) == data
    assert data.endswith(b"}\n")
    assert data.isascii()


def test_the_file_has_the_members_of_the_specification_in_their_order() -> None:
    value = json.loads(dump(PROOF))
    assert list(value) == ["format", "network", "statement", "related"]
    assert value["format"] == FORMAT == "docex-proof/1"
    assert value["network"] == {"chain_id": 31337, "directory": NETWORK.directory, "notary": NETWORK.notary}
    assert value["statement"] == {
        "token": "a.b.c",
        "inclusion": {
            "index": 2,
            "size": 5,
            "root": "sha256:" + "01" * 32,
            "path": ["sha256:" + "02" * 32, "sha256:" + "03" * 32],
        },
        "anchor": {
            "member": ADDRESS,
            "transaction": "0x" + "04" * 32,
            "block_number": 7,
            "block_hash": "0x" + "05" * 32,
            "time": 1_700_000_000,
        },
    }
    assert [item["anchor"] for item in value["related"]] == [None, None]
    assert [item["inclusion"] is None for item in value["related"]] == [False, True]


def test_a_network_says_what_it_is() -> None:
    assert str(NETWORK) == f"chain 31337, Directory {NETWORK.directory}, Notary {NETWORK.notary}"


def with_token(token: str) -> bytes:
    return changed(lambda value: value["statement"].update(token=token))


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "another format": (lambda v: v.update(format="docex-proof/2"), "format is not docex-proof/1"),
    "no network": (lambda v: v.pop("network"), "not known: 'network'"),
    "unknown member": (lambda v: v.update(trust=1), "not known: 'trust'"),
    "network is a list": (lambda v: v.update(network=[]), "network must be an object"),
    "network extra": (lambda v: v["network"].update(rpc="x"), "network has members"),
    "chain zero": (lambda v: v["network"].update(chain_id=0), "network.chain_id must be a whole number"),
    "chain too large": (lambda v: v["network"].update(chain_id=2**63), "network.chain_id must be"),
    "chain is true": (lambda v: v["network"].update(chain_id=True), "network.chain_id must be"),
    "chain is text": (lambda v: v["network"].update(chain_id="1"), "network.chain_id must be"),
    "chain is a float": (lambda v: v["network"].update(chain_id=1.0), "1.0 is not a whole number"),
    "no checksum": (lambda v: v["network"].update(notary=NETWORK.notary.lower()), "network.notary is wrong"),
    "not an address": (lambda v: v["network"].update(notary="0x12"), "network.notary is wrong"),
    "address is null": (lambda v: v["network"].update(notary=None), "network.notary must be a string"),
    "statement is null": (lambda v: v.update(statement=None), "statement must be an object"),
    "token is null": (lambda v: v["statement"].update(token=None), "statement.token must be"),
    "token is empty": (lambda v: v["statement"].update(token=""), "statement.token must be"),
    "token is not ASCII": (lambda v: v["statement"].update(token="ä.b.c"), "statement.token must be"),
    "token has a surrogate": (lambda v: v["statement"].update(token="\ud800"), "statement.token must be"),
    "token too long": (lambda v: v["statement"].update(token="a" * (MAX_TOKEN_BYTES + 1)), "statement.token must be"),
    "anchor without inclusion": (lambda v: v["statement"].update(inclusion=None), "statement.inclusion is missing"),
    "index is size": (lambda v: v["statement"]["inclusion"].update(index=5), "inclusion.index must be"),
    "index negative": (lambda v: v["statement"]["inclusion"].update(index=-1), "inclusion.index must be"),
    "size zero": (lambda v: v["statement"]["inclusion"].update(size=0), "inclusion.size must be"),
    "size too large": (lambda v: v["statement"]["inclusion"].update(size=2**64), "inclusion.size must be"),
    "root is bare": (lambda v: v["statement"]["inclusion"].update(root="01" * 32), "inclusion.root is wrong"),
    "root in capitals": (
        lambda v: v["statement"]["inclusion"].update(root="sha256:" + "AB" * 32), "inclusion.root is wrong"
    ),
    "path is null": (lambda v: v["statement"]["inclusion"].update(path=None), "inclusion.path must be a list"),
    "path too long": (
        lambda v: v["statement"]["inclusion"].update(path=["sha256:" + "01" * 32] * 65), "at most 64 items"
    ),
    "path item": (lambda v: v["statement"]["inclusion"].update(path=[1]), r"inclusion.path\[0\] must be a string"),
    "anchor member": (lambda v: v["statement"]["anchor"].update(member="x"), "anchor.member is wrong"),
    "transaction bare": (lambda v: v["statement"]["anchor"].update(transaction="04" * 32), "anchor.transaction must"),
    "block zero": (lambda v: v["statement"]["anchor"].update(block_number=0), "anchor.block_number must"),
    "block hash": (lambda v: v["statement"]["anchor"].update(block_hash="0x00"), "anchor.block_hash must"),
    "time negative": (lambda v: v["statement"]["anchor"].update(time=-1), "anchor.time must"),
    "time too late": (lambda v: v["statement"]["anchor"].update(time=2**32), "anchor.time must"),
    "related is null": (lambda v: v.update(related=None), "related must be a list"),
    "related item": (lambda v: v["related"].append("x"), r"related\[2\] must be an object"),
    "too many related": (
        lambda v: v.update(related=[{"token": str(n), "inclusion": None, "anchor": None} for n in range(257)]),
        f"related must be a list of at most {MAX_RELATED}",
    ),
    "twice": (lambda v: v["related"].append(v["related"][0]), "same statement twice"),
    "itself": (lambda v: v["related"].append(v["statement"]), "same statement twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_to_the_letter_is_refused_by_name(name: str) -> None:
    change, message = WRONG[name]
    with pytest.raises(ProofInvalid, match=message):
        parse(changed(change))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"format":"docex-proof/1","format":"docex-proof/1"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":NaN}',
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_not_a_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(ProofInvalid, match="the proof is unreadable"):
        parse(data)


def test_a_file_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProofInvalid, match="longer than"):
        parse(b" " * (MAX_PROOF_BYTES + 1))


def test_nothing_is_written_that_could_not_be_read() -> None:
    with pytest.raises(ProofInvalid, match=r"statement\.inclusion is missing"):
        dump(replace(PROOF, statement=Evidence("a.b.c", None, ANCHOR)))
