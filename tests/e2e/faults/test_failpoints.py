"""A node ended once between any two durable steps goes on from there by itself, to the accounting identity."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from docex.core import statement
from docex.core.claims import Document
from docex.failpoints import VARIABLE, Failpoint
from tests.e2e.faults.accounts import Acknowledged, insist
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import Member
from tests.fixtures.statements import digest_of
from tests.fixtures.tsa import LocalTsa

pytestmark = pytest.mark.timeout(420)

AT_START = (Failpoint.NODE_MIGRATED, Failpoint.NODE_OWNED)
AT_THE_RECIPIENT = (
    Failpoint.ANNOUNCEMENT_KEPT,
    Failpoint.PACKET_STORED,
    Failpoint.PACKET_KEPT,
    Failpoint.CIPHERTEXT_STORED,
    Failpoint.CIPHERTEXT_SIGNED,
    Failpoint.HEADER_ASKED,
    Failpoint.HEADER_STORED,
    Failpoint.HEADER_KEPT,
    Failpoint.CIPHERTEXT_CLEARED,
    Failpoint.RECEIVED_KEPT,
    Failpoint.RECEIPT_KEPT,
    Failpoint.RECEIPT_RETURNED,
)
FAIR = [point for point in Failpoint if point.startswith(("ciphertext", "header"))]
AT_THE_SENDER = [point for point in Failpoint if point not in (*AT_START, *AT_THE_RECIPIENT)]


async def die_at(member: Member, point: Failpoint) -> None:
    """Wait until the node has ended, see that it did so there, and that what it left is sound as it is."""
    code = await member.until_dead()
    last = member.log(1).splitlines()[-1]
    assert (code, last) == (-signal.SIGKILL, f"failpoint {point}"), member.log()
    if point is not Failpoint.NODE_MIGRATED:  # before anybody has used the database there is nothing to check
        report = await member.fsck()
        assert report.findings == (), (point, report.findings)


async def notarise(member: Member) -> None:
    keys = member.organisation.keystore
    claim = Document(digest_of("elsewhere"), 9, "kept-elsewhere", "text/plain", "")
    said = statement.issue(keys.signer, member.account, claim, int(time.time()))
    await insist(member, lambda: member.client.post("/api/v1/statements", content=json.dumps(said.token)), 201)


async def make_key(member: Member) -> None:
    wanted = {"name": "somebody", "roles": ["auditor"]}
    await insist(member, lambda: member.client.post("/api/v1/keys", json=wanted), 201)


async def anchored(member: Member, path: str) -> str:
    """Deposit a document and wait until its statement is final; the statement's digest."""
    answer = await member.client.put(f"/api/v1/documents/{path}", content=b"content")
    digest = str(answer.json()["statement"])

    async def final() -> bool:
        return (await member.get(f"proofs/{digest}"))["statement"]["anchor"] is not None

    await member.until(final)
    return digest


async def revoke(member: Member, digest: str) -> None:
    """Once, whether or not the first answer got lost: the second is then told that it is revoked already."""
    wanted = {"statement": digest, "reason": "withdrawn"}
    codes = set()

    async def ask() -> int:
        codes.add((await member.client.post("/api/v1/revocations", json=wanted)).status_code)
        return len(codes & {201, 409})

    await member.until(ask)
    assert codes <= {201, 409}


async def test_a_node_ended_between_any_two_durable_steps_goes_on_by_itself(
    new_member: NewMember, tsa: LocalTsa
) -> None:
    mine = await new_member("Mine", given={"DOCEX_TSA": tsa.url})
    maker = await new_member("Maker")
    said, working = Acknowledged(), []
    for point in AT_START:
        mine.launch({VARIABLE: point})
        await die_at(mine, point)
    await asyncio.gather(mine.start(), maker.start())
    revoked = {Failpoint.REVOCATION_KEPT: "old/1", Failpoint.REVOCATION_RECORDED: "old/2"}
    digests = {point: await anchored(mine, path) for point, path in revoked.items()}

    def work(point: Failpoint) -> Awaitable[None]:
        if point in revoked:
            return revoke(mine, digests[point])
        if point is Failpoint.STATEMENTS_KEPT:
            return notarise(mine)
        if point is Failpoint.KEY_KEPT:
            return make_key(mine)
        return said.both(mine, maker, f"{point.replace('.', '/')}", fair=point in FAIR)

    async def end_at(member: Member, points: Sequence[Failpoint], work: Callable[[Failpoint], Awaitable[None]]) -> None:
        for point in points:
            await member.kill()
            await member.start({VARIABLE: point})
            working.append(asyncio.ensure_future(work(point)))
            dying = asyncio.create_task(die_at(member, point))
            while not dying.done():
                busy = [each for each in working if not each.done()]
                for done in (await asyncio.wait([dying, *busy], return_when=asyncio.FIRST_COMPLETED))[0]:
                    done.result()
        await member.start()

    await end_at(mine, AT_THE_SENDER, work)
    await end_at(maker, AT_THE_RECIPIENT, work)
    await asyncio.gather(*working)
    await said.check(mine, maker)
