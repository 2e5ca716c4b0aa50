"""What lists, searches and proofs cost as documents become more. ``python -m benchmarks.growth [--most 1000000]``.

The node's own store on both databases; the rows are made in the database: 10,000 statements to a batch, a hundred
documents to a folder, a transfer for every tenth document. Figures are the median and the 99th percentile of some
calls, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.durable_postgres import postgres_server
from docex.core import merkle
from docex.core.access import EVERYTHING, Folders
from docex.core.state import BatchState
from docex.db.engine import make_engine, upgrade
from docex.db.store import SqlStore
from tests.fixtures.postgres import Postgres
from tests.fixtures.statements import document_statement, stored_document

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BATCH = 10_000
CALLS = 100
SLOW = "all"
"""How what reads everything is called: it is measured a few times only."""

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1)) ",
}
_HEX = {"sqlite": "printf('%064x', i{})", "postgresql": "lpad(to_hex(i{}), 64, '0')"}
_NAME = {
    "sqlite": "printf('lots/%06d/%08d.pdf', i / 100, i)",
    "postgresql": "'lots/' || lpad((i / 100)::text, 6, '0') || '/' || lpad(i::text, 8, '0') || '.pdf'",
}
_COLUMNS = "path, version, newest, statement, digest, size, media_type, kind, issuer, blob, entry, created"


def rows_to_add(kind: str) -> list[str]:
    """What adds documents ``:first`` to ``:last``, all of them anchored, and the transfers of some."""
    numbers, name, no, yes = _NUMBERS[kind], _NAME[kind], *(("0", "1") if kind == "sqlite" else ("false", "true"))
    said, digest, sent = (
        f"'sha256:' || {_HEX[kind].format(plus)}" for plus in ("", " + 1000000000000", " + 2000000000000")
    )
    account, tenth = "'eip155:1:0x0'", "FROM n WHERE i % 10 = 0"
    hexadecimal = _HEX[kind].format("")
    added = {
        "batches (number, root, size, state, created)": f"SELECT i / {BATCH} + 1, :root, {BATCH}, 'final', 1"
        f" FROM n WHERE i % {BATCH} = 0",
        "statements (digest, token, type, issuer, created, batch, leaf)": f"SELECT {said}, 'e30.e30.' || {hexadecimal},"
        f" 'document', {account}, 1, i / {BATCH} + 1, i % {BATCH} FROM n",
        f"documents ({_COLUMNS})": f"SELECT {name}, 1, {yes}, {said}, {digest}, 100000, 'application/pdf', 'other',"
        f" {account}, 'documents/' || {name}, {name}, 1 FROM n",
        "statements (digest, token, type, issuer, created)": f"SELECT {sent}, 'e30.e30.', 'transfer', {account}, 1"
        f" {tenth}",
        "transfers (id, direction, peer, packet, size, created, fair)": f"SELECT {sent}, 'sent', {account}, {sent},"
        f" 100000, i, {no} {tenth}",
        "transfer_documents (transfer, position, statement)": f"SELECT {sent}, 0, {said} {tenth}",
        "deliveries (transfer, account, position, state, attempts, sent, updated, returned)": f"SELECT {sent},"
        f" {account}, 0, 'accepted', 1, 100000, 1, {yes} {tenth}",
    }
    return [f"INSERT INTO {into} {numbers} {values}" for into, values in added.items()]


async def fill(engine: AsyncEngine, first: int, last: int) -> None:
    """Add documents ``first`` to ``last``, and have the database look at what it has."""
    kind = engine.dialect.name
    for start in range(first, last, BATCH):
        async with engine.begin() as connection:
            for statement in rows_to_add(kind):
                values = {"first": start, "last": min(last, start + BATCH), "root": bytes(32)}
                used = {name: value for name, value in values.items() if f":{name}" in statement}
                await connection.execute(text(statement), used)
    async with engine.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(text("ANALYZE" if kind == "sqlite" else "VACUUM ANALYZE"))


def work(store: SqlStore, count: int) -> dict[str, Callable[[int], Awaitable[object]]]:
    """What is measured, by name: functions of the number of the call."""

    def number(call: int) -> int:
        return (call * 7919 + count // 2) % count

    def path(which: int) -> str:
        return f"lots/{which // 100:06}/{which:08}.pdf"

    def digest(which: int) -> str:
        return f"sha256:{which:064x}"

    def kept(call: int) -> Folders:
        return Folders(tuple(f"lots/{number(call + each) // 100:06}" for each in range(3)))

    async def proof(call: int) -> None:
        stored = await store.statement(digest(number(call)))
        assert stored is not None
        assert stored.batch is not None
        assert stored.leaf is not None
        leaves = [merkle.leaf_hash(each) for each in await store.batch_leaves(stored.batch)]
        merkle.inclusion_path(leaves, stored.leaf)
        await store.batch(stored.batch)
        await store.transfers_of(stored.digest)
        await store.taking_back([stored.digest])

    async def deposit(call: int) -> None:
        said = document_statement(f"new/{count}/{call}")
        await store.add_document(stored_document(said), [said])

    async def search(wanted: str, least: int, within: Folders = EVERYTHING) -> None:
        assert len((await store.search(wanted, "", 100, within)).documents) >= least

    return {
        "a document by its path": lambda call: store.document(path(number(call))),
        "first page of all, 100": lambda _: store.documents("", "", 100),
        "a page far into it": lambda call: store.documents("", path(count * 9 // 10 + call % 10), 100),
        "a folder of 100": lambda call: store.documents(f"lots/{number(call) // 100:06}", "", 100),
        "that folder's entries": lambda call: store.entries(f"lots/{number(call) // 100:06}", 0, 100),
        "first page, kept to 3 folders": lambda call: store.documents("", "", 100, kept(call)),
        "search by a name": lambda call: search(f"{number(call):08}.pdf", 1),
        "search by 5 characters of it": lambda call: search(f"{number(call):08}"[3:], 1),
        "search by a folder's name": lambda call: search(f"lots/{number(call) // 100:06}/", 100),
        "search for what all have": lambda _: search("pdf", 100),
        "search for what none has": lambda _: search("cert", 0),
        "search for 2 characters none has": lambda _: search("ce", 0),
        "search, kept to 3 folders": lambda call: search("pdf", 100, kept(call)),
        "search by hash": lambda call: store.documents_with(digest(number(call) + 1_000_000_000_000), "", 100),
        "search by a hash none has": lambda call: store.documents_with(digest(3_000_000_000_000 + call), "", 100),
        "what a proof is made of": proof,
        "newest 100 transfers": lambda _: store.transfers(None, None, 100),
        "100 transfers far behind": lambda call: store.transfers(None, (count // 10 + call, ""), 100),
        "transfers, kept to 3 folders": lambda call: store.transfers(None, None, 100, kept(call)),
        "batches that are under way": lambda _: store.batches(BatchState.SEALED),
        "a deposit's transaction": deposit,
        "all figures (`/metrics`)": lambda _: store.figures("eip155:1:0x1"),
        "all counts (`docex fsck`)": lambda _: store.counts(),
    }


async def measured(call: Callable[[int], Awaitable[object]], calls: int) -> str:
    """The median and the 99th percentile of some calls."""
    took = []
    for attempt in range(calls):
        begin = time.perf_counter()
        await call(attempt)
        took.append((time.perf_counter() - begin) * 1000)
    return f"{statistics.median(took):.1f} / {sorted(took)[min(calls - 1, calls * 99 // 100)]:.1f}"


async def measure(url: str, most: int) -> dict[str, list[str]]:
    """Milliseconds for each sort of work, with ever more documents: the median and the 99th percentile."""
    await upgrade(url)
    engine = make_engine(url)
    store, took, had = SqlStore(engine), dict[str, list[str]](), 0
    try:
        for count in (size for size in SIZES if size <= most):
            await fill(engine, had, count)
            had = count
            for name, call in work(store, count).items():
                took.setdefault(name, []).append(await measured(call, CALLS if name[:3] != SLOW else 5))
            print(f"  {engine.dialect.name}: {count:,} done", file=sys.stderr, flush=True)
    finally:
        await engine.dispose()
    return took


def main() -> None:
    """Measures on SQLite and on PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    wanted = parser.parse_args()
    sizes = [size for size in SIZES if size <= wanted.most]
    for name in ("sqlite", "postgres"):
        if wanted.database in (None, name):
            server: AbstractContextManager[Postgres | None] = postgres_server() if name == "postgres" else nullcontext()
            with server as running, tempfile.TemporaryDirectory(prefix="docex-growth-") as folder:
                path = Path(folder) / "docex.db"
                url = running.url(running.create()) if running else f"sqlite+aiosqlite:///{path}"
                took = asyncio.run(measure(url, wanted.most))
            print(f"| {name}: median / p99, ms, with | " + " | ".join(f"{size:,}" for size in sizes) + " |")
            print("|---" * (len(sizes) + 1) + "|")
            for work_name, figures in took.items():
                print(f"| {work_name} | " + " | ".join(figures) + " |", flush=True)


if __name__ == "__main__":
    main()
