"""Clients that keep a node waiting: each test shows the limit that ends them, and none measures time."""

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from docex.api.app import make_app
from docex.api.connections import ConnectionLimits
from docex.api.server import configured
from docex.service.node import Node
from tests.fixtures.network import Server
from tests.fixtures.paper_nodes import deposited
from tests.unit.api.conftest import TOKEN

WITHIN = 60
PATIENT = ConnectionLimits(head_patience=600, read_patience=600)
"""What a test does not shorten does not end before it."""
LIVEZ = b"GET /livez HTTP/1.1\r\nhost: node\r\n\r\n"
AUTHORISED = f"authorization: Bearer {TOKEN}\r\n".encode()


@dataclass
class Wire:
    """A connection, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, Any]:
        """The status of an answer and its JSON."""
        async with asyncio.timeout(WITHIN):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            return int(head.split()[1]), json.loads(await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """All that comes until the node hangs up."""
        async with asyncio.timeout(WITHIN):
            data = b""
            try:
                while piece := await self.reader.read(1 << 16):
                    data += piece
            except ConnectionResetError:  # it had sent what nobody read
                pass
            return data

    @property
    def ended(self) -> bool:
        return self.reader.at_eof()


Dial = Callable[[], Awaitable[Wire]]


@asynccontextmanager
async def serving(node: Node, limits: ConnectionLimits) -> AsyncIterator[tuple[Server, Dial]]:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = Server(configured(make_app(node, TOKEN, interval=3600), grace=2, limits=limits))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    async with AsyncExitStack() as stack:

        async def dial() -> Wire:
            # A small window: what is not read stays at the node, and not in the system's buffers.
            calling = socket.socket()
            calling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            calling.setblocking(False)
            await asyncio.get_running_loop().sock_connect(calling, listening.getsockname())
            wire = Wire(*await asyncio.open_connection(sock=calling))
            stack.callback(wire.writer.close)
            return wire

        yield server, dial
    server.should_exit = True
    await task


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not done():
            await asyncio.sleep(0.01)


async def test_a_connection_that_says_nothing_is_closed(node: Node) -> None:
    async with serving(node, replace(PATIENT, head_patience=0.1)) as (_, dial):
        assert await (await dial()).rest() == b""


async def test_what_a_fast_sender_sends_arrives_as_it_is(node: Node) -> None:
    content = os.urandom(3 << 20)
    head = b"PUT /api/v1/documents/a HTTP/1.1\r\nhost: node\r\n" + AUTHORISED
    async with serving(node, PATIENT) as (_, dial):
        wire = await dial()
        for size in (len(content), 1):  # and what comes after it on the same connection, too
            await wire.say(head + b"content-length: %d\r\n\r\n" % size + content[:size])
            status, stored = await wire.answer()
            assert (status, stored["digest"]) == (201, "sha256:" + hashlib.sha256(content[:size]).hexdigest())


async def test_a_head_that_does_not_end_is_answered_and_closed(node: Node) -> None:
    async with serving(node, replace(PATIENT, head_patience=0.2)) as (_, dial):
        wire = await dial()
        await wire.say(LIVEZ[:-2])
        status, problem = await wire.answer()
        assert (status, problem["type"]) == (408, "urn:docex:problem:too_slow")
        assert await wire.rest() == b""


async def test_a_byte_now_and_then_gains_no_time(node: Node) -> None:
    async with serving(node, replace(PATIENT, head_patience=0.3)) as (_, dial):
        wire = await dial()
        answer = asyncio.create_task(wire.rest())
        for byte in b"GET /livez HTTP/1.1\r\nx-endless: " + b"a" * 10_000:
            if answer.done():
                break
            await wire.say(bytes([byte]))
            await asyncio.sleep(0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")


async def test_after_an_answer_the_same_limit_begins_anew(node: Node) -> None:
    async with serving(node, replace(PATIENT, head_patience=1)) as (_, dial):
        wire = await dial()
        for _ in range(3):
            await wire.say(LIVEZ)
            assert (await wire.answer())[0] == 200
        await wire.say(LIVEZ[:9])
        assert (await wire.answer())[0] == 408


@pytest.mark.parametrize(
    "endless",
    [
        LIVEZ[:-2] + b"x: ",
        LIVEZ[:-2],
        b"GET /",
        b"POST /api/v1/receipts HTTP/1.1\r\nhost: node\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
        b"POST /api/v1/receipts HTTP/1.1\r\nhost: node\r\ntransfer-encoding: chunked\r\n\r\n1;",
    ],
    ids=["a header", "headers", "a path", "trailers", "chunk extensions"],
)
async def test_a_head_that_goes_on_for_ever_is_not_kept(node: Node, endless: bytes) -> None:
    filling = b"x: y\r\n" if endless.endswith(b"\r\n") else b"abcdef"
    async with serving(node, PATIENT) as (server, dial):
        wire = await dial()
        answer = asyncio.create_task(wire.rest())
        await wire.say(endless)
        for _ in range(200):
            if answer.done():
                break
            try:
                await wire.say(filling * 1000)
            except ConnectionError:
                break
            await asyncio.sleep(0.01)
        assert (await answer)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 413", b"HTTP/1.1 422", b"")
        await until(lambda: not server.server_state.connections)


async def test_a_large_body_is_no_head(node: Node) -> None:
    async with serving(node, PATIENT) as (_, dial):
        wire = await dial()
        await wire.say(
            b"PUT /api/v1/documents/a HTTP/1.1\r\nhost: node\r\ncontent-length: 300000\r\n" + AUTHORISED + b"\r\n"
        )
        for _ in range(3):
            await wire.say(b"x" * 100_000)
        assert (await wire.answer())[0] == 201


async def test_a_body_that_nobody_wants_is_read_for_a_while_and_no_longer(node: Node) -> None:
    """So that its sender, who is still sending, sees the answer."""
    async with serving(node, replace(PATIENT, head_patience=1)) as (_, dial):
        wire = await dial()
        await wire.say(b"PUT /api/v1/documents/a HTTP/1.1\r\nhost: node\r\ncontent-length: 9000000\r\n\r\n")
        await wire.say(b"x" * 200_000)
        status, problem = await wire.answer()
        assert (status, problem["type"]) == (401, "urn:docex:problem:unauthorised")
        assert await wire.rest() == b""


async def test_an_answer_that_nobody_reads_is_given_up(node: Node) -> None:
    await deposited(node, "large", b"x" * (16 << 20))
    limits = replace(PATIENT, read_patience=0.2, slowest_reader=100 << 20)
    async with serving(node, limits) as (server, dial):
        wire = await dial()
        await wire.say(b"GET /api/v1/documents/large HTTP/1.1\r\nhost: node\r\n" + AUTHORISED + b"\r\n")
        await until(lambda: bool(server.server_state.tasks))
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)
        assert len(await wire.rest()) < 16 << 20


async def test_an_answer_that_is_read_slowly_comes_whole(node: Node) -> None:
    await deposited(node, "large", b"x" * (1 << 20))
    limits = replace(PATIENT, head_patience=0.05, read_patience=0.1, slowest_reader=1)
    async with serving(node, limits) as (_, dial):
        wire = await dial()
        request = b"GET /api/v1/documents/large HTTP/1.1\r\nhost: node\r\nconnection: close\r\n"
        await wire.say(request + AUTHORISED + b"\r\n")
        data = b""
        while piece := await wire.reader.read(20_000):
            data += piece
            await asyncio.sleep(0.01)
        assert data.endswith(b"\r\n\r\n" + b"x" * (1 << 20))


async def test_of_idle_connections_the_oldest_makes_place(node: Node) -> None:
    async with serving(node, replace(PATIENT, per_address=3)) as (server, dial):
        idle = []
        for _ in range(5):
            idle.append(await dial())
            await until(lambda: len(server.server_state.connections) == min(3, len(idle)))
        for each in idle[:2]:
            assert await each.rest() == b""
        await idle[4].say(LIVEZ)
        assert (await idle[4].answer())[0] == 200
        await idle[2].say(LIVEZ)
        assert (await idle[2].answer())[0] == 200


@pytest.mark.parametrize("limits", [replace(PATIENT, per_address=2), replace(PATIENT, total=2)], ids=["one", "all"])
async def test_connections_that_are_served_are_never_closed_for_another(node: Node, limits: ConnectionLimits) -> None:
    async with serving(node, limits) as (server, dial):
        busy = [await dial() for _ in range(2)]
        for number, each in enumerate(busy):
            head = f"PUT /api/v1/documents/{number} HTTP/1.1\r\nhost: node\r\ncontent-length: 2\r\n".encode()
            await each.say(head + AUTHORISED + b"\r\nx")
        await until(lambda: len(server.server_state.tasks) == 2)
        late = await dial()
        status, problem = await late.answer()
        assert (status, problem["type"]) == (503, "urn:docex:problem:too_many_connections")
        assert await late.rest() == b""
        for each in busy:
            await each.say(b"x")
            assert (await each.answer())[0] == 201


async def test_others_are_served_while_500_connections_are_idle_and_as_many_are_begun(node: Node) -> None:
    async with serving(node, PATIENT) as (server, dial):
        idle = [await dial() for _ in range(500)]
        for each in idle[1::2]:
            if not each.ended:
                each.writer.write(LIVEZ[:20])
        assert len(server.server_state.connections) <= PATIENT.per_address + 1
        url = "http://{}:{}".format(*idle[-1].writer.get_extra_info("peername")[:2])
        async with httpx.AsyncClient(base_url=url, timeout=WITHIN, trust_env=False) as client:
            for _ in range(10):
                assert (await client.get("/livez")).status_code == 200


async def test_requests_are_answered_in_order_and_not_without_number(node: Node) -> None:
    async with serving(node, PATIENT) as (server, dial):
        wire = await dial()
        await wire.say(LIVEZ * 5)
        assert [(await wire.answer())[0] for _ in range(5)] == [200] * 5
        await wire.say(LIVEZ * 1000)
        assert (await wire.rest()).count(b"HTTP/1.1 200 ") <= PATIENT.pipeline + 1
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)


async def test_what_is_no_request_is_answered_and_closed(node: Node) -> None:
    async with serving(node, PATIENT) as (_, dial):
        wire = await dial()
        await wire.say(b"\x16\x03\x01 no HTTP\r\n\r\n")
        status, problem = await wire.answer()
        assert (status, problem["type"]) == (400, "urn:docex:problem:http_invalid")
        assert await wire.rest() == b""
