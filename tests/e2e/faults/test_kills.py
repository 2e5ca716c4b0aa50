"""kill -9 at random moments, over and over, while members deposit and transfer.

``DOCEX_TEST_KILLS`` and ``DOCEX_TEST_DEPOSITS`` set how often and how much; the long run is 50 and 2000 (run it with
``-s``). ``DOCEX_TEST_SEED`` repeats a run's choices.
"""

import asyncio
import os
import random
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.faults.accounts import Acknowledged
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import PATIENCE, Member, seeded
from tests.e2e.test_fsck import fsck

KILLS = int(os.environ.get("DOCEX_TEST_KILLS", "2"))
DEPOSITS = int(os.environ.get("DOCEX_TEST_DEPOSITS", str(25 * KILLS)))
CLIENTS = 6


async def killing(members: Sequence[Member], chance: random.Random, said: Acknowledged) -> list[str]:
    """Kill one node after the other, evenly over the work; some are killed again before they are up."""
    killed: list[str] = []
    for number in range(1, KILLS + 1):
        async with asyncio.timeout(PATIENCE):
            while len(said.transfers) < number * DEPOSITS // (KILLS + 1):
                await asyncio.sleep(0.005)
        member = chance.choice(members)
        await asyncio.sleep(chance.uniform(0.0, 0.4))
        await member.kill()
        killed.append(f"{member.folder.name} after {len(said.transfers)} transfers")
        member.launch()
        if chance.random() < 0.7:
            await member.until_up()
    return killed


@pytest.mark.timeout(PATIENCE + 30 * KILLS + DEPOSITS)  # which is much: 420 seconds for the short run
async def test_kills_at_random_moments_lose_and_double_nothing(new_member: NewMember) -> None:
    chance, seed = seeded()
    mine, maker = members = await new_member("Mine", forked=False), await new_member("Maker", forked=False)
    await asyncio.gather(*(member.start() for member in members))
    said = Acknowledged()
    work: Iterator[int] = iter(range(DEPOSITS))

    async def client() -> None:
        for number in work:
            pair = (mine, maker) if number % 3 else (maker, mine)
            await said.both(*pair, f"{pair[0].folder.name}/{number % 97}/{number}")

    try:
        async with asyncio.TaskGroup() as group:
            kills = group.create_task(killing(members, chance, said))
            for _ in range(CLIENTS):
                group.create_task(client())
        await asyncio.gather(*(member.until_up() for member in members))
        await said.check(*members)
        assert len(kills.result()) == KILLS
        for member in members:
            code, report = fsck(
                member.settings.data, member.organisation.folder, "--deep", "--ledger", "--rpc", member.settings.rpc
            )
            assert (code, report["findings"]) == (0, []), report
            print(member.folder.name, report["counts"])
        print(f"{KILLS} kills, {len(said.deposits)} deposits and {len(said.transfers)} transfers acknowledged")
    except BaseException:
        print(seed, *(member.log() for member in members), sep="\n")
        raise
