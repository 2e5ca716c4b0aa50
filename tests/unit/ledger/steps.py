"""Steps that the sender's tests share."""

from docex.core.transactions import StoredTransaction
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Poll, Sender
from tests.unit.ledger.support import FaultyRpc, mine

TO = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


async def row_of(store: MemoryStore, key: str) -> StoredTransaction:
    row = await store.find(key)
    assert row is not None
    return row


def kinds(poll: Poll) -> list[str]:
    return [alarm.kind for alarm in poll.alarms]


async def reorg(rpc: Rpc, depth: int) -> None:
    """Replaces the last blocks by empty ones; anvil does not put their transactions back into its pool."""
    await rpc.call("anvil_reorg", depth, [])


async def next_block_at(rpc: Rpc, wei: int) -> None:
    """Mines a block with this base fee: a high one leaves out what can't pay it."""
    await rpc.call("anvil_setNextBlockBaseFeePerGas", hex(wei))
    await mine(rpc)


async def reserved(sender: Sender, rpc: FaultyRpc, key: str, value: int) -> None:
    """Submits while the node takes nothing: the bytes are kept, not sent."""
    rpc.before = lambda method: method == "eth_sendRawTransaction"
    await sender.submit(key, TO, value=value)
    rpc.before = lambda method: False
