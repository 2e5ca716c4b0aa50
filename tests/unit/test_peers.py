"""Calls to other members' nodes, against real HTTP servers that behave as other people's do."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from docex import peers as module
from docex.errors import Conflict, DocexError, NodeUnavailable, UploadUnderWay, UsageError
from docex.outbound import reach
from docex.peers import HttpPeers, NodeRefused, check_endpoint
from storage import StorageUnavailable
from tests.fixtures.statements import digest_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def peers() -> AsyncIterator[HttpPeers]:
    made = HttpPeers(reach("loopback"))
    yield made
    await made.close()


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def always(status: int, body: object = None, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return handler


async def chunks(count: int = 3) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000


async def test_the_calls_are_the_ones_of_the_api(peers: HttpPeers) -> None:
    seen: list[tuple[str, str, str, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers["content-type"], await request.read()))
        assert "authorization" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert "transfer-encoding" not in request.headers
        return web.json_response({"wanted": False, "id": "x"}, status=201)

    async with answering(handler) as url:
        assert await peers.announce(url + "/", "the.transfer.statement") is False
        await peers.send_packet(url + "/below", digest_of("x"), 3000, chunks())
        await peers.send_receipt(url, "the.receipt.statement")
    assert seen == [
        ("POST", "/api/v1/deliveries", "application/jose", b"the.transfer.statement"),
        ("PUT", f"/below/api/v1/deliveries/{digest_of('x')}/packet", "application/age", b"x" * 3000),
        ("POST", "/api/v1/receipts", "application/jose", b"the.receipt.statement"),
    ]


@pytest.mark.parametrize("body", [{"wanted": True}, {}, [], "x", b"not json", b"", b"[" * 100_000, {"wanted": 1}])
async def test_unless_a_node_says_that_it_has_the_packet_it_gets_it(peers: HttpPeers, body: object) -> None:
    async with answering(always(201, body)) as url:
        assert await peers.announce(url, "x") is True


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, NodeRefused) for status in (301, 307, 400, 401, 404, 413, 422)),
        *((status, NodeUnavailable) for status in (429, 500, 503)),
        (409, Conflict),
    ],
)
async def test_a_refusal_carries_the_other_node_s_reason(
    peers: HttpPeers, status: int, error: type[DocexError]
) -> None:
    async with answering(always(status, {"detail": "because"}, location="http://127.0.0.1:1/")) as url:
        with pytest.raises(error, match=f"answers {status}: because$") as caught:
            await peers.send_receipt(url, "x")
    assert type(caught.value) is error


async def test_an_upload_that_is_under_way_is_told_from_other_conflicts(peers: HttpPeers) -> None:
    async with answering(always(409, {"type": "urn:docex:problem:upload_under_way", "detail": "later"})) as url:
        with pytest.raises(UploadUnderWay, match="later"):
            await peers.send_packet(url, digest_of("x"), 3000, chunks())
    async with answering(always(409, b"")) as url:
        with pytest.raises(UploadUnderWay):
            await peers.offset(url, digest_of("x"))


async def test_a_redirect_is_not_followed(peers: HttpPeers) -> None:
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"location": "/metadata"})

    async with answering(handler) as url:
        with pytest.raises(NodeRefused, match="307"):
            await peers.announce(url, "x")
    assert paths == ["/api/v1/deliveries"]


async def test_an_answer_without_end_is_cut_off(peers: HttpPeers) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201)
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async with answering(handler) as url:
        with pytest.raises(NodeUnavailable, match="more than 1048576 bytes"):
            await asyncio.wait_for(peers.announce(url, "x"), 10)


async def test_a_packed_answer_is_not_unpacked(peers: HttpPeers) -> None:
    body = gzip.compress(b'{"wanted": false}' + b" " * (100 << 20))
    async with answering(always(201, body, **{"content-encoding": "gzip"})) as url:
        assert await peers.announce(url, "x") is True


async def test_an_answer_that_drips_is_not_waited_for(peers: HttpPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.5)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201)
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    async with answering(handler) as url:
        with pytest.raises(NodeUnavailable, match=r"did not answer within \d seconds"):
            await asyncio.wait_for(peers.send_packet(url, digest_of("x"), 3000, chunks()), 10)


async def test_a_node_that_is_not_there(peers: HttpPeers) -> None:
    async with answering(always(201, {})) as url:
        pass
    with pytest.raises(NodeUnavailable, match="can't be reached: ConnectError"):
        await peers.announce(url, "x")


async def test_a_node_that_breaks_off(peers: HttpPeers) -> None:
    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NodeUnavailable, match="can't be reached"):
        await peers.send_packet(f"http://127.0.0.1:{port}", digest_of("x"), 3_000_000, chunks(3000))
    server.close()
    await server.wait_closed()


async def test_a_store_that_fails_while_it_is_read_says_so(peers: HttpPeers) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise StorageUnavailable("the disk is gone")

    async with answering(always(201, {})) as url:
        with pytest.raises(StorageUnavailable):
            await peers.send_packet(url, digest_of("x"), 3000, failing())
        await peers.send_packet(url, digest_of("x"), 3000, chunks())


ENDPOINTS = ["", "x", "ftp://host", "file:///etc/passwd", "//host", "http://", "http:///path", "http://user:pw@host"]
ENDPOINTS += [
    "http://host?x=1",
    "http://host#x",
    "http://[",
    "http://host:99999",
    "http://ho st",
    "http://a\nb",
    "http://\0",
]
ENDPOINTS += ["http://" + "a" * 100_000, "javascript:alert(1)", "http://xn--/", "http://\u2100.com", "http://a..b:x"]


@pytest.mark.parametrize("ending", ["?", "/?", "#", "/x?y=", "/?#", "/a@b"])
async def test_an_endpoint_does_not_choose_what_is_called(peers: HttpPeers, ending: str) -> None:
    async with answering(always(201, {})) as url:
        for endpoint in (url + ending, url.replace("//", "//@"), url.replace("//", "//user@")):
            with pytest.raises(UsageError, match="only host and path belong there"):
                await peers.announce(endpoint, "x")
            with pytest.raises(UsageError):
                check_endpoint(endpoint)
        check_endpoint(url + "/below/")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda text: ascii(text[:30]))
async def test_an_endpoint_that_is_no_address_is_not_called(peers: HttpPeers, endpoint: str) -> None:
    with pytest.raises((UsageError, NodeUnavailable)) as caught:
        await asyncio.wait_for(peers.announce(endpoint, "x"), 10)
    assert len(str(caught.value)) < 1000 or isinstance(caught.value, NodeUnavailable)
