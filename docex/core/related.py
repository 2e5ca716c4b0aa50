"""What the other statements of a proof say about its main one: revoked or superseded (row 6), delivered (row 7).

Only statements whose signature holds come in here. Those that are not about the main statement, or whose issuer has no
say in the matter, are passed over: anybody can sign a revocation of anything. So is, with its reason, whatever does not
hold: what others signed, or added to the proof, must not turn a genuine statement's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from docex.core.account import caip10, parse_caip10
from docex.core.claims import Document, Receipt, Revocation, Transfer
from docex.core.evidence import Checker, Failed, NotChecked, NotRead, known, printable
from docex.core.facts import NOT_ASKED
from docex.core.proof import Evidence
from docex.core.statement import Statement
from docex.core.verdict import iso

Signed = tuple[Evidence, Statement]
Effect = tuple[int, str]
"""From when on (Unix seconds) a statement is taken back, and how, in words."""


def not_revoked(checker: Checker, main: Statement, related: Iterable[Signed], at: int | None) -> tuple[str, int]:
    """Row 6, as of ``at`` or else of the latest block: what was found, and the time it is about.

    The Notary's record counts, and so does an anchored revocation or superseding statement that is provably by the same
    issuer: the former from its ``effective``, the latter from its anchor's time. What was read of the ledger says
    nothing about times after its latest block.
    """
    notices = [signed for signed in related if _takes_back(signed[1], main)]
    try:
        facts = checker.ledger()
        read = known(facts.head).time
        account = parse_caip10(main.issuer).address
        record = known(facts.revocations.get((account, main.digest), NOT_ASKED))
    except NotChecked as stop:
        told = f" (the proof itself holds a {notices[0][1].type} statement against it)" if notices else ""
        raise NotChecked(f"{stop}{told}") from None
    as_of = read if at is None else at
    effects: list[Effect] = []
    if record is not None:
        recorded = f"revoked by its issuer with effect from {iso(record.effective)}, recorded {iso(record.time)}"
        effects.append((record.effective, recorded + _why(record.revocation, notices)))
        notices = [signed for signed in notices if signed[1].digest != record.revocation]
    more, passed_over, unread = _notices(checker, notices)
    effects += more
    if taken_back := [what for effective, what in effects if effective <= as_of]:
        raise Failed("; ".join(taken_back))
    if unread:
        raise NotChecked(unread[0])
    if as_of > read:
        raise NotChecked(f"the ledger was read as of {iso(read)}: what it will say at {iso(as_of)} is not known")
    return _shortened([f"as of {iso(as_of)}", *(f"later: {what}" for _, what in effects), *passed_over]), as_of


def delivered(checker: Checker, main: Statement, related: Iterable[Signed]) -> tuple[list[dict[str, Any]], list[str]]:
    """Row 7: what the receipts in the proof that hold acknowledge, one entry each; why the others are passed over.

    Raises NotChecked when none holds, never Failed: a receipt is another party's, and its faults are not the issuer's.
    """
    related = list(related)
    receipts = [(evidence, statement) for evidence, statement in related if statement.type == Receipt.TYPE]
    if main.type not in (Document.TYPE, Transfer.TYPE) or not receipts:
        raise NotChecked("no receipts in the proof")
    transfers = {
        statement.digest_text: (evidence, statement)
        for evidence, statement in related
        if statement.type == Transfer.TYPE
    }
    found, passed_over = [], []
    for evidence, receipt in receipts:
        try:
            found.append(_delivery(checker, main, (evidence, receipt), transfers))
        except (Failed, NotChecked) as stop:
            passed_over.append(f"receipt {receipt.digest_text}: {stop}")
    if not found:
        raise NotChecked(_shortened(passed_over))
    return found, [f"passed over: {what}" for what in passed_over]


def require_meant(checker: Checker, main: Statement, related: Iterable[Signed]) -> None:
    """That a transfer, or the transfer that a receipt is for, was made for the proof's Notary and no other.

    Raises Failed when it was not, NotChecked for a receipt whose transfer is not in the proof.
    """
    transfer = main
    if isinstance(main.body, Receipt):
        named = [statement for _, statement in related if statement.digest_text == main.body.transfer]
        if not named:
            raise NotChecked("the transfer that the receipt acknowledges is not in the proof")
        transfer = named[0]
    if isinstance(transfer.body, Transfer):
        _require_notary(checker, transfer.body)


def _require_notary(checker: Checker, claim: Transfer) -> None:
    if claim.notary != caip10(checker.network.chain_id, checker.network.notary):
        raise Failed(f"the transfer was made for the Notary {claim.notary}")


def _shortened(reasons: Iterable[str]) -> str:
    return "; ".join(reasons)[:2000]


def _takes_back(statement: Statement, main: Statement) -> bool:
    body = statement.body
    if statement.issuer != main.issuer:
        return False
    if isinstance(body, Revocation):
        return body.statement == main.digest_text
    return isinstance(body, Document) and body.supersedes == main.digest_text


def _notices(checker: Checker, notices: Iterable[Signed]) -> tuple[list[Effect], list[str], list[str]]:
    """What takes the statement back; what is passed over since it is not provably the issuer's; what can't be told.

    The last are those by a key of the issuer's about which the ledger could not be read.
    """
    effects: list[Effect] = []
    passed_over, unread = [], []
    for evidence, notice in notices:
        which = f"the {notice.type} statement {notice.digest_text} against it"
        try:
            effects.append(_notice(checker, evidence, notice))
        except NotRead as stop:
            unread.append(f"{which} can't be checked: {stop}")
        except (Failed, NotChecked) as stop:
            passed_over.append(f"passed over: {which}: {stop}")
    return effects, passed_over, unread


def _notice(checker: Checker, evidence: Evidence, notice: Statement) -> Effect:
    """When a revocation or superseding statement takes effect, and what it does, in words."""
    # The key comes first: with another's, it doesn't matter that its anchor can't be read, which a forger can arrange.
    checker.signing_key(notice)
    anchor, _ = checker.settled(notice, evidence)
    if isinstance(notice.body, Revocation):
        effective = notice.body.effective
        return effective, f"revoked by its issuer with effect from {iso(effective)}: {printable(notice.body.reason)}"
    return anchor.time, f"superseded by {notice.digest_text} of {iso(anchor.time)}"


def _why(revocation: bytes, notices: Iterable[Signed]) -> str:
    """The reason that the revocation statement named on the ledger gives, where the proof holds it."""
    for _, notice in notices:
        if notice.digest == revocation and isinstance(notice.body, Revocation):
            return f": {printable(notice.body.reason)}"
    return ""


def _delivery(checker: Checker, main: Statement, signed: Signed, transfers: Mapping[str, Signed]) -> dict[str, Any]:
    evidence, receipt = signed
    claim = receipt.body
    assert isinstance(claim, Receipt)
    if isinstance(main.body, Transfer):
        if claim.transfer != main.digest_text:
            raise Failed("it is for another transfer")
        transfer = main
    else:
        _require_named(claim, main)
        if claim.transfer not in transfers:
            raise NotChecked("the transfer it acknowledges is not in the proof")
        transfer_evidence, transfer = transfers[claim.transfer]
    _require_addressee(receipt, claim, transfer)
    assert isinstance(transfer.body, Transfer)
    _require_notary(checker, transfer.body)
    if transfer is not main:
        _labelled("its transfer", lambda: checker.settled(transfer, transfer_evidence))
    anchor, who = checker.settled(receipt, evidence)
    result = {
        "receipt": receipt.digest_text,
        "transfer": claim.transfer,
        "from": transfer.issuer,
        "by": receipt.issuer,
        "member": who,
        "outcome": claim.outcome,
        "time": anchor.time,
    }
    if claim.reason is not None:
        result["reason"] = printable(claim.reason)
    return result


def _require_named(claim: Receipt, main: Statement) -> None:
    assert isinstance(main.body, Document)
    if main.body.digest in claim.opened:
        return
    if claim.outcome == "received":
        raise NotChecked("it is for the ciphertext alone, which does not show what is in it")
    if claim.outcome == "rejected" and not claim.opened:
        raise NotChecked("it rejects the transfer without having opened it, so it names no document")
    raise Failed("it does not name this document")


def _require_addressee(receipt: Statement, claim: Receipt, transfer: Statement) -> None:
    body = transfer.body
    assert isinstance(body, Transfer)
    if body.sender != transfer.issuer:
        raise Failed(f"its transfer says it is from {body.sender} but was issued by {transfer.issuer}")
    if claim.packet != body.packet:
        raise Failed("it names another packet than its transfer does")
    if claim.outcome == "received" and not body.fair:
        raise Failed("it is for a ciphertext, and its transfer is not a fair one")
    accounts = [addressee.account for addressee in body.to]
    if receipt.issuer in accounts:
        return
    if None in accounts:
        raise NotChecked("its transfer names keys without their accounts: whether it is by an addressee is not known")
    raise Failed(f"{receipt.issuer} is not an addressee of its transfer")


def _labelled(what: str, check: Callable[[], object]) -> None:
    try:
        check()
    except Failed as stop:
        raise Failed(f"{what}: {stop}") from None
    except NotChecked as stop:
        raise NotChecked(f"{what}: {stop}") from None
