"""The adversary hands over the proof: a member gone bad, a thief of keys, or whoever stands between node and auditor.

Nothing of theirs may make a verdict valid, hide a revocation, or stop the verifier from giving a verdict at all.
"""

import asyncio
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from docex.core import merkle
from docex.core import statement as statements
from docex.core.claims import Revocation
from docex.core.digest import sha256
from docex.core.encoding import b64url, b64url_decode
from docex.core.jwk import thumbprint
from docex.core.proof import Evidence, Inclusion, Network, Proof, dump, parse
from docex.errors import ProofInvalid
from docex.verify import Outcome, Verdict, verify
from keys.signer import Ed25519Signer
from tests.fixtures.paper_ledger import NETWORK, START, TRUST, Exchange, fake_address, party

PASS, FAIL, NOT_CHECKED = Outcome
Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def fresh() -> Exchange:
    return Exchange()


def judged(exchange: Exchange, data: bytes) -> Verdict:
    """What becomes of a proof file, the ledger having been asked what it raises."""
    return asyncio.run(exchange.verdict(parse(data)))


def failed(verdict: Verdict) -> list[int]:
    return [row.number for row in verdict.rows if row.outcome is FAIL]


# --- every field of a good proof -------------------------------------------------------------------------------------

GOOD: Any = json.loads(dump(Exchange().proof))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from leaves(item, (*path, position))
    else:
        yield path, value


def changed(value: Any) -> list[Any]:
    """Other values of the same form, so that only the meaning is wrong."""
    if isinstance(value, int):
        return [value + 1, max(value - 1, 0), 0, 2**31]
    if value.startswith("0x") and len(value) == 42:
        return [fake_address("Rival"), fake_address("nobody")]
    if value.startswith("docex-proof"):
        return ["docex-proof/2", "docex-proof/1 "]
    last = "0" if value[-1] != "0" else "1"
    return [value[:-1] + last, value[:10] + ("0" if value[10] != "0" else "1") + value[11:]]


def guard(path: Path) -> int:
    """The row that stands for a field."""
    if path[-1] == "token":
        return 2
    return 7 if path[0] == "related" else 4


def with_value(value: Any, path: Path, new: Any) -> bytes:
    result = copy.deepcopy(value)
    at = result
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = new
    return json.dumps(result).encode()


def test_the_proof_under_attack_is_a_good_one(exchange: Exchange) -> None:
    verdict = judged(exchange, dump(exchange.proof))
    assert verdict.exit_code == 0
    assert [row.number for row in verdict.rows if row.outcome is PASS] == [1, 2, 3, 4, 6, 7]
    assert len(list(leaves(GOOD))) == 4 + 3 * (1 + 3 + 3 + 5)


@pytest.mark.parametrize("path", [path for path, _ in leaves(GOOD)], ids=lambda path: ".".join(map(str, path)))
def test_a_changed_field_fails_its_row_or_is_refused(exchange: Exchange, path: Path) -> None:
    value = json.loads(dump(exchange.proof))
    old = dict(leaves(value))[path]
    refused = 0
    for new in changed(old):
        if new == old:
            continue
        try:
            verdict = judged(exchange, with_value(value, path, new))
        except ProofInvalid:
            refused += 1
            continue
        if guard(path) == 7:
            # Where the receipt is anchored is no matter of the document's: it proves no delivery, and that is all.
            assert (verdict.row(7).outcome, failed(verdict)) == (NOT_CHECKED, []), (path, new, verdict)
            continue
        assert guard(path) in failed(verdict), (path, new, verdict)
        assert verdict.exit_code == 1
    if path == ("format",):
        assert refused == 2


@pytest.mark.parametrize("where", [("statement",), ("related", 0), ("related", 1)])
def test_a_field_taken_away_or_added_is_refused(exchange: Exchange, where: Path) -> None:
    for path in [(), ("network",), where, (*where, "inclusion"), (*where, "anchor")]:
        members = value_at(GOOD, path)
        for member in members:
            value = json.loads(dump(exchange.proof))
            del value_at(value, path)[member]
            with pytest.raises(ProofInvalid):
                parse(json.dumps(value).encode())
        value = json.loads(dump(exchange.proof))
        value_at(value, path)["trust"] = True
        with pytest.raises(ProofInvalid):
            parse(json.dumps(value).encode())


def value_at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def test_evidence_taken_away_never_leaves_a_valid_proof(exchange: Exchange) -> None:
    bare, unanchored = Evidence(exchange.evidence.token), replace(exchange.evidence, anchor=None)
    for evidence in (bare, unanchored):
        verdict = judged(exchange, dump(Proof(NETWORK, evidence)))
        assert verdict.row(4).outcome is NOT_CHECKED
        assert verdict.exit_code == 3


def test_a_path_cut_padded_or_turned_around_fails_row_4(exchange: Exchange) -> None:
    inclusion = exchange.evidence.inclusion
    assert inclusion is not None
    path = inclusion.path
    for other in ((), path[:-1], path[1:], (*path, bytes(32)), (bytes(32), *path), path[::-1]):
        proof = Proof(NETWORK, replace(exchange.evidence, inclusion=replace(inclusion, path=other)))
        assert failed(judged(exchange, dump(proof))) == [4]


def test_any_changed_character_of_the_token_fails_row_2(exchange: Exchange) -> None:
    token = exchange.evidence.token
    facts = asyncio.run(exchange.facts())
    for position, character in enumerate(token):
        other = "A" if character != "A" else "B"
        forged = token[:position] + other + token[position + 1 :]
        proof = replace(exchange.proof, statement=replace(exchange.evidence, token=forged))
        verdict = verify(exchange.content, proof, TRUST, facts)
        assert verdict.row(2).outcome is FAIL, position
        assert verdict.exit_code == 1


# --- anything at all -------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=20) | st.floats()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_proof_there_is_an_answer_and_it_is_not_valid(data: st.DataObject) -> None:
    exchange = SHARED
    value = json.loads(dump(exchange.proof))
    path, old = data.draw(st.sampled_from(list(containers(value))))
    new = data.draw(anything)
    if new == old and type(new) is type(old):
        return
    try:
        verdict = judged(exchange, with_value(value, path, new))
    except ProofInvalid:
        return
    # An empty list of related statements, or a shorter one, is a good proof, too.
    assert verdict.exit_code != 0 or path[0] == "related"
    json.dumps(verdict.to_json())


SHARED = Exchange()


def containers(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in children:
        yield from containers(item, (*path, key))


@settings(max_examples=200, deadline=None)
@given(header=anything, payload=anything, signature=st.binary(max_size=70))
def test_whatever_stands_in_a_token_fails_row_2(header: Any, payload: Any, signature: bytes) -> None:
    token = ".".join(b64url(part) for part in (json.dumps(header).encode(), json.dumps(payload).encode(), signature))
    proof = Proof(NETWORK, Evidence(token), (SHARED.evidence,))
    assert failed(asyncio.run(SHARED.verdict(proof))) == [2]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_signed_token_with_any_claims_gets_a_verdict(data: st.DataObject) -> None:
    """The adversary may be a member, and sign whatever it likes."""
    header, payload, _ = SHARED.evidence.token.split(".")
    claims = json.loads(b64url_decode(payload))
    path, _ = data.draw(st.sampled_from(list(containers(claims))))
    claims = json.loads(with_value(claims, path, data.draw(anything)))
    signed = f"{header}.{b64url(json.dumps(claims).encode())}"
    token = f"{signed}.{b64url(SHARED.mine.signer.sign(signed.encode()))}"
    for proof in (Proof(NETWORK, Evidence(token)), Proof(NETWORK, SHARED.evidence, (Evidence(token),))):
        verdict = asyncio.run(SHARED.verdict(proof))
        json.dumps(verdict.to_json())


# --- the thief of a key ----------------------------------------------------------------------------------------------


def test_a_stolen_key_signs_nothing_once_it_is_retired_whatever_date_the_thief_writes(fresh: Exchange) -> None:
    """The thief backdates ``iat``, and a member who is in on it anchors the statement.

    That looks the same as a genuine statement anchored late, so nothing contradicts it; but it is never valid.
    """
    before = fresh.ledger.now
    fresh.ledger.retire(fresh.mine, before)
    forged = fresh.add(fresh.mine, fresh.document_claim, at=before - 30, anchored_by=fresh.rival)
    verdict = judged(fresh, dump(Proof(NETWORK, forged)))
    assert verdict.row(3).outcome is NOT_CHECKED
    assert "the key was retired before this anchor was made" in verdict.row(3).reason
    assert verdict.exit_code == 3
    assert "signer" not in verdict.subject
    undated = fresh.add(fresh.mine, fresh.document_claim, anchored_by=fresh.rival)
    verdict = judged(fresh, dump(Proof(NETWORK, undated)))
    assert failed(verdict) == [3]
    assert "was not valid at" in verdict.row(3).reason


def test_a_key_published_by_someone_else_does_not_sign_for_the_member(fresh: Exchange) -> None:
    """The adversary signs with a key of its own and writes another's account into ``iss``."""
    forged = statements.issue(fresh.rival.signer, fresh.mine.issuer, fresh.document_claim, fresh.ledger.now)
    evidence = fresh.ledger.evidence(fresh.rival, forged)
    fresh.ledger.mine(TRUST.confirmations)
    verdict = judged(fresh, dump(Proof(NETWORK, evidence)))
    assert failed(verdict) == [3]
    assert f"never published the key {fresh.rival.signer.kid}" in verdict.row(3).reason
    assert "signer" not in verdict.subject


def test_a_suspended_member_can_have_nothing_new_believed(fresh: Exchange) -> None:
    fresh.ledger.suspend(fresh.mine, fresh.ledger.now)
    forged = fresh.add(fresh.mine, fresh.document_claim, anchored_by=fresh.rival)
    assert failed(judged(fresh, dump(Proof(NETWORK, forged)))) == [3]
    backdated = fresh.add(fresh.mine, fresh.document_claim, at=START, anchored_by=fresh.rival)
    verdict = judged(fresh, dump(Proof(NETWORK, backdated)))
    assert (verdict.row(3).outcome, verdict.exit_code) == (NOT_CHECKED, 3)


# --- the forger of ledgers -------------------------------------------------------------------------------------------


def test_a_proof_brings_its_own_contracts_in_vain(fresh: Exchange) -> None:
    """All is in order, on contracts that the adversary deployed."""
    for own in (
        Network(NETWORK.chain_id, fake_address("own directory"), fake_address("own notary")),
        replace(NETWORK, chain_id=1),
    ):
        verdict = judged(fresh, dump(replace(fresh.proof, network=own)))
        assert failed(verdict) == [4]
        assert str(own) in verdict.row(4).reason


def test_an_anchor_of_another_members_batch_is_not_ones_own(fresh: Exchange) -> None:
    assert fresh.evidence.anchor is not None
    claimed = replace(fresh.evidence, anchor=replace(fresh.evidence.anchor, member=fresh.rival.address))
    verdict = judged(fresh, dump(Proof(NETWORK, claimed)))
    assert failed(verdict) == [4]
    assert f"no anchor of this batch by {fresh.rival.address}" in verdict.row(4).reason


def test_a_root_made_up_by_the_forger_is_not_anchored(fresh: Exchange) -> None:
    """A tree of one: the path holds, and nobody anchored it."""
    leaf = merkle.leaf_hash(fresh.document.digest)
    lone = replace(fresh.evidence, inclusion=Inclusion(0, 1, leaf, ()))
    assert failed(judged(fresh, dump(Proof(NETWORK, lone)))) == [4]


def test_an_inner_node_is_not_a_statement(fresh: Exchange) -> None:
    """An anchored tree has a node whose hash is known; a statement can't stand in for it (RFC 9162's prefixes)."""
    inclusion = fresh.evidence.inclusion
    assert inclusion is not None
    shorter = replace(inclusion, index=2, size=4, path=inclusion.path[1:])
    verdict = judged(fresh, dump(Proof(NETWORK, replace(fresh.evidence, inclusion=shorter))))
    assert failed(verdict) == [4]


def test_another_transaction_of_the_same_block_did_not_make_the_anchor(fresh: Exchange) -> None:
    anchor = fresh.evidence.anchor
    assert anchor is not None
    bystander = b"\x77" * 32
    fresh.ledger.transactions[bystander] = (anchor.block_number, [])
    named = replace(fresh.evidence, anchor=replace(anchor, transaction=bystander))
    verdict = judged(fresh, dump(Proof(NETWORK, named)))
    assert failed(verdict) == [4]
    assert "did not make this anchor" in verdict.row(4).reason


def test_a_block_that_does_not_exist_yet_is_none(fresh: Exchange) -> None:
    anchor = fresh.evidence.anchor
    assert anchor is not None
    later = replace(fresh.evidence, anchor=replace(anchor, block_number=2**64 - 1))
    assert failed(judged(fresh, dump(Proof(NETWORK, later)))) == [4]


def test_a_chain_that_lost_the_anchors_block_fails_row_4(fresh: Exchange) -> None:
    """An RPC endpoint on a fork that has the Notary's state but not the block."""
    anchor = fresh.evidence.anchor
    assert anchor is not None
    facts = asyncio.run(fresh.facts())
    gone = replace(facts, blocks={anchor.block_number: None})
    row = verify(fresh.content, fresh.proof, TRUST, gone).row(4)
    assert (row.outcome, "no such block" in row.reason) == (FAIL, True)


# --- the hider of revocations ----------------------------------------------------------------------------------------


def test_leaving_the_revocation_out_of_the_proof_hides_nothing(fresh: Exchange) -> None:
    fresh.ledger.revoke(fresh.mine, fresh.document.digest, fresh.ledger.now)
    assert failed(judged(fresh, dump(Proof(NETWORK, fresh.evidence)))) == [6]


def test_anchoring_a_revoked_statement_again_does_not_revive_it(fresh: Exchange) -> None:
    fresh.ledger.revoke(fresh.mine, fresh.document.digest, fresh.ledger.now)
    again = fresh.ledger.evidence(fresh.rival, fresh.document)
    fresh.ledger.mine(TRUST.confirmations)
    assert failed(judged(fresh, dump(Proof(NETWORK, again)))) == [6]


def test_nobody_else_revokes_a_members_statement(fresh: Exchange) -> None:
    claim = Revocation(fresh.document.digest_text, "we would rather not", 0)
    theirs = fresh.add(fresh.rival, claim)
    fresh.ledger.revoke(fresh.rival, fresh.document.digest, 0)
    assert judged(fresh, dump(Proof(NETWORK, fresh.evidence, (theirs,)))).exit_code == 0
    forged = statements.issue(fresh.rival.signer, fresh.mine.issuer, claim, fresh.ledger.now)
    evidence = fresh.ledger.evidence(fresh.rival, forged)
    fresh.ledger.mine(TRUST.confirmations)
    verdict = judged(fresh, dump(Proof(NETWORK, fresh.evidence, (evidence,))))
    assert (failed(verdict), verdict.exit_code) == ([], 0)
    assert "never published the key" in verdict.row(6).reason


class P256Signer:
    """ES256 over cryptography, as a cloud key would sign."""

    alg = "ES256"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (b64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
        self.public_jwk = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        self.kid = thumbprint(self.public_jwk)

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_twin_of_an_ecdsa_signature_does_not_escape_the_revocation() -> None:
    """(r, n - s) holds as (r, s) does, and would give the revoked statement another digest, to be anchored anew."""
    exchange = Exchange(party("Mine AG", P256Signer()))
    assert judged(exchange, dump(exchange.proof)).exit_code == 0
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, exchange.ledger.now)
    signed, _, signature = exchange.document.token.rpartition(".")
    raw = b64url_decode(signature)
    twin = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)
    token = f"{signed}.{b64url(twin)}"
    ((inclusion, anchor),) = exchange.ledger.anchor(exchange.rival, [sha256(token.encode()).raw])
    exchange.ledger.mine(TRUST.confirmations)
    verdict = judged(exchange, dump(Proof(NETWORK, Evidence(token, inclusion, anchor))))
    assert failed(verdict) == [2]
    assert verdict.exit_code == 1


# --- the teller of tales ---------------------------------------------------------------------------------------------


def test_a_name_from_the_directory_can_not_steer_the_terminal(fresh: Exchange) -> None:
    member = fresh.ledger.members[fresh.mine.address]
    fresh.ledger.members[fresh.mine.address] = replace(member, name="Mine\x1b[2J\u202eGA")
    verdict = judged(fresh, dump(fresh.proof))
    assert verdict.subject["signer"].startswith("Mine�[2J�GA (")
    text = json.dumps(verdict.to_json(), ensure_ascii=False)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_facts_read_for_one_proof_do_not_carry_another(fresh: Exchange) -> None:
    facts = asyncio.run(fresh.facts())
    other = fresh.add(fresh.mine, replace(fresh.document_claim, name="other.pdf"))
    verdict = verify(fresh.content, Proof(NETWORK, other), TRUST, facts)
    assert verdict.exit_code == 3
    assert failed(verdict) == []


def test_a_key_of_an_unknown_party_is_no_members(fresh: Exchange) -> None:
    thief = party("Thief", Ed25519Signer.generate())
    evidence = fresh.add(thief, fresh.document_claim, anchored_by=fresh.rival)
    assert failed(judged(fresh, dump(Proof(NETWORK, evidence)))) == [3]
