"""A node's anchoring as processes that are killed: the first process loads everything once and forks one for each life.

Each line of its input is a life (a `Life` in JSON), each line of its output how that one ended. Nothing here is part of
a node: the parts are those of a node, and only the calls that leave them for database and chain are counted.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.errors import LedgerUnavailable
from docex.ledger.contracts import load
from docex.ledger.node import NodeLedger
from docex.ledger.process import CHAIN_ID
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from docex.service import anchoring, worker
from docex.service.node import Limits, Network, Node
from keys.account import LocalAccount
from storage.local import LocalStore
from tests.fixtures.paper_nodes import Wire, keys_of

KILLED, DONE = "killed", "done"


@dataclass(frozen=True, slots=True)
class Life:
    """Where a node works, and when it ends: after so many calls, or so many seconds, or when all is final."""

    url: str
    database: str
    directory: str
    notary: str
    secret: str
    folder: str
    batch_size: int = 2
    confirmations: int = 1
    calls: int | None = None
    seconds: float | None = None


class Fuse:
    """Ends this process as SIGKILL does, once so many calls have been answered."""

    def __init__(self, calls: int | None) -> None:
        self._left = calls

    def burn(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Fused:
    """A store whose every answer burns the fuse."""

    def __init__(self, store: object, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def __getattr__(self, name: str) -> object:
        method = getattr(self._store, name)

        async def call(*arguments: object) -> object:
            result = await method(*arguments)
            self._fuse.burn()
            return result

        return call


class FusedRpc(Rpc):
    """A connection whose every answer burns the fuse."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        results = await super().batch(calls)
        self._fuse.burn()
        return results


def make_node(life: Life, rpc: Rpc, store: SqlStore, transactions: SqlTransactionStore) -> Node:
    """A node of real parts, but for its peers: it has none."""
    account = LocalAccount(bytes.fromhex(life.secret))
    sender = Sender(
        rpc, account, transactions, chain_id=CHAIN_ID, confirmations=life.confirmations, stuck_after=2, interval=0.01
    )
    signer, identity, _ = keys_of("Mine AG")
    return Node(
        address=account.address,
        network=Network(CHAIN_ID, life.directory, life.notary),
        signer=signer,
        recipient=identity.recipient,
        identity=identity,
        store=store,
        blobs=LocalStore(Path(life.folder)),
        ledger=NodeLedger(rpc, life.directory, life.notary, sender, transactions, idle=0),
        peers=Wire(),
        limits=Limits(batch_size=life.batch_size),
    )


async def live(life: Life) -> None:
    """Anchor until nothing waits; the chain gets a block after each round."""
    fuse, engine = Fuse(life.calls), make_engine(life.database)
    store = SqlStore(engine)
    fused = cast("SqlStore", Fused(store, fuse)), cast("SqlTransactionStore", Fused(SqlTransactionStore(engine), fuse))
    async with FusedRpc(life.url, fuse) as rpc, Rpc(life.url) as miner:
        node = make_node(life, rpc, *fused)
        if life.seconds is not None:
            await worker.run(make_node(life, rpc, store, SqlTransactionStore(engine)), 0.01)
        while (await store.counts())["statements_not_final"]:
            with suppress(LedgerUnavailable):
                await anchoring.anchor_waiting(node)
                await miner.call("anvil_mine", "0x1")
        await node.blobs.close()
    await engine.dispose()


def run(life: Life) -> str:
    """One life in a process of its own; how it ended."""
    child = os.fork()
    if child == 0:
        asyncio.run(live(life))
        os._exit(0)
    if life.seconds is not None:
        time.sleep(life.seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return KILLED if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
    return DONE if os.WEXITSTATUS(status) == 0 else f"exit status {os.WEXITSTATUS(status)}"


def load_everything() -> None:
    """What a node loads when it first needs it: here once, instead of in every life."""
    for name in (
        "aiohttp",
        "rlp",
        "sqlalchemy.dialects.sqlite.aiosqlite",
    ):
        importlib.import_module(name)
    load("Directory")
    load("Notary").encode("anchor", bytes(32), 1)


if __name__ == "__main__":
    load_everything()
    for line in sys.stdin:
        print(run(Life(**json.loads(line))), flush=True)
