"""Connections within limits: how many there are, and how long each may keep this node waiting.

uvicorn limits neither: a client that opens connections and says nothing, begins a head and never ends it, or asks for
much and never reads it, keeps a connection (and a stream of what it asked for) for ever. Bodies: `docex.api.access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from docex.api.problems import problem

_READ = 1 << 17
"""Bytes of content in one read that show a sender who has much and sends it fast."""
_LARGE_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one process; times in seconds, sizes in bytes.

    A connection too many takes the place of the one that has been waiting longest for a request, of those of its own
    address first. It is refused only when all of them are being served.
    """

    total: int = 768  # below the 1,024 descriptors that a process usually has
    per_address: int = 256
    head_patience: float = 10.0
    """From the connection, or the last answer, to the end of the next head."""
    head_size: int = 64 << 10
    """Of a head, or of what stands around the content of a body."""
    read_patience: float = 60.0
    slowest_reader: int = 10_000
    """Bytes a second that a client must take, once its patience is used up."""
    pipeline: int = 16
    """Requests that are sent before the first is answered."""


class Crowd:
    """The open connections of a process, by address: counted at each new one, so without a look at all of them."""

    def __init__(self) -> None:
        self._of: dict[str, set[LimitedProtocol]] = {}
        self.everyone: set[LimitedProtocol] = set()

    def of(self, address: str) -> set[LimitedProtocol]:
        """Those from one address."""
        return self._of.get(address, set())

    def add(self, one: LimitedProtocol) -> None:
        """Count one."""
        self.everyone.add(one)
        self._of.setdefault(one.address, set()).add(one)

    def remove(self, one: LimitedProtocol) -> None:
        """Count it no more."""
        self.everyone.discard(one)
        own = self.of(one.address)
        own.discard(one)
        if not own:
            self._of.pop(one.address, None)


class LimitedProtocol(HttpToolsProtocol):
    """HTTP/1.1 within limits, whose own answers have the form of all other errors (RFC 9457)."""

    def __init__(self, *, limits: ConnectionLimits, crowd: Crowd, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._crowd = crowd
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes that belong to no content
        self.waiting_since = self.loop.time()

    @property
    def address(self) -> str:
        """Where it comes from, without the port; where there is none (a Unix socket), everybody is one."""
        return (self.client or ("", 0))[0]

    @property
    def _served(self) -> bool:
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, let another go for it, or refuse it."""
        super().connection_made(transport)
        self._crowd.add(self)
        self._await_head()
        if self._is_full():
            self._answer(503, "too_many_connections", "there are too many connections: try again later")

    def _is_full(self) -> bool:
        """Whether there is no place; one that only waits makes place."""
        own, everyone = self._crowd.of(self.address), self._crowd.everyone
        for crowd, most in ((own, self._limits.per_address), (everyone, self._limits.total)):
            if len(crowd) <= most:
                continue
            waiting = [each for each in crowd if each is not self and not each._served]
            if not waiting:
                return True
            min(waiting, key=lambda each: each.waiting_since)._hang_up()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_timers()
        self._crowd.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._unread += len(data)
        super().data_received(data)
        if self._served and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._unread > self._limits.head_size and not self.transport.is_closing():
            self._answer(431, "head_too_large", f"more than {self._limits.head_size} bytes of headers came")

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._unread = 0
        if len(self.pipeline) >= self._limits.pipeline:
            raise ValueError("too many requests before the first is answered")  # ends parsing: see send_400_response
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Content comes. What follows it in the same data is short of a head by far."""
        self._unread = 0
        if not self.cycle.body:
            self.cycle.body = b""  # type: ignore[assignment]  # to bytes it adds and hands on these without a copy
        if len(body) >= _READ and getattr(self.transport, "max_size", _LARGE_READ) < _LARGE_READ:
            self.transport.max_size = _LARGE_READ  # type: ignore[attr-defined]  # asyncio's own: fewer, larger reads
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A body ends."""
        self._unread = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is written, though perhaps not read; the next request may come."""
        super().on_response_complete()
        if not self._served:
            self._await_head()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: from here on, pings tell whether anybody is there."""
        self._stop_timers()
        self._crowd.remove(self)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client reads less than it gets."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """The client reads on."""
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        super().resume_writing()

    def _await_head(self) -> None:
        self.waiting_since = self.loop.time()
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(self._limits.head_patience, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self.transport.get_write_buffer_size():
            if self._read_timer is None:
                self._await_reader()  # it is still reading its answer
        elif self._unread and not self.transport.is_closing():
            self._answer(408, "too_slow", f"a head takes at most {self._limits.head_patience:.0f} seconds")
        else:
            self._hang_up()

    def _await_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(self._limits.read_patience, self._reader_overdue, left)

    def _reader_overdue(self, before: int) -> None:
        self._read_timer = None
        left = self.transport.get_write_buffer_size()
        if left and before - left < self._limits.read_patience * self._limits.slowest_reader:
            self._hang_up()
        elif left:
            self._await_reader()
        elif not self._served:
            self._await_head()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._read_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._read_timer = None

    def _hang_up(self) -> None:
        # Closing would wait until all was read, and so for ever.
        self._crowd.remove(self)
        self.transport.abort()

    def _answer(self, status: int, code: str, detail: str) -> None:
        """Say why, and hang up; in the middle of another answer it would be taken for a part of that."""
        if self._served and self.cycle.response_started:
            self._hang_up()
            return
        answer = problem(status, code, detail)
        self.transport.write(_bytes_of(status, {**answer.headers, "connection": "close"}, bytes(answer.body)))
        self._crowd.remove(self)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, and hang up."""
        self._answer(400, "http_invalid", msg)


def _bytes_of(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
