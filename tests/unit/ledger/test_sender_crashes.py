"""The sender killed between any two of its steps: what it kept is gone on with, and paid once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from docex.ledger import chain
from docex.ledger.memory import MemoryStore
from docex.ledger.rpc import Rpc
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain, dev_account
from tests.unit.ledger.steps import row_of
from tests.unit.ledger.support import sender_of


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
