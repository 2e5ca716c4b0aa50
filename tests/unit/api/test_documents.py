"""`/api/v1/documents` over real HTTP."""

import asyncio
import base64
import hashlib
import os
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from docex.api import access
from docex.core import statement
from docex.core.claims import Document
from docex.service.node import Limits, Node
from storage import StorageUnavailable
from tests.fixtures.paper_nodes import NewNode, deposited, pieces
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of, document_statement, stored_document
from tests.fixtures.stores import DATA, paths
from tests.unit.api.conftest import TOKEN


async def test_a_deposit_is_answered_with_what_was_signed(client: httpx.AsyncClient, node: Node) -> None:
    answer = await client.put(
        "/api/v1/documents/quality/lot%207.pdf?kind=quality",
        content=b"content",
        headers={"content-type": "application/pdf"},
    )
    assert answer.status_code == 201
    body = answer.json()
    stored = await node.store.document("quality/lot 7.pdf")
    assert body == {
        "path": "quality/lot 7.pdf",
        "version": 1,
        "digest": digest_of("content"),
        "size": 7,
        "media_type": "application/pdf",
        "kind": "quality",
        "issuer": node.account,
        "statement": stored.statement,
        "created": body["created"],
    }
    assert body["created"].endswith("Z")


async def test_a_document_is_sent_with_its_digest(client: httpx.AsyncClient) -> None:
    made = (await client.put("/api/v1/documents/a", content=DATA, headers={"content-type": "image/png"})).json()
    answer = await client.get("/api/v1/documents/a")
    assert answer.status_code == 200
    assert answer.content == DATA
    raw = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    expected = {
        "content-length": str(len(DATA)),
        "content-type": "image/png",
        "content-digest": f"sha-256=:{raw}:",
        "content-disposition": "attachment",
        "docex-statement": made["statement"],
        "x-content-type-options": "nosniff",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected


async def test_versions_and_details(client: httpx.AsyncClient) -> None:
    for n in range(3):
        await client.put("/api/v1/documents/a", content=f"version {n}".encode())
    assert (await client.get("/api/v1/documents/a")).content == b"version 2"
    assert (await client.get("/api/v1/documents/a?version=1")).content == b"version 0"
    details = (await client.get("/api/v1/documents/a?details=true&version=2")).json()
    assert (details["version"], details["digest"]) == (2, digest_of("version 1"))
    assert details["media_type"] == "application/octet-stream"
    check_problem(await client.get("/api/v1/documents/a?version=4"), 404, "not_found")
    for version in ("0", "-1", "x", str(1 << 31), str(10**40)):
        body = check_problem(await client.get(f"/api/v1/documents/a?version={version}"), 422, "request_invalid")
        assert body["faults"][0]["where"] == "query.version"


async def test_an_empty_document(client: httpx.AsyncClient) -> None:
    assert (await client.put("/api/v1/documents/empty", content=b"")).status_code == 201
    answer = await client.get("/api/v1/documents/empty")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


async def test_lists_come_in_pages(client: httpx.AsyncClient) -> None:
    for name in ("a/1", "a/2", "a/3", "b/1"):
        await client.put(f"/api/v1/documents/{name}", content=b"content")
    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get("/api/v1/documents", params={"folder": "/a/", "cursor": cursor, "limit": 2})).json()
        seen += [each["path"] for each in page["documents"]]
        cursor = page["next"]
    assert seen == ["a/1", "a/2", "a/3"]
    assert len((await client.get("/api/v1/documents")).json()["documents"]) == 4
    check_problem(await client.get("/api/v1/documents?limit=0"), 422, "request_invalid")
    check_problem(await client.get("/api/v1/documents?limit=1001"), 422, "request_invalid")
    check_problem(await client.get("/api/v1/documents?folder=a/../b"), 422, "name_invalid")
    check_problem(await client.get("/api/v1/documents?cursor=%00"), 422, "cursor_invalid")


# --- what is refused -------------------------------------------------------------------------------------------------


async def chunked(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_deposit_without_its_length_is_refused(client: httpx.AsyncClient, node: Node) -> None:
    answer = await client.put("/api/v1/documents/a", content=chunked(b"content"))
    check_problem(answer, 411, "length_required")
    assert (await node.store.counts())["documents"] == 0


@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "٣", "9" * 20, "9" * 5000])
async def test_a_length_that_is_none_is_refused(node: Node, length: str) -> None:
    from docex.api.app import make_app

    transport = httpx.ASGITransport(app=make_app(node, TOKEN, interval=1))
    headers = [(b"authorization", f"Bearer {TOKEN}".encode()), (b"content-length", length.encode())]
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.put("/api/v1/documents/a", content=chunked(b"x"), headers=headers)
    check_problem(answer, 411, "length_required")


@pytest.fixture
def small_node(new_node: NewNode) -> Node:
    return new_node("Mine", limits=Limits(document_size=1000, packet_size=1000))


class TestSmall:
    @pytest.fixture
    def node(self, small_node: Node) -> Node:
        return small_node

    async def test_more_than_the_node_takes_is_refused(self, client: httpx.AsyncClient, node: Node) -> None:
        check_problem(await client.put("/api/v1/documents/a", content=bytes(1001)), 413, "limit_exceeded")
        assert (await client.put("/api/v1/documents/a", content=bytes(1000))).status_code == 201


BAD_PATHS = ["", "a//b", "a/", "%2e%2e/a", "a/%2e%2e/b", "a%5Cb", "a%00b", "nul", "a%3Ab", "a%0Ab", "%E2%80%AEgpj.exe"]
BAD_PATHS += ["e%CC%81", "x" * 1024, "a/" * 40 + "b", "%FF%FE", "%ED%A0%80", "a%7Cb", "trailing.", "%20a", "a%2F..%2Fb"]


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_a_name_that_is_none_is_refused_and_never_there(
    url: str, client: httpx.AsyncClient, node: Node, path: str
) -> None:
    raw = httpx.URL(url, raw_path=f"/api/v1/documents/{path}".encode())
    if path in {"%FF%FE", "%ED%A0%80"}:  # not UTF-8: what the server puts for it is the same for many paths
        for answer in (await client.put(raw, content=b"content"), await client.get(raw)):
            check_problem(answer, 422, "name_invalid")
        return
    if path == "a%0Ab":
        check_problem(await client.put(raw, content=b"content"), 404, "not_found")  # no path of a URL has a line feed
    else:
        check_problem(await client.put(raw, content=b"content"), 422, "name_invalid")
        assert (await paths(node.blobs), (await node.store.counts())["documents"]) == ([], 0)
    check_problem(await client.get(raw), 404, "not_found")


async def test_dots_that_a_client_resolves_reach_no_other_route(client: httpx.AsyncClient) -> None:
    check_problem(await client.put("/api/v1/documents/../../../etc/passwd", content=b"x"), 404, "not_found")


async def test_names_in_other_scripts_are_kept(client: httpx.AsyncClient) -> None:
    for path in ("Prüfung/Größe.pdf", "質量/証明書.pdf", "a b/c+d&e=f#g.pdf", "100%.pdf", "𝛼.pdf"):
        quoted = urllib.parse.quote(path)
        made = (await client.put(f"/api/v1/documents/{quoted}", content=path.encode())).json()
        assert made["path"] == path
        assert (await client.get(f"/api/v1/documents/{quoted}")).content == path.encode()


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?kind=novel", {}, "statement_invalid"),
        ("", {"content-type": "x" * 2000}, "statement_invalid"),
        ("", {"content-type": "\xff\xfe"}, None),
        ("?supersedes=sha256:12", {}, "request_invalid"),
        ("?supersedes=" + digest_of("x"), {}, "usage"),
    ],
)
async def test_what_no_statement_can_say_is_refused(
    client: httpx.AsyncClient, query: str, headers: dict[str, str], code: str | None
) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = await client.put(f"/api/v1/documents/a{query}", content=b"x", headers=raw)  # type: ignore[arg-type]
    if code is None:  # printable, so it may be stated, but it can't stand in a header
        assert answer.status_code == 201
        sent = await client.get("/api/v1/documents/a")
        assert (sent.status_code, sent.headers["content-type"]) == (200, "application/octet-stream")
    else:
        check_problem(answer, 422, code)


async def test_a_media_type_from_a_foreign_sender_breaks_no_download(client: httpx.AsyncClient, node: Node) -> None:
    stored = await deposited(node, "a", b"content")
    said = document_statement("b")
    row = replace(stored_document(said, "received/x/b"), media_type="тип/вид", blob=stored.blob, entry="a", size=7)
    await node.store.add_document(row, [said])
    answer = await client.get("/api/v1/documents/received/x/b")
    assert (answer.status_code, answer.content) == (200, b"content")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_html_is_never_shown_as_a_page(client: httpx.AsyncClient) -> None:
    await client.put("/api/v1/documents/a", content=b"<script>", headers={"content-type": "text/html"})
    answer = await client.get("/api/v1/documents/a")
    assert (answer.headers["content-disposition"], answer.headers["x-content-type-options"]) == (
        "attachment",
        "nosniff",
    )
    assert answer.headers["content-type"] == "text/html"


# --- when something fails --------------------------------------------------------------------------------------------


async def test_a_damaged_document_is_an_error_or_a_broken_download_but_never_wrong_bytes(
    client: httpx.AsyncClient, node: Node
) -> None:
    stored = await deposited(node, "a", DATA)
    data = bytearray(b"".join([chunk async for chunk in await opened(node, stored.blob)]))
    await node.blobs.delete(stored.blob)
    data[-1] ^= 1
    await node.blobs.put(stored.blob, pieces(bytes(data)))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/api/v1/documents/a")
    await node.blobs.delete(stored.blob)
    await node.blobs.put(stored.blob, pieces(b"nothing like a packet"))
    check_problem(await client.get("/api/v1/documents/a"), 422, "packet_header_invalid")
    await node.blobs.delete(stored.blob)
    check_problem(await client.get("/api/v1/documents/a"), 503, "blob_not_found")


def head(length: int) -> bytes:
    lines = [
        "PUT /api/v1/documents/a HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def opened(node: Node, blob: str) -> Any:
    async def chunks() -> AsyncIterator[bytes]:
        async with node.blobs.open(blob) as reader:
            async for chunk in reader:
                yield chunk

    return chunks()


async def test_a_store_that_fails_is_answered_while_the_client_still_sends(
    url: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: object, path: str, chunks: AsyncIterator[bytes]) -> int:
        async for _ in chunks:
            break
        raise StorageUnavailable("the disk is gone")

    monkeypatch.setattr(type(node.blobs), "put", fail)
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"PUT /api/v1/documents/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9000000\r\n"
    )
    writer.write(head.encode() + b"\r\n" + os.urandom(3_000_000))  # and no more: the client stalls
    async with asyncio.timeout(60):
        line = await reader.readline()
        body = await reader.readuntil(b"}")
    assert line == b"HTTP/1.1 503 Service Unavailable\r\n"
    assert b"urn:docex:problem:storage_unavailable" in body
    writer.close()


async def test_a_client_that_stalls_is_let_go(url: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PATIENCE", 0.2)
    host, port = url.removeprefix("http://").split(":")
    for sent in (b"", b"some"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(9) + sent)
        async with asyncio.timeout(60):
            assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
        writer.close()
    assert await paths(node.blobs) == []


async def test_a_client_that_goes_away_leaves_nothing_and_makes_no_noise(
    url: str, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = url.removeprefix("http://").split(":")
    for sent in (b"", os.urandom(3_000_000)):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(9_000_000) + sent)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    await asyncio.sleep(0.3)
    assert (await paths(node.blobs), (await node.store.counts())["documents"]) == ([], 0)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_reader_that_goes_away_frees_what_it_held(url: str, client: httpx.AsyncClient, node: Node) -> None:
    import threading

    await deposited(node, "a", DATA * 4)
    for _ in range(3):
        async with client.stream("GET", "/api/v1/documents/a") as answer:
            async for _chunk in answer.aiter_bytes():
                break
    for _ in range(100):
        if not [each for each in threading.enumerate() if each.name.startswith("docex-crew")]:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("a thread still reads")
    assert (await client.get("/api/v1/documents/a")).content == DATA * 4


class TestWithoutIdentity:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        return new_node("Mine", identity=False)

    async def test_documents_are_taken_and_described_but_not_read(self, client: httpx.AsyncClient) -> None:
        assert (await client.put("/api/v1/documents/a", content=b"content")).status_code == 201
        assert (await client.get("/api/v1/documents/a?details=true")).json()["size"] == 7
        check_problem(await client.get("/api/v1/documents/a"), 409, "conflict")


async def test_a_statement_can_be_read_and_verified(client: httpx.AsyncClient, node: Node) -> None:
    made = (await client.put("/api/v1/documents/a", content=b"content")).json()
    answer = (await client.get(f"/api/v1/statements/{made['statement']}")).json()
    said = statement.verify(answer["token"])
    assert (answer["type"], answer["issuer"], answer["digest"]) == ("document", node.account, said.digest_text)
    assert isinstance(said.body, Document)
    check_problem(await client.get(f"/api/v1/statements/{digest_of('x')}"), 404, "not_found")
    check_problem(await client.get("/api/v1/statements/sha256:12"), 422, "request_invalid")
