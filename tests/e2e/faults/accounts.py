"""Clients that try again until they are answered, remember what was acknowledged, and call it in at the end."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import httpx

from docex.core import statement
from docex.core.state import BatchState
from docex.ledger import chain
from docex.ledger.notary import NotaryClient
from docex.ledger.rpc import Rpc
from docex.service.arrivals import PART
from tests.e2e.faults.nodes import PATIENCE, Member

LARGE = "large/"
"""Documents below this are sent in parts."""
TRY_AGAIN = (408, 409, 429, 502, 503)


def content_of(path: str, most: int = 60_000) -> bytes:
    """The document under a path: whoever knows the path knows every bit of it."""
    generator = random.Random(path)
    return generator.randbytes(generator.randrange(1, most) + (PART if path.startswith(LARGE) else 0))


async def insist(member: Member, call: Callable[[], Awaitable[httpx.Response]], wanted: int) -> Any:
    """Ask until the answer is the wanted one: what failed for a while may be asked again, nothing else may happen."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(httpx.TransportError):
                answer = await call()
                if answer.status_code == wanted:
                    return answer.json()
                busy = answer.status_code in TRY_AGAIN
                assert busy, f"{answer.status_code} {answer.text}\n{member.log()}"
            await asyncio.sleep(0.05)


@dataclass
class Acknowledged:
    """What nodes said that they have: versions with their statements, transfers with sender and recipient."""

    deposits: list[tuple[Member, str, int, str]] = field(default_factory=list)
    transfers: list[tuple[str, Member, Member]] = field(default_factory=list)

    async def deposit(self, member: Member, path: str) -> None:
        content = content_of(path)
        made = await insist(member, lambda: member.client.put(f"/api/v1/documents/{path}", content=content), 201)
        assert made["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
        self.deposits.append((member, path, made["version"], made["statement"]))

    async def transfer(self, sender: Member, recipient: Member, path: str, *, fair: bool = False) -> None:
        wanted = {"documents": [path], "to": [recipient.account], "fair": fair}
        made = await insist(sender, lambda: sender.client.post("/api/v1/transfers", json=wanted), 202)
        self.transfers.append((made["id"], sender, recipient))

    async def both(self, sender: Member, recipient: Member, path: str, *, fair: bool = False) -> None:
        """Deposit a document and hand it over."""
        await self.deposit(sender, path)
        await self.transfer(sender, recipient, path, fair=fair)

    async def check(self, *members: Member, within: float = PATIENCE) -> None:
        """The accounting identity, with every member's node running and nothing else going on."""
        await members[0].until(partial(_settled, *members, *members), within)
        for member, path, version, said in self.deposits:
            answer = await member.client.get(f"/api/v1/documents/{path}?version={version}")
            assert (answer.status_code, answer.content == content_of(path)) == (200, True), (path, version)
            assert answer.headers["docex-statement"] == said
        for transfer, sender, recipient in self.transfers:
            mine, theirs = await sender.get(f"transfers/{transfer}"), await recipient.get(f"transfers/{transfer}")
            (given,), (kept,) = mine["deliveries"], theirs["deliveries"]
            states = (given["state"], kept["state"])
            assert states == ("accepted", "accepted"), f"{mine} {await _claims(recipient, kept['receipt'])}"
            assert given["receipt"] == kept["receipt"] is not None
        await _check_whole(members)
        for member in members:
            await check_anchors(member)
            report = await member.fsck(deep=True, ledger=True)
            assert (report.findings, report.remaining) == ((), 0), f"{report}\n{member.log()}"


async def _claims(member: Member, digest: str | None) -> str:
    """What a statement says, for who reads of a failure."""
    return "no receipt" if digest is None else str(statement.parse((await member.get(f"statements/{digest}"))["token"]))


async def _settled(*members: Member) -> bool:
    """Nothing is left to do. Each is asked again after all others: they may have given it something meanwhile."""
    for member in members:
        counts = await member.counts()
        async with member.store() as store:
            jobs = [job for job in await store.jobs_from("", 1000) if job.kind != "clean"]  # due after days
        if jobs or counts["statements_not_final"]:
            return False
    return True


async def _check_whole(members: tuple[Member, ...]) -> None:
    """Also what was never acknowledged, yet kept: every transfer is at both its ends, with one receipt."""
    sent: list[tuple[str, str, str | None]] = []
    received: list[tuple[str, str, str | None]] = []
    for member in members:
        async with member.store() as store:
            before = None
            while page := await store.transfers(None, before, 500):
                before = page[-1].created, page[-1].id
                for each in page:
                    ends = sent if each.direction == "sent" else received
                    ends += [(each.id, delivery.state, delivery.receipt) for delivery in each.deliveries]
        counts = await member.counts()
        assert counts["receipts"] == counts["transfers"]
    assert sorted(sent) == sorted(received)
    assert {state for _, state, _ in sent} <= {"accepted"}


async def check_anchors(member: Member) -> None:
    """The Notary has each of the member's batches once, where its node says, and no other."""
    async with member.store() as store:
        assert await store.batches(BatchState.SEALED) == []
        batches = await store.batches(BatchState.FINAL)
    async with Rpc(member.consortium.chain.url) as rpc:
        head = await chain.head(rpc)
        notary = NotaryClient(rpc, member.consortium.deployment.notary)
        anchors = await notary.anchors_of(member.organisation.address, 0, head.number)
    assert sorted((each.root, each.size, each.block_number) for each in anchors) == sorted(
        (batch.root, batch.size, batch.block_number) for batch in batches
    )


@asynccontextmanager
async def under_load(sender: Member, recipient: Member, *, clients: int = 4) -> AsyncIterator[Acknowledged]:
    """Clients deposit and transfer for as long as the block takes, and a little longer; then everything is called in.

    Both nodes have to run by the end of the block.
    """
    said, over, numbers = Acknowledged(), asyncio.Event(), count()

    async def client() -> None:
        while not over.is_set():
            await said.both(sender, recipient, f"work/{next(numbers)}")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
            yield said
            before = len(said.transfers)
            async with asyncio.timeout(PATIENCE):
                while len(said.transfers) < before + clients:  # it goes on
                    await asyncio.sleep(0.05)
            over.set()
        await said.check(sender, recipient)
    except BaseException:
        print(sender.log(), recipient.log(), sep="\n")
        raise
