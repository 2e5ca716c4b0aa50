"""A node ended once between any two durable steps goes on from there by itself, to the accounting identity."""

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from docex.core import statement
from docex.core.claims import Document
from docex.failpoints import VARIABLE, Failpoint
from tests.e2e.faults.accounts import LARGE, Acknowledged, content_of, insist
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import Member
from tests.fixtures.statements import digest_of
from tests.fixtures.tsa import LocalTsa

pytestmark = pytest.mark.timeout(420)

AT_START = (Failpoint.NODE_MIGRATED, Failpoint.NODE_OWNED)
# Those that leave a job or an upload to a process that has ended come first: its lease has to run out.
AT_THE_SENDER = (
    Failpoint.DELIVERY_ANNOUNCED,
    Failpoint.DELIVERY_SENT,
    Failpoint.HEADER_SENT,
    Failpoint.REVOCATION_RECORDED,
    Failpoint.TIMESTAMP_FETCHED,
    Failpoint.JOB_CLAIMED,
    Failpoint.JOB_DONE,
    Failpoint.CIPHERTEXT_RECEIPT_TAKEN,
    Failpoint.RECEIPT_TAKEN,
    Failpoint.TRANSACTION_RESERVED,
    Failpoint.TRANSACTION_SIGNED,
    Failpoint.TRANSACTION_SENT,
    Failpoint.TRANSACTION_MOVED,
    Failpoint.BATCH_KEPT,
    Failpoint.BATCH_ANCHORED,
    Failpoint.BATCH_FINAL,
    Failpoint.REVOCATION_KEPT,
    Failpoint.KEY_KEPT,
    Failpoint.STATEMENTS_KEPT,
    Failpoint.TRANSFER_STORED,
    Failpoint.TRANSFER_KEPT,
    Failpoint.UPLOAD_STORED,
    Failpoint.DEPOSIT_STORED,
    Failpoint.DEPOSIT_KEPT,
)
AT_THE_RECIPIENT = (
    Failpoint.ARRIVAL_BEGUN,
    Failpoint.ARRIVAL_TAKEN,
    Failpoint.PART_STORED,
    Failpoint.PART_REMOVED,
    Failpoint.PARTS_CLEARED,
    Failpoint.PACKET_STORED,
    Failpoint.PACKET_KEPT,
    Failpoint.CIPHERTEXT_STORED,
    Failpoint.CIPHERTEXT_SIGNED,
    Failpoint.CIPHERTEXT_CLEARED,
    Failpoint.RECEIVED_KEPT,
    Failpoint.RECEIPT_KEPT,
    Failpoint.RECEIPT_RETURNED,
    Failpoint.RECEIPT_NOTED,
    Failpoint.HEADER_ASKED,
    Failpoint.HEADER_STORED,
    Failpoint.HEADER_KEPT,
    Failpoint.PEER_WOKEN,
    Failpoint.ANNOUNCEMENT_KEPT,
)
IN_VAIN = (Failpoint.JOB_PUT_OFF, Failpoint.TRANSFER_EXPIRED)
CROSSED = (*AT_START, *AT_THE_SENDER, *AT_THE_RECIPIENT, *IN_VAIN)
FAIR = [point for point in Failpoint if point.startswith(("ciphertext", "header"))]
IN_PARTS = (Failpoint.PART_STORED, Failpoint.PART_REMOVED, Failpoint.PARTS_CLEARED)
REVOKING = (Failpoint.REVOCATION_KEPT, Failpoint.REVOCATION_RECORDED)


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


async def upload(member: Member, path: str, said: Acknowledged) -> None:
    """Deposit a document without saying how long it is."""
    files = {"document": ("x", content_of(path))}
    await insist(member, lambda: member.client.put(f"/documents/{path}", files=files), 200)
    made = await member.get(f"documents/{path}?details=true")
    said.deposits.append((member, path, made["version"], made["statement"]))


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


@dataclass(frozen=True)
class Lane:
    """A node that is ended at one point after the other, as one end of transfers whose other end stays."""

    ended: Member
    sender: Member
    recipient: Member
    points: Sequence[Failpoint]
    said: Acknowledged

    async def run(self) -> None:
        digests = {each: await anchored(self.ended, f"old/{each}") for each in self.points if each in REVOKING}
        working: list[asyncio.Task[None]] = []
        for point in self.points:
            await self.ended.kill()
            await self.ended.start({VARIABLE: point})
            working.append(asyncio.create_task(self._work(point, digests)))
            dying = asyncio.create_task(die_at(self.ended, point))
            while not dying.done():
                busy = [each for each in working if not each.done()]
                for done in (await asyncio.wait([dying, *busy], return_when=asyncio.FIRST_COMPLETED))[0]:
                    done.result()
        await self.ended.start()
        await asyncio.gather(*working)

    async def _work(self, point: Failpoint, digests: dict[Failpoint, str]) -> None:
        if point in REVOKING:
            await revoke(self.ended, digests[point])
        elif point is Failpoint.STATEMENTS_KEPT:
            await notarise(self.ended)
        elif point is Failpoint.KEY_KEPT:
            await make_key(self.ended)
        elif point is Failpoint.UPLOAD_STORED:
            await upload(self.ended, "uploaded", self.said)
        else:
            path = f"{LARGE}{point}" if point in IN_PARTS else point.replace(".", "/")
            await self.said.both(self.sender, self.recipient, path, fair=point in FAIR)


async def deliver_in_vain(sender: Member, absent: Member) -> None:
    """Transfers to a member whose node never runs: put off, then given up, with its process ended at both."""
    await sender.client.put("/api/v1/documents/a", content=b"content")
    wanted = {"documents": ["a"], "to": [absent.account], "expires": int(time.time()) + 1800}
    made = ""
    for point, later in zip(IN_VAIN, (0.0, 2000.0), strict=True):
        await sender.kill()
        await sender.start({VARIABLE: point})
        if not made:
            made = (await insist(sender, lambda: sender.client.post("/api/v1/transfers", json=wanted), 202))["id"]
        sender.jump(later)
        await die_at(sender, point)
    sender.jump(4000.0)  # so that nobody has to wait for the lease of who has ended
    await sender.start()

    async def settled() -> bool:
        counts = await sender.counts()
        return not counts["jobs"] and not counts["statements_not_final"]

    await sender.until(settled)
    (delivery,) = (await sender.get(f"transfers/{made}"))["deliveries"]
    assert delivery["state"] == "expired"
    assert (await sender.fsck(deep=True, ledger=True)).findings == ()


async def test_a_node_ended_between_any_two_durable_steps_goes_on_by_itself(
    new_member: NewMember, tsa: LocalTsa
) -> None:
    mine = await new_member("Mine", given={"DOCEX_TSA": tsa.url})
    other, maker, taker, third, patient, absent = [
        await new_member(name) for name in ("Other", "Maker", "Taker", "Third", "Patient", "Absent")
    ]
    for point in AT_START:
        mine.launch({VARIABLE: point})
        await die_at(mine, point)
    await asyncio.gather(*(each.start() for each in (mine, other, maker, taker, third, patient)))
    said = Acknowledged()
    lanes = [
        Lane(mine, mine, maker, AT_THE_SENDER[::2], said),
        Lane(other, other, maker, AT_THE_SENDER[1::2], said),
        Lane(taker, maker, taker, AT_THE_RECIPIENT[::2], said),
        Lane(third, maker, third, AT_THE_RECIPIENT[1::2], said),
    ]
    async with asyncio.TaskGroup() as group:
        group.create_task(deliver_in_vain(patient, absent))
        for lane in lanes:
            group.create_task(lane.run())
    await said.check(mine, other, maker, taker, third)
