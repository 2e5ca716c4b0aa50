"""Notarise statements that were signed elsewhere with this member's keys: many at once, durable, anchored together.

For a member whose own systems make certificates by the thousand and keep the documents themselves: the node gets the
statements only. They are anchored with everything else, and `docex.service.proofs` gives their proofs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from docex.core import statement
from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Document, Link
from docex.core.requests import Once
from docex.core.statement import Statement
from docex.errors import Forbidden, LimitExceeded, NotFound, StatementInvalid, UsageError
from docex.failpoints import Failpoint, reached
from docex.service.node import CLOCK_SKEW, Node, check_signer
from docex.service.visible import find_statement, states_path_in

MAX_STATEMENTS = 1000
"""In one call: more would keep others waiting for the database."""
TYPES = (Document.TYPE, Link.TYPE)
"""Statements that say all by themselves. Transfers, receipts, revocations and grants call for work besides."""


@dataclass(frozen=True, slots=True)
class Notarised:
    """What became of a call: the statements' digests in its order, and how many of them were new here."""

    digests: tuple[str, ...]
    new: int


async def notarise(
    node: Node, tokens: Sequence[str], *, within: Folders = EVERYTHING, once: Once | None = None
) -> Notarised:
    """Take statements of this member; returns once all are durable. Doing it again changes nothing.

    Raises:
        UsageError: there are none.
        LimitExceeded: there are more than `MAX_STATEMENTS`.
        StatementInvalid, SignatureInvalid: one is malformed, of another type than `TYPES`, or dated in the future; the
            message tells which. Then none is taken, here and below.
        Forbidden: one is another member's, or its key is no valid signing key of this one.
        NotFound: one is about what does not lie in the folders that the caller is kept to.
        LedgerError: a key other than the node's own can't be looked up now.
    """
    if not tokens:
        raise UsageError("there is no statement to notarise")
    if len(tokens) > MAX_STATEMENTS:
        raise LimitExceeded(f"at most {MAX_STATEMENTS} statements are taken at once")
    latest = node.now() + CLOCK_SKEW
    account = node.account
    # On a thread: a thousand signatures take a fifth of a second, in which the node has other things to do.
    statements = await asyncio.to_thread(lambda: [_check(*each, account, latest) for each in enumerate(tokens, 1)])
    if not within.everything:
        for number, each in enumerate(statements, 1):
            await _check_place(node, number, each, within)
    by_key = {each.kid: each for each in statements if each.kid != node.signer.kid}
    for each in by_key.values():
        await check_signer(node, each, node.now())
    new = await node.store.add_statements(statements, once)
    reached(Failpoint.STATEMENTS_KEPT)
    return Notarised(tuple(each.digest_text for each in statements), new)


def _check(number: int, token: str, account: str, latest: int) -> Statement:
    try:
        said = statement.verify(token)
    except StatementInvalid as error:
        raise type(error)(f"statement {number}: {error}") from None
    if said.type not in TYPES:
        raise StatementInvalid(f"statement {number}: only {' and '.join(TYPES)} statements are taken here")
    if said.issuer != account:
        raise Forbidden(f"statement {number} was issued by {said.issuer}, not by this member")
    if said.issued_at > latest:
        raise StatementInvalid(f"statement {number} is dated in the future")
    return said


async def _check_place(node: Node, number: int, said: Statement, within: Folders) -> None:
    body = said.body
    other = body.statement if isinstance(body, Link) else body.supersedes if isinstance(body, Document) else None
    placed = isinstance(body, Link) or states_path_in(node, said, within)
    if not placed or (other is not None and await find_statement(node, other, within) is None):
        raise NotFound(f"statement {number} is about a document that is not there")
