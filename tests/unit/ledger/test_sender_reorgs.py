"""The sender on chains that reorganise, at any depth and at any moment."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from docex.core.transactions import TransactionStatus
from docex.errors import LedgerError
from docex.ledger import chain, market
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc, RpcError
from docex.ledger.sender import Poll
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.steps import TO, kinds, next_block_at, reorg, reserved, row_of
from tests.unit.ledger.support import FaultyRpc, mine, sender_of


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_reorg_before_finality_puts_the_transaction_back(new_chain: NewChain, depth: int) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        await mine(rpc, 5)
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=3)
        await sender.submit("pay", TO, value=7)
        await sender.wait("pay")
        await mine(rpc, depth - 1)
        before = await row_of(store, "pay")
        assert before.status is TransactionStatus.MINED
        await reorg(rpc, depth)
        poll = await sender.poll()
        assert [row.status for row in poll.changed] == [TransactionStatus.PENDING]
        assert poll.alarms == ()
        # It was sent again at once, the same bytes.
        await sender.wait("pay")
        await mine(rpc, 3)
        after = await sender.wait("pay", final=True)
        assert after.block_hash != (before.block.hash if before.block else b"")
        assert len((await row_of(store, "pay")).attempts) == 1
        assert await chain.balance(rpc, TO) == 7


async def test_a_reorg_as_deep_as_the_confirmations_can_t_reach_a_final_one(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        await mine(rpc, 5)
        sender = sender_of(rpc, dev_account(0), confirmations=3)
        await sender.submit("pay", TO, value=7)
        await sender.wait("pay")
        await mine(rpc, 3)
        await sender.wait("pay", final=True)
        await reorg(rpc, 3)
        assert await sender.poll() == Poll((), ())


async def test_a_reorg_of_one_more_raises_an_alarm_and_sends_again(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        await mine(rpc, 5)
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=3)
        for number in range(3):
            await sender.submit(f"pay {number}", TO, value=7)
            await sender.wait(f"pay {number}")
        await mine(rpc, 3)
        await sender.wait("pay 2", final=True)
        await reorg(rpc, 4)  # reaches the third payment's block only
        poll = await sender.poll()
        assert [(alarm.kind, alarm.key) for alarm in poll.alarms] == [("reorg", "pay 2")]
        assert "was final and is gone" in poll.alarms[0].message
        await sender.wait("pay 2")
        await mine(rpc, 3)
        assert (await sender.wait("pay 2", final=True)).succeeded
        assert len((await row_of(store, "pay 2")).attempts) == 1
        assert await chain.balance(rpc, TO) == 21


async def test_a_chain_that_starts_anew_gets_everything_again(new_chain: NewChain) -> None:
    """What a development chain does when it is killed before it wrote its state."""
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        sender = sender_of(rpc, dev_account(0))
        for number in range(3):
            await sender.submit(f"pay {number}", TO, value=7)
            await sender.wait(f"pay {number}", final=True)
        private.stop()
        private.start()
        assert kinds(await sender.poll()) == ["reorg"] * 3
        await sender.wait("pay 2", final=True)
        assert await chain.balance(rpc, TO) == 21


class ReorganisedOnce(Rpc):
    """The chain replaces its last two blocks before the call with this number; their transactions move on by one."""

    def __init__(self, url: str, calls: int, pairs: list[list[object]]) -> None:
        super().__init__(url)
        self.left, self._pairs = calls, pairs

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        self.left -= 1
        if self.left == 0:
            await super().batch([("anvil_reorg", (2, self._pairs))])
        return await super().batch(calls)


async def test_a_reorg_in_the_middle_of_a_poll_leaves_no_row_in_a_block_that_is_gone(new_chain: NewChain) -> None:
    """A row that is settled on the new chain must not stand for an older one that was lost with the old."""
    for calls in range(1, 20):
        private = new_chain()
        async with Rpc(private.url) as rpc:
            await mine(rpc, 3)
            store = MemoryStore()
            sender = sender_of(rpc, dev_account(0), store)
            first = await sender.submit("first", TO, value=1)
            await sender.wait("first", final=True)
            await mine(rpc)
            async with FaultyRpc(private.url) as faulty:
                await reserved(sender_of(faulty, dev_account(0), store), faulty, "second", 2)
            second = await row_of(store, "second")
            pairs: list[list[object]] = [["0x" + row.current[0].raw.hex(), 1] for row in (first, second)]
            async with ReorganisedOnce(private.url, calls, pairs) as shaken:
                await sender_of(shaken, dev_account(0), store).poll()
                happened = shaken.left <= 0
            for _ in range(3):
                await sender.poll()
            for key in ("first", "second"):
                row = await row_of(store, key)
                assert row.status is TransactionStatus.FINAL
                assert row.block is not None
                assert (await chain.blocks(rpc, [row.block.number]))[row.block.number].hash == row.block.hash, calls
        private.stop()
        if not happened:
            break
    assert not happened
    assert calls > 5


async def test_after_a_chain_started_anew_stuck_is_counted_on_the_new_one(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        await mine(rpc, 50)
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store)
        await sender.submit("pay", TO, value=7)
        await sender.poll()
        private.stop()
        private.start()
        await sender.poll()
        assert len((await row_of(store, "pay")).attempts) == 1
        for _ in range(2):
            await next_block_at(rpc, 100 * 10**9)
        await sender.poll()
        assert len((await row_of(store, "pay")).attempts) == 2


async def test_a_reorg_back_and_forth_does_not_replace_what_was_not_stuck(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=50, stuck_after=2)
        await sender.submit("pay", TO, value=7)
        await sender.wait("pay")
        await mine(rpc, 10)
        await rpc.call("evm_setAutomine", False)
        await reorg(rpc, 11)
        await sender.poll()
        assert len((await row_of(store, "pay")).attempts) == 1


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
async def test_a_receipt_read_in_the_middle_of_a_reorg_counts_only_where_its_block_stands(
    new_chain: NewChain, calls: int
) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        await mine(rpc, 3)
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=3)
        row = await sender.submit("pay", TO, value=7)
        await sender.wait("pay")
        pairs: list[list[object]] = [["0x" + row.current[0].raw.hex(), 1]]
        async with ReorganisedOnce(private.url, calls, pairs) as shaken:
            await sender_of(shaken, dev_account(0), store, confirmations=3).poll()
        await mine(rpc, 3)
        info = await sender.wait("pay", final=True)
        assert (await chain.blocks(rpc, [info.block_number]))[info.block_number].hash == info.block_hash
        assert await chain.balance(rpc, TO) == 7


class Answering(Rpc):
    """A node that answers some calls with something else."""

    def __init__(self, url: str, change: Callable[[str, Any], Any]) -> None:
        super().__init__(url)
        self._change = change

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        answers = await super().batch(calls)
        return [self._change(method, answer) for (method, _), answer in zip(calls, answers, strict=True)]


async def test_a_node_that_can_t_say_where_a_transaction_is_changes_nothing(new_chain: NewChain) -> None:
    private, refusal = new_chain(), RpcError("eth_getTransactionReceipt", -32000, "pruned")
    store = MemoryStore()
    async with Answering(private.url, lambda method, answer: refusal if "Receipt" in method else answer) as rpc:
        sender = sender_of(rpc, dev_account(0), store)
        await sender.submit("pay", TO, value=7)
        with pytest.raises(RpcError, match="pruned"):
            await sender.poll()
    assert (await row_of(store, "pay")).status is TransactionStatus.PENDING


async def test_a_node_that_does_not_tell_its_head_or_the_account_s_count_is_an_error(new_chain: NewChain) -> None:
    private, refusal = new_chain(), RpcError("eth_getTransactionCount", -32000, "no state")
    async with Answering(private.url, lambda method, answer: refusal if "Count" in method else answer) as rpc:
        with pytest.raises(RpcError, match="no state"):
            await market.read(rpc, dev_account(0).address)
    async with Answering(private.url, lambda method, answer: None if "Block" in method else answer) as rpc:
        with pytest.raises(LedgerError, match="the chain has no blocks"):
            await market.read(rpc, dev_account(0).address)
