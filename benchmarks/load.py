"""A client that costs little, for load: HTTP/1.1 over asyncio streams, one request at a time on each connection."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fixtures.processes import TOKEN

_PIECE = 1 << 20


class Connection:
    """One connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def call(self, method: str, path: str, body: bytes = b"", size: int | None = None) -> bytes:
        """The answer's body; fails unless it is a success. With ``size``, ``body`` is sent over and over up to it."""
        total = len(body) if size is None else size
        head = f"{method} {path} HTTP/1.1\r\nhost: node\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {total}\r\n"
        kind = "content-type: application/json\r\n" if method == "POST" else ""
        self._writer.write((head + kind + "\r\n").encode())
        while total:
            piece = memoryview(body)[:total]
            self._writer.write(piece)
            await self._writer.drain()
            total -= len(piece)
        return await self.answer()

    async def answer(self) -> bytes:
        """Read an answer to its end."""
        status, length = await self.head()
        content = await self._reader.readexactly(length)
        assert status < 300, (status, content)
        return content

    async def head(self) -> tuple[int, int]:
        """Read an answer's status and the length of its body."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split(" ")[1]), int(fields["content-length"])

    async def download(self, path: str) -> int:
        """Read a document and drop it; its size."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: node\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
        status, size = await self.head()
        assert status == 200, status
        left = size
        while left:
            left -= len(await self._reader.read(min(left, _PIECE)))
        return size

    async def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(await self.call(method, path, b"" if body is None else json.dumps(body).encode()))


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
