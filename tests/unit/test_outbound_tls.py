"""TLS to addresses that were checked: whose certificate holds is the name in the URL, never the address it led to."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from docex.errors import NodeUnavailable, UsageError
from docex.oidc import HttpKeys
from docex.outbound import open_client, reach
from docex.peers import HttpPeers, NodeRefused
from docex.tsa import HttpTsa
from tests.fixtures.authority import Authority
from tests.unit.test_outbound import TIMEOUT, resolve_to


@dataclass
class Seen:
    """Where a server listens, which names TLS asked it for, and what it was asked over HTTP."""

    port: int = 0
    names: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncIterator[Seen]:
    seen = Seen()

    async def handler(request: web.Request) -> web.Response:
        seen.asked.append(f"{request.method} {request.host} {request.path}")
        location = f"http://127.0.0.1:{seen.port}/elsewhere"
        return web.Response(status=307 if "/api/" in request.path else 200, headers={"location": location})

    def name(_: Any, asked: str, __: ssl.SSLContext) -> None:
        seen.names.append(asked)

    tls.sni_callback = name
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    seen.port = runner.addresses[0][1]
    yield seen
    await runner.cleanup()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


async def get(url: str, ca_file: Path | None) -> int:
    async with open_client(reach("loopback"), TIMEOUT, ca_file) as client:
        return (await client.get(url)).status_code


async def test_a_certificate_for_the_name_holds_at_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    looked_up = resolve_to(monkeypatch, ["127.0.0.1"])
    async with listening(authority.serving(dns="node.example")) as seen:
        assert await get(f"https://node.example:{seen.port}/", authority.file) == 200
    assert (looked_up, seen.names, seen.asked) == (
        ["node.example"],
        ["node.example"],
        [f"GET node.example:{seen.port} /"],
    )


@pytest.mark.parametrize(
    ("host", "certificate", "reason"),
    [
        ("other.example", {"dns": "node.example"}, "Hostname mismatch"),
        ("node.example", {"address": "127.0.0.1"}, "Hostname mismatch"),
        ("127.0.0.1", {"dns": "node.example"}, "IP address mismatch"),
        ("node.example", {"dns": "node.example", "days": -1}, "has expired"),
    ],
    ids=["another name", "the address alone", "the name alone", "expired"],
)
async def test_a_certificate_for_anything_else_is_refused_before_a_word_is_said(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, host: str, certificate: dict[str, Any], reason: str
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    async with listening(authority.serving(**certificate)) as seen:
        with pytest.raises(httpx.ConnectError, match=reason):
            await get(f"https://{host}:{seen.port}/", authority.file)
    assert seen.asked == []


async def test_an_issuer_that_nobody_named_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    async with listening(authority.serving(dns="node.example")) as seen:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await get(f"https://node.example:{seen.port}/", None)
    assert seen.asked == []


async def test_a_delivery_follows_no_redirect_out_of_tls_and_a_wrong_name_is_told(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
    peers = HttpPeers(reach("loopback"), ca_file=authority.file)
    async with listening(authority.serving(dns="node.example")) as seen:
        with pytest.raises(NodeRefused, match="answers 307"):
            await peers.announce(f"https://node.example:{seen.port}", "x")
        with pytest.raises(NodeUnavailable, match=r"CERTIFICATE_VERIFY_FAILED.*Hostname mismatch"):
            await peers.announce(f"https://other.example:{seen.port}", "x")
    await peers.close()
    assert seen.asked == [f"POST node.example:{seen.port} /api/v1/deliveries"]


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"], ids=["missing", "empty", "no PEM"])
def test_a_file_without_authorities_is_told_at_once(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    for make in (
        HttpPeers,
        lambda **given: HttpKeys("https://a.example", **given),
        lambda **given: HttpTsa("https://a", **given),
    ):
        with pytest.raises(UsageError, match="has no certificates that can be read"):
            make(ca_file=path)
