"""A client that costs little, for load: HTTP/1.1 over asyncio streams, one request at a time on each connection."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fixtures.processes import TOKEN

_PIECE = 1 << 20
_END = b"\r\n\r\n"


class Connection:
    """One connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body; fails unless it is a success."""
        kind = "content-type: application/json\r\n" if method == "POST" else ""
        self._writer.write(_head(method, path, len(body), kind) + body)
        await self._writer.drain()
        return await self.answer()

    async def answer(self) -> bytes:
        """Read an answer to its end."""
        status, length = _parsed(await self._reader.readuntil(_END))
        content = await self._reader.readexactly(length)
        assert status < 300, (status, content)
        return content

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(await self.call(method, path, b"" if body is None else json.dumps(body).encode()))


def _head(method: str, path: str, size: int, more: str = "") -> bytes:
    fields = f"host: node\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {size}\r\n{more}"
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()


def _parsed(head: bytes) -> tuple[int, int]:
    """Status of an answer and length of its body."""
    lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), int(fields["content-length"])


def upload(url: str, path: str, piece: bytes, times: int) -> float:
    """Seconds to put a document of so many pieces, sent by the kernel alone: what is measured is the node."""
    with _socket(url) as connection, tempfile.TemporaryFile() as file:
        file.write(piece)
        file.flush()
        begin = time.perf_counter()
        connection.sendall(_head("PUT", path, times * len(piece)))
        for _ in range(times):
            sent = 0
            while sent < len(piece):
                sent += os.sendfile(connection.fileno(), file.fileno(), sent, len(piece) - sent)
        status, _ = _parsed(connection.recv(_PIECE).partition(_END)[0])
        took = time.perf_counter() - begin
    assert status == 201, status
    return took


def download(url: str, path: str) -> tuple[int, float]:
    """Bytes of a document, and seconds to read and drop them."""
    buffer = memoryview(bytearray(_PIECE))
    with _socket(url) as connection:
        begin = time.perf_counter()
        connection.sendall(_head("GET", path, 0))
        head, _, start = connection.recv(_PIECE).partition(_END)
        status, size = _parsed(head)
        assert status == 200, status
        left = size - len(start)
        while left and (count := connection.recv_into(buffer)):
            left -= count
        took = time.perf_counter() - begin
    assert not left, f"cut off {left} bytes before its end"
    return size, took


def _socket(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=_PIECE)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@dataclass
class Took:
    """Seconds that each piece of work took, and all of them together."""

    each: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.each) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the work took at most."""
        return sorted(self.each)[min(len(self.each) - 1, int(share * len(self.each)))] * 1000

    def __str__(self) -> str:
        return f"{self.rate:.0f} a second, p50 {self.percentile(0.5):,.0f} ms, p99 {self.percentile(0.99):,.0f} ms"


Work = Callable[[Connection, int], Awaitable[object]]


async def load(urls: list[str], clients: int, seconds: float, work: Work, rate: float | None = None) -> Took:
    """Have clients work on connections of their own, spread over the URLs, one piece after the other, for so long.

    With a ``rate``, that many pieces are begun a second, as long as the clients keep up with it.
    """
    took, numbers = Took(), iter(range(1 << 60))
    begin = time.perf_counter()

    async def client(number: int) -> None:
        async with connected(urls[number % len(urls)]) as connection:
            while (start := time.perf_counter()) - begin < seconds:
                await work(connection, next(numbers))
                took.each.append(time.perf_counter() - start)

    async def steady_client(rate: float) -> None:
        while (piece := next(numbers)) / rate < seconds:
            await asyncio.sleep(begin + piece / rate - time.perf_counter())
            start = time.perf_counter()
            async with connected(urls[piece % len(urls)]) as connection:  # kept, it would be closed meanwhile
                await work(connection, piece)
            took.each.append(time.perf_counter() - start)

    await asyncio.gather(*(client(number) if rate is None else steady_client(rate) for number in range(clients)))
    took.seconds = time.perf_counter() - begin
    return took


_RANDOM = os.urandom(100_000)


def document(size: int = 100_000) -> bytes:
    """A document that nobody has seen before and that does not compress."""
    return os.urandom(16) + _RANDOM[16:size]
