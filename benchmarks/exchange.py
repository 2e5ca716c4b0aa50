"""The exchange: deposits and transfers a second on real nodes. ``python -m benchmarks.exchange [--seconds 20]``.

Everything is real: `docex serve` in processes of its own, HTTP, a chain with a block a second (anvil), durable
databases (SQLite with ``synchronous=FULL``, PostgreSQL with ``fsync``) and a folder of packets that is synced. The
clients run in this process, on the same machine. Two processes are two of `docex serve` on one database and one folder.

    --only deposits,transfers,large   some of it
    --soak SECONDS --rate 5 2         5 deposits and 2 transfers a second; memory of every process each minute

What lists, searches and proofs cost with 1,000 to 1,000,000 documents: ``python -m benchmarks.growth``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression

from benchmarks.durable_postgres import postgres_server
from benchmarks.load import Connection, Took, connected, document, download, load, upload
from docex.core import packet
from docex.core.packet import DocumentSource
from docex.core.recipients import parse_recipient
from docex.ledger.deploy import deploy
from docex.ledger.funding import anvil_set_balance
from docex.ledger.memory import MemoryStore
from docex.ledger.process import CHAIN_ID, LocalChain
from docex.ledger.rpc import Rpc
from docex.ledger.sender import Sender
from keys.account import LocalAccount
from keys.local import open_keystore
from tests.fixtures.network import ETHER, PASSPHRASE, Consortium, Organisation
from tests.fixtures.postgres import Postgres
from tests.fixtures.processes import Process

CLIENTS = 8
MIB = 1 << 20
LARGE = 1 << 30


@dataclass
class Member:
    """A member and the processes of its node."""

    organisation: Organisation
    processes: list[Process]

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.processes]

    def memory(self, field: str = "VmRSS") -> list[int]:
        """Resident bytes of each process; with ``VmHWM``, the most there were."""
        found = [Path(f"/proc/{each.id}/status").read_text() for each in self.processes]
        return [int(text.split(f"{field}:")[1].split()[0]) << 10 for text in found]


class Stage:
    """A chain with the contracts, and members that join it."""

    def __init__(self, consortium: Consortium, folder: Path, server: Postgres | None) -> None:
        self._consortium, self._folder, self._server = consortium, folder, server
        self._running: list[Process] = []

    async def member(self, name: str, processes: int) -> Member:
        folder = self._folder / name
        folder.mkdir()
        organisation = await self._consortium.join(folder / "keystore", name)
        settings = {"DOCEX_CONFIRMATIONS": "3", "DOCEX_INTERVAL": "0.25"}
        if self._server is not None:
            settings["DOCEX_DATABASE"] = self._server.url(self._server.create())
        member = Member(
            organisation,
            [Process(self._consortium, organisation, folder, **settings) for _ in range(processes)],
        )
        await self._consortium.set_endpoint(organisation, member.urls[0])
        self._running += member.processes
        for each in member.processes:
            await each.start()
        return member

    def end(self) -> None:
        for each in self._running:
            each.kill()


@asynccontextmanager
async def stage(server: Postgres | None) -> AsyncIterator[Stage]:
    admin = LocalAccount.generate()
    with tempfile.TemporaryDirectory(prefix="docex-exchange-") as folder, LocalChain(block_time=1.0) as chain:
        record = Path(folder) / "deployment.json"
        async with Rpc(chain.url) as rpc:
            await anvil_set_balance(rpc, admin.address, 1000 * ETHER)
            sender = Sender(rpc, admin, MemoryStore(), chain_id=CHAIN_ID, confirmations=0, interval=0.1)
            made = Stage(Consortium(chain, admin, await deploy(rpc, sender, record), record), Path(folder), server)
        try:
            yield made
        finally:
            made.end()


async def deposits(member: Member, seconds: float, rate: float | None = None) -> Took:
    """Deposits of 100 KB, each under a path of its own, in folders of a hundred."""

    async def deposit(connection: Connection, number: int) -> None:
        await connection.call("PUT", f"/api/v1/documents/lot-{number // 100}/{number}.pdf", document())

    return await load(member.urls, CLIENTS, seconds, deposit, rate)


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Waits for a transfer's receipt. One client looks for all of them: what each asks would be most of the work."""
    accepted: dict[str, asyncio.Future[None]] = {}

    def future(transfer: str) -> asyncio.Future[None]:
        return accepted.setdefault(transfer, asyncio.get_running_loop().create_future())

    async def watch() -> None:
        async with connected(url) as connection:
            while True:
                await asyncio.sleep(0.1)
                found = await connection.json("GET", f"/api/v1/transfers?direction=sent&limit={8 * CLIENTS}")
                for each in found["transfers"]:
                    if each["deliveries"][0]["state"] == "accepted" and not future(each["id"]).done():
                        future(each["id"]).set_result(None)

    async def until_accepted(transfer: str) -> None:
        await future(transfer)

    watching = asyncio.create_task(watch())
    try:
        yield until_accepted
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def transfers(sender: Member, recipient: Member, seconds: float, rate: float | None = None) -> Took:
    """Deposited, transferred, and until the recipient's receipt is here."""
    to = [recipient.organisation.account]
    async with watched(sender.urls[0]) as until_accepted:
        return await load(sender.urls, 2 * CLIENTS, seconds, partial(_transfer, to, until_accepted), rate)


async def _transfer(
    to: list[str], until_accepted: Callable[[str], Awaitable[None]], connection: Connection, number: int
) -> None:
    path = f"sent-{number // 100}/{number}.pdf"
    await connection.call("PUT", f"/api/v1/documents/{path}", document())
    made = await connection.json("POST", "/api/v1/transfers", {"documents": [path], "to": to})
    await until_accepted(made["id"])


class Endless:
    """Random bytes, over and over, for the library to seal."""

    def __init__(self, piece: bytes, size: int) -> None:
        self._piece, self._left = memoryview(piece), size

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._piece), self._left)
        buffer[:count] = self._piece[:count]
        self._left -= count
        return count


def seal(member: Member, piece: bytes, size: int, folder: Path) -> float:
    """Seconds for the library to seal as much into a file, and to sync it."""
    keystore = open_keystore(member.organisation.folder, PASSPHRASE)
    account = member.organisation.account
    source = DocumentSource("large.bin", size, lambda: nullcontext(Endless(piece, size)))
    begin = time.perf_counter()
    with (folder / "sealed.age").open("wb", buffering=0) as file:
        recipients = [(parse_recipient(keystore.public["recipient"]), account)]
        packet.seal([source], file, recipients, signer=keystore.signer, issuer=account, now=int(time.time()))
        os.fsync(file.fileno())
    return time.perf_counter() - begin


async def large(member: Member, folder: Path) -> None:
    """The rate of a large upload and download beside that of sealing the same with the library into the same disk."""
    piece = os.urandom(16 * MIB)
    sealed = await asyncio.to_thread(seal, member, piece, LARGE, folder)
    up = await asyncio.to_thread(upload, member.urls[0], "/api/v1/documents/large.bin", piece, LARGE // len(piece))
    size, down = await asyncio.to_thread(download, member.urls[0], "/api/v1/documents/large.bin")
    assert size == LARGE
    rates = [LARGE / MIB / each for each in (sealed, up, down)]
    print("  1 GiB: sealed at {:.0f} MiB/s, uploaded at {:.0f}, downloaded at {:.0f}".format(*rates), end="")
    print(f": upload {sealed / up:.2f}x, download {sealed / down:.2f}x of sealing")


async def soak(sender: Member, recipient: Member, seconds: float, rates: Sequence[float]) -> None:
    """Deposit and transfer steadily, and show the memory each minute: after the first ten it has to be flat."""
    samples: list[tuple[float, list[int]]] = []
    begin = time.perf_counter()

    async def look() -> None:
        while True:
            minutes = (time.perf_counter() - begin) / 60
            samples.append((minutes, sender.memory() + recipient.memory()))
            print(f"  {minutes:>6.1f} min: {in_mib(samples[-1][1])}{growth(samples)}", flush=True)
            await asyncio.sleep(60)

    looking = asyncio.create_task(look())
    deposit, transfer = await asyncio.gather(
        deposits(sender, seconds, rates[0]), transfers(sender, recipient, seconds, rates[1])
    )
    looking.cancel()
    print(f"  deposits: {deposit}\n  transfers: {transfer}", flush=True)


def growth(samples: list[tuple[float, list[int]]]) -> str:
    """How memory has grown since the tenth minute: the slope of a line through it, for each process."""
    late = [(minutes / 60, memory) for minutes, memory in samples if minutes >= 10]
    if len(late) < 5:
        return ""
    hours = [each for each, _ in late]
    slopes = [linear_regression(hours, [memory[n] / MIB for _, memory in late]).slope for n in range(len(late[0][1]))]
    return "; MiB an hour: " + ", ".join(f"{each:+.1f}" for each in slopes)


def in_mib(sizes: list[int]) -> str:
    return " + ".join(f"{size / MIB:.0f}" for size in sizes) + " MiB"


async def run(name: str, server: Postgres | None, processes: int, wanted: argparse.Namespace) -> None:
    """The figures of one database and number of processes."""
    only = wanted.only.split(",")
    print(f"{name}, {processes} process{'es' * (processes > 1)}", flush=True)
    async with stage(server) as made:
        sender = await made.member("sender", processes)
        print(f"  memory at the start: {in_mib(sender.memory())}")
        if "deposits" in only and not wanted.soak:
            print(f"  deposits: {await deposits(sender, wanted.seconds)}", flush=True)
        if "large" in only and not wanted.soak:
            with tempfile.TemporaryDirectory(prefix="docex-exchange-") as folder:
                await large(sender, Path(folder))
        print(f"  memory of the node, at most: {in_mib(sender.memory('VmHWM'))}", flush=True)
        if "transfers" in only or wanted.soak:
            recipient = await made.member("recipient", processes)
        if wanted.soak:
            await soak(sender, recipient, wanted.soak, wanted.rate)
        elif "transfers" in only:
            print(f"  transfers: {await transfers(sender, recipient, wanted.seconds)}")
            print(f"  memory of sender and recipient, at most: {in_mib(sender.memory('VmHWM'))}", end=", ")
            print(in_mib(recipient.memory("VmHWM")))


@contextmanager
def database(name: str) -> Iterator[Postgres | None]:
    server: AbstractContextManager[Postgres | None] = postgres_server() if name == "postgres" else nullcontext()
    with server as running:
        yield running


def main() -> None:
    """Measures on SQLite and on PostgreSQL, with one and with two processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="show memory under load for so long")
    parser.add_argument(
        "--rate", type=float, nargs=2, default=(5.0, 2.0), help="of a soak: deposits, transfers a second"
    )
    parser.add_argument("--only", default="deposits,transfers,large")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--processes", type=int, help="only this number")
    wanted = parser.parse_args()
    print(f"{CLIENTS} clients; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in ("sqlite", "postgres"):
        if wanted.database in (None, name):
            with database(name) as server:
                for processes in (1, 2):
                    if wanted.processes in (None, processes):
                        asyncio.run(run(name, server, processes, wanted))


if __name__ == "__main__":
    main()
