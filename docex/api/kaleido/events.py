"""Socket.IO events `document_sent`, `document_received`, `transfer_acknowledgement`, from the history in the database.

Each API process follows the history while somebody listens to it, so it does not matter which process or worker wrote
it. Who listens is told what it may see, and only as long as its credential holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import socketio
import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docex.api.kaleido.engine3 import Engine3
from docex.api.kaleido.views import LineView
from docex.api.limits import count
from docex.api.permissions import Authenticator, authenticate, counted_caller
from docex.core.access import Caller, Folders, Permission
from docex.core.state import Event
from docex.errors import DocexError, Forbidden, NotFound, TooManyCalls, Unauthorised
from docex.service import transfer_log
from docex.service.call_limits import Kind
from docex.service.node import Node

MAX_LISTENERS = 500
CHECKED = 30.0
"""Seconds after which a credential is looked at again."""
INTERVAL = 0.25
"""Seconds between two looks at the history."""
_PAGE = 200
_MAX_MESSAGE = 10_000
_CALLER = "docex.caller"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Listener:
    connection: HTTPConnection
    folders: Folders
    checked: float


class Events:
    """The Socket.IO side of an application (ASGI), to be mounted at ``/socket.io``."""

    def __init__(self, node: Node, authenticators: Sequence[Authenticator]) -> None:
        self._node = node
        self._authenticators = authenticators
        self._listeners: dict[str, _Listener] = {}
        self._following: asyncio.Task[None] | None = None
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            ping_interval=20,
            ping_timeout=30,
            max_http_buffer_size=_MAX_MESSAGE,
            http_compression=False,  # what is compressed can't be translated
        )
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._app: ASGIApp = Engine3(socketio.ASGIApp(self._server, socketio_path=None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI): it says who calls, and counts as a call. So does each message on a websocket."""
        connection = HTTPConnection(scope)
        try:
            caller = await counted_caller(connection, self._authenticators)
            caller.require(Permission.SEE)
        except DocexError:
            if scope["type"] != "websocket":
                raise  # answered as on any other route
            await send({"type": "websocket.close"})  # before it is accepted: that is an answer 403
            return
        if scope["type"] == "websocket":
            receive = _counting(receive, lambda: count(connection, Kind.CALLER, caller.name))
        await self._app({**scope, _CALLER: caller}, receive, send)

    async def close(self) -> None:
        """Stop following, and let everybody go."""
        await self._stop()
        await self._server.shutdown()

    async def _connect(self, sid: str, environ: Mapping[str, Any], _: object) -> bool:
        if len(self._listeners) >= MAX_LISTENERS:
            return False
        scope = environ["asgi.scope"]
        caller = scope[_CALLER]
        assert isinstance(caller, Caller)
        self._listeners[sid] = _Listener(HTTPConnection(scope), caller.folders, asyncio.get_running_loop().time())
        if self._following is None:
            self._following = asyncio.create_task(self._follow(await self._node.store.last_event()))
        return True

    async def _disconnect(self, sid: str, _: str) -> None:
        self._listeners.pop(sid, None)
        if not self._listeners:
            await self._stop()

    async def _stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self, last: int) -> None:
        failure = ""
        while True:
            try:
                await self._check()
                for event in await self._node.store.events(last, _PAGE):
                    await self._tell(event)
                    last = event.sequence
                failure = ""
            except Exception as error:  # it must outlive whatever the database runs into
                if failure != (failure := repr(error)):
                    log.warning("events_failed", error=failure)
            await asyncio.sleep(INTERVAL)

    async def _check(self) -> None:
        """Let those go whose credential does not hold any more."""
        now = asyncio.get_running_loop().time()
        for sid, listener in list(self._listeners.items()):
            if now - listener.checked < CHECKED:
                continue
            try:
                caller = await authenticate(listener.connection, self._authenticators)
                caller.require(Permission.SEE)
            except (Unauthorised, Forbidden):
                await self._server.disconnect(sid)
            else:
                listener.folders, listener.checked = caller.folders, now

    async def _tell(self, event: Event) -> None:
        for folders in {each.folders for each in self._listeners.values()}:
            with suppress(NotFound):  # not in these folders
                name, lines = await transfer_log.lines_of(self._node, event, within=folders)
                for line in lines:
                    data = LineView.of(line).model_dump(mode="json", by_alias=True)
                    await self._emit(name, {"transferId": line.id, **data}, folders)

    async def _emit(self, name: str | None, data: Mapping[str, Any], folders: Folders) -> None:
        for sid, listener in list(self._listeners.items()):
            if listener.folders == folders:
                await self._server.emit(name, data, to=sid)


def _counting(receive: Receive, count: Callable[[], None]) -> Receive:
    """What a websocket brings; it ends with the message that is one too many."""

    async def receiving() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive":
            try:
                count()
            except TooManyCalls:
                return {"type": "websocket.disconnect", "code": 1008}  # policy (RFC 6455 section 7.4.1)
        return message

    return receiving
