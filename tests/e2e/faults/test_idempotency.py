"""A request whose node is killed on either side of its effect is sent again, and takes effect once."""

import httpx
import pytest

from docex.failpoints import VARIABLE, Failpoint
from docex.service.once import LEASE
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import Member
from tests.fixtures.problems import check_problem

pytestmark = pytest.mark.timeout(420)

BEFORE = (Failpoint.REQUEST_BEGUN, Failpoint.DEPOSIT_STORED, Failpoint.TRANSFER_STORED)
AFTER = (Failpoint.DEPOSIT_KEPT, Failpoint.TRANSFER_KEPT, Failpoint.KEY_KEPT)
CROSSED = (*BEFORE, *AFTER, Failpoint.REQUEST_FAILED)


async def send(member: Member, point: Failpoint, to: str) -> httpx.Response:
    headers = {"idempotency-key": f'"{point}"'}
    if point in (Failpoint.REQUEST_BEGUN, Failpoint.DEPOSIT_STORED, Failpoint.DEPOSIT_KEPT):
        return await member.client.put(f"/api/v1/documents/{point}", content=b"content", headers=headers)
    if point is Failpoint.KEY_KEPT:
        return await member.client.post("/api/v1/keys", json={"name": "Ann", "roles": ["auditor"]}, headers=headers)
    return await member.client.post("/api/v1/transfers", json={"documents": ["known"], "to": [to]}, headers=headers)


async def effects(member: Member) -> tuple[int, int, int]:
    counts = await member.counts()
    async with member.store() as store:
        return counts["documents"], counts["transfers"], len(await store.api_keys())


async def test_a_request_sent_again_after_a_kill_takes_effect_once(new_member: NewMember) -> None:
    mine, maker = await new_member("Mine"), await new_member("Maker")
    await mine.start()
    await mine.client.put("/api/v1/documents/known", content=b"known")
    for number, point in enumerate((*BEFORE, *AFTER), 1):
        before = await effects(mine)
        await mine.kill()
        await mine.start({VARIABLE: point})
        with pytest.raises(httpx.HTTPError):
            await send(mine, point, maker.account)
        await mine.until_dead()
        await mine.start()
        if point in BEFORE:  # nobody can know that the other try is dead until its lease has run out
            check_problem(await send(mine, point, maker.account), 409, "request_under_way")
            mine.jump(number * (LEASE + 1.0))
        first, second = [await send(mine, point, maker.account) for _ in range(2)]
        assert first.status_code == second.status_code in (201, 202), first.text
        replayed = [each.headers.get("idempotency-replayed") for each in (first, second)]
        assert replayed == [None if point in BEFORE else "true", "true"]
        names = ("id",) if "id" in first.json() else ("statement", "version")
        assert [first.json()[each] for each in names] == [second.json()[each] for each in names]
        assert sum(await effects(mine)) == sum(before) + 1, point
    await refused_twice(mine, maker.account)


async def refused_twice(mine: Member, to: str) -> None:
    """A request that fails, as its node is killed before it can say that another try may begin."""
    wanted = {"documents": ["later"], "to": [to]}

    async def ask() -> httpx.Response:
        return await mine.client.post("/api/v1/transfers", json=wanted, headers={"idempotency-key": '"failed"'})

    await mine.kill()
    await mine.start({VARIABLE: Failpoint.REQUEST_FAILED})
    with pytest.raises(httpx.HTTPError):
        await ask()
    await mine.until_dead()
    await mine.start()
    await mine.client.put("/api/v1/documents/later", content=b"content")
    check_problem(await ask(), 409, "request_under_way")
    mine.jump(10 * (LEASE + 1.0))
    before = await effects(mine)
    answers = [await ask() for _ in range(2)]
    assert [each.status_code for each in answers] == [202, 202]
    assert [each.headers.get("idempotency-replayed") for each in answers] == [None, "true"]
    assert sum(await effects(mine)) == sum(before) + 1
