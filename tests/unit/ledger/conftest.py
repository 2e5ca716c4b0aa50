from collections.abc import AsyncIterator

import pytest

from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from tests.unit.ledger.support import Network, deployed


@pytest.fixture
async def rpc(anvil: LocalChain) -> AsyncIterator[Rpc]:
    """A connection to the session's chain."""
    async with Rpc(anvil.url, chain_id=anvil.chain_id) as connection:
        yield connection


@pytest.fixture
async def network(rpc: Rpc) -> Network:
    """Contracts of the test's own, its consortium, and one admitted member, on the session's chain."""
    return await deployed(rpc)
