"""Downloads over real HTTP: parts, conditions, digests, and HEAD."""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from docex.api.app import make_app
from docex.core.access import Role
from docex.service import transfers
from docex.service.node import Limits, Node
from tests.fixtures.paper_nodes import NewNode, deposited, pieces
from tests.fixtures.problems import check_problem
from tests.fixtures.stores import DATA, fetched
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import bearing, call, key_for, routes_of, stage

URL = "/api/v1/documents/a"


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.fixture
async def tag(node: Node) -> str:
    """The entity tag of a document that is there."""
    return f'"{(await deposited(node, "a", DATA, media_type="image/png")).statement}"'


SHORT = [
    ("bytes=0-0", 0, 1),
    ("bytes=5-9", 5, 10),
    ("bytes= 0-99", 0, 100),
    ("BYTES=3000000-3000001", 3000000, 3000002),
]
LONG = [(f"bytes={len(DATA) - 5}-", len(DATA) - 5, len(DATA)), ("bytes=-7", len(DATA) - 7, len(DATA))]
LONG += [("bytes=1000000-8999999", 1000000, 9000000), (f"bytes=9-{'9' * 19}", 9, len(DATA)), ("bytes=0-", 0, len(DATA))]
LONG += [(f"bytes=-{'9' * 19}", 0, len(DATA))]


@pytest.mark.parametrize(("asked", "start", "end"), SHORT + LONG)
async def test_a_part_is_sent_as_one(client: httpx.AsyncClient, tag: str, asked: str, start: int, end: int) -> None:
    answer = await client.get(URL, headers={"range": asked})
    assert (answer.status_code, answer.content == DATA[start:end]) == (206, True)
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)
    assert (answer.headers["etag"], answer.headers["content-type"]) == (tag, "image/png")
    assert answer.headers["repr-digest"] == digest(DATA)  # of all of it; the other one is of what is sent
    short = end - start <= 1 << 20
    assert answer.headers.get("content-digest") == (digest(DATA[start:end]) if short else None)


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-0,2-3", "bytes=-", "bytes=9-5", "bytes=a-b", "bytes=0", "lines=0-5", "bytes=", f"bytes={'9' * 20}-", "x"],
)
async def test_what_is_no_single_range_gets_all(client: httpx.AsyncClient, tag: str, asked: str) -> None:
    answer = await client.get(URL, headers={"range": asked})
    assert (answer.status_code, answer.content == DATA) == (200, True)
    assert answer.headers["content-digest"] == answer.headers["repr-digest"] == digest(DATA)
    assert (answer.headers["accept-ranges"], "content-range" in answer.headers) == ("bytes", False)


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0", f"bytes={'9' * 19}-"])
async def test_a_part_that_is_not_there(client: httpx.AsyncClient, tag: str, asked: str) -> None:
    answer = await client.get(URL, headers={"range": asked})
    check_problem(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_an_empty_document_has_no_parts(client: httpx.AsyncClient, node: Node) -> None:
    await deposited(node, "a", b"")
    check_problem(await client.get(URL, headers={"range": "bytes=0-"}), 416, "range_not_satisfiable")
    assert (await client.get(URL)).headers["content-digest"] == digest(b"")


async def test_a_part_of_another_version_is_not_added_to_what_the_client_has(
    client: httpx.AsyncClient, node: Node, tag: str
) -> None:
    headers = {"range": "bytes=5-9", "if-range": tag}
    assert (await client.get(URL, headers=headers)).status_code == 206
    await deposited(node, "a", b"the next version")
    answer = await client.get(URL, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"the next version")
    for other in (f"W/{tag}", "Tue, 24 Nov 2026 15:00:00 GMT"):
        headers = {"range": "bytes=5-9", "if-range": other}
        assert (await client.get(f"{URL}?version=1", headers=headers)).status_code == 200
    headers = {"range": "bytes=5-9", "if-match": tag}
    check_problem(await client.get(URL, headers=headers), 412, "precondition_failed")
    assert (await client.get(f"{URL}?version=1", headers=headers)).content == DATA[5:10]


async def test_what_the_client_has_is_not_sent_again(client: httpx.AsyncClient, node: Node, tag: str) -> None:
    for known in (tag, f'"x", W/{tag}', "*", f'"a,b" ,{tag}'):
        answer = await client.get(URL, headers={"if-none-match": known, "range": "bytes=0-5"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert (await client.get(URL, headers={"if-none-match": '"x"'})).status_code == 200
    assert (await client.get(URL, headers={"if-match": "*"})).status_code == 200
    for header, value in (("if-match", "x"), ("if-none-match", 'x"'), ("if-match", '"a" "b"'), ("if-match", "")):
        check_problem(await client.get(URL, headers={header: value}), 400, "header_invalid")
    check_problem(await client.get(URL, headers={"if-match": f"W/{tag}"}), 412, "precondition_failed")


async def test_a_damaged_document_gives_no_wrong_part(client: httpx.AsyncClient, node: Node) -> None:
    stored = await deposited(node, "a", DATA)
    data = bytearray(await fetched(node.blobs, stored.blob))
    data[len(data) // 2] ^= 1
    await node.blobs.delete(stored.blob)
    await node.blobs.put(stored.blob, pieces(bytes(data)))
    assert (await client.get(URL, headers={"range": "bytes=7-99"})).content == DATA[7:100]
    check_problem(await client.get(URL, headers={"range": "bytes=-5"}), 422, "packet_payload_invalid")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(URL, headers={"range": "bytes=99-"})


class TestWithoutIdentity:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        return new_node("Mine", identity=False)

    async def test_no_part_is_read(self, client: httpx.AsyncClient, node: Node) -> None:
        await deposited(node, "a", b"content")
        check_problem(await client.get(URL, headers={"range": "bytes=1-2"}), 409, "conflict")


async def test_a_reader_that_goes_away_frees_the_blob(client: httpx.AsyncClient, node: Node, tag: str) -> None:
    for _ in range(20):
        async with client.stream("GET", URL, headers={"range": "bytes=5-"}) as answer:
            async for _chunk in answer.aiter_bytes():
                break
    assert (await client.get(URL, headers={"range": "bytes=5-9"})).content == DATA[5:10]


# --- packets ---------------------------------------------------------------------------------------------------------


async def test_a_packet_comes_in_parts_too(client: httpx.AsyncClient, node: Node, new_node: NewNode) -> None:
    await deposited(node, "a", DATA[:100_000])
    sent = await transfers.create(node, ["a"], [new_node("Maker").account])
    assert sent.blob is not None
    packet, url = await fetched(node.blobs, sent.blob), f"/api/v1/transfers/{sent.id}/packet"
    answer = await client.get(url)
    assert (answer.status_code, answer.content) == (200, packet)
    assert answer.headers["content-type"] == "application/age"
    tag = answer.headers["etag"]
    part = await client.get(url, headers={"range": "bytes=-1000", "if-range": tag})
    assert (part.status_code, part.content) == (206, packet[-1000:])
    assert part.headers["content-digest"] == digest(packet[-1000:])
    assert part.headers["content-range"] == f"bytes {len(packet) - 1000}-{len(packet) - 1}/{len(packet)}"
    assert (await client.get(url, headers={"if-none-match": tag})).status_code == 304


# --- HEAD ------------------------------------------------------------------------------------------------------------


async def test_head_of_every_route_says_what_get_would(url: str, node: Node, new_node: NewNode) -> None:
    it = await stage(node, new_node("Maker"))
    paths = [call(it, each)[0] for each in routes_of(make_app(node, "t", interval=1)) if each[0] == "GET"]
    async with bearing(url, TOKEN) as client:
        for path in paths:
            full, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (full.status_code, b""), path
            fixed = {"date"} if path.startswith("/api/v1/") else {"date", "content-length"}  # health changes
            assert dict(head.headers.items() - full.headers.items()).keys() <= fixed, path
            assert head.headers.keys() == full.headers.keys(), path
    async with bearing(url, None) as client:
        assert (await client.head("/api/v1/documents")).status_code == 401
        assert (await client.head("/livez")).status_code == 200


async def test_no_part_or_condition_shows_what_a_role_may_not_read(url: str, node: Node, tag: str) -> None:
    asked = [{"range": "bytes=0-5"}, {"if-none-match": tag}, {"if-match": '"x"'}, {"range": "bytes=-0"}, {}]
    async with bearing(url, await key_for(node, Role.AUDITOR)) as client:
        for headers in asked:
            check_problem(await client.get(URL, headers=headers), 403, "forbidden")
            assert (await client.head(URL, headers=headers)).status_code == 403
    async with bearing(url, await key_for(node, Role.RECIPIENT, folders=["elsewhere"])) as client:
        for headers in asked:
            check_problem(await client.get(URL, headers=headers), 404, "not_found")


async def test_a_proof_comes_with_its_digest(client: httpx.AsyncClient, node: Node, tag: str) -> None:
    answer = await client.get(f"/api/v1/proofs/{(await node.store.document('a')).statement}")
    assert answer.headers["content-digest"] == digest(answer.content)


async def test_head_of_a_document_opens_nothing(client: httpx.AsyncClient, node: Node, tag: str) -> None:
    stored = await node.store.document("a")
    await node.blobs.delete(stored.blob)
    answer = await client.head(URL, headers={"range": "bytes=0-5"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))
    assert (answer.headers["etag"], answer.headers["content-digest"]) == (tag, digest(DATA))


# --- what is sent up -------------------------------------------------------------------------------------------------


async def test_an_upload_is_kept_when_it_has_the_digest_that_it_states(client: httpx.AsyncClient) -> None:
    sha512 = f"sha-512=:{base64.b64encode(hashlib.sha512(DATA).digest()).decode()}:"
    for header in ("content-digest", "repr-digest"):
        for value in (
            digest(DATA),
            f"md5=:AAAA:, {sha512}",
            f"{digest(b'')}, {digest(DATA)};x=1",
            "unixsum=:AA==:",
            "",
        ):
            assert (await client.put(URL, content=DATA, headers={header: value})).status_code == 201


@pytest.mark.parametrize("header", ["content-digest", "repr-digest"])
async def test_an_upload_of_something_else_is_not_kept(client: httpx.AsyncClient, node: Node, header: str) -> None:
    for content in (DATA, b"content", b""):
        answer = await client.put(URL, content=content, headers={header: digest(b"other")})
        check_problem(answer, 400, "content_digest_mismatch")
    both = [("content-digest", digest(b"content")), ("repr-digest", digest(b"other"))]
    check_problem(await client.put(URL, content=b"content", headers=both), 400, "content_digest_mismatch")
    assert [each async for each in node.blobs.list()] == []
    counts = await node.store.counts()
    assert (counts["documents"], counts["statements"]) == (0, 0)


@pytest.mark.parametrize(
    "value",
    ["x", "sha-256", "sha-256=abc", "sha-256=:AAAA:", "sha-256=:=:", "sha-512=:" + "A" * 43 + "=:", "sha-256=::"],
)
async def test_a_digest_that_is_none_is_refused(client: httpx.AsyncClient, node: Node, value: str) -> None:
    answer = await client.put(URL, content=b"content", headers={"content-digest": value})
    check_problem(answer, 400, "header_invalid")
    assert (await node.store.counts())["documents"] == 0


async def test_other_bodies_are_checked_too(client: httpx.AsyncClient, node: Node) -> None:
    body = b'{"name": "Ann", "roles": ["auditor"]}'
    headers = {"content-digest": digest(b"other")}
    check_problem(await client.post("/api/v1/keys", content=body, headers=headers), 400, "content_digest_mismatch")
    assert await node.store.api_keys() == []
    assert (
        await client.post("/api/v1/keys", content=body, headers={"content-digest": digest(body)})
    ).status_code == 201


async def test_no_more_is_taken_than_the_limit_and_one_chunk(node: Node) -> None:
    """Sent in chunks, without a length: only the bytes that came tell."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 60_000
            yield b" " * 60_000

    transport = httpx.ASGITransport(app=make_app(node, "token", interval=1))
    headers = {"authorization": "Bearer token"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        for path, limit in (("keys", 256 << 10), ("statements", 8 << 20), ("transfers", 4 << 20)):
            taken = 0
            check_problem(await client.post(f"/api/v1/{path}", content=endless()), 413, "limit_exceeded")
            assert limit < taken <= limit + 60_000


async def test_of_what_is_announced_as_too_large_nothing_is_taken(node: Node) -> None:
    taken = 0

    async def content() -> AsyncIterator[bytes]:
        nonlocal taken
        taken += 1
        yield bytes(1001)

    small = replace(node, limits=Limits(document_size=1000))
    transport = httpx.ASGITransport(app=make_app(small, "token", interval=1))
    headers = {"authorization": "Bearer token", "content-length": "1001"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        check_problem(await client.put(URL, content=content()), 413, "limit_exceeded")
    assert taken == 0
