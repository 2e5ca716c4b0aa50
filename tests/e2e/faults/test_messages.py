"""Messages between nodes that come twice, late, and in another order than they were sent."""

import asyncio
import random

import pytest
from aiohttp import web

from tests.e2e.faults.accounts import under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import seeded
from tests.fixtures.processes import free_port
from tests.fixtures.proxy import Proxy

pytestmark = pytest.mark.timeout(420)


class Unruly(Proxy):
    """Holds messages back for a while, and sends old ones again before and after them."""

    def __init__(self, target: str, chance: random.Random) -> None:
        super().__init__(target)
        self.again = 0
        self._chance = chance
        self._seen: list[tuple[web.Request, bytes]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self._seen.append((request, body))
        await asyncio.sleep(self._chance.uniform(0.0, 0.2))
        await self._repeat()
        answer = await self._forward(request, body)
        await self._repeat()
        return answer

    async def _repeat(self) -> None:
        some = self._chance.sample(self._seen, min(2, len(self._seen)))
        self.again += len(some)
        await asyncio.gather(*(self._forward(*each) for each in some))


async def test_messages_repeated_and_reordered_lose_and_double_nothing(new_member: NewMember) -> None:
    chance, seed = seeded()
    ports = free_port(), free_port()
    proxies = [Unruly(f"http://127.0.0.1:{port}", chance) for port in ports]
    for proxy in proxies:
        await proxy.start()
    try:
        mine, maker = [
            await new_member(name, endpoint=proxy.url, port=port)
            for name, proxy, port in zip(("Mine", "Maker"), proxies, ports, strict=True)
        ]
        await asyncio.gather(mine.start(), maker.start())
        async with under_load(mine, maker, clients=2):
            await asyncio.sleep(2.0)
        assert all(proxy.again > 10 for proxy in proxies)
    except BaseException:
        print(seed)
        raise
    finally:
        for proxy in proxies:
            await proxy.stop()
