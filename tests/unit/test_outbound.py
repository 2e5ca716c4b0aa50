"""What a node may be made to call by the endpoint that somebody else published."""

import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from aiohttp import web

from docex import outbound
from docex.errors import NodeUnavailable, UsageError
from docex.outbound import CHOSEN, PUBLIC, AddressRefused, Reach, open_client, reach
from docex.peers import HttpPeers

TIMEOUT = httpx.Timeout(5.0)


@pytest.fixture
async def local() -> AsyncIterator[tuple[str, list[str]]]:
    """A server on loopback, and the hosts that it was asked for."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.headers["host"])
        return web.Response(status=302, headers={"location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield str(runner.addresses[0][1]), asked
    await runner.cleanup()


async def get(allowed: Reach, url: str) -> httpx.Response:
    async with open_client(allowed, TIMEOUT) as client:
        return await client.get(url)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> list[str]:
    """Every lookup gets the next answer; the names that were looked up."""
    asked: list[str] = []
    left = list(answers)

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in left.pop(0)]

    monkeypatch.setattr(outbound.socket, "getaddrinfo", lookup)  # type: ignore[attr-defined]
    return asked


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2620:fe::fe"])
def test_public_addresses_are_called(address: str) -> None:
    assert ip_address(address) in PUBLIC
    assert ip_address(address) in CHOSEN


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.1.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_are_not_public_are_not_called(address: str) -> None:
    assert ip_address(address) not in PUBLIC


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ("10.1.0.0/16", ["10.1.2.3"], ["10.2.0.1", "8.8.8.8", "127.0.0.1"]),
        ("public, 10.1.0.0/16", ["10.1.2.3", "8.8.8.8"], ["10.2.0.1"]),
        ("private", ["10.0.0.1", "172.31.0.1", "192.168.0.1", "fc00::1"], ["127.0.0.1", "8.8.8.8", "172.32.0.1"]),
        ("Loopback", ["127.0.0.1", "::1"], ["10.0.0.1", "8.8.8.8"]),
        ("any", ["127.0.0.1", "10.0.0.1", "8.8.8.8", "fe80::1"], ["169.254.169.254", "168.63.129.16", "fd00:ec2::254"]),
        ("any,169.254.0.0/16", ["127.0.0.1"], ["169.254.169.254"]),
        ("169.254.169.254/32,fd00:ec2::254", ["169.254.169.254", "fd00:ec2::254"], ["169.254.169.253"]),
        ("192.168.7.7", ["192.168.7.7"], ["192.168.7.8"]),
    ],
)
def test_settings_say_what_is_called(networks: str, inside: list[str], outside: list[str]) -> None:
    allowed = reach(networks)
    assert [each for each in inside if ip_address(each) not in allowed] == []
    assert [each for each in outside if ip_address(each) in allowed] == []


@pytest.mark.parametrize("networks", ["", " , ", "intranet", "10.1.2.3/16", "10.0.0.0/33", "*", "public;private"])
def test_networks_that_are_none_are_refused(networks: str) -> None:
    with pytest.raises(UsageError):
        reach(networks)


@pytest.mark.parametrize("schemes", ["", "ftp", "https,file"])
def test_schemes_that_no_node_has_are_refused(schemes: str) -> None:
    with pytest.raises(UsageError, match="https and http"):
        reach("public", schemes)


# What URL parsers and resolvers take for 127.0.0.1.
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]", "0"])
async def test_loopback_is_not_reached_however_it_is_written(local: tuple[str, list[str]], host: str) -> None:
    port, asked = local
    with pytest.raises(AddressRefused, match="where this node calls nobody"):
        await get(PUBLIC, f"http://{host}:{port}/")
    assert asked == []


async def test_a_delivery_to_an_endpoint_inside_is_refused(local: tuple[str, list[str]]) -> None:
    peers = HttpPeers()
    with pytest.raises(AddressRefused, match="DOCEX_PEER_NETWORKS"):
        await peers.announce(f"http://127.0.0.1:{local[0]}", "a.b.c")
    await peers.close()
    assert local[1] == []


async def test_what_is_allowed_is_reached_and_redirects_are_not_followed(local: tuple[str, list[str]]) -> None:
    port, asked = local
    answer = await get(reach("loopback"), f"http://127.0.0.1:{port}/")
    assert (answer.status_code, asked) == (302, [f"127.0.0.1:{port}"])


async def test_one_bad_address_among_good_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefused, match=r"is at 10\.0\.0\.1"):
        await get(PUBLIC, "http://node.example/")


async def test_a_name_that_resolves_differently_the_next_time_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, local: tuple[str, list[str]]
) -> None:
    port, reached = local
    asked = resolve_to(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    async with open_client(reach("loopback"), TIMEOUT) as client:
        for _ in range(3):  # on one connection, to the address that was checked
            assert (await client.get(f"http://node.example:{port}/")).status_code == 302
    assert asked == ["node.example"]
    assert reached == [f"node.example:{port}"] * 3
    async with open_client(reach("loopback"), TIMEOUT) as client:
        with pytest.raises(AddressRefused):
            await client.get(f"http://node.example:{port}/")
    assert len(reached) == 3


async def test_the_next_address_is_tried_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, local: tuple[str, list[str]]
) -> None:
    resolve_to(monkeypatch, ["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.3"], [])
    url = f"http://node.example:{local[0]}/"
    assert (await get(reach("loopback"), url)).status_code == 302
    with pytest.raises(httpx.ConnectError):
        await get(reach("loopback"), url)
    with pytest.raises(httpx.ConnectError, match="has no address"):
        await get(reach("loopback"), url)


async def test_a_name_that_nobody_knows_is_unreachable() -> None:
    peers = HttpPeers()
    with pytest.raises(NodeUnavailable, match="can't be resolved"):
        await peers.announce("http://nowhere.invalid", "a.b.c")
    await peers.close()


async def test_a_name_server_that_keeps_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    ends = threading.Event()

    def lookup(*_: object, **__: object) -> list[Any]:
        ends.wait(60)
        return []

    monkeypatch.setattr(outbound.socket, "getaddrinfo", lookup)  # type: ignore[attr-defined]
    async with open_client(PUBLIC, httpx.Timeout(0.1)) as client:
        with pytest.raises(httpx.ConnectTimeout, match="not resolved within"):
            await client.get("http://node.example/")
    ends.set()


@pytest.mark.parametrize("port", [1, 22, 25, 110, 445, 1023])
async def test_ports_of_other_services_are_not_called(port: int) -> None:
    with pytest.raises(AddressRefused, match=f"port {port} is not one of a node"):
        await get(reach("loopback,public"), f"http://127.0.0.1:{port}/")


async def test_a_scheme_can_be_closed(local: tuple[str, list[str]]) -> None:
    with pytest.raises(AddressRefused, match="calls https only, not http"):
        await get(reach("loopback", "https"), f"http://127.0.0.1:{local[0]}/")
    assert local[1] == []
