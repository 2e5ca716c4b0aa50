"""Statements that were signed elsewhere: taken all or none, once, and anchored like any other."""

import pytest

from docex.core import statement
from docex.core.claims import Addressee, Body, Document, Grant, Link, Receipt
from docex.core.jwk import canonical
from docex.core.ledger_types import KeyUse
from docex.core.state import BatchState
from docex.core.statement import Statement
from docex.errors import DocexError, Forbidden, LimitExceeded, SignatureInvalid, StatementInvalid, UsageError
from docex.service import proofs
from docex.service.anchoring import anchor_waiting
from docex.service.node import CLOCK_SKEW, Node
from docex.service.notarise import MAX_STATEMENTS, notarise
from keys.signer import Ed25519Signer
from tests.fixtures.paper_nodes import UNAVAILABLE, NewNode, Paper, account_of, deposited, keys_of
from tests.fixtures.statements import digest_of

ELSEWHERE = Ed25519Signer(b"\7" * 32)


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


def claim(n: int = 0) -> Document:
    return Document(digest_of(f"content {n}"), 10, f"{n}.pdf", "application/pdf")


def said(node: Node, body: Body, at: int | None = None) -> Statement:
    return statement.issue(node.signer, node.account, body, node.now() if at is None else at)


async def count(node: Node) -> int:
    return (await node.store.counts())["statements"]


async def refused(node: Node, error: type[DocexError], message: str, *bad: str) -> None:
    """All are refused, the good one in front included."""
    with pytest.raises(error, match=message) as caught:
        await notarise(node, [said(node, claim()).token, *bad])
    assert type(caught.value) is error
    assert await count(node) == 0


async def test_statements_are_kept_anchored_and_proven(node: Node) -> None:
    link = Link(f"eip155:31337/erc721:0x{'12' * 20}/7", digest_of("statement"))
    made = [*(said(node, claim(n)) for n in range(20)), said(node, link)]
    taken = await notarise(node, [each.token for each in made])
    assert (taken.digests, taken.new) == (tuple(each.digest_text for each in made), 21)
    for _ in range(2):
        await anchor_waiting(node)
    (batch,) = await node.store.batches(BatchState.FINAL)
    assert batch.size == 21
    for each in made:
        built = await proofs.build(node, each.digest_text)
        assert built.statement.token == each.token
        assert built.statement.anchor is not None
        assert built.statement.anchor.transaction == batch.transaction


async def test_doing_it_again_changes_nothing(node: Node) -> None:
    tokens = [said(node, claim(n)).token for n in range(3)]
    assert (await notarise(node, tokens[:2])).new == 2
    again = await notarise(node, [*tokens, tokens[0]])
    assert (again.new, len(again.digests)) == (1, 4)
    assert (await notarise(node, tokens)).new == 0
    assert await count(node) == 3


async def test_a_statement_of_a_deposit_is_known(node: Node) -> None:
    stored = await deposited(node, "a.pdf", b"content")
    kept = await node.store.statement(stored.statement)
    assert kept is not None
    assert (await notarise(node, [kept.token])).new == 0


async def test_a_key_that_the_member_published_signs_for_it(node: Node, paper: Paper) -> None:
    token = statement.issue(ELSEWHERE, node.account, claim(), node.now()).token
    await refused(node, Forbidden, "not a valid signing key of", token)
    paper.ledger.publish(node.address, KeyUse.SIGNING, canonical(ELSEWHERE.public_jwk))
    assert (await notarise(node, [said(node, claim()).token, token])).new == 2
    paper.ledger.retire(node.address, ELSEWHERE.kid, node.now())
    late = statement.issue(ELSEWHERE, node.account, claim(2), node.now()).token
    with pytest.raises(Forbidden, match="not a valid signing key"):
        await notarise(node, [late])
    assert await count(node) == 2


async def test_the_node_s_own_key_needs_no_ledger_and_another_one_does(node: Node, paper: Paper) -> None:
    other = statement.issue(ELSEWHERE, node.account, claim(), node.now()).token
    paper.ledger.down = UNAVAILABLE
    with pytest.raises(type(UNAVAILABLE)):
        await notarise(node, [other])
    assert (await notarise(node, [said(node, claim()).token])).new == 1


async def test_another_member_s_statement_is_refused(node: Node) -> None:
    signer, _, _ = keys_of("Maker")
    theirs = statement.issue(signer, account_of("Maker"), claim(), node.now()).token
    await refused(node, Forbidden, f"statement 2 was issued by {account_of('Maker')}", theirs)
    posing = statement.issue(signer, node.account, claim(), node.now()).token
    await refused(node, Forbidden, "not a valid signing key", posing)


async def test_a_signature_that_does_not_hold_is_refused(node: Node) -> None:
    one, other = (said(node, claim(n)).token for n in range(2))
    forged = f"{one.rpartition('.')[0]}.{other.rpartition('.')[2]}"
    await refused(node, SignatureInvalid, "^statement 2: the signature of the document statement does not", forged)


@pytest.mark.parametrize("token", ["", "a.b.c", "x", "é", "\ud800", "\0"])
async def test_what_is_no_statement_is_refused(token: str, node: Node) -> None:
    await refused(node, StatementInvalid, "^statement 2: ", token)


async def test_types_that_call_for_work_besides_are_refused(node: Node) -> None:
    receipt = Receipt(digest_of("t"), digest_of("p"), (digest_of("content"),), "accepted")
    grant = Grant(digest_of("packet"), Addressee("A" * 43, node.account))
    for body in (receipt, grant):
        await refused(node, StatementInvalid, "^statement 2: only document and link", said(node, body).token)


async def test_a_statement_from_the_future_is_refused(node: Node) -> None:
    soon, late = (said(node, claim(n), node.now() + CLOCK_SKEW + n).token for n in range(2))
    await refused(node, StatementInvalid, "^statement 2 is dated in the future", late)
    assert (await notarise(node, [soon])).new == 1


async def test_none_and_too_many_are_refused(node: Node) -> None:
    with pytest.raises(UsageError, match="no statement to notarise"):
        await notarise(node, [])
    with pytest.raises(LimitExceeded, match="at most 1000 statements"):
        await notarise(node, ["x"] * (MAX_STATEMENTS + 1))


async def test_a_suspended_member_s_other_keys_sign_no_more(node: Node, paper: Paper) -> None:
    paper.ledger.publish(node.address, KeyUse.SIGNING, canonical(ELSEWHERE.public_jwk))
    paper.ledger.suspend(node.address, node.now())
    with pytest.raises(Forbidden, match="not an active member"):
        await notarise(node, [statement.issue(ELSEWHERE, node.account, claim(), node.now()).token])


async def test_the_most_that_one_call_takes(node: Node) -> None:
    tokens = [said(node, claim(n)).token for n in range(MAX_STATEMENTS)]
    assert (await notarise(node, tokens)).new == MAX_STATEMENTS
