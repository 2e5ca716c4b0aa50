"""PostgreSQL stopped as `pg_ctl stop -m immediate` does, under load, and started again."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.faults.accounts import under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import PATIENCE
from tests.fixtures.postgres import Postgres, private_server

pytestmark = pytest.mark.timeout(420)


@pytest.fixture
def server() -> Iterator[Postgres]:
    with private_server() as running:
        yield running


async def test_a_database_stopped_immediately_under_load_loses_and_doubles_nothing(
    new_member: NewMember, server: Postgres
) -> None:
    mine = await new_member("Mine", given={"DOCEX_DATABASE": server.url(server.create())})
    maker = await new_member("Maker", given={"DOCEX_DATABASE": server.url(server.create())})
    await asyncio.gather(mine.start(), maker.start())
    async with under_load(mine, maker) as said:
        for stopped in (0.0, 1.0):
            before = len(said.transfers)
            async with asyncio.timeout(PATIENCE):
                while len(said.transfers) <= before:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            await asyncio.to_thread(server.stop, signal.SIGQUIT)
            assert (await mine.client.get("/livez")).status_code == 200
            answer = await mine.client.get("/api/v1/documents")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:docex:problem:database_unavailable")
            await asyncio.sleep(stopped)
            await asyncio.to_thread(server.start)
