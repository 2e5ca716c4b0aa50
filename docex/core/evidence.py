"""What must hold for one statement of a proof: its inclusion, its anchor, the anchor's depth, and its signer.

These checks are shared by the rows of `docex.verify`. Each returns what it established, or raises ``Failed`` (something
contradicts the proof) or ``NotChecked`` (something is missing that would settle it); ``details`` is filled on the way
with what was established.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from docex.core.account import parse_caip10
from docex.core.encoding import b64url_decode
from docex.core.facts import NOT_ASKED, Facts, Refuted, Trust, Unread
from docex.core.jwk import canonical
from docex.core.ledger_types import Anchor, KeyUse, Member, MembershipPeriod, PublishedKey
from docex.core.merkle import leaf_hash, verify_inclusion
from docex.core.proof import AnchorClaim, Evidence, Inclusion, Network
from docex.core.statement import Statement
from docex.core.verdict import iso
from docex.errors import InclusionInvalid

MAX_SKEW: Final = 300
"""Seconds by which a signer's clock may run ahead of the chain's."""

EARLIER: Final = "an earlier anchor, such as the issuer's own proof, would settle it"
NO_TRUST: Final = "no network is trusted here: name yours with `docex trust add`"
NO_LEDGER: Final = "the ledger was not read: no --rpc given"

T = TypeVar("T")


class Failed(Exception):
    """A check failed; the message says what contradicts what."""


class NotChecked(Exception):
    """A check could not be made; the message says what is missing."""


class NotRead(NotChecked):
    """A check could not be made because the ledger could not be read, which says nothing about the proof."""


def known(fact: T | Unread) -> T:
    """The fact itself; raises NotRead when it could not be read, Failed when the evidence for it does not hold."""
    if isinstance(fact, Refuted):
        raise Failed(f"the proof's evidence of the ledger does not hold: {fact.reason}")
    if isinstance(fact, Unread):
        raise NotRead(fact.reason)
    return fact


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks statements against what the verifier trusts (``trust``) and what was read of the ledger (``facts``).

    ``network`` is what the proof claims to be about; each of the two others is None when there is none.
    """

    network: Network
    trust: Trust | None
    facts: Facts | None

    def require_network(self) -> Trust:
        """Raises Failed when the proof is about another network than the trusted one, NotChecked without one."""
        if self.trust is None:
            raise NotChecked(NO_TRUST)
        if self.network != self.trust.network:
            trusted = f"your network {self.trust.name} is {self.trust.network}"
            raise Failed(f"the proof is about another network: {self.network}; {trusted}")
        return self.trust

    def ledger(self) -> Facts:
        """The facts, when they can settle anything about this proof; raises NotChecked otherwise."""
        try:
            trust = self.require_network()
        except Failed:
            raise NotChecked("the proof is about another network than yours, see row 4") from None
        if self.facts is None:
            raise NotChecked(NO_LEDGER)
        read = known(self.facts.network)
        if read != trust.network:
            raise NotChecked(f"the ledger that was read is another: {read}; yours is {trust.network}")
        return self.facts

    def anchor(self, statement: Statement, evidence: Evidence, details: dict[str, Any]) -> Anchor:
        """That the statement is in its batch, and the batch is anchored where and when the proof says.

        Any member's anchor counts, not the issuer's alone: an anchor says only that the statement existed by then.
        """
        inclusion, claim = evidence.inclusion, evidence.anchor
        if inclusion is None:
            raise NotChecked("the proof names no batch: the statement was not anchored yet when it was made")
        require_included(statement, inclusion)
        details.update(root=f"sha256:{inclusion.root.hex()}", size=inclusion.size, index=inclusion.index)
        if claim is None:
            raise NotChecked("the statement is in its batch, but the proof names no anchor of it yet")
        facts = self.ledger()
        entry = known(facts.anchors.get((claim.member, inclusion.root, inclusion.size), NOT_ASKED))
        if entry is None:
            raise Failed(f"the Notary has no anchor of this batch by {claim.member}")
        _require_claimed(facts, entry, claim)
        details.update(
            chain_id=self.network.chain_id,
            notary=self.network.notary,
            member=entry.member,
            block_number=entry.block_number,
            time=entry.time,
        )
        if claim.transaction is not None and claim.block_hash is not None:
            details.update(transaction=f"0x{claim.transaction.hex()}", block_hash=f"0x{claim.block_hash.hex()}")
        return entry

    def require_depth(self, anchor: Anchor, details: dict[str, Any]) -> None:
        """That enough blocks stand on top of the anchor's: before that, a reorg may still undo it."""
        trust, head = self.require_network(), known(self.ledger().head)
        confirmations = details["confirmations"] = max(head.number - anchor.block_number, 0)
        if confirmations < trust.confirmations:
            raise NotChecked(
                f"the anchor has {confirmations} of the {trust.confirmations} confirmations that you ask for: "
                "check again later"
            )

    def signer(self, statement: Statement, time: int, details: dict[str, Any]) -> str:
        """That the issuer was a member at ``time`` and the key was its own and valid; who that is, in words.

        A key retired, or a member suspended, between ``iat`` and ``time`` decides nothing: the statement may be older
        than this anchor of it, or a thief's with a date of its choosing. That is NotChecked.
        """
        facts, account = self.ledger(), parse_caip10(statement.issuer)
        if account.chain_id != self.network.chain_id:
            raise Failed(f"the issuer {statement.issuer} is an account on another chain")
        details.update(account=account.address, kid=statement.kid, time=time, issued_at=statement.issued_at)
        who = self.name_of(statement.issuer, details)
        periods = known(facts.periods.get(account.address, NOT_ASKED))
        if not periods:
            raise Failed(f"{who} was never a member")
        ended = _ended_member(periods, statement, who, time)
        ended = _ended_key(self.signing_key(statement), statement, who, time) or ended
        if statement.issued_at > time + MAX_SKEW:
            raise Failed(f"the statement says it was issued at {iso(statement.issued_at)}, after its anchor")
        if ended is not None:
            raise NotChecked(f"{ended} before this anchor was made: {EARLIER}")
        return who

    def signing_key(self, statement: Statement) -> PublishedKey:
        """The statement's key as its issuer published it for signing, whenever that was."""
        address, who = parse_caip10(statement.issuer).address, self.name_of(statement.issuer)
        key = known(self.ledger().keys.get((address, b64url_decode(statement.kid)), NOT_ASKED))
        if key is None:
            raise Failed(f"{who} never published the key {statement.kid}")
        if key.use is not KeyUse.SIGNING or key.material != canonical(statement.jwk):
            raise Failed(f"the key {statement.kid} that {who} published is not for signing statements")
        return key

    def name_of(self, issuer: str, details: dict[str, Any] | None = None) -> str:
        """The member's name and account, as far as the Directory was read; else the account."""
        address = parse_caip10(issuer).address
        member = self.ledger().members.get(address)
        if not isinstance(member, Member):
            return address
        name = printable(member.name)
        if details is not None:
            details["member"] = name
        return f"{name} ({address})"

    def settled(self, statement: Statement, evidence: Evidence) -> tuple[Anchor, str]:
        """All of the above for a related statement: its anchor, and who signed it."""
        details: dict[str, Any] = {}
        anchor = self.anchor(statement, evidence, details)
        self.require_depth(anchor, details)
        return anchor, self.signer(statement, anchor.time, details)


def require_included(statement: Statement, inclusion: Inclusion) -> None:
    """That the path leads from the statement to the root of its batch; raises Failed."""
    try:
        verify_inclusion(leaf_hash(statement.digest), inclusion.index, inclusion.size, inclusion.path, inclusion.root)
    except InclusionInvalid as error:
        raise Failed(f"the statement is not in the batch: {error}") from error


def printable(text: str) -> str:
    """Text that others chose, safe to show on a terminal: what is not printable becomes U+FFFD."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _require_claimed(facts: Facts, entry: Anchor, claim: AnchorClaim) -> None:
    """That block, time and, where it names one, transaction are those of the anchor's entry at the Notary."""
    if (entry.block_number, entry.time) != (claim.block_number, claim.time):
        raise Failed(
            f"the Notary has the anchor in block {entry.block_number} at {iso(entry.time)}, "
            f"the proof in block {claim.block_number} at {iso(claim.time)}"
        )
    if claim.transaction is None or claim.block_hash is None:
        return
    block = known(facts.blocks.get(claim.block_number, NOT_ASKED))
    if block is None or block.hash != claim.block_hash:
        has = "no such block" if block is None else f"0x{block.hash.hex()}"
        raise Failed(f"block {claim.block_number} on the chain is {has}, the proof's is 0x{claim.block_hash.hex()}")
    made = known(facts.transactions.get((claim.transaction, claim.block_number), NOT_ASKED))
    if made is None:
        raise Failed(f"the anchor's block holds no transaction 0x{claim.transaction.hex()}")
    if (entry.member, entry.root, entry.size) not in [(item.member, item.root, item.size) for item in made]:
        raise Failed(f"transaction 0x{claim.transaction.hex()} did not make this anchor")


def _ended_member(periods: Sequence[MembershipPeriod], statement: Statement, who: str, time: int) -> str | None:
    """None for a member at ``time``; what ended, when it was one at ``iat`` and was suspended since."""
    if any(p.since <= time and (p.until is None or time < p.until) for p in periods):
        return None
    if any(p.until is not None and p.since <= statement.issued_at < p.until <= time for p in periods):
        return f"{who} was suspended"
    raise Failed(f"{who} was not a member at {iso(time)}")


def _ended_key(key: PublishedKey, statement: Statement, who: str, time: int) -> str | None:
    """None for a key valid at ``time``; what ended, when it was valid at ``iat`` and was retired since."""
    if key.valid_at(time):
        return None
    if key.valid_until is not None and key.valid_from <= statement.issued_at < key.valid_until <= time:
        return "the key was retired"
    end = "" if key.valid_until is None else f" to {iso(key.valid_until)}"
    raise Failed(
        f"the key {statement.kid} of {who} was not valid at {iso(time)} (its period: {iso(key.valid_from)}{end})"
    )
