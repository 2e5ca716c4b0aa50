"""The sender on real chains, when things go as planned: each submit is one transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from docex.core.transactions import TransactionStatus
from docex.errors import Conflict, LedgerRejected, LedgerUnavailable, NotFound
from docex.ledger import chain
from docex.ledger.contracts import load
from docex.ledger.funding import fund
from docex.ledger.memory import MemoryStore
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Poll
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.support import ETHER, FaultyRpc, funded, mine, sender_of

TO = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


async def test_a_transfer_arrives_once_and_is_final_with_its_confirmations(rpc: Rpc) -> None:
    account, target = await funded(rpc), LocalAccount.generate().address
    sender = sender_of(rpc, account, confirmations=2)
    row = await sender.submit("pay", target, value=7)
    assert row.status is TransactionStatus.PENDING
    info = await sender.wait("pay")
    assert (info.succeeded, info.gas_used, info.contract) == (True, 21_000, None)
    assert info.transaction == row.attempts[0].transaction
    await mine(rpc, 2)
    final = await sender.wait("pay", final=True)
    assert final.confirmations >= 2
    assert (final.block_hash, final.block_number, final.block_time) == (
        info.block_hash,
        info.block_number,
        info.block_time,
    )
    assert await chain.balance(rpc, target) == 7


async def test_a_block_is_final_only_when_enough_blocks_are_on_top(new_chain: NewChain) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        store = MemoryStore()
        sender = sender_of(rpc, dev_account(0), store, confirmations=2)
        await sender.submit("pay", TO, value=1)
        await sender.wait("pay")
        seen = []
        for _ in range(4):
            await sender.poll()
            row = await store.find("pay")
            assert row is not None
            seen.append(row.status)
            await mine(rpc)
        assert seen == ["mined", "mined", "final", "final"]
        assert await sender.poll() == Poll((), ())


async def test_the_same_key_sends_once_however_often_it_is_asked_for(rpc: Rpc) -> None:
    account, target = await funded(rpc), LocalAccount.generate().address
    sender = sender_of(rpc, account)
    rows = await asyncio.gather(*(sender.submit("pay", target, value=7) for _ in range(5)))
    assert len({row.attempts for row in rows}) == 1
    await sender.wait("pay", final=True)
    after = await sender.submit("pay", target, value=7)
    assert after.status is TransactionStatus.FINAL
    assert await chain.balance(rpc, target) == 7


async def test_a_key_can_t_be_reused_for_something_else(rpc: Rpc) -> None:
    sender = sender_of(rpc, await funded(rpc))
    await sender.submit("pay", TO, value=1)
    with pytest.raises(Conflict, match="'pay' belongs to another transaction"):
        await sender.submit("pay", TO, value=2)


async def test_many_at_once_get_consecutive_nonces_and_all_are_mined(rpc: Rpc) -> None:
    account, target = await funded(rpc), LocalAccount.generate().address
    sender = sender_of(rpc, account)
    rows = await asyncio.gather(*(sender.submit(f"pay {n}", target, value=1) for n in range(40)))
    assert sorted(row.nonce for row in rows) == list(range(40))
    for n in range(40):
        assert (await sender.wait(f"pay {n}")).succeeded
    assert await chain.balance(rpc, target) == 40


async def test_a_later_sender_of_the_account_goes_on_from_the_chain_s_count(rpc: Rpc) -> None:
    account = await funded(rpc)
    await fund(sender_of(rpc, account), TO, 1)
    row = await sender_of(rpc, account).submit("pay", TO, value=1)
    assert row.nonce == 1


async def test_an_account_that_can_t_pay_is_told_before_a_nonce_is_spent(rpc: Rpc) -> None:
    store = MemoryStore()
    poor = await funded(rpc, 1000)
    with pytest.raises(LedgerRejected, match=f"{poor.address} has 1000 wei, the transaction may take "):
        await sender_of(rpc, poor, store).submit("pay", TO, value=1, gas=21_000)
    assert await store.find("pay") is None
    with pytest.raises(LedgerRejected, match=f"{poor.address} has 1000 wei, the transaction may take 1[0-9]{{18}}$"):
        await sender_of(rpc, poor, store).submit("pay", TO, value=ETHER)
    assert await store.find("pay") is None


async def test_a_reverted_transaction_is_told_with_its_reason(rpc: Rpc) -> None:
    store = MemoryStore()
    account = await funded(rpc)
    sender = sender_of(rpc, account, store)
    directory = await sender.submit("directory", None, load("Directory").creation(account.address))
    created = (await sender.wait(directory.key)).contract
    # Gas given: nothing runs beforehand, so the refusal is met on-chain.
    data = load("Directory").encode("suspend", TO)
    await sender.submit("suspend", created, data, gas=100_000)
    with pytest.raises(LedgerRejected, match=r"'suspend' reverted in block \d+: 0x5aAe.* not an active member"):
        await sender.wait("suspend", final=True)
    row = await store.find("suspend")
    assert row is not None
    assert row.status is TransactionStatus.FAILED
    assert row.block is not None
    assert not row.block.succeeded


async def test_a_transaction_out_of_gas_is_told(rpc: Rpc) -> None:
    account = await funded(rpc)
    sender = sender_of(rpc, account)
    await sender.submit("create", None, load("Directory").creation(account.address))
    directory = (await sender.wait("create")).contract
    data = load("Directory").encode("admit", TO, "Mine AG")
    await sender.submit("admit", directory, data, gas=40_000)
    with pytest.raises(LedgerRejected, match=r"'admit' reverted in block \d+: .*(?i:out ?of ?gas)"):
        await sender.wait("admit")


async def test_a_revert_that_can_t_be_repeated_is_told_as_such(new_chain: NewChain) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        account = dev_account(0)
        sender = sender_of(rpc, account)
        await sender.submit("create", None, load("Directory").creation(account.address))
        directory = (await sender.wait("create")).contract
        await rpc.call("evm_setAutomine", False)
        # In one block: the suspension comes first and reverts, then the admission makes it possible.
        await sender.submit("suspend", directory, load("Directory").encode("suspend", TO), gas=100_000)
        await sender.submit("admit", directory, load("Directory").encode("admit", TO, "Mine AG"))
        await mine(rpc)
        with pytest.raises(LedgerRejected, match="'suspend' reverted in block 2: out of gas, or the state has changed"):
            await sender.wait("suspend")


async def test_waiting_for_an_unknown_key_is_an_error(rpc: Rpc) -> None:
    with pytest.raises(NotFound, match="no transaction 'nothing'"):
        await sender_of(rpc, await funded(rpc)).wait("nothing")


async def test_waiting_ends_and_says_that_nothing_is_lost(new_chain: NewChain) -> None:
    private = new_chain("--no-mining")
    async with Rpc(private.url) as rpc:
        sender = sender_of(rpc, dev_account(0))
        await sender.submit("pay", TO, value=1)
        with pytest.raises(LedgerUnavailable, match=r"'pay' was not mined in 0\.1 seconds$"):
            await sender.wait("pay", within=0.1)
        private.stop()
        with pytest.raises(LedgerUnavailable, match=r"not mined in 0\.1 seconds: the ledger node .* did not answer"):
            await sender.wait("pay", within=0.1)


async def test_waiting_in_vain_says_what_the_node_says(rpc: Rpc) -> None:
    sender = sender_of(rpc, await funded(rpc))
    await sender.submit("pay", TO, value=7, gas=20_000)
    with pytest.raises(LedgerUnavailable, match=r"not mined in 0\.1 seconds: intrinsic gas too low$"):
        await sender.wait("pay", within=0.1)


async def test_nothing_is_kept_when_the_node_can_t_be_reached_at_first(anvil: LocalChain) -> None:
    store = MemoryStore()
    async with FaultyRpc(anvil.url) as rpc:
        sender = sender_of(rpc, await funded(rpc), store)
        rpc.before = lambda method: method == "eth_estimateGas"
        with pytest.raises(LedgerUnavailable):
            await sender.submit("pay", TO, value=1)
        assert await store.find("pay") is None
        rpc.before = lambda method: False
        await sender.submit("pay", TO, value=1)
        assert (await sender.wait("pay")).succeeded


@pytest.mark.parametrize("estimate", ["0x0", "0x" + "00" * 31, "0x5207", "0x1000001", "0xfffffffffff"])
async def test_an_estimate_that_no_transaction_can_have_is_no_answer(anvil: LocalChain, estimate: str) -> None:
    """Signed with it, the transaction would be refused for good, and hold up all behind it."""

    class Wrong(Rpc):
        async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
            results = await super().batch(calls)
            wrong = [method == "eth_estimateGas" for method, _ in calls]
            return [estimate if each else result for each, result in zip(wrong, results, strict=True)]

    store = MemoryStore()
    async with Wrong(anvil.url) as rpc:
        account = await funded(rpc)
        with pytest.raises(LedgerUnavailable):
            await sender_of(rpc, account, store).submit("pay", TO, value=1)
    assert await store.find("pay") is None


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_retries_send_the_same_bytes(anvil: LocalChain, moment: str) -> None:
    """Whether the node got the first one or not ("already known", "nonce too low") makes no difference."""
    async with FaultyRpc(anvil.url) as rpc:
        target = LocalAccount.generate().address
        sender = sender_of(rpc, await funded(rpc), confirmations=1)
        setattr(rpc, moment, lambda method: method == "eth_sendRawTransaction")
        row = await sender.submit("pay", target, value=7)
        assert row.status is TransactionStatus.PENDING
        assert len(row.attempts) == 1
        setattr(rpc, moment, lambda method: False)
        again = await sender.submit("pay", target, value=7)
        assert again.attempts == row.attempts
        await sender.wait("pay")
        assert set(rpc.sent) == {row.attempts[0].raw}
        assert await chain.balance(rpc, target) == 7
