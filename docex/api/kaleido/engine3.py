"""Clients of Socket.IO 2 (Engine.IO 3) in front of a server that speaks with those of Socket.IO 3 and 4 (Engine.IO 4).

The two differ in four things (https://github.com/socketio/engine.io-protocol, "Difference between v3 and v4", and
https://github.com/socketio/socket.io-protocol): a polling body has packets with their length in front, instead of a
separator between them; the client pings and the server pongs, instead of the other way round; the client is in the root
namespace at once, instead of asking for it; and the answer to that has no data. So a ping of either side is handed on
as the pong that the other one waits for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SEPARATOR = "\x1e"
_JOIN = "40"  # message, connect: the root namespace
_MAX_PACKETS = 16
_PING_EVERY, _PATIENCE = 15_000, 60_000
"""Milliseconds that a client is told: it pings more often than the server does, and waits for longer than it takes."""


class Engine3:
    """Translates what comes with ``EIO=3`` (ASGI); everything else goes on as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if query.get("EIO") != "3" or "j" in query:
            await self._app(scope, receive, send)
            return
        inner = {**scope, "query_string": urlencode(query | {"EIO": "4"}).encode()}
        if scope["type"] == "websocket":
            await _Socket(receive, send, new="sid" not in query).serve(self._app, inner)
        else:
            await self._poll(inner, query, receive, send)

    async def _poll(self, scope: Scope, query: dict[str, str], receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            body = _SEPARATOR.join(_to_server(each) for each in _split((await _body(receive)).decode()))
            receive = _saying(body.encode())
            scope = _with_length(scope, len(body.encode()))
        start, answer = await _answer(self._app, scope, receive)
        if scope["method"] == "GET" and start["status"] == 200:
            packets = answer.decode().split(_SEPARATOR)
            if "sid" not in query:
                await self._join(scope, query, packets[0])
            answer = _joined(map(_to_client, packets)).encode()
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(answer)).encode())]})
        await send({"type": "http.response.body", "body": answer})

    async def _join(self, scope: Scope, query: dict[str, str], opened: str) -> None:
        """Ask for the root namespace in the place of a client that has just begun."""
        asked = urlencode(query | {"EIO": "4", "sid": json.loads(opened[1:])["sid"]})
        inner = {**_with_length(scope, len(_JOIN)), "method": "POST", "query_string": asked.encode()}
        await _answer(self._app, inner, _saying(_JOIN.encode()))


class _Socket:
    """A websocket, translated in both directions."""

    def __init__(self, receive: Receive, send: Send, *, new: bool) -> None:
        self._receive = receive
        self._send = send
        self._joins = False
        self._new = new

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._from_client, self._from_server)

    async def _from_client(self) -> Message:
        if self._joins:
            self._joins = False
            return {"type": "websocket.receive", "text": _JOIN}
        message = await self._receive()
        if message.get("text"):
            message["text"] = _to_server(message["text"])
        return message

    async def _from_server(self, message: Message) -> None:
        if text := message.get("text"):
            self._joins = self._new and text.startswith("0")
            message["text"] = _to_client(text)
        await self._send(message)


def _to_server(packet: str) -> str:
    return "3" if packet == "2" else packet


def _to_client(packet: str) -> str:
    if packet == "2":
        return "3"
    if packet.startswith("0{"):
        said = json.loads(packet[1:]) | {"pingInterval": _PING_EVERY, "pingTimeout": _PATIENCE}
        return "0" + json.dumps(said)
    if packet.startswith("40{"):
        return _JOIN
    if packet.startswith("44{"):
        return "44" + json.dumps(json.loads(packet[2:]).get("message", ""))
    return packet


def _split(body: str) -> list[str]:
    """The packets of a polling body; what is malformed ends it."""
    packets: list[str] = []
    while body and len(packets) < _MAX_PACKETS:
        length, colon, rest = body.partition(":")
        if not colon or not (length.isascii() and length.isdigit() and len(length) < 6):
            break
        packets.append(rest[: int(length)])
        body = rest[int(length) :]
    return packets


def _joined(packets: Iterable[str]) -> str:
    return "".join(f"{len(each)}:{each}" for each in packets)


async def _body(receive: Receive) -> bytes:
    data, more = b"", True
    while more and len(data) <= 1 << 16:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
    return data


def _saying(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in Headers(scope=scope).raw if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


async def _answer(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """What an application answers, as a whole: polling answers are short."""
    start: Message = {}
    body = bytearray()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, send)
    return start, bytes(body)
