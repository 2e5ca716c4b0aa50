"""The sender killed between any two of its steps: what it kept is gone on with, and paid once."""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from docex.core.transactions import TransactionRequest, TransactionStatus
from docex.failpoints import Failpoint, arm
from docex.ledger import chain
from docex.ledger.funding import fund
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.steps import TO, reorg, reserved, row_of
from tests.unit.ledger.support import FaultyRpc, mine, sender_of


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Burns with each step and goes off at the chosen one, before or after it is done."""

    def __init__(self, steps: int, *, after: bool) -> None:
        self.left = steps
        self.after = after

    def step(self, *, done: bool) -> None:
        if done is self.after:
            self.left -= 1
            if self.left == 0:
                raise Crash


class DoomedStore(MemoryStore):
    def __init__(self, kept: MemoryStore, fuse: Fuse) -> None:
        self.__dict__ |= {name: self._doomed(getattr(kept, name), fuse) for name in dir(kept) if name[0] != "_"}

    def _doomed(self, method: Callable[..., Awaitable[object]], fuse: Fuse) -> object:
        async def call(*arguments: object) -> object:
            fuse.step(done=False)
            result = await method(*arguments)
            fuse.step(done=True)
            return result

        return call


class DoomedRpc(Rpc):
    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        self._fuse.step(done=False)
        results = await super().batch(calls)
        self._fuse.step(done=True)
        return results


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_between_any_two_steps_it_pays_once(new_chain: NewChain, after: bool) -> None:
    private = new_chain()
    async with Rpc(private.url) as rpc:
        for steps in range(1, 100):
            target, store, fuse = LocalAccount.generate().address, MemoryStore(), Fuse(steps, after=after)
            async with DoomedRpc(private.url, fuse) as doomed:
                try:
                    sender = sender_of(doomed, dev_account(0), DoomedStore(store, fuse))
                    await sender.submit("pay", target, value=7)
                    await sender.wait("pay", final=True)
                    crashed = False
                except Crash:
                    crashed = True
            survivor = sender_of(rpc, dev_account(0), store)
            await survivor.submit("pay", target, value=7)
            assert (await survivor.wait("pay", final=True)).succeeded
            assert len((await row_of(store, "pay")).attempts) == 1
            assert await chain.balance(rpc, target) == 7
            if not crashed:
                break
        assert not crashed
        assert steps > 12


# --- at the points that only reorgs and other users of the account lead to ------------------------------------------

CROSSED = (
    Failpoint.TRANSACTION_LOST,
    Failpoint.TRANSACTION_RENUMBERED,
    Failpoint.TRANSACTION_FILLED,
    Failpoint.TRANSACTION_ADOPTED,
)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Failpoint], AbstractContextManager[object]]]:
    """What runs in its block ends at a point."""

    def kill(*_: object) -> None:
        arm("")
        raise Crash

    @contextmanager
    def at(point: Failpoint) -> Iterator[None]:
        arm(point)
        with pytest.raises(Crash):
            yield

    monkeypatch.setattr(os, "kill", kill)
    yield at
    arm("")


Ends = Callable[[Failpoint], AbstractContextManager[object]]


async def test_killed_after_a_lost_block_was_noted_it_sends_again(new_chain: NewChain, ends: Ends) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        await mine(rpc, 5)
        store = MemoryStore()
        await sender_of(rpc, dev_account(0), store).submit("pay", TO, value=7)
        await sender_of(rpc, dev_account(0), store).wait("pay", final=True)
        await reorg(rpc, 1)
        with ends(Failpoint.TRANSACTION_LOST):
            await sender_of(rpc, dev_account(0), store).poll()
        assert (await row_of(store, "pay")).status is TransactionStatus.PENDING
        assert (await sender_of(rpc, dev_account(0), store).wait("pay", final=True)).succeeded
        assert await chain.balance(rpc, TO) == 7


async def test_killed_after_a_nonce_was_exchanged_it_signs_and_pays_once(new_chain: NewChain, ends: Ends) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        store = MemoryStore()
        await reserved(sender_of(rpc, dev_account(0), store), rpc, "ours", 7)
        await fund(sender_of(rpc, dev_account(0)), dev_account(1).address, 1)
        await mine(rpc)
        with ends(Failpoint.TRANSACTION_RENUMBERED):
            await sender_of(rpc, dev_account(0), store).poll()
        assert (await row_of(store, "ours")).current == ()
        await sender_of(rpc, dev_account(0), store).wait("ours")
        assert await chain.balance(rpc, TO) == 7


async def test_killed_after_a_gap_was_given_to_a_filler_it_goes_on(new_chain: NewChain, ends: Ends) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        account, store = dev_account(0), MemoryStore()
        await mine(rpc, 5)
        await store.reserve(TransactionRequest("ours", 31337, account.address, TO, b"", 7, 21_000), 1)
        sender = sender_of(rpc, account, store)
        await sender.poll()
        await mine(rpc, 2)
        with ends(Failpoint.TRANSACTION_FILLED):
            await sender.poll()
        filler = f"gap:31337:{account.address}:0"
        assert (await row_of(store, filler)).current == ()
        await sender_of(rpc, account, store).wait("ours")
        assert len((await row_of(store, filler)).attempts) == 1
        assert await chain.balance(rpc, TO) == 7


async def test_killed_after_a_transaction_was_taken_over_it_follows_it(new_chain: NewChain, ends: Ends) -> None:
    private = new_chain()
    async with FaultyRpc(private.url) as rpc:
        made = await fund(sender_of(rpc, dev_account(0)), TO, 7)
        store = MemoryStore()
        with ends(Failpoint.TRANSACTION_ADOPTED):
            await sender_of(rpc, dev_account(0), store).adopt("ours", made.transaction)
        assert (await sender_of(rpc, dev_account(0), store).wait("ours")).transaction == made.transaction
        assert await chain.balance(rpc, TO) == 7
