"""The document store API, route by route: forms, versions, folders, what was removed, what callers may see."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from docex.api.kaleido import forms
from docex.core.access import Role
from docex.errors import LimitExceeded, UsageError
from docex.service import incoming, listing, preferences, receipts, transfer_log, transfers
from docex.service.destinations import uri_of
from docex.service.node import Limits, Node
from storage import BlobNotFound
from tests.fixtures.paper_nodes import NewNode, deposited, pieces
from tests.fixtures.problems import check_problem
from tests.fixtures.stores import paths
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import bearing, key_for

CONTENT = b"content\r\n--not the boundary\r\n"
HASH = hashlib.sha256(CONTENT).hexdigest()
SUCCESS = {"result": "success", "hash": HASH}


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


def form(
    content: bytes = CONTENT, *, name: str = "document", before: bytes = b"", after: bytes = b""
) -> dict[str, Any]:
    """The body and headers of a form with one file in it."""
    part = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\nContent-Type: image/png\r\n\r\n'
    body = before + part.encode() + content + b"\r\n" + after + b"--b--\r\n"
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=b"}}


def field(name: str, value: bytes) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


async def unsized(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7):
        yield content[start : start + 7]


async def names(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [each["name"] + "/" * each["is_directory"] for each in answer.json()["entries"]]


# --- uploads ---------------------------------------------------------------------------------------------------------


async def test_a_form_a_raw_body_and_a_body_without_a_length_make_versions(
    client: httpx.AsyncClient, node: Node
) -> None:
    for given in (form(), {"content": CONTENT}, {"content": unsized(CONTENT)}, form(before=field("note", b"x"))):
        answer = await client.put("/documents/a/b.png", **given)
        assert (answer.status_code, answer.json()) == (200, SUCCESS)
    versions = [await node.store.document("a/b.png", version) for version in (1, 2, 3, 4)]
    assert [each.media_type for each in versions] == [
        "image/png",
        "application/octet-stream",
        "application/octet-stream",
        "image/png",
    ]
    for version in (1, 2, 3, 4):
        answer = await client.get("/api/v1/documents/a/b.png", params={"version": version})
        assert answer.content == CONTENT
    assert [each for each in await paths(node.blobs) if not each.startswith("documents/a/b.png/")] == []


async def test_post_stores_only_where_there_is_nothing(client: httpx.AsyncClient, node: Node) -> None:
    assert (await client.post("/documents/a", **form())).json() == SUCCESS
    for given in (form(b"other"), {"content": b"other"}):
        check_problem(await client.post("/documents/a", **given), 409, "conflict")
    assert (await client.get("/documents/a")).content == CONTENT
    assert len(await paths(node.blobs)) == 1


async def test_what_is_too_large_is_refused_and_leaves_nothing(new_node: NewNode) -> None:
    from docex.api.app import make_app

    small = replace(new_node("Small"), limits=Limits(document_size=100))
    transport = httpx.ASGITransport(app=make_app(small, TOKEN, interval=3600))
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        for given in (form(bytes(101)), {"content": bytes(101)}, {"content": unsized(bytes(101))}):
            check_problem(await client.put("/documents/a", **given), 413, "limit_exceeded")
        assert await paths(small.blobs) == []
        assert (await client.put("/documents/a", **form(bytes(100)))).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        form(name="file"),
        form(after=field("document", b"second")),
        {**form(), "headers": {"content-type": "multipart/form-data"}},
        {**form(), "headers": {"content-type": "multipart/form-data; boundary=other"}},
        {**form(), "content": form()["content"][:-6]},
        {**form(), "content": b""},
    ],
    ids=["another field", "two documents", "no boundary", "another boundary", "cut", "empty"],
)
async def test_a_form_that_is_none_leaves_nothing(client: httpx.AsyncClient, node: Node, given: dict[str, Any]) -> None:
    check_problem(await client.put("/documents/a", **given), 422, "usage")
    assert (await paths(node.blobs), (await node.store.counts())["documents"]) == ([], 0)


@pytest.mark.parametrize("size", [1, 2, 3, 50, 1000])
async def test_a_form_is_read_in_pieces_of_any_size(size: int) -> None:
    body = form(before=field("note", b"x"))["content"]
    kind, chunks = await forms.document_in("multipart/form-data; boundary=b", pieces(body, size))
    assert kind == "image/png"
    assert b"".join([each async for each in chunks]) == CONTENT


async def test_a_form_s_other_fields_are_not_let_grow() -> None:
    body = form(before=field("note", bytes(70_000)))["content"]
    with pytest.raises(LimitExceeded, match="beside the document"):
        await forms.document_in("multipart/form-data; boundary=b", pieces(body))
    with pytest.raises(UsageError, match="content type"):
        await forms.document_in("text/plain", pieces(b""))


@pytest.mark.parametrize(
    "path", ["a/%2E%2E/b", "a//b", "%2e%2e/a", "a%00", "a\\b", "/a", "a/", "x" * 1000, "a%E2%80%AEb"]
)
async def test_paths_that_are_none_are_refused(client: httpx.AsyncClient, node: Node, path: str) -> None:
    for given in (form(), {"content": CONTENT}):
        answer = await client.put(httpx.URL(f"{client.base_url}/documents/{path}"), **given)
        assert answer.status_code in (404, 422), answer.text
    assert await paths(node.blobs) == []


# --- folders ---------------------------------------------------------------------------------------------------------


async def test_folders_appear_by_themselves_and_are_listed_by_pages(client: httpx.AsyncClient) -> None:
    for path in ("a/x", "a/y/z", "b"):
        await client.put(f"/documents/{path}", content=CONTENT)
    assert await names(client, "/documents") == await names(client, "/documents/") == ["a/", "b"]
    assert await names(client, "/documents/a") == await names(client, "/documents/a/") == ["x", "y/"]
    assert await names(client, "/documents/a", limit=1) == ["x"]
    assert await names(client, "/documents/a", limit=1, offset=1) == ["y/"]
    assert (await client.get("/documents?limit=1")).json()["is_truncated"] is True
    assert await names(client, "/documents/a", offset=2) == []
    details = (await client.get("/documents/a/y?details_only=true")).json()
    assert details == {"name": "y", "is_directory": True, "size": None, "last_modified": None, "hash": None}
    for missing in ("/documents/c", "/documents/b/", "/documents/a/y/z/q", "/documents/c?offset=3"):
        check_problem(await client.get(missing), 404, "not_found")
    for wrong in ("limit=0", "limit=1001", "offset=-1", "offset=1000001"):
        check_problem(await client.get(f"/documents?{wrong}"), 422, "request_invalid")


async def test_a_document_and_a_folder_may_have_one_name(client: httpx.AsyncClient) -> None:
    for path in ("a", "a/b"):
        await client.put(f"/documents/{path}", content=CONTENT)
    assert (await client.get("/documents/a")).content == CONTENT
    assert await names(client, "/documents/a/") == ["b"]


async def test_what_is_removed_is_gone_here_and_in_the_node_s_own_api(
    client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    document = await deposited(node, "f/a", CONTENT)
    assert (await client.delete("/documents/f/a")).json() == {"result": "success"}
    for path in ("/documents/f/a", "/documents/f", "/api/v1/documents/f/a", "/api/v1/documents/f/a?version=1"):
        check_problem(await client.get(path), 404, "not_found")
    check_problem(await client.delete("/documents/f/a"), 404, "not_found")
    assert (await client.get("/api/v1/documents")).json()["documents"] == []
    assert (await client.get(f"/search?query={HASH}&by_hash=true")).json() == {"documents": []}
    for reference in ("f/a", document.digest, document.statement):
        wanted = {"documents": [reference], "to": [maker.account]}
        check_problem(await client.post("/api/v1/transfers", json=wanted), 404, "not_found")
    assert (await client.get(f"/api/v1/proofs/{document.statement}")).status_code == 200
    assert len(await paths(node.blobs)) == 1
    assert (await client.post("/documents/f/a", content=b"again")).status_code == 200
    assert (await node.store.document("f/a")).version == 2


async def test_search(client: httpx.AsyncClient) -> None:
    await client.put("/documents/Quality/cert.pdf", content=CONTENT)
    for query in ("CERT", "lity/c", f"{HASH.upper()}&by_hash=true", f"sha256:{HASH}&by_hash=true"):
        found = (await client.get(f"/search?query={query}")).json()["documents"]
        assert [(each["full_path"], each["hash"], each["size"]) for each in found] == [
            ("Quality/cert.pdf", HASH, len(CONTENT))
        ]
    assert (await client.get("/search?query=none")).json() == {"documents": []}
    check_problem(await client.get("/search?query=cert&cursor=x"), 422, "cursor_invalid")
    check_problem(await client.get("/search?query=cert&by_hash=true"), 422, "usage")
    check_problem(await client.get("/search?query=%00"), 422, "usage")
    check_problem(await client.get("/search"), 422, "request_invalid")


@pytest.mark.parametrize("query", ["lot", "o", f"{HASH}&by_hash=true"])
async def test_a_search_that_finds_much_comes_in_pages(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("docex.service.listing.MAX_FOUND", 2)
    for number in range(3):
        await client.put(f"/documents/lot/{number}", content=CONTENT)
    url, found = httpx.URL(f"/search?query={query}"), []
    while True:
        answer = await client.get(url)
        found.append([each["full_path"] for each in answer.json()["documents"]])
        if "next" not in answer.links:
            break
        url = httpx.URL(answer.url).join(answer.links["next"]["url"])
        assert url.params["cursor"] == answer.json()["next"]
    assert found == [["lot/0", "lot/1"], ["lot/2"]]


# --- the container ---------------------------------------------------------------------------------------------------


async def put_in(node: Node, path: str, content: bytes = CONTENT) -> None:
    await node.blobs.put(f"incoming/{path}", pieces(content))


async def test_what_was_put_into_the_container_is_taken_in_and_removed_there(
    client: httpx.AsyncClient, node: Node
) -> None:
    await put_in(node, "images/a.png")
    check_problem(await client.get("/documents/images/a.png"), 404, "not_found")
    assert (await client.patch("/documents/images/a.png")).json() == SUCCESS
    assert (await client.get("/documents/images/a.png")).content == CONTENT
    assert [each.partition("/")[0] for each in await paths(node.blobs)] == ["documents"]
    assert (await client.patch("/documents/images/a.png")).json() == SUCCESS  # nothing new
    assert (await node.store.document("images/a.png")).version == 1
    check_problem(await client.patch("/documents/none"), 404, "not_found")
    check_problem(await client.patch("/documents/a/../b"), 404, "not_found")


async def test_all_of_the_container_is_taken_in_but_for_what_can_not_be(client: httpx.AsyncClient, node: Node) -> None:
    await put_in(node, "a")
    await put_in(node, "b/c", b"other")
    await put_in(node, "b/con", b"a device on Windows")
    done = (await client.post("/sync_hashes?reset=true")).json()
    assert done["hashes_calculated"] == 2
    assert [(each["path"], each["reason"].partition(":")[0]) for each in done["skipped"]] == [("b/con", "name_invalid")]
    assert await names(client, "/documents/b") == ["c"]
    assert [each for each in await paths(node.blobs) if each.startswith("incoming/")] == ["incoming/b/con"]


async def test_a_crash_before_the_container_is_cleared_makes_no_second_version(node: Node) -> None:
    await deposited(node, "a", CONTENT)
    await put_in(node, "a")
    await put_in(node, "b")
    await deposited(node, "b", b"x" * len(CONTENT))
    assert await incoming.sync(node) == incoming.Synced(2, ())
    assert (await node.store.document("a")).version == 1
    assert (await node.store.document("b")).version == 2
    await deposited(node, "c", b"short")
    await put_in(node, "c")
    assert (await incoming.hash_of(node, "c")).version == 2


async def test_of_two_who_take_in_the_container_at_once_neither_fails(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_in(node, "a")

    async def gone(*_: object) -> None:
        raise BlobNotFound("incoming/a")

    monkeypatch.setattr(incoming, "_take", gone)
    assert await incoming.sync(node) == incoming.Synced(0, ())


# --- transfers and preferences ---------------------------------------------------------------------------------------


async def test_destinations_are_those_of_the_directory(client: httpx.AsyncClient, node: Node, maker: Node) -> None:
    found = (await client.get("/destinations")).json()["destinations"]
    assert found == [
        {"uri": uri_of(each.account), "member": name, "account": each.account, "own": own}
        for each, name, own in ((node, "Mine", True), (maker, "Maker", False))
    ]


async def test_a_transfer_needs_this_member_s_and_another_s_destination(
    client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    await deposited(node, "a", CONTENT)
    ours, theirs = uri_of(node.account), uri_of(maker.account)

    async def hand(sender: str, to: str, document: str = "/a", **more: str) -> httpx.Response:
        return await client.post("/transfers", json={"from": sender, "to": to, "document": document} | more)

    for sender, to in ((theirs, ours), (ours, ours), (ours, theirs + "x"), (ours, "kld://x"), (ours, node.account)):
        check_problem(await hand(sender, to), 422, "usage")
    check_problem(await hand(ours, theirs, "/none"), 404, "not_found")
    check_problem(await hand(ours, theirs, more="x"), 422, "request_invalid")
    made = (await hand(ours, theirs)).json()
    assert made["result"] == "Document sent."
    (line,) = (await client.get("/transfers")).json()["transfers"]
    assert (line["id"], line["status"], line["document"], line["hash"]) == (made["transfer_id"], "sent", "/a", HASH)
    assert "recipientSignature" not in line
    text = line["from"] + line["to"] + line["hash"] + line["timestamp"]
    assert line["transferHash"] == hashlib.sha256(text.encode()).hexdigest()


async def test_the_log_has_a_line_for_each_document_and_addressee(
    client: httpx.AsyncClient, node: Node, maker: Node, new_node: NewNode
) -> None:
    third = new_node("Third")
    for path in ("a", "b"):
        await deposited(node, path, path.encode())
    sent = await transfers.create(node, ["a", "b"], [maker.account, third.account])
    lines = (await client.get("/transfers")).json()
    assert [(each["to"], each["document"]) for each in lines["transfers"]] == [
        (uri_of(to.account), document) for to in (maker, third) for document in ("/a", "/b")
    ]
    assert {each["id"] for each in lines["transfers"]} == {sent.id}
    page = (await client.get("/transfers?offset=1&limit=2")).json()
    assert (page["transfers"], page["is_truncated"]) == (lines["transfers"][1:3], True)
    check_problem(await client.get("/transfers?offset=1001"), 422, "request_invalid")


async def test_a_rejected_packet_is_a_failed_line_on_both_sides(
    client: httpx.AsyncClient, node: Node, maker: Node, paper: Any
) -> None:
    await deposited(maker, "a", CONTENT)
    sent = await transfers.create(maker, ["a"], [node.account])
    await transfers.deliver(maker, sent.id, node.account)
    (line,) = (await client.get("/transfers")).json()["transfers"]
    assert (line["status"], line["hash"], line["document"], line["transferHash"]) == ("sent", None, None, None)
    paper.ledger.retire(maker.address, maker.signer.kid, paper.clock.time - 1)
    await receipts.open_received(node, sent.id)
    (line,) = (await client.get("/transfers")).json()["transfers"]
    assert (line["status"], line["hash"]) == ("failed", None)


async def test_received_documents_go_where_the_operator_says(
    client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    key = preferences.RECEIVED_PATH
    assert (await client.get("/preferences")).json() == {key: "/received/${sender_org}"}
    value = "/to/${recipient_destination}/from/${sender_org}-${sender_destination}/"
    assert (await client.put("/preferences", json={"key": key, "value": value})).json() == {"result": "success"}
    assert (await client.get("/preferences")).json() == {key: value}
    await deposited(maker, "m/a", CONTENT)
    sent = await transfers.create(maker, ["m/a"], [node.account])
    await transfers.deliver(maker, sent.id, node.account)
    await receipts.open_received(node, sent.id)
    path = f"to/default/from/{maker.address}-default/m/a"
    assert (await client.get(f"/documents/{path}")).content == CONTENT
    (line,) = (await client.get("/transfers")).json()["transfers"]
    assert (line["status"], line["document"]) == ("received", f"/{path}")


@pytest.mark.parametrize(
    "value",
    [
        "", "/", "//", "relative", "/../etc", "/a/../b", "/a//b", "/a\\b", "/${unknown}", "/${sender_org", "/$x",
        "/a\x00", "/" + "x" * 200, "/a" * 9, "/con", "/a/ ", "/\u202ea", "/${sender_org}/../..",
    ],
)  # fmt: skip
async def test_a_path_for_received_documents_that_leads_elsewhere_is_refused(
    client: httpx.AsyncClient, value: str
) -> None:
    answer = await client.put("/preferences", json={"key": preferences.RECEIVED_PATH, "value": value})
    assert answer.status_code == 422
    assert (await client.get("/preferences")).json() == dict(preferences.DEFAULTS)


async def test_there_are_no_other_preferences(client: httpx.AsyncClient) -> None:
    check_problem(await client.put("/preferences", json={"key": "other", "value": "/a"}), 422, "usage")
    check_problem(await client.put("/preferences", json={"key": "other"}), 422, "request_invalid")


# --- who calls -------------------------------------------------------------------------------------------------------


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_the_password_of_any_user_is_a_key_or_the_token(stranger: httpx.AsyncClient, node: Node) -> None:
    for password in (TOKEN, await key_for(node, Role.AUDITOR)):
        for user in ("anybody", ""):
            assert (await stranger.get("/documents", headers=basic(password, user))).status_code == 200
            assert (await stranger.get("/api/v1/documents", headers=basic(password, user))).status_code == 200
    wrong = ["Basic", "Basic !", f"Basic {TOKEN}", "Basic " + base64.b64encode(b"\xff:\xff").decode()]
    for headers in (basic(""), basic("wrong"), basic("", TOKEN), *({"authorization": each} for each in wrong)):
        answer = await stranger.get("/documents", headers=headers)
        check_problem(answer, 401, "unauthorised")
        assert answer.headers["www-authenticate"] == 'Bearer realm="docex"'  # no browser asks, and keeps, a password


async def test_the_same_routes_are_under_a_prefix_and_nothing_else_is(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    prefix = "/kaleido/api/v1"
    assert (await client.put(f"{prefix}/documents/a%20b", **form())).json() == SUCCESS
    assert (await client.get(f"{prefix}/documents/a%20b")).content == CONTENT
    for path in ("documents", "search?query=a", "transfers", "preferences", "destinations"):
        assert (await client.get(f"{prefix}/{path}")).json() == (await client.get(f"/{path}")).json()
        check_problem(await stranger.get(f"{prefix}/{path}"), 401, "unauthorised")
    for path in ("livez", "api/v1/documents", "", "openapi.json", "documentsx"):
        check_problem(await client.get(f"{prefix}/{path}"), 404, "not_found")


async def test_who_is_kept_to_folders_has_nothing_else(url: str, node: Node, maker: Node) -> None:
    for path in ("in/a", "out/b", "inn/c"):
        await deposited(node, path, path.encode())
    await put_in(node, "in/new")
    await put_in(node, "out/new")
    await transfers.create(node, ["out/b"], [maker.account])
    inside = await transfers.create(node, ["in/a"], [maker.account])
    async with bearing(url, await key_for(node, Role.SUPPLIER, Role.RECIPIENT, folders=["in"])) as kept:
        assert await names(kept, "/documents") == ["in/"]
        for path in ("out", "out/b", "out/b?details_only=true", "inn/c"):
            check_problem(await kept.get(f"/documents/{path}"), 404, "not_found")
        for method in ("PUT", "POST"):
            for given in (form(), {"content": b"x"}, {"content": unsized(b"x")}):
                check_problem(await kept.request(method, "/documents/out/x", **given), 404, "not_found")
        for method in ("PATCH", "DELETE"):
            for path in ("out/b", "out/new", "out/none"):
                check_problem(await kept.request(method, f"/documents/{path}"), 404, "not_found")
        digest = hashlib.sha256(b"out/b").hexdigest()
        for query in ("out", f"{digest}&by_hash=true"):
            assert (await kept.get(f"/search?query={query}")).json() == {"documents": []}
        assert (await kept.post("/sync_hashes")).json() == {"hashes_calculated": 1, "skipped": []}
        assert [each["id"] for each in (await kept.get("/transfers")).json()["transfers"]] == [inside.id]
        wanted = {"from": uri_of(node.account), "to": uri_of(maker.account), "document": "/out/b"}
        check_problem(await kept.post("/transfers", json=wanted), 404, "not_found")
    assert (await node.store.document("in/new")).version == 1
    assert "incoming/out/new" in await paths(node.blobs)


async def test_nothing_of_a_document_is_written_down_in_clear(
    client: httpx.AsyncClient, node: Node, tmp_path: Any
) -> None:
    marker = b"in clear" * 4
    seen: list[bytes] = []
    put = node.blobs.put

    async def watched(path: str, chunks: AsyncIterator[bytes]) -> int:
        async def tee() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                seen.append(chunk)
                yield chunk

        return await put(path, tee())

    node.blobs.put = watched  # type: ignore[method-assign, assignment]
    assert (await client.put("/documents/a", **form(marker))).status_code == 200
    assert len(seen) >= 2
    assert marker not in b"".join(seen)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or marker not in file.read_bytes()


async def test_the_use_cases_keep_their_bounds_themselves(node: Node) -> None:
    for wrong in ((-1, 1), (0, 0), (0, 10**6)):
        with pytest.raises(UsageError, match="offset is"):
            await listing.entries(node, "", *wrong)
        with pytest.raises(UsageError, match="offset is"):
            await transfer_log.log(node, *wrong)


async def test_the_openapi_names_both_ways_to_send_a_document(stranger: httpx.AsyncClient) -> None:
    described = json.loads((await stranger.get("/openapi.json")).content)
    body = described["paths"]["/documents/{path}"]["put"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "application/octet-stream"}
