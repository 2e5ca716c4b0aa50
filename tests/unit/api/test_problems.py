"""Health, and errors: each one is a problem document, and none tells what it should not."""

import asyncio
import json
from contextlib import suppress

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from docex import errors
from docex.api import problems
from docex.core.access import Role
from docex.service import readiness
from docex.service.node import Node
from docex.service.readiness import Readiness
from keys import KeysError
from storage import StorageError, StorageUnavailable
from tests.fixtures.paper_nodes import UNAVAILABLE, NewNode, Paper
from tests.fixtures.problems import check_problem
from tests.unit.api.routes import bearing, key_for


async def test_a_node_that_lives_says_so(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": {}})


async def test_a_node_whose_parts_all_serve_is_ready(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/readyz")
    parts = {"database": "ok", "storage": "ok", "rpc": "ok", "keys": "ok"}
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": parts})


async def test_a_part_that_fails_is_named_and_the_others_are_still_asked(
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    node: Node,
    paper: Paper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unavailable(_: object) -> None:
        raise StorageUnavailable("no space")

    async def leak(_: object) -> None:
        raise RuntimeError("postgresql://user:secret@host")

    async def hang(_: object) -> None:
        await asyncio.sleep(3600)

    paper.ledger.down = UNAVAILABLE
    monkeypatch.setattr(type(node.blobs), "check", unavailable)
    monkeypatch.setattr(type(node.store), "check", leak)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {
            "status": "unavailable",
            "parts": {
                "database": "RuntimeError",
                "storage": "storage_unavailable: no space",
                "rpc": "ledger_unavailable: the ledger does not answer",
                "keys": "ok",
            },
        },
    )
    told = (await stranger.get("/readyz")).json()["parts"]
    assert told == {"database": "unavailable", "storage": "unavailable", "rpc": "unavailable", "keys": "ok"}
    monkeypatch.setattr(readiness, "PATIENCE", 0.05)
    monkeypatch.setattr(type(node.store), "check", hang)
    assert (await client.get("/readyz")).json()["parts"]["database"].startswith("no answer within")


async def test_what_is_wrong_is_told_to_operators_alone(
    url: str, stranger: httpx.AsyncClient, node: Node, paper: Paper
) -> None:
    paper.ledger.down = UNAVAILABLE
    async with bearing(url, await key_for(node, Role.AUDITOR)) as auditor:
        assert (await auditor.get("/readyz")).json()["parts"]["rpc"] == "unavailable"
    async with bearing(url, await key_for(node, Role.OPERATOR)) as operator:
        assert (await operator.get("/readyz")).json()["parts"]["rpc"].startswith("ledger_unavailable: ")
    async with bearing(url, "wrong") as wrong:
        assert (await wrong.get("/readyz")).json()["parts"]["rpc"] == "unavailable"


async def test_a_key_that_does_not_sign_is_named(new_node: NewNode) -> None:
    class Locked:
        def sign(self, _: bytes) -> bytes:
            raise KeysError("the key store is locked")

    assert (await Readiness(new_node("Far", identity=False)).look())["keys"].serves  # no identity, on purpose
    broken = new_node("Mine", signer=Locked())
    assert (await Readiness(broken).look())["keys"].state == "keys_error: the key store is locked"
    other = new_node("Other", recipient="age1other")
    assert "not that of the recipient" in (await Readiness(other).look())["keys"].state


async def test_many_who_ask_at_once_cause_one_look(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, go = [], asyncio.Event()

    async def check(_: object) -> None:
        looks.append(1)
        await go.wait()

    monkeypatch.setattr(type(node.store), "check", check)
    ready = Readiness(node)
    asking = [asyncio.create_task(ready.look()) for _ in range(10)]
    while not looks:
        await asyncio.sleep(0)
    asking[0].cancel()  # who goes away does not end it for the others
    go.set()
    assert all(found["database"].serves for found in await asyncio.gather(*asking[1:]))
    assert len(looks) == 1


async def test_a_suspended_member_s_node_is_not_ready(client: httpx.AsyncClient, node: Node, paper: Paper) -> None:
    paper.ledger.suspend(node.address, paper.clock())
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["rpc"].split(":")[0]) == (503, "not_member")


async def test_a_route_or_method_that_is_not_there(stranger: httpx.AsyncClient) -> None:
    check_problem(await stranger.get("/nothing"), 404, "not_found")
    answer = await stranger.post("/livez")
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"
    answer = await stranger.post("/api/v1/documents/a")  # two routes lead there: each has its methods
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, PUT"
    assert (await stranger.head("/api/v1/receipts")).status_code == 405


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /api/v1/receipts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answered(url: str, data: bytes) -> tuple[bytes, bytes]:
    """What a server says before it hangs up."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    found = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(60):
            while more := await reader.read(65536):
                found += more
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = found.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("garbage", [b"GARBAGE\r\n\r\n", HEAD + b"Content-Length: x\r\n\r\n", b"A" * 2000])
async def test_bytes_that_are_no_request_are_answered_with_a_problem_too(url: str, garbage: bytes) -> None:
    head, body = await answered(url, garbage)
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b"\r\nconnection: close" in head
    assert json.loads(body)["type"] == "urn:docex:problem:http_invalid"


@pytest.mark.parametrize("endless", [b"X: " + b"x" * (1 << 20), b"X: x\r\n" * (1 << 17)], ids=["one", "many"])
async def test_headers_without_end_are_not_kept(url: str, stranger: httpx.AsyncClient, endless: bytes) -> None:
    head, body = await answered(url, HEAD + endless)
    assert head.startswith(b"HTTP/1.1 431 ") or head == b""  # the answer is lost where the client sends on
    assert head == b"" or json.loads(body)["type"] == "urn:docex:problem:head_too_large"
    assert (await stranger.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "endless", [b"0\r\nX: " + b"x" * (1 << 20), b"1;" + b"x" * (1 << 20)], ids=["trailer", "chunk"]
)
async def test_what_comes_beside_content_has_an_end_too(url: str, endless: bytes) -> None:
    head, _ = await answered(url, CHUNKED + endless)
    assert b" 20" not in head.partition(b"\r\n")[0]


async def raised(node: Node, error: Exception) -> httpx.Response:
    app = FastAPI()  # not a node's own application: that opens no route which is not in its table
    problems.install(app)

    @app.get("/fail")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.get("/fail")


async def test_what_nobody_expected_is_logged_and_not_told(node: Node) -> None:
    with capture_logs() as logs:
        body = check_problem(await raised(node, RuntimeError("the secret")), 500, "internal")
    assert "secret" not in str(body)
    assert [(each["event"], each["error"]) for each in logs] == [("request_crashed", "RuntimeError('the secret')")]


def kinds(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(each for kind in root.__subclasses__() for each in kinds(kind))]


OWN = [
    kind
    for root in (errors.DocexError, StorageError, KeysError)
    for kind in kinds(root)
    if kind.__module__.split(".")[0] in {"docex", "storage", "keys"}
]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
async def test_every_error_of_ours_has_a_status_and_its_code(node: Node, kind: type[Exception]) -> None:
    error = Exception.__new__(kind, "the message")
    error.args = ("the message",)
    answer = await raised(node, error)
    code = kind.code  # type: ignore[attr-defined]
    body = check_problem(answer, answer.status_code, code)
    assert 400 <= answer.status_code <= 503
    assert body["detail"] == str(error)
    expected = {
        errors.Unauthorised: 401,
        errors.Forbidden: 403,
        errors.NotAddressee: 403,
        errors.NotFound: 404,
        errors.Conflict: 409,
        errors.LengthRequired: 411,
        errors.LimitExceeded: 413,
        errors.UsageError: 422,
        errors.NotMember: 422,
        errors.LedgerError: 502,
        errors.LedgerUnavailable: 503,
        errors.NodeUnavailable: 503,
        errors.DatabaseUnavailable: 503,
    }
    if kind in expected:
        assert answer.status_code == expected[kind]


def test_a_detail_that_utf_8_can_not_hold_is_still_sent() -> None:
    answer = problems.problem(404, "not_found", "half a pair: \ud800")
    assert answer.body == (
        b'{"type": "urn:docex:problem:not_found", "title": "not found", "status": 404, '
        b'"detail": "half a pair: \\ud800"}'
    )
