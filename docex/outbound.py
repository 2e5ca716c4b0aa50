"""HTTP to addresses that others chose: the guard against requests made to reach what they should not (SSRF).

The address is checked on the connection itself: names are resolved here, every address that comes back is checked, and
one of those very addresses is connected to. A name that resolves differently the next time (DNS rebinding) gains
nothing, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

import httpcore
import httpx

from docex.errors import DocexError, UsageError

Address = IPv4Address | IPv6Address
AddressRange = IPv4Network | IPv6Network

_PUBLIC: Final = "public"
_WORDS: Final = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "any": ("0.0.0.0/0", "::/0"),
}
# Not public, whatever the interpreter's own table says: shared (RFC 6598), multicast, and all forms of IPv6 that carry
# an IPv4 address inside, which would reach what that address is refused for.
_NOT_PUBLIC: Final = [
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/3",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "fec0::/10",
        "ff00::/8",
    )
]
# Where clouds hand out credentials to whoever asks. Some lie in ranges that a network may well be allowed.
_METADATA: Final = [
    ip_network(each)
    for each in ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32")
]
_WEB_PORTS: Final = (80, 443)
_SYSTEM_PORTS: Final = 1024
_LOOKUPS: Final = 8  # at once: one that hangs takes a thread for as long as the resolver waits
_CONNECT: Final = 5.0


class AddressRefused(DocexError):
    """An address that this node does not call."""

    code = "address_refused"


class Reach:
    """Which addresses may be called; see `reach`."""

    def __init__(
        self, ranges: Iterable[AddressRange], schemes: Iterable[str], *, public: bool, every_port: bool
    ) -> None:
        self._ranges, self._schemes = tuple(ranges), frozenset(schemes)
        self._public, self._every_port = public, every_port

    def __contains__(self, address: Address) -> bool:
        if any(_in(address, each) for each in _METADATA):
            # Only one by one: "all of fc00::/7" or "any" is not said with them in mind.
            return any(_in(address, each) and each.prefixlen == each.max_prefixlen for each in self._ranges)
        return any(_in(address, each) for each in self._ranges) or (self._public and _is_public(address))

    def check(self, url: httpx.URL) -> None:
        """Raise AddressRefused for a scheme or port that is not called."""
        if url.scheme not in self._schemes:
            raise AddressRefused(f"this node calls {' or '.join(sorted(self._schemes))} only, not {url.scheme}")
        if not (self._every_port or url.port in (None, *_WEB_PORTS) or url.port >= _SYSTEM_PORTS):
            raise AddressRefused(f"port {url.port} is not one of a node: ports below {_SYSTEM_PORTS} are 80 and 443")


def _split(text: str) -> list[str]:
    return [each.strip().casefold() for each in text.split(",") if each.strip()]


def reach(networks: str, schemes: str = "https,http") -> Reach:
    """What may be called, from words with commas between them.

    Args:
        networks: address ranges such as ``10.1.0.0/16``, ``public`` (what the internet routes), ``private`` (RFC 1918
            and RFC 4193), ``loopback``, ``any`` (at any port). Cloud metadata services have to be named one by one.
        schemes: ``https``, ``http``.

    Raises:
        UsageError: one of them is none.
    """
    words, kinds = _split(networks), _split(schemes)
    if not words or not kinds or not set(kinds) <= {"https", "http"}:
        raise UsageError("networks and schemes can't be empty; the schemes are https and http")
    ranges: list[AddressRange] = []
    for word in words:
        if word == _PUBLIC:
            continue
        try:
            ranges += [ip_network(each) for each in _WORDS.get(word, (word,))]
        except ValueError:
            known = ", ".join([_PUBLIC, *_WORDS])
            raise UsageError(f"{word[:80]!a} is not an address range like 10.1.0.0/16, nor one of {known}") from None
    return Reach(ranges, kinds, public=_PUBLIC in words, every_port="any" in words)


PUBLIC: Final = reach(_PUBLIC)
CHOSEN: Final = reach("any")
"""For what the node's own operator chose: services on private addresses are usual there."""


def open_client(reach: Reach, timeout: httpx.Timeout, ca_file: Path | None = None) -> httpx.AsyncClient:
    """A client that reaches nothing else: no redirects, no proxy, nothing from the environment.

    Certificates have to be for the name (or address) in the URL, whatever address it was found at, and from a public
    authority or one in ``ca_file`` (PEM).

    Raises:
        UsageError: there are no certificates in ``ca_file``.
    """
    transport = _Transport(reach, _tls(ca_file))
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False, transport=transport)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # an SSLError is one, too
            raise UsageError(f"{ca_file} has no certificates that can be read (PEM): {error}") from None
    return context


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, with a pool whose connections are made by `_Backend`."""

    def __init__(self, reach: Reach, tls: ssl.SSLContext) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)  # those of httpx
        super().__init__(verify=tls, trust_env=False)
        # httpx has no argument for the backend. Should it rename this, nothing is connected to: better than unguarded.
        assert isinstance(self._pool, httpcore.AsyncConnectionPool)
        self._reach, self._backend = reach, _Backend(reach)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=self._backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._reach.check(request.url)
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        await super().aclose()
        self._backend.close()


class _Backend(httpcore.AsyncNetworkBackend):
    """Resolves, checks every address, and connects to one of them."""

    def __init__(self, reach: Reach) -> None:
        self._reach, self._sockets = reach, httpcore.AnyIOBackend()
        # Not the loop's own threads: a member's name server that keeps silent must not take those that storage uses.
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        patience = timeout or _CONNECT
        addresses = await self._resolve(host, port, patience)
        for address in addresses:
            if address not in self._reach:
                raise AddressRefused(
                    f"{host} is at {address}, where this node calls nobody; DOCEX_PEER_NETWORKS says where it does"
                )
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(
                    str(address), port, patience / len(addresses), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _resolve(self, host: str, port: int, patience: float) -> Sequence[Address]:
        def lookup() -> list[Address]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # A scope (fe80::1%eth0) is dropped: link-local addresses are refused with it or without.
            return list(dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in found))

        try:
            async with asyncio.timeout(patience):
                return await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved within {patience:g} seconds") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} can't be resolved: {error}") from error


def _is_public(address: Address) -> bool:
    return address.is_global and not any(_in(address, each) for each in _NOT_PUBLIC)


def _in(address: Address, network: AddressRange) -> bool:
    return address.version == network.version and address in network
