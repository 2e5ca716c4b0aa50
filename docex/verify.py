"""The verdict on a document and its proof: one function, which is all of the verification. See docs/proof.md.

`verify` is pure. What the ledger says is read beforehand, by `collect_facts` from a node of the chain or by
`standalone_facts` from the proof's own evidence, and whom to trust comes from the
verifier's own settings (`Trust`), never from the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from docex.core import related
from docex.core import statement as statements
from docex.core import timestamp as timestamps
from docex.core.claims import Document, to_json
from docex.core.evidence import MAX_SKEW, Checker, Failed, NotChecked, require_included
from docex.core.facts import Facts, LedgerReader, Trust, collect_facts
from docex.core.proof import Proof
from docex.core.related import Signed
from docex.core.standalone import standalone_facts
from docex.core.statement import Statement
from docex.core.verdict import Outcome, Overall, Row, Verdict, iso
from docex.errors import DocexError

__all__ = [
    "Content",
    "Facts",
    "LedgerReader",
    "Outcome",
    "Overall",
    "Row",
    "Trust",
    "Verdict",
    "collect_facts",
    "measure",
    "standalone_facts",
    "verify",
]

_CHUNK: Final = 1 << 20
_OUTCOMES: Final = {"received": "ciphertext received", "accepted": "accepted", "rejected": "rejected"}
_UNSIGNED: Final = "the statement's signature does not hold, see row 2"


@dataclass(frozen=True, slots=True)
class Content:
    """What matters of a document's bytes: their digest (``sha256:<hex>``) and how many there are."""

    digest: str
    size: int


def measure(stream: BinaryIO, progress: Callable[[int], object] = lambda _: None) -> Content:
    """Digest and size of a document, read in pieces; ``progress`` gets the length of each."""
    hasher, size = hashlib.sha256(), 0
    while piece := stream.read(_CHUNK):
        hasher.update(piece)
        size += len(piece)
        progress(len(piece))
    return Content(f"sha256:{hasher.hexdigest()}", size)


def verify(
    content: Content | None, proof: Proof, trust: Trust | None, facts: Facts | None, at: int | None = None
) -> Verdict:
    """Check a document and its proof. There is nothing else that a caller must check.

    1. **bytes match**: the document has the digest and size of the ``document`` statement.
    2. **signature**: every statement in the proof is well formed and signed by the key that it carries.
    3. **signer**: the issuer was a member, and the key a signing key of its own and valid, at the time of the anchor.
       That time is the anchor's block time as read from the ledger, since the signer's own ``iat`` is only a claim;
       ``iat`` may not be more than 5 minutes later. A key retired between the two leaves the row unchecked.
    4. **anchor**: the inclusion path leads from the statement to the batch root, the trusted Notary has the batch under
       the member, block and time that the proof names, the transaction made it, and enough blocks stand on top. A
       transfer, or a receipt's transfer, was made for that Notary.
    5. **independent time** (optional): a time-stamping authority that the verifier trusts has signed the batch root
       (RFC 3161), at a time that does not contradict ``iat``.
    6. **not revoked**: neither the Notary nor a statement in the proof that is provably the issuer's revokes or
       supersedes the statement with effect by ``at``.
    7. **delivery** (optional): a receipt in the proof is by an addressee of its transfer and names this document. Those
       that don't hold are passed over. Of the ciphertext of a fair transfer, a receipt says just that.

    Args:
        content: of the document at hand; None to check a statement without its document.
        proof: what `docex.core.proof.parse` read.
        trust: the network the verifier trusts; None when it has none.
        facts: what `collect_facts` or `standalone_facts` read from that network; None when it was not asked.
        at: the time as of which to decide, Unix seconds; the latest block's time unless given.

    Nothing is raised for what a proof holds: all of it ends in a row.
    """
    case = _Case.of(content, proof, trust, facts, at)
    kind = "document" if case.main is None else case.main.type
    rows = (
        _row(1, "bytes match", kind == "document" or content is not None, case.bytes_match),
        _row(2, "signature", True, case.signature),
        _row(3, "signer is a member", True, case.signer),
        _row(4, "included and anchored", True, case.anchored),
        _row(5, "independent time", False, case.independent_time),
        _row(6, "not revoked or superseded", True, case.not_revoked),
        _row(7, "delivery receipts", False, case.delivered),
    )
    return Verdict(rows, case.subject(proven=rows[2].outcome is Outcome.PASS))


def _row(number: int, name: str, required: bool, check: Callable[[dict[str, Any]], str]) -> Row:
    details: dict[str, Any] = {}
    try:
        outcome, reason = Outcome.PASS, check(details)
    except NotChecked as stop:
        outcome, reason = Outcome.NOT_CHECKED, str(stop)
    except Failed as stop:
        outcome, reason = Outcome.FAIL, str(stop)
    return Row(number, name, outcome, required, reason, details)


@dataclass(frozen=True, slots=True)
class _Case:
    """One verification. ``main`` is None when its signature does not hold; ``related`` are those whose does."""

    content: Content | None
    proof: Proof
    checker: Checker
    at: int | None
    main: Statement | None
    related: tuple[Signed, ...]
    broken: tuple[str, ...]

    @classmethod
    def of(
        cls, content: Content | None, proof: Proof, trust: Trust | None, facts: Facts | None, at: int | None
    ) -> _Case:
        main: Statement | None = None
        others: list[Signed] = []
        broken: list[str] = []
        for position, evidence in enumerate((proof.statement, *proof.related)):
            try:
                statement = statements.verify(evidence.token)
            except DocexError as error:
                where = f"the proof's related[{position - 1}]: " if position else ""
                broken.append(f"{where}{error} [{error.code}]")
                continue
            if position:
                others.append((evidence, statement))
            else:
                main = statement
        return cls(content, proof, Checker(proof.network, trust, facts), at, main, tuple(others), tuple(broken))

    def statement(self) -> Statement:
        """The main statement; raises NotChecked when its signature does not hold."""
        if self.main is None:
            raise NotChecked(_UNSIGNED)
        return self.main

    def bytes_match(self, details: dict[str, Any]) -> str:
        """Row 1."""
        body = self.statement().body
        if self.content is None:
            raise NotChecked("no document was given")
        details.update(digest=self.content.digest, size=self.content.size)
        if not isinstance(body, Document):
            raise Failed(f"the proof is for a {body.TYPE} statement, which is not about a document")
        if self.content.size != body.size:
            raise Failed(f"the document has {self.content.size} bytes, the statement says {body.size}")
        if self.content.digest != body.digest:
            raise Failed(f"the document's digest is {self.content.digest}, the statement says {body.digest}")
        return f"{body.digest}, {body.size} bytes"

    def signature(self, details: dict[str, Any]) -> str:
        """Row 2."""
        if self.main is not None:
            details.update(statement=self.main.digest_text, alg=self.main.alg, kid=self.main.kid)
        if self.broken:
            raise Failed("; ".join(self.broken)[:2000])
        main = self.statement()
        also = f", and {len(self.related)} related statements" if self.related else ""
        return f"{main.alg} by key {main.kid}{also}"

    def signer(self, details: dict[str, Any]) -> str:
        """Row 3."""
        main = self.statement()
        self.checker.ledger()
        try:
            anchor = self.checker.anchor(main, self.proof.statement, {})
        except (Failed, NotChecked):
            raise NotChecked("the time of its anchor is not established, see row 4") from None
        return f"{self.checker.signer(main, anchor.time, details)}, key valid at {iso(anchor.time)}"

    def anchored(self, details: dict[str, Any]) -> str:
        """Row 4."""
        main = self.statement()
        if self.checker.trust is not None:
            self.checker.require_network()
        anchor = self.checker.anchor(main, self.proof.statement, details)
        related.require_meant(self.checker, main, self.related)
        if self.at is not None and anchor.time > self.at:
            raise Failed(f"anchored only at {iso(anchor.time)}, after {iso(self.at)}")
        self.checker.require_depth(anchor, details)
        by = self.checker.name_of(f"eip155:{self.proof.network.chain_id}:{anchor.member}")
        return (
            f"chain {self.proof.network.chain_id}, block {anchor.block_number} at {iso(anchor.time)}, "
            f"{details['confirmations']} confirmations, anchored by {by}"
        )

    def independent_time(self, details: dict[str, Any]) -> str:
        """Row 5. It needs no ledger: a timestamp on the root holds whatever became of the anchor."""
        main, inclusion = self.statement(), self.proof.statement.inclusion
        if inclusion is None or inclusion.timestamp is None:
            raise NotChecked("no independent timestamp in the proof")
        require_included(main, inclusion)
        stamp = self._timestamp(inclusion.timestamp, inclusion.root)
        details.update(time=stamp.time, tsa=stamp.tsa, serial=stamp.serial, policy=stamp.policy)
        if main.issued_at > stamp.time + MAX_SKEW:
            raise Failed(
                f"the statement says it was issued at {iso(main.issued_at)}, after its timestamp of {iso(stamp.time)}"
            )
        if self.at is not None and stamp.time > self.at:
            raise NotChecked(f"timestamped only at {iso(stamp.time)}, after {iso(self.at)}")
        return f"existed by {iso(stamp.time)}, says {stamp.tsa}"

    def _timestamp(self, token: bytes, root: bytes) -> timestamps.Timestamp:
        trust = self.checker.trust
        if trust is not None and trust.network != self.proof.network:
            raise NotChecked("the proof is about another network than yours, see row 4")
        certificates = () if trust is None else trust.tsa_certificates
        if not certificates:
            raise NotChecked(
                "no time-stamping authority is trusted here: name its CA with `docex trust add --tsa-cert`"
            )
        try:
            return timestamps.verify(token, root, certificates)
        except timestamps.TimestampInvalid as error:
            raise Failed(str(error)) from error

    def not_revoked(self, details: dict[str, Any]) -> str:
        """Row 6."""
        reason, details["as_of"] = related.not_revoked(self.checker, self.statement(), self.related, self.at)
        return reason

    def delivered(self, details: dict[str, Any]) -> str:
        """Row 7."""
        found, passed_over = related.delivered(self.checker, self.statement(), self.related)
        details["receipts"] = found
        told = [f"{_OUTCOMES[item['outcome']]} by {item['member']} at {iso(item['time'])}" for item in found]
        return "; ".join([*told, *passed_over])[:2000]

    def subject(self, *, proven: bool) -> dict[str, Any]:
        """What the verdict is about, from the signed statement; empty when its signature does not hold.

        The signer's name is there only when row 3 has proven it: until then the issuer is a claim.
        """
        main, trust = self.main, self.checker.trust
        if main is None:
            return {}
        subject: dict[str, Any] = {
            "statement": main.digest_text,
            "type": main.type,
            "issuer": main.issuer,
            "issued_at": main.issued_at,
        }
        if proven:
            subject["signer"] = self.checker.name_of(main.issuer)
        if isinstance(main.body, Document):
            subject["document"] = to_json(main.body)
        if trust is not None:
            subject["network"] = trust.name
        return subject
