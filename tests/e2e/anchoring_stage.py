"""What the tests of anchoring share: a member on a chain of its own, and what must hold at the end."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from docex.core.state import Batch, BatchState
from docex.db.engine import make_engine
from docex.db.store import SqlStore
from docex.db.transactions import SqlTransactionStore
from docex.ledger import chain
from docex.ledger.funding import anvil_set_balance
from docex.ledger.notary import NotaryClient
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from keys.account import LocalAccount
from tests.e2e.anchoring_lives import Life, make_node
from tests.fixtures.statements import document_statement, stored_document
from tests.unit.ledger.support import ETHER, deployed


@dataclass
class Stage:
    """A member on a chain with its contracts, and its node's database."""

    chain: LocalChain
    rpc: Rpc
    life: Life
    store: SqlStore
    transactions: SqlTransactionStore
    said: list[bytes]

    @property
    def address(self) -> str:
        return LocalAccount(bytes.fromhex(self.life.secret)).address

    async def deposit(self, count: int) -> None:
        for _ in range(count):
            said = document_statement(f"{len(self.said)}")
            await self.store.add_document(stored_document(said), [said])
            self.said.append(said.digest)

    async def mine(self, blocks: int = 1) -> None:
        await self.rpc.call("anvil_mine", hex(blocks))

    async def all_final(self) -> bool:
        return (await self.store.counts())["statements_not_final"] == 0

    def node(self, rpc: Rpc | None = None) -> Node:
        return make_node(self.life, rpc or self.rpc, self.store, self.transactions)

    async def anchor(self, node: Node) -> list[Batch]:
        """Go on until everything is final."""
        while not await self.all_final():
            await anchor_waiting(node)
            await self.mine()
        return list(await self.store.batches(BatchState.FINAL))

    async def check(self) -> list[Batch]:
        """Every statement is in one batch, and every batch anchored once, by one transaction, where the node says."""
        assert await self.store.batches(BatchState.SEALED) == []
        batches = await self.store.batches(BatchState.FINAL)
        leaves = [leaf for batch in batches for leaf in await self.store.batch_leaves(batch.number)]
        assert sorted(leaves) == sorted(self.said)
        head = await chain.head(self.rpc)
        notary = NotaryClient(self.rpc, self.life.notary)
        anchors = await notary.anchors_of(self.address, 0, head.number)
        assert sorted((each.root, each.size, each.block_number) for each in anchors) == sorted(
            (batch.root, batch.size, batch.block_number) for batch in batches
        )
        for batch in batches:
            assert batch.transaction is not None
            info = await chain.transaction(self.rpc, batch.transaction)
            assert info is not None
            assert (info.block_hash, info.block_time) == (batch.block_hash, batch.block_time)
        count = await self.rpc.call("eth_getTransactionCount", self.address, "latest")
        assert int(count, 16) == len(batches)  # and no transaction was for nothing
        return list(batches)


@asynccontextmanager
async def staged(private: LocalChain, database: str, folder: Path) -> AsyncIterator[Stage]:
    secret = os.urandom(32)
    account, engine = LocalAccount(secret), make_engine(database)
    async with Rpc(private.url) as rpc:
        network = await deployed(rpc)
        await anvil_set_balance(rpc, account.address, 100 * ETHER)
        await network.consortium.admit(account.address, "Mine AG")
        contracts = network.deployment.directory, network.deployment.notary
        life = Life(private.url, database, *contracts, secret.hex(), str(folder / "packets"))
        yield Stage(private, rpc, life, SqlStore(engine), SqlTransactionStore(engine), [])
    await engine.dispose()
