"""Anchoring: every statement gets into one batch, every batch onto the ledger once, whatever fails in between."""

from dataclasses import replace

import pytest

from docex.core import merkle
from docex.core.digest import parse_digest
from docex.core.state import Anchored, Batch, BatchState
from docex.errors import LedgerRejected, LedgerUnavailable
from docex.service.anchoring import anchor_waiting
from docex.service.node import Limits, Node
from tests.fixtures.paper_nodes import UNAVAILABLE, LedgerOf, NewNode, Paper, deposited


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def test_where_nothing_waits_the_ledger_is_still_watched(node: Node, paper: Paper) -> None:
    assert await anchor_waiting(node) == 0
    assert paper.ledger.polls == 1
    assert paper.ledger.anchors == {}
    assert (await node.store.counts())["batches"] == 0
    paper.ledger.down = UNAVAILABLE
    with pytest.raises(LedgerUnavailable):
        await anchor_waiting(node)


async def test_what_waits_is_anchored_together_and_followed_until_it_is_final(node: Node, paper: Paper) -> None:
    paper.ledger.polls_until_final = 2
    stored = [await deposited(node, f"{n}", b"content") for n in range(5)]
    assert await anchor_waiting(node) == 0
    (batch,) = await node.store.batches(BatchState.SEALED)
    leaves = [merkle.leaf_hash(parse_digest(each.statement).raw) for each in stored]
    assert (batch.root, batch.size) == (merkle.root(leaves), 5)
    assert await anchor_waiting(node) == 0
    assert await anchor_waiting(node) == 1
    (final,) = await node.store.batches(BatchState.FINAL)
    assert (final.root, final.block_number, final.transaction is not None) == (batch.root, 1, True)
    assert await anchor_waiting(node) == 0
    assert list(paper.ledger.anchors.values()) == [3]


async def test_while_an_anchor_waits_to_be_mined_the_next_batch_grows(node: Node, paper: Paper) -> None:
    paper.ledger.waits = True
    for n in range(3):
        await deposited(node, f"{n}", b"content")
        assert await anchor_waiting(node) == 0
    assert (await node.store.counts())["batches"] == 0
    paper.ledger.waits = False
    assert await anchor_waiting(node) == 0
    assert [each.size for each in await node.store.batches(BatchState.SEALED)] == [3]


async def test_more_than_a_batch_holds_waits_for_the_next(new_node: NewNode, paper: Paper) -> None:
    node = new_node("Mine", limits=Limits(batch_size=2))
    for n in range(5):
        await deposited(node, f"{n}", b"content")
    for _ in range(6):
        await anchor_waiting(node)
    assert [each.size for each in await node.store.batches(BatchState.FINAL)] == [2, 2, 1]
    assert (await node.store.counts())["statements_not_final"] == 0


async def test_a_ledger_that_is_away_loses_nothing(node: Node, paper: Paper) -> None:
    await deposited(node, "a", b"content")
    paper.ledger.down = UNAVAILABLE
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await anchor_waiting(node)
    paper.ledger.down = None
    for _ in range(2):
        await anchor_waiting(node)
    assert [each.size for each in await node.store.batches(BatchState.FINAL)] == [1]
    assert list(paper.ledger.anchors.values()) == [2]


async def test_a_crash_before_the_end_is_noted_makes_no_second_anchor(
    node: Node, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposited(node, "a", b"content")
    await anchor_waiting(node)
    with monkeypatch.context() as patch:

        async def crash(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr(type(node.store), "set_batch", crash)
        with pytest.raises(RuntimeError):
            await anchor_waiting(node)
    assert await anchor_waiting(node) == 1
    assert len(paper.ledger.anchors) == 1


async def test_a_batch_that_a_poll_puts_back_is_anchored_again(new_node: NewNode, paper: Paper) -> None:
    class Reorganising(LedgerOf):
        async def poll(self) -> None:
            await super().poll()
            if reorganised:
                await node.store.set_batch(replace(reorganised.pop(), state=BatchState.SEALED, transaction=None))

    reorganised: list[Batch] = []
    node = new_node("Mine", ledger=Reorganising(paper.ledger, "0x"))
    stored = await deposited(node, "a", b"content")
    while not await anchor_waiting(node):
        pass
    (before,) = await node.store.batches(BatchState.FINAL)
    reorganised.append(before)
    await deposited(node, "b", b"content")
    assert await anchor_waiting(node) == 1
    assert await node.store.batches(BatchState.FINAL) == [before]
    statement = await node.store.statement(stored.statement)
    assert statement is not None
    assert (statement.batch, statement.leaf) == (before.number, 0)


async def test_what_is_not_final_any_more_when_it_is_noted_counts_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposited(node, "a", b"content")
    await anchor_waiting(node)
    with monkeypatch.context() as patch:

        async def late(*_: object) -> bool:
            return False

        patch.setattr(type(node.store), "set_batch", late)
        assert await anchor_waiting(node) == 0
    assert await anchor_waiting(node) == 1


async def test_one_batch_that_the_ledger_refuses_does_not_hold_up_the_others(new_node: NewNode, paper: Paper) -> None:
    class Refusing(LedgerOf):
        async def anchor(self, root: bytes, size: int) -> Anchored | None:
            if root == refused:
                raise LedgerRejected("AlreadyAnchored")
            return await super().anchor(root, size)

    node = new_node("Mine", limits=Limits(batch_size=1), ledger=Refusing(paper.ledger, "0x"))
    for n in range(3):
        await deposited(node, f"{n}", b"content")
        await node.store.make_batch(1, node.now())
    refused = (await node.store.batches(BatchState.SEALED))[0].root
    for _ in range(2):
        with pytest.raises(LedgerRejected):
            await anchor_waiting(node)
    assert [each.root for each in await node.store.batches(BatchState.SEALED)] == [refused]
    assert len(await node.store.batches(BatchState.FINAL)) == 2
