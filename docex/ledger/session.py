"""A connection to the ledger for one command: it reads, and writes as one account, waiting for each transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docex.core.ledger_types import Deployment
from docex.ledger.deploy import check_deployment
from docex.ledger.directory import DirectoryClient
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from keys import AccountSigner

_INTERVAL = 0.2


@asynccontextmanager
async def writing(url: str, account: AccountSigner) -> AsyncIterator[tuple[Rpc, Sender]]:
    """The ledger at ``url``, and what sends transactions as ``account``. Raises LedgerUnavailable."""
    async with Rpc(url) as rpc:
        chain_id = await rpc.chain_id()
        yield rpc, Sender(rpc, account, MemoryStore(), chain_id=chain_id, confirmations=1, interval=_INTERVAL)


@asynccontextmanager
async def directory(
    url: str, deployment: Deployment, account: AccountSigner | None = None
) -> AsyncIterator[tuple[DirectoryClient, Sender | None]]:
    """The Directory of a deployment, for reading, or with an account for writing too.

    Raises LedgerUnavailable, and LedgerError when the deployment's contracts are not on that chain.
    """
    if account is None:
        async with Rpc(url, chain_id=deployment.chain_id) as rpc:
            await check_deployment(rpc, deployment)
            yield DirectoryClient(rpc, deployment.directory), None
        return
    async with writing(url, account) as (rpc, sender):
        await check_deployment(rpc, deployment)
        yield DirectoryClient(rpc, deployment.directory, sender), sender
