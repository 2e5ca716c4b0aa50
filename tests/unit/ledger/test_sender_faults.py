"""The sender on real chains that forget, stall or start anew, and beside others: none lost, none doubled."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from docex.core.transactions import StoredTransaction, TransactionRequest, TransactionStatus
from docex.errors import LedgerUnavailable
from docex.ledger import chain, market
from docex.ledger.funding import anvil_set_balance, fund
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc
from docex.ledger.sender import MAX_REPLACEMENTS, Poll
from keys.account import LocalAccount
from keys.errors import KeysError
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.steps import TO, kinds, next_block_at, reorg, reserved, row_of
from tests.unit.ledger.support import ETHER, FaultyRpc, funded, mine, sender_of


async def test_without_mining_it_waits_and_then_goes_on(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store)
        await sender.submit("pay", TO, value=7)
        for _ in range(3):
            assert await sender.poll() == Poll((), ())
        row = await row_of(store, "pay")
        assert row.status is TransactionStatus.PENDING
        await mine(rpc)
        (changed,) = (await sender.poll()).changed
        assert changed.status is TransactionStatus.FINAL
        assert set(rpc.sent) == {row.attempts[0].raw}


async def test_a_dropped_transaction_is_sent_again(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        sender = sender_of(rpc, dev_account(0))
        row = await sender.submit("pay", TO, value=7)
        assert await rpc.call("anvil_dropTransaction", "0x" + row.attempts[0].transaction.hex()) is not None
        await mine(rpc)
        assert await chain.balance(rpc, TO) == 0
        await sender.poll()
        await mine(rpc)
        assert (await sender.wait("pay")).transaction == row.attempts[0].transaction
        assert await chain.balance(rpc, TO) == 7


async def test_a_node_that_is_gone_for_a_while_loses_nothing(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with Rpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store)
        await sender.submit("pay 0", TO, value=1)
        await sender.submit("pay 1", TO, value=1)
        private.stop()
        with pytest.raises(LedgerUnavailable):
            await sender.poll()
        private.start()  # on the same port, its pool empty
        await sender.poll()
        await mine(rpc)
        assert (await sender.wait("pay 1", final=True)).succeeded
        assert await chain.balance(rpc, TO) == 2


async def test_a_stuck_transaction_is_replaced_with_higher_fees(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store)
        await sender.submit("pay", TO, value=7)
        await sender.submit("next", TO, value=1)
        await sender.poll()
        await next_block_at(rpc, 100 * 10**9)
        await next_block_at(rpc, 100 * 10**9)
        await sender.poll()
        first, second = (await row_of(store, "pay")).attempts
        assert (first.nonce, first.number, second.nonce, second.number) == (0, 0, 0, 1)
        assert second.max_fee >= first.max_fee * 5 // 4
        assert second.tip >= first.tip * 5 // 4
        assert second.max_fee > 100 * 10**9
        # Only the next to be mined is replaced: the others wait for it, not for fees.
        assert len((await row_of(store, "next")).attempts) == 1
        await mine(rpc)
        assert (await sender.wait("pay")).transaction == second.transaction
        assert await chain.balance(rpc, TO) == 7


async def test_replacements_end_with_an_alarm(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, stuck_after=1)
        await sender.submit("pay", TO, value=7)
        await sender.poll()
        polls = []
        for power in range(5):
            await next_block_at(rpc, 10 ** (11 + power))
            polls.append(await sender.poll())
        attempts = (await row_of(store, "pay")).attempts
        assert [attempt.number for attempt in attempts] == list(range(1 + MAX_REPLACEMENTS))
        assert [kinds(poll) for poll in polls] == [[], [], [], ["stuck"], ["stuck"]]
        assert polls[4].alarms[0].message == "not mined after 3 replacements (nonce 0)"
        # When fees fall again, whichever is mined settles it.
        await next_block_at(rpc, 10**9)
        await sender.poll()
        await mine(rpc)
        assert (await sender.wait("pay")).transaction in {attempt.transaction for attempt in attempts}
        assert await chain.balance(rpc, TO) == 7


async def test_a_fee_below_the_base_fee_is_raised_without_waiting(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        sender = sender_of(rpc, dev_account(0), stuck_after=1000)
        rpc.before = lambda method: method == "eth_sendRawTransaction"
        row = await sender.submit("pay", TO, value=7)
        rpc.before = lambda method: False
        await next_block_at(rpc, 100 * 10**9)
        await sender.poll()
        await mine(rpc)
        assert (await sender.wait("pay")).transaction != row.attempts[0].transaction


async def test_what_was_signed_when_fees_were_too_high_to_pay_is_signed_anew_when_they_have_fallen(
    new_chain: NewChain,
) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        account, store = await funded(rpc, ETHER // 100), MemoryStore()
        request = TransactionRequest("pay", 31337, account.address, TO, b"", 7, 21_000)
        await store.reserve(request, 0)  # and nothing else before the node was killed
        await next_block_at(rpc, ETHER // 1000)
        sender = sender_of(rpc, account, store)
        assert [kinds(await sender.poll()) for _ in range(2)] == [["funds"], ["funds"]]
        await next_block_at(rpc, 10**9)
        assert kinds(await sender.poll()) == []
        dear, cheap = (await row_of(store, "pay")).attempts
        assert cheap.max_fee < dear.max_fee
        await mine(rpc)
        assert (await sender.wait("pay")).transaction == cheap.transaction


async def test_of_two_attempts_the_earlier_may_be_the_one_that_is_mined(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, stuck_after=1)
        await sender.submit("pay", TO, value=7)
        await sender.poll()
        await next_block_at(rpc, 100 * 10**9)
        await sender.poll()
        first, second = (await row_of(store, "pay")).attempts
        await rpc.call("anvil_dropTransaction", "0x" + second.transaction.hex())
        await next_block_at(rpc, 10**9)
        await rpc.call("eth_sendRawTransaction", "0x" + first.raw.hex())
        await mine(rpc)
        assert (await sender.wait("pay")).transaction == first.transaction


async def test_a_nonce_used_by_somebody_else_is_exchanged_once_that_is_final(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=2)
        await reserved(sender, rpc, "ours", 7)
        other = sender_of(rpc, dev_account(0))
        await other.submit("theirs", dev_account(1).address, value=1)
        await other.wait("theirs")
        assert await sender.poll() == Poll((), ())  # their block may still go
        await mine(rpc)
        assert await sender.poll() == Poll((), ())
        await mine(rpc)
        poll = await sender.poll()
        assert kinds(poll) == ["nonce_taken"]
        row = await row_of(store, "ours")
        assert row.nonce == 1
        assert [attempt.nonce for attempt in row.attempts] == [0, 1]
        assert row.current == row.attempts[1:]
        await sender.wait("ours")
        assert await chain.balance(rpc, TO) == 7


async def test_while_the_deep_state_is_not_there_nothing_is_exchanged(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store)
        await reserved(sender, rpc, "ours", 7)
        await fund(sender_of(rpc, dev_account(0)), dev_account(1).address, 1)

        class Forgetful(FaultyRpc):
            async def call(self, method: str, *params: object) -> object:
                if method == "eth_getTransactionCount":
                    return await super().call(method, params[0], hex(10**6))  # no such block: an error
                return await super().call(method, *params)

        async with Forgetful(private.url) as forgetful:
            assert await sender_of(forgetful, dev_account(0), store).poll() == Poll((), ())
        await mine(rpc)
        assert kinds(await sender.poll()) == ["nonce_taken"]


async def test_a_nonce_gap_is_filled_with_an_empty_transaction(new_chain: NewChain) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        account = dev_account(0)
        await mine(rpc, 5)
        await fund(sender_of(rpc, account), dev_account(1).address, 1)
        store = MemoryStore()
        sender = sender_of(rpc, account, store)
        row = await sender.submit("ours", TO, value=7)
        assert row.nonce == 1
        while await chain.balance(rpc, TO) == 0:
            await asyncio.sleep(0.01)
        await reorg(rpc, 2)  # theirs is gone, and nobody sends it again
        assert await sender.poll() == Poll((), ())
        await mine(rpc, 2)
        poll = await sender.poll()
        assert [(alarm.kind, alarm.message) for alarm in poll.alarms] == [
            ("gap", "no transaction has nonce 0: an empty one fills it")
        ]
        await sender.wait("ours")
        filler = await row_of(store, f"gap:31337:{account.address}:0")
        assert (filler.nonce, filler.request.to, filler.request.value) == (0, account.address, 0)
        assert await chain.balance(rpc, TO) == 7


async def test_a_gap_that_another_worker_fills_is_left_to_it(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        account = dev_account(0)

        class Busy(MemoryStore):
            async def unsettled(self, chain_id: int, account: str) -> list[StoredTransaction]:
                rows = await super().unsettled(chain_id, account)
                return [row for row in rows if row.key != "first"]

        store = Busy()
        sender = sender_of(rpc, account, store)
        rpc.before = lambda method: method == "eth_sendRawTransaction"
        await sender.submit("first", TO, value=1)
        rpc.before = lambda method: False
        await sender.submit("second", TO, value=1)
        await sender.poll()
        await mine(rpc, 2)
        assert await sender.poll() == Poll((), ())


async def test_an_account_that_ran_dry_raises_an_alarm_and_goes_on_when_funded(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        account = dev_account(0)
        sender = sender_of(rpc, account)
        await reserved(sender, rpc, "pay", 7)
        await rpc.call("anvil_setBalance", account.address, "0x1")
        poll = await sender.poll()
        assert [(alarm.kind, alarm.key) for alarm in poll.alarms] == [("funds", "pay")]
        await rpc.call("anvil_setBalance", account.address, hex(ETHER))
        assert (await sender.poll()).alarms == ()
        await mine(rpc)
        assert (await sender.wait("pay")).succeeded


async def test_a_transaction_that_the_node_refuses_raises_an_alarm(new_chain: NewChain) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        sender = sender_of(rpc, dev_account(0))
        await sender.submit("pay", TO, value=7, gas=20_000)
        (alarm,) = (await sender.poll()).alarms
        assert (alarm.kind, alarm.key, alarm.message) == ("refused", "pay", "intrinsic gas too low")


async def test_two_workers_do_the_work_once(new_chain: NewChain) -> None:
    private = new_chain(block_time=0.1)
    async with Rpc(private.url) as rpc, Rpc(private.url) as second:
        store = MemoryStore()
        workers = [sender_of(connection, dev_account(0), store) for connection in (rpc, second)]
        await asyncio.gather(*(workers[n % 2].submit(f"pay {n // 2}", TO, value=1) for n in range(20)))
        await asyncio.gather(*(workers[n % 2].wait(f"pay {n // 2}") for n in range(20)))
        assert await chain.balance(rpc, TO) == 10


class AbsentSigner(LocalAccount):
    """A key in a vault that can't be reached for now."""

    __slots__ = ("absent",)
    absent: bool

    def sign_digest(self, digest: bytes) -> tuple[int, int, int]:
        if self.absent:
            raise KeysError("the vault does not answer")
        return super().sign_digest(digest)


async def test_a_nonce_reserved_while_the_key_is_out_of_reach_is_used_later(new_chain: NewChain) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        account, store = AbsentSigner(LocalAccount.generate()._key.secret), MemoryStore()
        account.absent = True
        await rpc.call("anvil_setBalance", account.address, hex(ETHER))
        sender = sender_of(rpc, account, store)
        with pytest.raises(KeysError, match="vault"):
            await sender.submit("pay", TO, value=7)
        assert (await row_of(store, "pay")).attempts == ()
        with pytest.raises(KeysError, match="vault"):
            await sender.poll()
        account.absent = False
        assert (await sender.wait("pay")).succeeded
        assert await chain.balance(rpc, TO) == 7


async def test_a_replacement_that_the_account_can_not_pay_leaves_the_first_bytes_in_use(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with FaultyRpc(private.url) as rpc:
        account, store = LocalAccount.generate(), MemoryStore()
        sender = sender_of(rpc, account, store, stuck_after=2)
        now = await market.read(rpc, account.address)
        await anvil_set_balance(rpc, account.address, 21_000 * now.fees.max_fee)  # for the first attempt, to the wei
        await sender.submit("pay", TO, gas=21_000)
        for _ in range(4):  # blocks go by without it, so it is replaced
            await rpc.call("anvil_dropAllTransactions")
            await mine(rpc)
            await sender.poll()
        row = await row_of(store, "pay")
        assert len(row.current) > 1
        await rpc.call("anvil_dropAllTransactions")  # the node restarts, say
        assert (await sender.poll()).alarms == ()
        await mine(rpc)
        assert (await sender.wait("pay")).transaction == row.current[0].transaction


class Lagging(Rpc):
    """A node that counts a transaction of its newest block before it has the receipt."""

    late = True

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        answers = await super().batch(calls)
        head = await super().batch([("eth_blockNumber", ())])
        return [
            None
            if self.late
            and method == "eth_getTransactionReceipt"
            and answer is not None
            and answer["blockNumber"] == head[0]
            else answer
            for (method, _), answer in zip(calls, answers, strict=True)
        ]


async def test_a_receipt_that_comes_later_than_the_count_doubles_nothing(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with Lagging(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=0)
        await sender.submit("pay", TO, value=1)
        await mine(rpc)
        for _ in range(5):
            assert (await sender.poll()).alarms == ()
        assert (await row_of(store, "pay")).nonce == 0
        rpc.late = False
        await sender.poll()
        await mine(rpc)
        assert await chain.balance(rpc, TO) == 1
