"""What a check of a whole node finds: each finding with a stable code, all of them counted, the first ones kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_LISTED: Final = 1000
"""Findings that a report lists; it counts the others, since a million must not fill the memory."""


class Code(StrEnum):
    """What can be wrong. Programs match on these: they don't change."""

    PACKET_MISSING = "packet_missing"
    """A document or transfer names a packet that is not stored."""
    PACKET_SIZE = "packet_size"
    """A stored packet is shorter or longer than recorded."""
    PACKET_HEADER = "packet_header"
    """A stored packet does not begin like one."""
    PACKET_DIGEST = "packet_digest"
    """A stored packet's payload is not the recorded one (looked at with ``deep`` only)."""
    ORPHAN = "orphan"
    """A stored packet belongs to nothing: a crash between storing and committing left it."""
    DOCUMENT_STATEMENT = "document_statement"
    """A version's statement is missing, or says something else than the version."""
    NEWEST_VERSION = "newest_version"
    """Not exactly the last version of a path is marked as the newest."""
    STATEMENT_DIGEST = "statement_digest"
    """A statement is not the one that its digest names."""
    RECEIPT_UNUSED = "receipt_unused"
    """A receipt that no delivery has, or that two have."""
    LEAF = "leaf"
    """A statement has a leaf without a batch."""
    BATCH_LEAVES = "batch_leaves"
    """A batch's leaves are not numbered from 0 to its size, each once."""
    BATCH_ROOT = "batch_root"
    """A batch's root is not that of its leaves."""
    BATCH_TRANSACTION = "batch_transaction"
    """A final batch has no transaction that is final in its block, or one that is not final has one."""
    ANCHOR_SHARED = "anchor_shared"
    """Two batches name one transaction."""
    ANCHOR_MISSING = "anchor_missing"
    """The Notary has no anchor of a final batch."""
    ANCHOR_DIFFERS = "anchor_differs"
    """The Notary has the anchor of a final batch in another block."""
    TRANSFER_STATEMENT = "transfer_statement"
    """A transfer's statement is missing, or says something else than the transfer."""
    DELIVERY = "delivery"
    """A delivery's state does not go with the transfer."""
    DELIVERY_RECEIPT = "delivery_receipt"
    """A delivery's receipt is missing, or is another's."""
    DELIVERY_STATE = "delivery_state"
    """A delivery's state is not what its receipt says."""
    STUCK = "stuck"
    """Something must be done, and no job does it."""
    JOB = "job"
    """A job is about nothing that is here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. ``repairable``: what is kept elsewhere says how it should be."""

    code: Code
    subject: str
    message: str
    repaired: bool = False
    repairable: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check. ``counts``: what there is; ``found`` and ``repaired``: how many findings, by code.

    ``findings`` lists the first `MAX_LISTED` of them.
    """

    counts: Mapping[str, int]
    found: Mapping[str, int]
    repaired: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def remaining(self) -> int:
        """How many findings are still there."""
        return sum(self.found.values()) - sum(self.repaired.values())


@dataclass(slots=True)
class Findings:
    """Collects what a check finds, and has it mended where that was asked for. ``step`` is told of each thing seen."""

    repair: bool
    step: Callable[[int], object]
    counts: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    listed: list[Finding] = field(default_factory=list)

    def saw(self, what: str, count: int = 1) -> None:
        """Note that things were looked at."""
        self.counts[what] += count
        self.step(count)

    async def add(
        self, code: Code, subject: str, message: str, mend: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Note a finding; ``mend`` derives again what is wrong."""
        self.found[code] += 1
        mended = self.repair and mend is not None
        if mended and mend is not None:
            await mend()
            self.repaired[code] += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(Finding(code, subject, message, mended, mend is not None))

    def report(self) -> Report:
        """What was found so far."""
        return Report(dict(self.counts), dict(self.found), dict(self.repaired), tuple(self.listed))
