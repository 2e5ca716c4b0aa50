"""Every row of the verdict: passed, failed, not checked."""

import io
from dataclasses import replace

import pytest

from docex.core import statement as statements
from docex.core.account import caip10
from docex.core.claims import Addressee, Link, Revocation, Transfer
from docex.core.digest import sha256
from docex.core.encoding import b64url
from docex.core.evidence import MAX_SKEW
from docex.core.facts import Unread
from docex.core.ledger_types import KeyUse, MembershipPeriod
from docex.core.proof import Evidence, Network, Proof
from docex.verify import Content, Outcome, Overall, Row, Trust, Verdict, measure, verify
from tests.fixtures.paper_ledger import CONTENT, NETWORK, START, TRUST, Exchange, fake_address, party

PASS, FAIL, NOT_CHECKED = Outcome


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def outcomes(verdict: Verdict) -> list[Outcome]:
    return [row.outcome for row in verdict.rows]


def check(row: Row, outcome: Outcome, reason: str) -> None:
    assert row.outcome is outcome, row
    assert reason in row.reason


# --- the whole -------------------------------------------------------------------------------------------------------


async def test_a_good_proof_is_valid(exchange: Exchange) -> None:
    verdict = await exchange.verdict()
    assert outcomes(verdict) == [PASS, PASS, PASS, PASS, NOT_CHECKED, PASS, PASS]
    assert verdict.overall is Overall.VALID
    assert verdict.exit_code == 0
    assert [row.number for row in verdict.rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.number for row in verdict.rows if not row.required] == [5, 7]
    assert verdict.subject == {
        "statement": exchange.document.digest_text,
        "type": "document",
        "issuer": exchange.mine.issuer,
        "issued_at": exchange.document.issued_at,
        "signer": f"Mine AG ({exchange.mine.address})",
        "document": {
            "digest": exchange.content.digest,
            "size": len(CONTENT),
            "name": "quality.pdf",
            "media_type": "application/pdf",
            "folder": "lots/2026",
            "kind": "quality",
        },
        "network": "paper",
    }


async def test_the_verdict_as_json(exchange: Exchange) -> None:
    value = (await exchange.verdict()).to_json()
    assert value["format"] == "docex-verdict/1"
    assert (value["overall"], value["exit_code"]) == ("valid", 0)
    assert value["subject"]["signer"].startswith("Mine AG")
    assert value["rows"][4] == {
        "number": 5,
        "name": "independent time",
        "outcome": "not checked",
        "required": False,
        "reason": "no independent timestamp in the proof",
        "details": {},
    }


def test_a_failed_row_outweighs_rows_that_were_not_checked_and_only_required_ones_count() -> None:
    def verdict(*rows: tuple[Outcome, bool]) -> Verdict:
        return Verdict(tuple(Row(n, "", outcome, required, "") for n, (outcome, required) in enumerate(rows, 1)))

    assert verdict((PASS, True), (NOT_CHECKED, False)).exit_code == 0
    assert verdict((PASS, True), (NOT_CHECKED, True)).exit_code == 3
    assert verdict((NOT_CHECKED, True), (FAIL, True)).exit_code == 1
    assert verdict((PASS, True), (FAIL, False)).exit_code == 0
    assert verdict((NOT_CHECKED, True), (FAIL, False)).exit_code == 3


def test_without_trust_the_ledger_rows_say_what_to_do(exchange: Exchange) -> None:
    verdict = verify(exchange.content, exchange.proof, None, None)
    assert outcomes(verdict) == [PASS, PASS, NOT_CHECKED, NOT_CHECKED, NOT_CHECKED, NOT_CHECKED, NOT_CHECKED]
    for number in (3, 4, 6):
        check(verdict.row(number), NOT_CHECKED, "docex trust add")
    assert verdict.overall is Overall.UNCHECKED
    assert verdict.exit_code == 3
    assert "signer" not in verdict.subject
    assert "network" not in verdict.subject


def test_without_a_ledger_the_ledger_rows_say_so(exchange: Exchange) -> None:
    verdict = verify(exchange.content, exchange.proof, TRUST, None)
    for number in (3, 4, 6):
        check(verdict.row(number), NOT_CHECKED, "no --rpc given")
    check(verdict.row(7), NOT_CHECKED, "its transfer: the ledger was not read: no --rpc given")
    assert verdict.exit_code == 3


async def test_a_ledger_that_does_not_answer_never_makes_a_proof_invalid(exchange: Exchange) -> None:
    exchange.ledger.down = {"network"}
    verdict = await exchange.verdict()
    for number in (3, 4, 6):
        check(verdict.row(number), NOT_CHECKED, "network did not answer")
    assert verdict.exit_code == 3
    assert exchange.ledger.asked == ["network"]


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("head", [4, 6, 7]),
        ("block", [3, 4, 7]),
        ("anchor_of", [3, 4, 7]),
        ("anchors_made_by", [3, 4, 7]),
        ("periods_of", [3, 7]),
        ("key_of", [3, 7]),
        ("revocation_of", [6]),
        ("member_of", []),
    ],
)
async def test_one_read_that_fails_leaves_its_rows_unchecked(exchange: Exchange, method: str, rows: list[int]) -> None:
    exchange.ledger.down = {method}
    verdict = await exchange.verdict()
    assert [row.number for row in verdict.rows if row.outcome is NOT_CHECKED] == sorted([*rows, 5])
    assert FAIL not in outcomes(verdict)
    assert verdict.exit_code == (3 if rows else 0)
    if method == "member_of":
        assert verdict.subject["signer"] == exchange.mine.address


async def test_facts_of_another_proof_settle_nothing(exchange: Exchange) -> None:
    facts = await exchange.facts(Proof(NETWORK, Evidence("a.b.c")))
    verdict = verify(exchange.content, exchange.proof, TRUST, facts)
    check(verdict.row(4), NOT_CHECKED, "the ledger was not asked")
    assert verdict.exit_code == 3


async def test_a_reader_of_another_network_settles_nothing(exchange: Exchange) -> None:
    exchange.ledger.served = replace(NETWORK, chain_id=1)
    verdict = await exchange.verdict()
    for number in (3, 4, 6):
        check(verdict.row(number), NOT_CHECKED, "the ledger that was read is another: chain 1,")
    assert verdict.exit_code == 3


# --- row 1 -----------------------------------------------------------------------------------------------------------


def test_measuring_reads_the_document_in_pieces() -> None:
    seen: list[int] = []
    data = bytes((1 << 20) + 5)
    assert measure(io.BytesIO(data), seen.append) == Content(str(sha256(data)), len(data))
    assert seen == [1 << 20, 5]
    assert measure(io.BytesIO(CONTENT)) == Content(str(sha256(CONTENT)), len(CONTENT))


async def test_another_document_fails_row_1(exchange: Exchange) -> None:
    facts = await exchange.facts()
    changed = measure(io.BytesIO(CONTENT[:-1] + b"!"))
    check(verify(changed, exchange.proof, TRUST, facts).row(1), FAIL, f"the document's digest is {changed.digest}")
    longer = measure(io.BytesIO(CONTENT + b"\n"))
    verdict = verify(longer, exchange.proof, TRUST, facts)
    check(verdict.row(1), FAIL, "the document has 29 bytes, the statement says 28")
    assert verdict.exit_code == 1


async def test_without_a_document_row_1_keeps_a_document_statement_from_being_valid(exchange: Exchange) -> None:
    verdict = verify(None, exchange.proof, TRUST, await exchange.facts())
    check(verdict.row(1), NOT_CHECKED, "no document was given")
    assert verdict.exit_code == 3


async def test_a_statement_that_is_not_about_a_document_is_checked_without_one(exchange: Exchange) -> None:
    proof = Proof(NETWORK, exchange.delivery[1], exchange.delivery[:1])
    facts = await exchange.facts(proof)
    verdict = verify(None, proof, TRUST, facts)
    assert verdict.row(1).required is False
    assert verdict.exit_code == 0
    assert verdict.subject["type"] == "receipt"
    assert "document" not in verdict.subject
    given = verify(exchange.content, proof, TRUST, facts)
    check(given.row(1), FAIL, "the proof is for a receipt statement")
    assert given.row(1).required is True
    assert given.exit_code == 1


# --- row 2 -----------------------------------------------------------------------------------------------------------


def flipped(token: str) -> str:
    header, payload, signature = token.split(".")
    return f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


async def test_a_signature_that_does_not_hold_leaves_only_row_2_to_speak(exchange: Exchange) -> None:
    broken = replace(exchange.proof, statement=replace(exchange.evidence, token=flipped(exchange.evidence.token)))
    verdict = await exchange.verdict(broken)
    check(verdict.row(2), FAIL, "[signature_invalid]")
    for number in (1, 3, 4, 6, 7):
        check(verdict.row(number), NOT_CHECKED, "see row 2")
    assert verdict.subject == {}
    assert verdict.exit_code == 1


async def test_a_related_signature_that_does_not_hold_is_named(exchange: Exchange) -> None:
    transfer, receipt = exchange.delivery
    broken = replace(exchange.proof, related=(transfer, replace(receipt, token=flipped(receipt.token))))
    verdict = await exchange.verdict(broken)
    check(verdict.row(2), FAIL, "the proof's related[1]: ")
    assert verdict.row(2).details["statement"] == exchange.document.digest_text
    assert verdict.exit_code == 1


async def test_a_token_that_is_no_statement_fails_row_2(exchange: Exchange) -> None:
    verdict = await exchange.verdict(replace(exchange.proof, statement=Evidence("a.b")))
    check(verdict.row(2), FAIL, "[statement_invalid]")


# --- row 3 -----------------------------------------------------------------------------------------------------------


async def test_the_key_must_be_valid_when_anchored_not_today(exchange: Exchange) -> None:
    anchored = exchange.ledger.chain[1].time
    exchange.ledger.retire(exchange.mine, anchored + 1)
    exchange.ledger.suspend(exchange.mine, anchored + 1)
    assert (await exchange.verdict(Proof(NETWORK, exchange.evidence))).exit_code == 0
    exchange.ledger.suspend(exchange.mine, anchored)
    check((await exchange.verdict()).row(3), NOT_CHECKED, f"Mine AG ({exchange.mine.address}) was suspended before")
    exchange.ledger.periods[exchange.mine.address].append(MembershipPeriod(anchored + 5, None))
    check((await exchange.verdict()).row(3), NOT_CHECKED, "was suspended before this anchor was made: an earlier")
    exchange.ledger.periods[exchange.mine.address] = [MembershipPeriod(START, None)]
    exchange.ledger.retire(exchange.mine, anchored)
    verdict = await exchange.verdict()
    assert verdict.row(3).outcome is NOT_CHECKED
    assert verdict.row(3).reason == (
        "the key was retired before this anchor was made: an earlier anchor, such as the issuer's own proof, "
        "would settle it"
    )
    assert "signer" not in verdict.subject
    assert verdict.exit_code == 3


async def test_after_a_key_rotation_a_later_anchor_settles_nothing_and_the_issuers_own_does(exchange: Exchange) -> None:
    """A recipient anchors anew what it was handed before the issuer changed its key."""
    exchange.ledger.retire(exchange.mine, exchange.ledger.now)
    assert (await exchange.verdict(Proof(NETWORK, exchange.evidence))).exit_code == 0
    again = exchange.ledger.evidence(exchange.rival, exchange.document)
    exchange.ledger.mine(TRUST.confirmations)
    late = await exchange.verdict(Proof(NETWORK, again))
    check(late.row(3), NOT_CHECKED, "the key was retired before this anchor was made")
    assert outcomes(late) == [PASS, PASS, NOT_CHECKED, PASS, NOT_CHECKED, PASS, NOT_CHECKED]
    assert late.exit_code == 3


async def test_a_date_outside_the_keys_period_or_the_membership_fails_row_3(exchange: Exchange) -> None:
    retired = exchange.ledger.now
    exchange.ledger.retire(exchange.mine, retired)
    for date in (START - 1, retired):
        evidence = exchange.add(exchange.mine, exchange.document_claim, at=date, anchored_by=exchange.rival)
        verdict = await exchange.verdict(Proof(NETWORK, evidence))
        check(verdict.row(3), FAIL, "(its period: 2023-11-14T22:13:20Z to 2023-11-14T22:14:10Z)")
        assert verdict.exit_code == 1
    last = exchange.add(exchange.mine, exchange.document_claim, at=retired - 1, anchored_by=exchange.rival)
    assert (await exchange.verdict(Proof(NETWORK, last))).row(3).outcome is NOT_CHECKED
    exchange.ledger.suspend(exchange.mine, retired - 1)
    check((await exchange.verdict(Proof(NETWORK, last))).row(3), FAIL, "was not a member at")


async def test_suspension_does_not_excuse_a_key_that_never_was_the_members(exchange: Exchange) -> None:
    exchange.ledger.suspend(exchange.mine, exchange.ledger.chain[1].time)
    del exchange.ledger.keys[exchange.mine.address, exchange.mine.key_id]
    check((await exchange.verdict()).row(3), FAIL, "never published the key")


async def test_a_key_published_after_the_anchor_fails_row_3(exchange: Exchange) -> None:
    exchange.ledger.publish(exchange.mine)
    check((await exchange.verdict()).row(3), FAIL, "(its period: 2023-11-14T22:14:10Z)")


async def test_a_stranger_fails_row_3(exchange: Exchange) -> None:
    stranger = party("Stranger")
    evidence = exchange.add(stranger, exchange.document_claim, anchored_by=exchange.rival)
    verdict = await exchange.verdict(Proof(NETWORK, evidence))
    check(verdict.row(3), FAIL, f"{stranger.address} was never a member")
    assert verdict.row(4).outcome is PASS
    assert "signer" not in verdict.subject


async def test_a_key_the_member_never_published_fails_row_3(exchange: Exchange) -> None:
    del exchange.ledger.keys[exchange.mine.address, exchange.mine.key_id]
    check((await exchange.verdict()).row(3), FAIL, f"Mine AG ({exchange.mine.address}) never published the key")


async def test_a_key_published_for_another_use_or_with_other_material_fails_row_3(exchange: Exchange) -> None:
    at = (exchange.mine.address, exchange.mine.key_id)
    good = exchange.ledger.keys[at]
    exchange.ledger.keys[at] = replace(good, use=KeyUse.RECIPIENT)
    check((await exchange.verdict()).row(3), FAIL, "is not for signing statements")
    exchange.ledger.keys[at] = replace(good, material=b"{}")
    check((await exchange.verdict()).row(3), FAIL, "is not for signing statements")


async def test_an_issuer_on_another_chain_fails_row_3(exchange: Exchange) -> None:
    abroad = caip10(1, exchange.mine.address)
    other = statements.issue(exchange.mine.signer, abroad, exchange.document_claim, START)
    evidence = exchange.ledger.evidence(exchange.mine, other)
    exchange.ledger.mine(2)
    check((await exchange.verdict(Proof(NETWORK, evidence))).row(3), FAIL, "is an account on another chain")


async def test_a_clock_may_run_ahead_by_five_minutes_and_no_more(exchange: Exchange) -> None:
    anchored = exchange.ledger.now + 10
    evidence = exchange.add(exchange.mine, exchange.document_claim, at=anchored + MAX_SKEW)
    assert (await exchange.verdict(Proof(NETWORK, evidence))).row(3).outcome is PASS
    anchored = exchange.ledger.now + 10
    evidence = exchange.add(exchange.mine, exchange.document_claim, at=anchored + MAX_SKEW + 1)
    check((await exchange.verdict(Proof(NETWORK, evidence))).row(3), FAIL, "after its anchor")


# --- row 4 -----------------------------------------------------------------------------------------------------------


async def test_row_4_says_where_the_statement_is_anchored(exchange: Exchange) -> None:
    row = (await exchange.verdict()).row(4)
    inclusion, anchor = exchange.evidence.inclusion, exchange.evidence.anchor
    assert inclusion is not None
    assert anchor is not None
    assert row.details == {
        "root": f"sha256:{inclusion.root.hex()}",
        "size": 8,
        "index": 5,
        "chain_id": 31337,
        "notary": NETWORK.notary,
        "member": exchange.mine.address,
        "transaction": f"0x{(anchor.transaction or b'').hex()}",
        "block_number": 1,
        "block_hash": f"0x{(anchor.block_hash or b'').hex()}",
        "time": START + 10,
        "confirmations": 4,
    }


async def test_an_anchor_by_any_member_counts_and_is_named(exchange: Exchange) -> None:
    evidence = exchange.add(exchange.mine, exchange.document_claim, anchored_by=exchange.rival)
    verdict = await exchange.verdict(Proof(NETWORK, evidence))
    assert verdict.exit_code == 0
    check(verdict.row(4), PASS, f"anchored by {exchange.rival.address}")


async def test_a_statement_that_is_not_anchored_yet_is_not_checked(exchange: Exchange) -> None:
    bare = Proof(NETWORK, Evidence(exchange.evidence.token))
    verdict = await exchange.verdict(bare)
    check(verdict.row(4), NOT_CHECKED, "the proof names no batch")
    check(verdict.row(3), NOT_CHECKED, "see row 4")
    assert verdict.exit_code == 3
    batched = Proof(NETWORK, replace(exchange.evidence, anchor=None))
    check((await exchange.verdict(batched)).row(4), NOT_CHECKED, "the proof names no anchor of it yet")


async def test_too_few_confirmations_are_a_matter_of_waiting(exchange: Exchange) -> None:
    evidence = exchange.ledger.evidence(exchange.mine, exchange.document)
    proof = Proof(NETWORK, evidence)
    exchange.ledger.mine()
    verdict = await exchange.verdict(proof)
    check(verdict.row(4), NOT_CHECKED, "1 of the 2 confirmations")
    assert verdict.row(3).outcome is PASS
    assert verdict.exit_code == 3
    exchange.ledger.mine()
    assert (await exchange.verdict(proof)).exit_code == 0


def test_a_broken_path_fails_even_where_nothing_is_trusted(exchange: Exchange) -> None:
    assert exchange.evidence.inclusion is not None
    broken = replace(exchange.evidence, inclusion=replace(exchange.evidence.inclusion, index=4))
    verdict = verify(exchange.content, Proof(NETWORK, broken), None, None)
    check(verdict.row(4), FAIL, "the statement is not in the batch")
    assert verdict.exit_code == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(NETWORK, chain_id=1),
        replace(NETWORK, directory=fake_address("elsewhere")),
        replace(NETWORK, notary=fake_address("elsewhere")),
    ],
    ids=["chain", "Directory", "Notary"],
)
async def test_a_proof_about_another_network_fails_row_4(exchange: Exchange, other: Network) -> None:
    proof = replace(exchange.proof, network=other)
    verdict = await exchange.verdict(proof)
    check(verdict.row(4), FAIL, "the proof is about another network")
    for number in (3, 6):
        check(verdict.row(number), NOT_CHECKED, "another network than yours, see row 4")
    assert verdict.exit_code == 1
    assert verify(exchange.content, proof, TRUST, None).exit_code == 1


async def test_as_of_a_time_before_the_anchor_there_was_none(exchange: Exchange) -> None:
    check((await exchange.verdict(at=START + 9)).row(4), FAIL, "anchored only at 2023-11-14T22:13:30Z, after")
    assert (await exchange.verdict(at=START + 10)).exit_code == 0


# --- row 6 -----------------------------------------------------------------------------------------------------------


async def test_a_revocation_on_the_ledger_fails_row_6_from_when_it_takes_effect(exchange: Exchange) -> None:
    now = exchange.ledger.now
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, now)
    verdict = await exchange.verdict()
    check(verdict.row(6), FAIL, "revoked by its issuer with effect from 2023-11-14T22:14:10Z")
    assert verdict.exit_code == 1
    earlier = await exchange.verdict(at=now - 1)
    check(earlier.row(6), PASS, "later: revoked by its issuer with effect from 2023-11-14T22:14:10Z")
    assert earlier.exit_code == 0
    assert earlier.row(6).details == {"as_of": now - 1}


async def test_a_revocation_to_come_does_not_count_yet(exchange: Exchange) -> None:
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, exchange.ledger.now + 1)
    assert (await exchange.verdict()).exit_code == 0
    exchange.ledger.mine()
    assert (await exchange.verdict()).exit_code == 1


async def test_another_members_revocation_says_nothing(exchange: Exchange) -> None:
    exchange.ledger.revoke(exchange.rival, exchange.document.digest, 0)
    claim = Revocation(exchange.document.digest_text, "not theirs to revoke", 0)
    proof = replace(exchange.proof, related=(exchange.add(exchange.rival, claim),))
    assert (await exchange.verdict(proof)).exit_code == 0


async def test_a_revocation_statement_in_the_proof_fails_row_6_with_its_reason(exchange: Exchange) -> None:
    now = exchange.ledger.now
    evidence = exchange.add(exchange.mine, Revocation(exchange.document.digest_text, "wrong lot", now))
    proof = replace(exchange.proof, related=(evidence,))
    check((await exchange.verdict(proof)).row(6), FAIL, "with effect from 2023-11-14T22:14:10Z: wrong lot")
    check((await exchange.verdict(proof, at=now)).row(6), FAIL, "wrong lot")
    earlier = await exchange.verdict(proof, at=now - 1)
    check(earlier.row(6), PASS, "later: revoked by its issuer")
    assert earlier.exit_code == 0


async def test_the_revocation_named_on_the_ledger_gives_its_reason(exchange: Exchange) -> None:
    others = [
        Revocation(exchange.document.digest_text, "one of two", 2_000_000_000),
        Revocation(exchange.document.digest_text, "wrong lot", 5),
    ]
    evidence = [exchange.add(exchange.mine, claim) for claim in others]
    proof = replace(exchange.proof, related=tuple(evidence))
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, 5, sha256(evidence[1].token.encode()).raw)
    check(
        (await exchange.verdict(proof)).row(6),
        FAIL,
        "with effect from 1970-01-01T00:00:05Z, recorded 2023-11-14T22:15:10Z: wrong lot",
    )
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, 5)  # without naming a statement
    reason = (await exchange.verdict(proof)).row(6).reason
    assert reason.split("; ")[0].endswith("recorded 2023-11-14T22:15:10Z")
    assert reason.split("; ")[1].endswith("with effect from 1970-01-01T00:00:05Z: wrong lot")


async def test_a_document_that_supersedes_this_one_fails_row_6_from_its_anchor(exchange: Exchange) -> None:
    newer = replace(exchange.document_claim, supersedes=exchange.document.digest_text)
    evidence = exchange.add(exchange.mine, newer)
    proof = replace(exchange.proof, related=(evidence,))
    anchored = exchange.ledger.now - 20
    check((await exchange.verdict(proof)).row(6), FAIL, "superseded by sha256:")
    check((await exchange.verdict(proof, at=anchored - 1)).row(6), PASS, "later: superseded by sha256:")
    theirs = exchange.add(exchange.rival, newer)
    assert (await exchange.verdict(replace(exchange.proof, related=(theirs,)))).exit_code == 0


async def test_a_document_that_is_superseded_and_revoked_names_both_once(exchange: Exchange) -> None:
    newer = replace(exchange.document_claim, supersedes=exchange.document.digest_text)
    superseded = exchange.add(exchange.mine, newer)
    revoked = exchange.add(exchange.mine, Revocation(exchange.document.digest_text, "wrong lot", 5))
    proof = replace(exchange.proof, related=(superseded, revoked))
    reason = (await exchange.verdict(proof)).row(6).reason
    assert reason.count("revoked by its issuer") == reason.count("superseded by") == 1


async def test_what_the_ledger_will_say_after_it_was_read_is_not_known(exchange: Exchange) -> None:
    now = exchange.ledger.now
    check((await exchange.verdict(at=now)).row(6), PASS, "as of ")
    later = await exchange.verdict(at=now + 1)
    check(later.row(6), NOT_CHECKED, "what it will say at")
    assert later.exit_code == 3


async def test_a_document_that_supersedes_another_one_says_nothing(exchange: Exchange) -> None:
    other = replace(exchange.document_claim, supersedes=exchange.transfer.digest_text)
    proof = replace(exchange.proof, related=(exchange.add(exchange.mine, other),))
    assert (await exchange.verdict(proof)).exit_code == 0


async def test_the_issuers_revocation_of_another_statement_says_nothing(exchange: Exchange) -> None:
    claim = Revocation(exchange.transfer.digest_text, "sent in error", 0)
    proof = replace(exchange.proof, related=(exchange.add(exchange.mine, claim),))
    assert (await exchange.verdict(proof)).exit_code == 0


async def test_a_revocation_that_is_not_anchored_is_passed_over(exchange: Exchange) -> None:
    claim = Revocation(exchange.document.digest_text, "wrong lot", 0)
    pending = Evidence(exchange.issue(exchange.mine, claim).token)
    proof = replace(exchange.proof, related=(pending,))
    verdict = await exchange.verdict(proof)
    check(verdict.row(6), PASS, f"passed over: the revocation statement {sha256(pending.token.encode())} against it: ")
    check(verdict.row(6), PASS, "the proof names no batch")
    assert verdict.exit_code == 0
    offline = verify(exchange.content, proof, TRUST, None)
    check(offline.row(6), NOT_CHECKED, "no --rpc given (the proof itself holds a revocation statement against it)")


async def test_a_revocation_that_does_not_hold_is_passed_over(exchange: Exchange) -> None:
    evidence = exchange.add(exchange.mine, Revocation(exchange.document.digest_text, "wrong lot", 0))
    assert evidence.anchor is not None
    broken = replace(evidence, anchor=replace(evidence.anchor, transaction=bytes(32)))
    verdict = await exchange.verdict(replace(exchange.proof, related=(broken,)))
    check(verdict.row(6), PASS, "against it: the anchor's block holds no transaction")
    assert verdict.exit_code == 0


async def test_a_revocation_by_the_issuers_key_that_can_not_be_read_leaves_row_6_unchecked(exchange: Exchange) -> None:
    evidence = exchange.add(exchange.mine, Revocation(exchange.document.digest_text, "wrong lot", 0))
    proof = replace(exchange.proof, related=(evidence,))
    facts = await exchange.facts(proof)
    assert evidence.anchor is not None
    unread = replace(facts, blocks={**facts.blocks, evidence.anchor.block_number: Unread("the node gave up")})
    verdict = verify(exchange.content, proof, TRUST, unread)
    check(verdict.row(6), NOT_CHECKED, "against it can't be checked: the node gave up")
    assert verdict.exit_code == 3


async def test_a_notice_with_anothers_key_does_not_count_even_where_its_anchor_can_not_be_read(
    exchange: Exchange,
) -> None:
    newer = replace(exchange.document_claim, supersedes=exchange.document.digest_text)
    for claim in (newer, Revocation(exchange.document.digest_text, "wrong lot", 0)):
        forged = statements.issue(exchange.rival.signer, exchange.mine.issuer, claim, START)
        evidence = exchange.ledger.evidence(exchange.rival, forged)
        exchange.ledger.mine(TRUST.confirmations)
        proof = replace(exchange.proof, related=(evidence,))
        facts = await exchange.facts(proof)
        assert evidence.anchor is not None
        pruned = replace(facts, blocks={**facts.blocks, evidence.anchor.block_number: Unread("pruned")})
        for known in (facts, pruned):
            verdict = verify(exchange.content, proof, TRUST, known)
            check(verdict.row(6), PASS, f"passed over: the {forged.type} statement {forged.digest_text} against it: ")
            check(verdict.row(6), PASS, "never published the key")
            assert verdict.exit_code == 0


async def test_a_notice_with_the_issuers_retired_key_is_passed_over_and_the_notary_stays_decisive(
    exchange: Exchange,
) -> None:
    retired = exchange.ledger.now
    exchange.ledger.retire(exchange.mine, retired)
    claim = Revocation(exchange.document.digest_text, "wrong lot", 0)
    evidence = exchange.add(exchange.mine, claim, at=retired - 1, anchored_by=exchange.rival)
    proof = replace(exchange.proof, related=(evidence,))
    verdict = await exchange.verdict(proof)
    check(verdict.row(6), PASS, "the key was retired before this anchor was made")
    assert verdict.exit_code == 0
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, 5)
    assert (await exchange.verdict(proof)).row(6).outcome is FAIL


async def test_a_notice_that_holds_counts_beside_one_that_is_passed_over(exchange: Exchange) -> None:
    claim = Revocation(exchange.document.digest_text, "wrong lot", 0)
    pending = Evidence(exchange.issue(exchange.mine, claim).token)
    proof = replace(exchange.proof, related=(pending, exchange.add(exchange.mine, claim)))
    assert (await exchange.verdict(proof)).row(6).outcome is FAIL


async def test_times_past_the_calendar_are_shown_as_they_are(exchange: Exchange) -> None:
    exchange.ledger.revoke(exchange.mine, exchange.document.digest, 2**64 - 1)
    check((await exchange.verdict()).row(6), PASS, f"later: revoked by its issuer with effect from {2**64 - 1} s")


async def test_a_receipt_without_its_transfer_says_nothing(exchange: Exchange) -> None:
    verdict = await exchange.verdict(Proof(NETWORK, exchange.delivery[1]))
    check(verdict.row(4), NOT_CHECKED, "the transfer that the receipt acknowledges is not in the proof")


# --- row 7 -----------------------------------------------------------------------------------------------------------


async def test_row_7_says_who_acknowledged_what(exchange: Exchange) -> None:
    row = (await exchange.verdict()).row(7)
    check(row, PASS, f"accepted by Maker Ltd ({exchange.maker.address}) at 2023-11-14T22:13:50Z")
    assert row.details["receipts"] == [
        {
            "receipt": exchange.receipt.digest_text,
            "transfer": exchange.transfer.digest_text,
            "from": exchange.mine.issuer,
            "by": exchange.maker.issuer,
            "member": f"Maker Ltd ({exchange.maker.address})",
            "outcome": "accepted",
            "time": START + 30,
        }
    ]


async def test_without_receipts_row_7_is_not_checked_and_does_not_block(exchange: Exchange) -> None:
    verdict = await exchange.verdict(Proof(NETWORK, exchange.evidence))
    check(verdict.row(7), NOT_CHECKED, "no receipts in the proof")
    assert verdict.exit_code == 0


async def receipts(exchange: Exchange, *related: Evidence) -> Row:
    return (await exchange.verdict(replace(exchange.proof, related=related))).row(7)


async def test_a_rejection_is_shown_with_its_reason(exchange: Exchange) -> None:
    claim = replace(exchange.receipt_claim, outcome="rejected", reason="wrong lot")
    row = await receipts(exchange, exchange.delivery[0], exchange.add(exchange.maker, claim))
    check(row, PASS, "rejected by Maker Ltd")
    assert row.details["receipts"][0]["reason"] == "wrong lot"


async def test_a_rejection_unopened_names_no_document(exchange: Exchange) -> None:
    claim = replace(exchange.receipt_claim, outcome="rejected", opened=(), reason="the packet does not open")
    row = await receipts(exchange, exchange.delivery[0], exchange.add(exchange.maker, claim))
    check(row, NOT_CHECKED, "without having opened it")


async def test_a_counterpartys_bad_receipt_does_not_invalidate_the_document(exchange: Exchange) -> None:
    claim = replace(exchange.receipt_claim, opened=(str(sha256(b"another")),))
    wrong = exchange.add(exchange.maker, claim)
    retired = exchange.ledger.now
    exchange.ledger.retire(exchange.maker, retired)
    late = exchange.add(exchange.maker, exchange.receipt_claim, at=retired - 1)
    never = exchange.add(exchange.maker, exchange.receipt_claim, at=retired)
    for bad, why in (
        (wrong, "it does not name this document"),
        (late, "the key was retired before this anchor was made"),
        (never, "was not valid at"),
    ):
        verdict = await exchange.verdict(replace(exchange.proof, related=(exchange.delivery[0], bad)))
        check(verdict.row(7), NOT_CHECKED, f"receipt {sha256(bad.token.encode())}: ")
        check(verdict.row(7), NOT_CHECKED, why)
        assert (verdict.overall, verdict.exit_code) == (Overall.VALID, 0)
        beside = await exchange.verdict(replace(exchange.proof, related=(*exchange.delivery, bad)))
        check(beside.row(7), PASS, f"Z; passed over: receipt {sha256(bad.token.encode())}: ")
        check(beside.row(7), PASS, why)
        assert len(beside.row(7).details["receipts"]) == 1
        assert beside.exit_code == 0


async def test_a_receipt_for_another_document_is_passed_over(exchange: Exchange) -> None:
    claim = replace(exchange.receipt_claim, opened=(str(sha256(b"another")),))
    row = await receipts(exchange, exchange.delivery[0], exchange.add(exchange.maker, claim))
    check(row, NOT_CHECKED, "it does not name this document")


async def test_a_receipt_by_someone_else_is_passed_over(exchange: Exchange) -> None:
    row = await receipts(exchange, exchange.delivery[0], exchange.add(exchange.rival, exchange.receipt_claim))
    check(row, NOT_CHECKED, f"{exchange.rival.issuer} is not an addressee of its transfer")


async def test_a_receipt_for_another_packet_is_passed_over(exchange: Exchange) -> None:
    claim = replace(exchange.receipt_claim, packet=str(sha256(b"another packet")))
    row = await receipts(exchange, exchange.delivery[0], exchange.add(exchange.maker, claim))
    check(row, NOT_CHECKED, "it names another packet than its transfer does")


async def transferred(exchange: Exchange, transfer: Transfer) -> Row:
    """Row 7 with a receipt of this transfer."""
    evidence = exchange.add(exchange.mine, transfer)
    digest = str(sha256(evidence.token.encode()))
    return await receipts(
        exchange, evidence, exchange.add(exchange.maker, replace(exchange.receipt_claim, transfer=digest))
    )


async def test_a_transfer_in_another_members_name_proves_no_delivery(exchange: Exchange) -> None:
    row = await transferred(exchange, replace(exchange.transfer_claim, sender=exchange.rival.issuer))
    check(row, NOT_CHECKED, f"says it is from {exchange.rival.issuer} but was issued by {exchange.mine.issuer}")


async def test_addressees_without_accounts_can_not_be_told(exchange: Exchange) -> None:
    row = await transferred(exchange, replace(exchange.transfer_claim, to=(Addressee(b64url(bytes(32))),)))
    check(row, NOT_CHECKED, "names keys without their accounts")


async def test_a_receipt_without_its_transfer_is_not_checked(exchange: Exchange) -> None:
    row = await receipts(exchange, exchange.delivery[1])
    check(row, NOT_CHECKED, "the transfer it acknowledges is not in the proof")


async def test_one_receipt_that_holds_is_enough_beside_one_that_is_pending(exchange: Exchange) -> None:
    pending = Evidence(exchange.issue(exchange.maker, exchange.receipt_claim).token)
    row = await receipts(exchange, *exchange.delivery, pending)
    assert len(row.details["receipts"]) == 1
    check(row, PASS, "accepted by Maker Ltd")


async def test_a_transfer_that_does_not_hold_proves_no_delivery(exchange: Exchange) -> None:
    transfer, receipt = exchange.delivery
    assert transfer.anchor is not None
    broken = replace(transfer, anchor=replace(transfer.anchor, block_hash=bytes(32)))
    row = await receipts(exchange, broken, receipt)
    check(row, NOT_CHECKED, "its transfer: block 2 on the chain is 0x")


async def test_the_receipts_of_a_transfer_itself(exchange: Exchange) -> None:
    transfer, receipt = exchange.delivery
    verdict = await exchange.verdict(Proof(NETWORK, transfer, (receipt,)))
    assert verdict.row(7).outcome is PASS
    other = replace(exchange.receipt_claim, transfer=exchange.document.digest_text)
    verdict = await exchange.verdict(Proof(NETWORK, transfer, (exchange.add(exchange.maker, other),)))
    check(verdict.row(7), NOT_CHECKED, "it is for another transfer")


async def test_row_7_tells_a_ciphertext_that_was_received_from_documents_that_were_accepted(exchange: Exchange) -> None:
    fair = exchange.add(exchange.mine, replace(exchange.transfer_claim, header=exchange.packet, fair=True))
    claim = replace(exchange.receipt_claim, transfer=str(sha256(fair.token.encode())))
    ciphertext = exchange.add(exchange.maker, replace(claim, outcome="received", opened=()))
    verdict = await exchange.verdict(Proof(NETWORK, fair, (ciphertext,)))
    check(verdict.row(7), PASS, f"ciphertext received by Maker Ltd ({exchange.maker.address}) at ")
    assert verdict.row(7).details["receipts"][0]["outcome"] == "received"
    check(await receipts(exchange, fair, ciphertext), NOT_CHECKED, "it is for the ciphertext alone")
    accepted = exchange.add(exchange.maker, claim)
    verdict = await exchange.verdict(Proof(NETWORK, fair, (ciphertext, accepted)))
    assert [each["outcome"] for each in verdict.row(7).details["receipts"]] == ["received", "accepted"]
    row = await receipts(exchange, fair, ciphertext, accepted)
    check(row, PASS, "accepted by Maker Ltd")
    assert [each["outcome"] for each in row.details["receipts"]] == ["accepted"]


async def test_a_receipt_of_the_ciphertext_is_for_fair_transfers_alone(exchange: Exchange) -> None:
    ciphertext = exchange.add(exchange.maker, replace(exchange.receipt_claim, outcome="received", opened=()))
    verdict = await exchange.verdict(Proof(NETWORK, exchange.delivery[0], (ciphertext,)))
    check(verdict.row(7), NOT_CHECKED, "its transfer is not a fair one")


async def test_statements_that_no_row_asks_for_are_passed_over(exchange: Exchange) -> None:
    link = exchange.add(exchange.mine, Link("eip155:31337/erc721:0x00/1", exchange.document.digest_text))
    proof = replace(exchange.proof, related=(link, *exchange.delivery))
    assert (await exchange.verdict(proof)).exit_code == 0


def test_unless_told_otherwise_an_anchor_needs_what_a_node_calls_final() -> None:
    assert Trust("x", NETWORK).confirmations == 3
