"""Limits of calls a minute at the API: who is counted, and how they are told (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docex.core.addresses import within
from docex.errors import TooManyCalls
from docex.service.call_limits import WINDOW, Kind
from docex.service.node import Node

_KEY: Final = "docex.quota"
_MAX_HOPS: Final = 32


class ShowsQuota:
    """Adds to every answer what its caller has left (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""

        async def sending(message: Message) -> None:
            quota = scope.get(_KEY)
            if message["type"] == "http.response.start" and quota is not None:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"{quota.kind}";q={quota.limit};w={WINDOW}'
                headers["RateLimit"] = f'"{quota.kind}";r={quota.remaining};t={quota.seconds}'
            await send(message)

        await self._app(scope, receive, sending)


def count(request: HTTPConnection, kind: Kind, who: str) -> None:
    """Count a call, and show what is left. Raises TooManyCalls."""
    calls = _node(request).calls
    if calls is None:
        return
    try:
        request.scope[_KEY] = calls.take(kind, who)
    except TooManyCalls as error:
        request.scope[_KEY] = calls.none_left(kind, error.seconds)
        raise


def count_stranger(request: HTTPConnection) -> None:
    """Count a call of somebody who has not said who they are, by address. Raises TooManyCalls."""
    count(request, Kind.ADDRESS, client_address(request))


def known_after_all(request: HTTPConnection) -> None:
    """A call on an open route came from a member, as which it is counted: it counts no more as its address's."""
    calls = _node(request).calls
    if calls is not None:
        calls.give_back(Kind.ADDRESS, client_address(request))


def client_address(request: HTTPConnection) -> str:
    """The address that a call came from: that of the connection, or behind our own proxies what they say.

    Of X-Forwarded-For only what our proxies added counts, which is at its end: the rest is whatever the client sent.
    Of an IPv6 address the network (/64), since a client has all of one.
    """
    address = request.client.host if request.client else ""
    proxies = _node(request).limits.proxies
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")[-_MAX_HOPS:]
    while hops and within(address, proxies):
        hop = hops.pop().strip()
        if not _is_address(hop):
            break
        address = hop
    return _network(address)


def _network(text: str) -> str:
    if not _is_address(text):
        return text
    address = ip_address(text)
    if not isinstance(address, IPv6Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address) >> 64 << 64, 64)))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _node(request: HTTPConnection) -> Node:
    node = request.app.state.node
    assert isinstance(node, Node)
    return node
