"""What the verifier trusts, and what it read from the ledger about a proof.

``collect_facts`` asks a ``LedgerReader`` everything that a proof raises; ``docex.verify`` then decides without any I/O.
Each fact is a value, ``None`` where the ledger is known to have no such thing, or ``Unread`` where it could not be
read: that an endpoint doesn't answer never counts against a proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from docex.core import statement as statements
from docex.core.account import parse_caip10
from docex.core.encoding import b64url_decode
from docex.core.ledger_types import Anchor, Member, MembershipPeriod, PublishedKey, Revocation
from docex.core.proof import Evidence, Network, Proof
from docex.core.statement import Statement
from docex.errors import DocexError, EvidenceInvalid, LedgerError

DEFAULT_CONFIRMATIONS: Final = 3
"""Blocks on top of an anchor's block: what a node's own sender calls final."""

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trust:
    """A network the verifier trusts, from its own settings, never from a proof. ``name`` is what the verifier calls it.

    ``confirmations``: how many blocks must stand on top of an anchor's block before it counts.
    ``tsa_certificates``: the certificates (PEM) of the CAs that certify the time-stamping authorities it trusts, too.
    """

    name: str
    network: Network
    confirmations: int = DEFAULT_CONFIRMATIONS
    tsa_certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain as it is now; ``time`` in Unix seconds."""

    number: int
    hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A fact that could not be read, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuted(Unread):
    """A fact that the proof's own evidence was to show, and does not: unlike a silent endpoint, that counts."""


class LedgerReader(Protocol):
    """The few reads that a verification needs, all from one network.

    Every method raises LedgerError (or a subclass) when the ledger can't be read, and EvidenceInvalid when it is read
    from evidence that does not hold; None means that the ledger was read and has no such thing.
    """

    async def network(self) -> Network:
        """The chain that answers, the Notary that is read, and the Directory that this Notary itself names."""

    async def head(self) -> Block:
        """The latest block."""

    async def block(self, number: int) -> Block | None:
        """The block with this number; None when it is above the head."""

    async def anchor_of(self, member: str, root: bytes, size: int) -> Anchor | None:
        """The anchor that ``member`` made of this batch."""

    async def anchors_made_by(self, transaction: bytes, block_number: int) -> Sequence[Anchor] | None:
        """The anchors that a transaction made at the Notary; None when the transaction is not in that block."""

    async def member_of(self, account: str) -> Member | None:
        """The member behind an account, whether or not it is active now."""

    async def periods_of(self, account: str) -> Sequence[MembershipPeriod]:
        """The periods of an account's membership; none for an account never admitted."""

    async def key_of(self, account: str, key_id: bytes) -> PublishedKey | None:
        """The key that an account published under this id."""

    async def revocation_of(self, member: str, digest: bytes) -> Revocation | None:
        """What ``member`` recorded about revoking the statement with this digest."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read. Build it with ``collect_facts``; a fact that is not in a mapping counts as not read."""

    network: Network | Unread
    head: Block | Unread
    blocks: Mapping[int, Block | Unread | None] = field(default_factory=dict)
    anchors: Mapping[tuple[str, bytes, int], Anchor | Unread | None] = field(default_factory=dict)
    transactions: Mapping[tuple[bytes, int], Sequence[Anchor] | Unread | None] = field(default_factory=dict)
    members: Mapping[str, Member | Unread | None] = field(default_factory=dict)
    periods: Mapping[str, Sequence[MembershipPeriod] | Unread] = field(default_factory=dict)
    keys: Mapping[tuple[str, bytes], PublishedKey | Unread | None] = field(default_factory=dict)
    revocations: Mapping[tuple[str, bytes], Revocation | Unread | None] = field(default_factory=dict)


NOT_ASKED: Final = Unread("the ledger was not asked")


async def collect_facts(proof: Proof, reader: LedgerReader) -> Facts:
    """Read everything about a proof's statements that a verdict needs.

    Statements whose signature does not hold are left out: nothing the ledger says could help them. Never raises for
    what the proof holds or for a ledger that can't be read; what fails becomes ``Unread``.
    """
    network = await _read(reader.network())
    if isinstance(network, Unread):
        # One failure is reason enough: asking a dead endpoint 50 more questions costs 50 time-outs.
        return Facts(network, network)
    facts = _Collector(reader)
    head = await _read(reader.head())
    for evidence in (proof.statement, *proof.related):
        try:
            statement = statements.verify(evidence.token)
        except DocexError:
            continue
        await facts.ask(evidence, statement, revocation=evidence is proof.statement)
    return Facts(
        network,
        head,
        facts.blocks,
        facts.anchors,
        facts.transactions,
        facts.members,
        facts.periods,
        facts.keys,
        facts.revocations,
    )


class _Collector:
    def __init__(self, reader: LedgerReader) -> None:
        self._reader = reader
        self.blocks: dict[int, Block | Unread | None] = {}
        self.anchors: dict[tuple[str, bytes, int], Anchor | Unread | None] = {}
        self.transactions: dict[tuple[bytes, int], Sequence[Anchor] | Unread | None] = {}
        self.members: dict[str, Member | Unread | None] = {}
        self.periods: dict[str, Sequence[MembershipPeriod] | Unread] = {}
        self.keys: dict[tuple[str, bytes], PublishedKey | Unread | None] = {}
        self.revocations: dict[tuple[str, bytes], Revocation | Unread | None] = {}

    async def ask(self, evidence: Evidence, statement: Statement, *, revocation: bool) -> None:
        """Ask what one statement and its evidence raise, all at once; nothing is asked twice."""
        read, issuer = self._reader, parse_caip10(statement.issuer).address
        key_id = b64url_decode(statement.kid)
        questions = [
            _keep(self.members, issuer, lambda: read.member_of(issuer)),
            _keep(self.periods, issuer, lambda: read.periods_of(issuer)),
            _keep(self.keys, (issuer, key_id), lambda: read.key_of(issuer, key_id)),
        ]
        if revocation:
            digest = statement.digest
            questions.append(_keep(self.revocations, (issuer, digest), lambda: read.revocation_of(issuer, digest)))
        if evidence.inclusion is not None and evidence.anchor is not None:
            batch = (evidence.anchor.member, evidence.inclusion.root, evidence.inclusion.size)
            questions.append(_keep(self.anchors, batch, lambda: read.anchor_of(*batch)))
            transaction, number = evidence.anchor.transaction, evidence.anchor.block_number
            if transaction is not None:
                claimed = (transaction, number)
                questions += [
                    _keep(self.blocks, number, lambda: read.block(number)),
                    _keep(self.transactions, claimed, lambda: read.anchors_made_by(*claimed)),
                ]
        await asyncio.gather(*questions)


async def _keep(answers: dict[K, T | Unread], question: K, ask: Callable[[], Awaitable[T]]) -> None:
    if question not in answers:
        answers[question] = await _read(ask())


async def _read(answer: Awaitable[T]) -> T | Unread:
    try:
        return await answer
    except LedgerError as error:
        return Unread(str(error))
    except EvidenceInvalid as error:
        return Refuted(str(error))
