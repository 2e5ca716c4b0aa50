"""Revocations: take a statement of this member back, say why, and record it with the Notary.

The revocation is a statement like any other, batched and anchored. The Notary's own record, which every verifier can
read whatever a proof leaves out, is a job: written in the same database transaction, done until it is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from docex.core import statement
from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Document, Revocation
from docex.core.digest import parse_digest
from docex.core.requests import Once
from docex.core.statement import Statement
from docex.errors import Conflict, Forbidden, LedgerUnavailable, NotFound, UsageError
from docex.failpoints import Failpoint, reached
from docex.service import jobs, proofs
from docex.service.node import Node
from docex.service.visible import find_statement

LAST_TIME: Final = 253_402_300_799  # the end of the year 9999: what calendars can show
WAIT: Final = 2.0
"""Seconds between two looks at a record that is not final yet."""


async def revoke(
    node: Node,
    digest: str,
    reason: str,
    effective: int | None = None,
    *,
    within: Folders = EVERYTHING,
    once: Once | None = None,
) -> Statement:
    """Revoke a statement of this member, named by its own digest; returns the revocation, once durable.

    Args:
        node: whose statement it is.
        digest: of the statement.
        reason: for whoever checks it, 1 to 1,024 printable characters.
        effective: seconds since the epoch from which on it does not count, past or future; None means now.
        within: the folders that the caller is kept to.
        once: the request, where it is to take effect once.

    Raises:
        NotFound: there is no such statement here, or not in these folders.
        Forbidden: somebody else issued it.
        UsageError: it is a revocation itself, ``digest`` is none, or the time is not from 1 to `LAST_TIME`.
        Conflict: it is not final on the ledger yet, or revoked already.
        StatementInvalid: the reason is not of its form.
    """
    if effective is not None and not 1 <= effective <= LAST_TIME:
        raise UsageError(f"the time of effect must be 1 to {LAST_TIME} seconds since the epoch")
    stored = await find_statement(node, str(parse_digest(digest)), within)
    if stored is None:
        raise NotFound(f"there is no statement with the digest {digest}; a document's own digest names no statement")
    if stored.issuer != node.account:
        raise Forbidden(f"{digest} was issued by {stored.issuer}: only its issuer can revoke it")
    if stored.type == Revocation.TYPE:
        raise UsageError(f"{digest} is a revocation: that can't be taken back; deposit the document again")
    if (await proofs.evidence(node, stored)).anchor is None:
        raise Conflict(f"{digest} is not final on the ledger yet: revoke it once it is")
    now = node.now()
    claim = Revocation(stored.digest, reason, now if effective is None else effective)
    revocation = statement.issue(node.signer, node.account, claim, now)
    job = jobs.recording(stored.digest, revocation.digest_text)
    await node.store.add_revocation(stored.digest, revocation, [job], once)
    reached(Failpoint.REVOCATION_KEPT)
    return revocation


async def record(node: Node, digest: str) -> float | None:
    """Record a revocation with the Notary, or go on doing so; doing it again does no harm.

    Returns None once it is final there, else after how many seconds to look again.

    Raises:
        LedgerError: the ledger refused it (this member may be suspended: try again later).
    """
    stored = await node.store.statement(digest)
    assert stored is not None  # the job is made together with the statement
    revocation = statement.parse(stored.token)
    claim = revocation.body
    assert isinstance(claim, Revocation)
    revoked = await node.store.statement(claim.statement)
    assert revoked is not None  # it was looked up before the revocation was made
    inclusion = (await proofs.evidence(node, revoked)).inclusion
    if inclusion is None:  # a deep reorganisation took its anchor: it is being anchored anew
        return WAIT
    try:
        await node.ledger.poll()
        what = parse_digest(claim.statement).raw
        final = await node.ledger.revoke(what, revocation.digest, claim.effective, inclusion)
        reached(Failpoint.REVOCATION_RECORDED)
    except LedgerUnavailable:  # an outage, and no reason to wait longer each time
        return WAIT
    return None if final else WAIT


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What the issuer of a document says against it: the newest that replaces it, and from when on it is revoked."""

    superseded_by: str | None = None
    revoked_from: int | None = None


async def taken_back(node: Node, statements: Sequence[str]) -> Mapping[str, TakenBack]:
    """What is known here against document statements, by their digests; those that stand are left out."""
    found: dict[str, TakenBack] = {}
    for notice in await node.store.taking_back(statements):
        body = statement.parse(notice.token).body
        if isinstance(body, Revocation):
            old = found.get(body.statement, TakenBack())
            found[body.statement] = replace(old, revoked_from=body.effective)
        else:
            assert isinstance(body, Document)  # nothing else takes a statement back
            assert body.supersedes is not None
            old = found.get(body.supersedes, TakenBack())
            found[body.supersedes] = replace(old, superseded_by=notice.digest)
    return found
