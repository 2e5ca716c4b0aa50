"""A storage service that refuses, hangs, resets, is busy, loses answers, and breaks off up- and downloads half-way."""

import asyncio
import random

import pytest
from aiohttp import web

from tests.e2e.faults.accounts import under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import seeded
from tests.fixtures.azurite import ACCOUNT, Azurite, connection_string
from tests.fixtures.proxy import Fault, running_proxy

pytestmark = pytest.mark.timeout(420)

FAULTS = (
    Fault.CUT,
    Fault.CUT_REQUEST,
    Fault.CUT_ANSWER,
    Fault.LOSE_ANSWER,
    Fault.BUSY,
    Fault.BUSY_BUT_DONE,
    Fault.HANG,
)


async def test_a_storage_service_that_fails_in_every_way_loses_and_doubles_nothing(
    new_member: NewMember, azurite: Azurite
) -> None:
    chance, seed = seeded()
    async with running_proxy(f"http://127.0.0.1:{azurite.port}") as proxy:
        storage = connection_string(f"{proxy.url}/{ACCOUNT}")
        mine, maker = [
            await new_member(
                name,
                given={
                    "DOCEX_AZURE_STORAGE": storage,
                    "DOCEX_AZURE_CONTAINER": f"faults-{name.lower()}-{random.randrange(1 << 32)}",
                    "DOCEX_AZURE_TIMEOUT": "0.5",
                },
            )
            for name in ("Mine", "Maker")
        ]
        await asyncio.gather(mine.start(), maker.start())
        try:
            async with under_load(mine, maker):
                await asyncio.sleep(0.5)
                for fault in chance.sample(FAULTS, len(FAULTS)):
                    odds = chance.choice((0.3, 1.0))

                    def plan(_: web.Request, fault: Fault = fault, odds: float = odds) -> Fault | None:
                        return fault if chance.random() < odds else None

                    proxy.plan = plan
                    await asyncio.sleep(1.0)
                await proxy.refuse()
                await asyncio.sleep(1.0)
                proxy.plan = lambda _: None
                await proxy.accept()
        except BaseException:
            print(seed)
            raise
