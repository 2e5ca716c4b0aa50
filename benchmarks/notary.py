"""Notarising: statements a second from accepted to final on one node. ``python -m benchmarks.notary [--seconds 60]``.

Everything is real: statements signed by other processes, verified and stored durably by the node's own use case,
batches made and anchored by its worker, on anvil with a block a second. Both databases write through to the disk
(SQLite: ``synchronous=FULL``; PostgreSQL: ``fsync``). As many statements are offered as the node takes, or ``--rate``;
a client waits while `WAITING` are not final. What anchoring one by one costs is measured on the same chain.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.durable_postgres import postgres_server
from docex.core import statement
from docex.core.claims import Document
from docex.core.state import Batch, BatchState
from docex.ledger import chain
from docex.ledger.deploy import deploy
from docex.ledger.funding import anvil_set_balance
from docex.ledger.memory import MemoryStore
from docex.ledger.notary import NotaryClient
from docex.ledger.process import CHAIN_ID, LocalChain
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from docex.service import worker
from docex.service.node import Node
from docex.service.notarise import MAX_STATEMENTS, notarise
from docex.settings import NodeSettings
from docex.wiring import running_node
from keys.account import LocalAccount
from keys.local import open_keystore
from tests.fixtures.network import ETHER, PASSPHRASE, Consortium
from tests.fixtures.postgres import Postgres

WINDOW = 5.0
BLOCK_SECONDS = 1.0
CLIENTS = 2
WAITING = 40_000
SINGLES = 20
_SPAWN = multiprocessing.get_context("spawn")


def sign_for_ever(keystore: Path, account: str, pipe: Connection) -> None:
    """The member's other system: signs document statements and hands them over, `MAX_STATEMENTS` at a time."""
    signer = open_keystore(keystore, PASSPHRASE).signer
    numbers = itertools.count()
    with suppress(BrokenPipeError, KeyboardInterrupt):
        while True:
            tokens = []
            for number in itertools.islice(numbers, MAX_STATEMENTS):
                body = Document(f"sha256:{number:064x}", 1000, f"certificate-{number}.pdf", "application/pdf")
                tokens.append(statement.issue(signer, account, body, int(time.time())).token)
            pipe.send(tokens)


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Run:
    """What happened, by the monotonic clock. Statements become final in the order in which they were accepted."""

    accepted: int = 0
    final: int = 0
    accepted_at: deque[tuple[float, int]] = field(default_factory=deque)
    latencies: list[tuple[float, int]] = field(default_factory=list)
    windows: list[tuple[float, int, int, int]] = field(default_factory=list)

    def accept(self, count: int) -> None:
        self.accepted += count
        self.accepted_at.append((time.monotonic(), count))

    def finalise(self, count: int) -> None:
        now = time.monotonic()
        self.final += count
        while count:
            then, some = self.accepted_at.popleft()
            part = min(some, count)
            self.latencies.append((now - then, part))
            if part < some:
                self.accepted_at.appendleft((then, some - part))
            count -= part

    def percentile(self, share: float) -> float:
        """Seconds from accepted to final that this share of the statements took at most."""
        wanted, seen = share * sum(count for _, count in self.latencies), 0
        for seconds, count in sorted(self.latencies):
            seen += count
            if seen >= wanted:
                return seconds
        return float("nan")


class Watched:
    """The node's own store, which tells when a batch has become final."""

    def __init__(self, store: Any, run: Run) -> None:
        self._store, self._run = store, run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def set_batch(self, batch: Batch) -> bool:
        changed = bool(await self._store.set_batch(batch))
        if changed and batch.state is BatchState.FINAL:
            self._run.finalise(batch.size)
        return changed


@asynccontextmanager
async def member_s_node(folder: Path, local: LocalChain, database: str | None) -> AsyncIterator[tuple[Node, Path]]:
    """A member's node in a network of its own, and the folder of its keystore."""
    admin, record = LocalAccount.generate(), folder / "deployment.json"
    async with Rpc(local.url) as rpc:
        await anvil_set_balance(rpc, admin.address, 1000 * ETHER)
        sender = Sender(rpc, admin, MemoryStore(), chain_id=CHAIN_ID, confirmations=0, interval=0.1)
        consortium = Consortium(local, admin, await deploy(rpc, sender, record), record)
    member = await consortium.join(folder / "keystore", "Mine AG")
    settings = NodeSettings(
        data=folder / "data", keystore=member.folder, rpc=local.url, deployment=record, database=database
    )
    async with running_node(settings, PASSPHRASE) as node:
        yield node, member.folder


async def offer(node: Node, run: Run, pipe: Connection, rate: float, until: float) -> None:
    """A client: brings statements, one call after the other; all clients together ``rate`` a second."""
    begin = time.monotonic()
    while (now := time.monotonic()) < until:
        if run.accepted - run.final > WAITING or run.accepted > rate * (now - begin):
            await asyncio.sleep(0.05)
            continue
        tokens = await asyncio.to_thread(pipe.recv)
        taken = await notarise(node, tokens)
        run.accept(taken.new)


async def watch(run: Run, until: float) -> None:
    """Note rates and memory at the end of each window."""
    start, accepted, final = time.monotonic(), run.accepted, run.final
    while start < until - 0.1:
        await asyncio.sleep(min(WINDOW, until - start))
        now = time.monotonic()
        rates = (int((run.accepted - accepted) / (now - start)), int((run.final - final) / (now - start)))
        run.windows.append((now - start, *rates, memory()))
        start, accepted, final = now, run.accepted, run.final


async def load(node: Node, run: Run, keystore: Path, seconds: float, rate: float) -> float:
    """Offer statements for so long, and wait until all are final; seconds from the first call to the last anchor."""
    working = asyncio.create_task(worker.run(node, NodeSettings.model_fields["interval"].default))
    pipes = [_SPAWN.Pipe(duplex=False) for _ in range(CLIENTS)]
    from benchmarks.notary import sign_for_ever as signing  # new processes find it by this name, however this runs

    work = [(keystore, node.account, out) for _, out in pipes]
    signers = [_SPAWN.Process(target=signing, args=each, daemon=True) for each in work]
    for each in signers:
        each.start()
    await asyncio.gather(*(asyncio.to_thread(pipe.poll, 60) for pipe, _ in pipes))
    begin = time.monotonic()
    try:
        offers = [offer(node, run, pipe, rate, begin + seconds) for pipe, _ in pipes]
        await asyncio.gather(watch(run, begin + seconds), *offers)
        while run.final < run.accepted:
            assert not working.done(), working.result()
            await asyncio.sleep(0.05)
        return time.monotonic() - begin
    finally:
        for each in signers:
            each.kill()
        working.cancel()
        await asyncio.wait([working])


async def check(node: Node, run: Run) -> None:
    """Whatever was accepted is in one batch, once, and every batch is on the ledger."""
    counts = await node.store.counts()
    assert counts["statements"] == run.accepted == run.final, (counts, run.accepted, run.final)
    assert counts["statements_not_final"] == 0
    assert sum(each.size for each in await node.store.batches(BatchState.FINAL)) == run.accepted


async def gas(node: Node, keystore: Path, local: LocalChain, run: Run) -> tuple[float, float]:
    """Gas a statement: in this run's batches, and anchored one by one."""
    async with Rpc(local.url) as rpc:
        batches = await node.store.batches(BatchState.FINAL)
        found = [await chain.transaction(rpc, each.transaction) for each in batches if each.transaction]
        used = sum(each.gas_used for each in found if each)
        account = open_keystore(keystore, PASSPHRASE).account
        sender = Sender(rpc, account, MemoryStore(), chain_id=CHAIN_ID, confirmations=0, interval=0.1)
        notary = NotaryClient(rpc, node.network.notary, sender)
        rows = [await notary.anchor(os.urandom(32), 1) for _ in range(SINGLES)]
        singles = [(await sender.wait(row.key)).gas_used for row in rows]
    return used / run.accepted, statistics.mean(singles)


async def measure(name: str, seconds: float, rate: float, database: str | None, folder: Path) -> None:
    """One run, and its figures."""
    run = Run()
    with LocalChain(block_time=BLOCK_SECONDS) as local:
        async with member_s_node(folder, local, database) as (node, keystore):
            node = replace(node, store=Watched(node.store, run))
            before = memory()
            total = await load(node, run, keystore, seconds, rate)
            await check(node, run)
            batched, single = await gas(node, keystore, local, run)
            batches = (await node.store.counts())["batches"]
    report(name, run, total, before)
    print(
        f"  {batches} batches; gas a statement {batched:.1f}, anchored one by one {single:,.0f}"
        f" ({single / batched:,.0f} times as much)"
    )


def report(name: str, run: Run, total: float, before: int) -> None:
    print(
        f"{name}: {run.accepted:,} statements in {total:.1f} s, the last anchor included: {run.accepted / total:,.0f}/s"
    )
    print(f"  {'seconds':>9} {'accepted/s':>11} {'final/s':>9} {'memory, MB':>11}")
    elapsed = 0.0
    for seconds, accepted, final, resident in run.windows:
        elapsed += seconds
        print(f"  {elapsed:>9.1f} {accepted:>11,} {final:>9,} {resident / 1e6:>11.0f}")
    middle = run.windows[len(run.windows) // 2][3]
    print(
        f"  accepted to final: p50 {run.percentile(0.5):.1f} s, p99 {run.percentile(0.99):.1f} s; memory"
        f" {before / 1e6:.0f} MB before, {middle / 1e6:.0f} in the middle, {run.windows[-1][3] / 1e6:.0f} at the end"
    )


def main() -> None:
    """Measures on SQLite and on PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=float("inf"), help="statements offered a second")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    wanted = parser.parse_args()
    confirmations, load_now = NodeSettings.model_fields["confirmations"].default, os.getloadavg()[0]
    print(
        f"{CLIENTS} clients, {MAX_STATEMENTS} statements a call; a block each {BLOCK_SECONDS:g} s, final after"
        f" {confirmations} more; {os.cpu_count()} cores, load {load_now:.1f}"
    )
    for name in ("sqlite", "postgres"):
        if wanted.database in (None, name):
            server: AbstractContextManager[Postgres | None] = postgres_server() if name == "postgres" else nullcontext()
            with server as running, tempfile.TemporaryDirectory(prefix="docex-notary-") as folder:
                url = running.url(running.create()) if running else None
                asyncio.run(measure(name, wanted.seconds, wanted.rate, url, Path(folder)))


if __name__ == "__main__":
    main()
