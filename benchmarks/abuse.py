"""What slow and idle clients cost the others: p99 at nodes with and without them. ``python -m benchmarks.abuse``.

Two real `docex serve` of the same kind, SQLite and a folder of packets, both durable, at the same time on one machine.
At each, honest clients deposit 10 KB, look at the details of a document and list a folder, one after the other;
attackers, in a process and at addresses of their own, are at one node, and half-way through at the other: whatever
else the machine does, it does to both. What the node closes, attackers open again at once:

    idle     sockets that say nothing
    heads    a byte of a head now and then, for ever
    bodies   a byte of a deposit now and then, with a credential that holds
    deaf     ask for 16 MiB with such a credential, and read nothing
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from benchmarks.exchange import stage
from benchmarks.load import Connection, Took, document, load, upload
from tests.fixtures.processes import TOKEN

CLIENTS = 4
IDLE, HEADS, BODIES, DEAF = 500, 100, 40, 10
PAUSE = 0.25
SETTLE = 2.0  # what many who come and go at once cost is none of what it costs that they are there
LARGE = 16 << 20
DEADLINE = 3600
AUTHORISED = f"host: node\r\nauthorization: Bearer {TOKEN}\r\n"

Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def slowly(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, filling: bytes) -> None:
    while not reader.at_eof():
        writer.write(filling)
        await writer.drain()
        await asyncio.sleep(PAUSE)


async def head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /livez HTTP/1.1\r\nx-endless: ")
    await slowly(writer, reader, b"a")


async def body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    start = f"PUT /api/v1/documents/slow/{os.urandom(8).hex()} HTTP/1.1\r\ncontent-length: {LARGE}\r\n{AUTHORISED}\r\n"
    writer.write(start.encode() + bytes(1 << 19))  # as much as it takes until the node has a thread for it
    await slowly(writer, reader, b"a")


async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"GET /api/v1/documents/large HTTP/1.1\r\n{AUTHORISED}\r\n".encode())
    await asyncio.sleep(DEADLINE)


async def attack(url: str) -> None:
    """All attackers, until they are killed. Says so once each has connected."""
    host, _, port = url.removeprefix("http://").partition(":")
    there = asyncio.Semaphore(0)

    async def attacker(address: str, what: Attack) -> None:
        first = True
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                calling = socket.socket()
                calling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read stays at the node
                calling.setblocking(False)
                calling.bind((address, 0))
                await asyncio.get_running_loop().sock_connect(calling, (host, int(port)))
                reader, writer = await asyncio.open_connection(sock=calling, limit=1024)
                if first:
                    first = False
                    there.release()
                try:
                    await what(reader, writer)
                finally:
                    writer.transport.abort()

    async with asyncio.TaskGroup() as group:
        crowds: list[tuple[int, Attack]] = [(IDLE, idle), (HEADS, head), (BODIES, body), (DEAF, deaf)]
        everyone = [what for count, what in crowds for _ in range(count)]
        for number, what in enumerate(everyone):
            group.create_task(attacker(f"127.0.0.{2 + number * 3 // len(everyone)}", what))
        for _ in everyone:
            await there.acquire()
        print("all are there", flush=True)


@contextmanager
def attacked(url: str) -> Iterator[None]:
    """While the attackers are at work."""
    command = [sys.executable, "-m", "benchmarks.abuse", "--attack", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"all are there\n"
            time.sleep(SETTLE)
            yield
        finally:
            process.kill()
            time.sleep(SETTLE)


async def deposit(connection: Connection, number: int) -> None:
    await connection.call("PUT", f"/api/v1/documents/lot-{number // 100}/{number}.pdf", document(10_000))


async def details(connection: Connection, _: int) -> None:
    await connection.call("GET", "/api/v1/documents/large?details=true")


async def page(connection: Connection, _: int) -> None:
    await connection.call("GET", "/api/v1/documents?folder=lot-0&limit=20")


WORK = {"deposit 10 KB": deposit, "details": details, "list a folder": page}


async def honest(url: str, seconds: float, took: dict[str, Took]) -> None:
    """Let honest clients work, adding what each kind of work took."""

    async def work(connection: Connection, number: int) -> None:
        for name, call in WORK.items():
            begin = time.perf_counter()
            await call(connection, number)
            took[name].each.append(time.perf_counter() - begin)

    done = await load([url], CLIENTS, seconds, work)
    for each in took.values():
        each.seconds += done.seconds


def nothing() -> dict[str, Took]:
    return {name: Took() for name in WORK}


async def measure(seconds: float) -> None:
    """The honest clients of both nodes, while one of them is attacked; then while the other is."""
    spared, suffering = nothing(), nothing()
    async with stage(None) as made:
        nodes = [await made.member(name, 1) for name in ("one", "other")]
        first, second = (each.urls[0] for each in nodes)
        for url in (first, second):
            await asyncio.to_thread(upload, url, "/api/v1/documents/large", os.urandom(1 << 20), LARGE >> 20)
            await honest(url, 2, nothing())  # warms up
        for target, other in ((first, second), (second, first)):
            with attacked(target):
                await asyncio.gather(honest(target, seconds, suffering), honest(other, seconds, spared))
        memory = max(each.memory("VmHWM")[0] for each in nodes) >> 20
    print(f"{'':<15}{'at the node without attackers':<42}{'with them':<42}p99")
    for name in WORK:
        ratio = suffering[name].percentile(0.99) / spared[name].percentile(0.99)
        print(f"{name:<15}{spared[name]!s:<42}{suffering[name]!s:<42}{ratio:.2f}x (goal: under 2)")
    print(f"memory of a node that was attacked, at most: {memory} MiB")


def main() -> None:
    """Measures, or attacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each half; connections that idle have 10")
    parser.add_argument("--attack", metavar="URL", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.attack:
        asyncio.run(attack(wanted.attack))
        return
    print(f"{CLIENTS} clients at each node; {IDLE} idle, {HEADS} heads, {BODIES} bodies, {DEAF} deaf")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    asyncio.run(measure(wanted.seconds))


if __name__ == "__main__":
    main()
