"""Clocks that jump back and forth by hours, one node's without the other's."""

import asyncio

import pytest

from docex.service import worker
from tests.e2e.faults.accounts import Acknowledged, under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import seeded

pytestmark = pytest.mark.timeout(420)

HOUR = 3600.0


async def test_a_clock_that_is_put_back_holds_up_no_work(new_member: NewMember) -> None:
    mine, maker = await new_member("Mine"), await new_member("Maker")
    await asyncio.gather(mine.start(), maker.start())
    said = Acknowledged()
    await maker.kill()
    await said.both(mine, maker, "sent/to-a-node-that-is-down")

    async def tried() -> bool:
        (delivery,) = (await mine.get(f"transfers/{said.transfers[0][0]}"))["deliveries"]
        return int(delivery["attempts"]) > before

    before = 0
    await mine.until(tried)
    for jump in (5 * HOUR, 0.0):  # forth, so that its job is claimed in the future; and back
        before = (await mine.get(f"transfers/{said.transfers[0][0]}"))["deliveries"][0]["attempts"]
        mine.jump(jump)
        await mine.until(tried, within=worker.LEASE * 3)
    await maker.start()
    await said.check(mine, maker)


async def test_clocks_that_jump_back_and_forth_by_hours_lose_and_double_nothing(new_member: NewMember) -> None:
    chance, seed = seeded()
    mine, maker = members = await new_member("Mine"), await new_member("Maker")
    await asyncio.gather(mine.start(), maker.start())
    try:
        async with under_load(mine, maker):
            for _ in range(6):
                await asyncio.sleep(0.7)
                chance.choice(members).jump(chance.uniform(0.0, 5 * HOUR))
            for member in members:  # later than whatever either has dated, so that nothing is from the future any more
                member.jump(10 * HOUR)
    except BaseException:
        print(seed)
        raise
