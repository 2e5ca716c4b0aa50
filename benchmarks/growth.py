"""What lists, searches and proofs cost as documents become more. ``python -m benchmarks.growth [--most 1000000]``.

The node's own store on both databases; the rows are made in the database, 10,000 statements to a batch, a hundred
documents to a folder. Each figure is the median of some calls, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.durable_postgres import postgres_server
from docex.core import merkle
from docex.core.state import BatchState
from docex.db.engine import make_engine, upgrade
from docex.db.store import SqlStore
from tests.fixtures.postgres import Postgres
from tests.fixtures.statements import document_statement, stored_document

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BATCH = 10_000
CALLS = 15

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1)) ",
}
_HEX = {"sqlite": "printf('%064x', i{})", "postgresql": "lpad(to_hex(i{}), 64, '0')"}
_NAME = {
    "sqlite": "printf('lots/%06d/%08d.pdf', i / 100, i)",
    "postgresql": "'lots/' || lpad((i / 100)::text, 6, '0') || '/' || lpad(i::text, 8, '0') || '.pdf'",
}


async def fill(engine: AsyncEngine, first: int, last: int) -> None:
    """Add documents ``first`` to ``last``, all of them anchored, and have the database look at what it has."""
    kind = engine.dialect.name
    numbers, name = _NUMBERS[kind], _NAME[kind]
    said, digest = (f"'sha256:' || {_HEX[kind].format(plus)}" for plus in ("", " + 1000000000000"))
    into = f"INSERT INTO batches (number, root, size, state, created) {numbers}"
    batches = f"{into} SELECT i + 1, :root, {BATCH}, 'final', 1 FROM n"
    columns = "sequence, digest, token, type, issuer, created, batch, leaf"
    into = f"INSERT INTO statements ({columns}) {numbers}"
    statements = (
        f"{into} SELECT i + 1, {said}, 'e30.e30.' || {_HEX[kind].format('')}, 'document', 'eip155:1:0x0', 1,"
        f" i / {BATCH} + 1, i % {BATCH} FROM n"
    )
    columns = "path, version, newest, statement, digest, size, media_type, kind, issuer, blob, entry, created"
    into = f"INSERT INTO documents (number, {columns}) {numbers}"
    documents = (
        f"{into} SELECT i + 1, {name}, 1, {'1' if kind == 'sqlite' else 'true'}, {said}, {digest}, 100000,"
        f" 'application/pdf', 'other', 'eip155:1:0x0', 'documents/' || {name}, {name}, 1 FROM n"
    )
    async with engine.begin() as connection:
        done, needed = -(-first // BATCH), -(-last // BATCH)
        if done < needed:
            await connection.execute(text(batches), {"first": done, "last": needed, "root": bytes(32)})
        for statement in (statements, documents):
            await connection.execute(text(statement), {"first": first, "last": last})
        if kind == "postgresql":  # rows with numbers of our own leave the sequences behind
            for table, column in (("statements", "sequence"), ("documents", "number"), ("batches", "number")):
                await connection.execute(
                    text(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), {last + 1})")
                )
        await connection.execute(text("ANALYZE"))


def work(store: SqlStore, count: int) -> dict[str, Callable[[int], Awaitable[object]]]:
    """What is measured, by name: functions of the number of the call."""

    def number(call: int) -> int:
        return (call * 7919 + count // 2) % count

    def path(which: int) -> str:
        return f"lots/{which // 100:06}/{which:08}.pdf"

    def digest(which: int) -> str:
        return f"sha256:{which:064x}"

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

    return {
        "a document by its path": lambda call: store.document(path(number(call))),
        "first page of all, 100": lambda _: store.documents("", "", 100),
        "a page far into it": lambda call: store.documents("", path(count * 9 // 10 + call % 10), 100),
        "a folder of 100": lambda call: store.documents(f"lots/{number(call) // 100:06}", "", 100),
        "that folder's entries": lambda call: store.entries(f"lots/{number(call) // 100:06}", 0, 100),
        "search by digest": lambda call: store.document_by_digest(digest(number(call) + 1_000_000_000_000)),
        "search by a part of the path": lambda call: store.search(f"{number(call):08}.pdf", "", 100),
        "what a proof is made of": proof,
        "batches that are under way": lambda _: store.batches(BatchState.SEALED),
        "a deposit's transaction": deposit,
        "all counts (`docex fsck`)": lambda _: store.counts(),
    }


async def measure(url: str, most: int) -> dict[str, list[float]]:
    """Milliseconds for each sort of work, with ever more documents."""
    await upgrade(url)
    engine = make_engine(url)
    store, took, had = SqlStore(engine), dict[str, list[float]](), 0
    try:
        for count in (size for size in SIZES if size <= most):
            await fill(engine, had, count)
            had = count
            for name, call in work(store, count).items():
                seconds = []
                for attempt in range(CALLS if name[:3] != "all" else 3):
                    begin = time.perf_counter()
                    await call(attempt)
                    seconds.append(time.perf_counter() - begin)
                took.setdefault(name, []).append(statistics.median(seconds) * 1000)
            async with engine.begin() as connection:  # the new ones must not be in the way of the next
                for table in ("documents", "statements"):
                    column = "number" if table == "documents" else "sequence"
                    await connection.execute(text(f"DELETE FROM {table} WHERE {column} > {count}"))
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
            print(f"| {name}: ms with | " + " | ".join(f"{size:,}" for size in sizes) + " |")
            print("|---" * (len(sizes) + 1) + "|")
            for work_name, figures in took.items():
                print(f"| {work_name} | " + " | ".join(f"{each:.1f}" for each in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
