"""Part of `docex.service.fsck`: statements, their batches, and the batches' anchors."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from docex.core import merkle
from docex.core.claims import Receipt
from docex.core.digest import parse_digest
from docex.core.state import Batch, BatchState, StoredStatement
from docex.errors import DocexError
from docex.service.findings import Code, Findings
from docex.service.ports import Anchors, AuditStore

PAGE: Final = 1000

Problem = tuple[Code, str, Callable[[], Awaitable[object]] | None]


async def check_statements(store: AuditStore, findings: Findings) -> None:
    """See that each statement is the one that its digest names, and each receipt is one delivery's."""
    last = 0
    while page := await store.statements_from(last, PAGE):
        for number, each in page:
            last = number
            await _check_statement(findings, each)
        receipts = [each.digest for _, each in page if each.type == Receipt.TYPE]
        kept = await store.receipts_kept(receipts)
        for digest in receipts:
            if (times := kept.count(digest)) != 1:
                await findings.add(Code.RECEIPT_UNUSED, digest, f"{times} deliveries have this receipt, not one")
        findings.saw("statements", len(page))


async def _check_statement(findings: Findings, each: StoredStatement) -> None:
    if each.digest != "sha256:" + hashlib.sha256(each.token.encode()).hexdigest():
        await findings.add(Code.STATEMENT_DIGEST, each.digest, "the statement kept under this digest has another")
    if each.batch is None:
        findings.counts["statements_queued"] += 1
        if each.leaf is not None:
            await findings.add(Code.LEAF, each.digest, f"it is leaf {each.leaf} of no batch")


async def check_batches(store: AuditStore, findings: Findings, address: str, anchors: Anchors | None) -> None:
    """See that each batch's root is that of its leaves, and that each final one has one anchor."""
    last = 0
    while page := await store.batches_from(last, PAGE):
        for batch in page:
            last = batch.number
            problems = await _problems(store, batch, address, anchors)
            if (
                problems and (again := await store.batch(batch.number)) != batch
            ):  # it has just become final, or ceased to be
                problems = await _problems(store, again, address, anchors)
            for code, message, mend in problems:
                await findings.add(code, f"batch {batch.number}", message, mend)
            findings.counts[f"statements_{batch.state}"] += batch.size
            findings.saw("batches")


async def _problems(store: AuditStore, batch: Batch, address: str, anchors: Anchors | None) -> Sequence[Problem]:
    problems = await _leaf_problems(store, batch)
    if batch.state is not BatchState.FINAL:
        if batch.transaction is not None or batch.block_hash is not None:
            problems.append((Code.BATCH_TRANSACTION, "it has a block and is not final", None))
        return problems
    return problems + await _transaction_problems(store, batch) + await _anchor_problems(batch, address, anchors)


async def _leaf_problems(store: AuditStore, batch: Batch) -> list[Problem]:
    leaves = await store.leaves_of(batch.number)
    try:
        hashes = [merkle.leaf_hash(parse_digest(digest).raw) for _, digest in leaves]
    except DocexError as error:
        return [(Code.BATCH_ROOT, f"one of its leaves is no digest: {error}", None)]
    numbers = [leaf for leaf, _ in leaves]
    if len(leaves) != batch.size or sorted(each if each is not None else -1 for each in numbers) != [
        *range(batch.size)
    ]:
        # Leaves are numbered in the order of arrival: where that order gives the root, it gives the numbers.
        derivable = bool(hashes) and len(leaves) == batch.size and merkle.root(hashes) == batch.root
        mend = partial(store.renumber_leaves, batch.number) if derivable else None
        return [(Code.BATCH_LEAVES, f"its leaves are not numbered from 0 to {batch.size - 1}", mend)]
    ordered = [each for _, each in sorted(zip(numbers, hashes, strict=True), key=lambda pair: pair[0] or 0)]
    if not ordered or merkle.root(ordered) != batch.root:
        return [(Code.BATCH_ROOT, "its root is not that of its leaves", None)]
    return []


async def _transaction_problems(store: AuditStore, batch: Batch) -> list[Problem]:
    if batch.transaction is None or batch.block_hash is None or batch.block_number is None or batch.block_time is None:
        return [(Code.BATCH_TRANSACTION, "it is final without a transaction or block", None)]
    problems: list[Problem] = []
    name = "0x" + batch.transaction.hex()
    if await store.block_of(batch.transaction) != batch.block_hash:
        problems.append((Code.BATCH_TRANSACTION, f"its transaction {name} is not final in its block here", None))
    if (times := await store.batches_by(batch.transaction)) != 1:
        problems.append((Code.ANCHOR_SHARED, f"{times} batches name its transaction {name}", None))
    return problems


async def _anchor_problems(batch: Batch, address: str, anchors: Anchors | None) -> list[Problem]:
    """The Notary keeps one anchor for a member, root and size: there can be none twice, but none, or another one."""
    if anchors is None:
        return []
    anchor = await anchors.anchor_of(address, batch.root, batch.size)
    if anchor is None:
        return [(Code.ANCHOR_MISSING, "the Notary has no anchor of it", None)]
    if (anchor.block_number, anchor.time) != (batch.block_number, batch.block_time):
        message = f"the Notary has its anchor in block {anchor.block_number}, not in block {batch.block_number}"
        return [(Code.ANCHOR_DIFFERS, message, None)]
    return []
