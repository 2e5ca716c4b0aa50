"""Ids that are nobody's, malformed or another's, and names that mean to escape, at every route that takes one."""

import re
from urllib.parse import quote

import httpx
import pytest

from docex.api.app import make_app
from docex.api.permissions import NEEDS
from docex.core import statement
from docex.core.access import Role
from docex.service.destinations import uri_of
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, deposited
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import bearing, call, key_for, routes_of, stage

PEOPLE = (Role.SUPPLIER, Role.RECIPIENT, Role.AUDITOR)
PATTERN = re.compile(r"\{(\w+)(:path)?\}")
UNKNOWN = {"transfer": digest_of("x"), "digest": digest_of("x"), "key": "0" * 16, "path": "none/here"}
MALFORMED = ["x", "sha256:", "sha256:" + "G" * 64, digest_of("x").upper(), "%00", "%ff%fe", "%ed%a0%80", "a" * 3000]
ESCAPES = [
    "%2e%2e/x",
    "a/%2e%2e/%2e%2e/x",
    "a%2f%2e%2e%2fx",
    "a%00b",
    "a%5cb",
    "..%5cx",
    "%c0%ae%c0%ae/x",  # an overlong UTF-8 form of ..
    "%ed%a0%80",  # half of a surrogate pair
    quote("e\u0301"),  # NFD: its NFC twin is the one name
    "a" * 1025,
    "b" * 256,
    quote("a\u202eb"),
    quote("a\u200bb"),
    "con",
    "COM1.txt",
    "a.",
    "a%20",
    "%20a",
    "a//b",
    "/a",
]


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def test_ids_that_are_not_here_show_nothing_on_any_route(url: str, node: Node, maker: Node) -> None:
    it = await stage(node, maker)
    elsewhere = await deposited(maker, "secret", b"the maker's own")
    taking = [route for route in routes_of(make_app(node, TOKEN, interval=1)) if "{" in route[1]]
    assert {route for route in NEEDS if "{" in route[1]} == set(taking)
    writes = {("PUT", "/api/v1/documents/{path:path}"), ("PUT", "/documents/{path:path}")}
    async with bearing(url, TOKEN) as client:
        for route in sorted({*taking} - writes - {("POST", "/documents/{path:path}")}):
            (name, _), *_ = PATTERN.findall(route[1])
            own = {"digest": elsewhere.statement, "path": "secret"}.get(name, UNKNOWN[name])
            for value in (UNKNOWN[name], own, *MALFORMED):
                path, body = call(it, route)
                path = PATTERN.sub(lambda _, value=value: value, route[1])  # type: ignore[misc]
                answer = await client.request(route[0], path, **body)
                assert answer.status_code in ((404,) if value in (UNKNOWN[name], own) else (404, 409, 422)), (
                    route,
                    value[:80],
                    answer.text[:300],
                )
                assert b"the maker's own" not in answer.content


async def test_ids_of_another_caller_of_this_node_show_no_more_than_unknown_ones(
    url: str, client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    """Two people at one node, each kept to a folder, and one of them knows all ids of the other."""
    it = await stage(node, maker)
    with_key = {route for route in NEEDS if "{key}" in route[1]}
    members = {route for route, needed in NEEDS.items() if needed is None}
    theirs = {
        "transfer": [it.sent.id],
        "digest": [it.document.statement, it.document.digest, it.sent.id],
        "path": [it.document.path],
    }
    await client.put("/documents/others/theirs", content=b"x")
    before = await node.store.counts()
    async with bearing(url, await key_for(node, *PEOPLE, folders=["lots/18"])) as other:
        for method, route in sorted({each for each in NEEDS if "{" in each[1]} - with_key - members):
            (name, _), *_ = PATTERN.findall(route)
            for value in theirs[name]:
                answers = []
                for each in (value, UNKNOWN[name]):
                    path = PATTERN.sub(lambda _, each=each: each, route)  # type: ignore[misc]
                    answer = await other.request(method, path, content=b"new" if method in ("PUT", "POST") else b"")
                    answers.append((answer.status_code, answer.text.replace(each, "the id")))
                assert answers[0] == answers[1], (method, route)
                assert answers[0][0] == 404, (method, route, answers)
        said = statement.parse(it.incoming_token).issuer
        for path, wanted in (
            ("/api/v1/transfers", {"documents": [it.document.path], "to": [said]}),
            ("/api/v1/transfers", {"documents": [it.document.digest], "to": [said]}),
            ("/api/v1/revocations", {"statement": it.document.statement, "reason": "x"}),
            ("/transfers", {"from": uri_of(node.account), "to": uri_of(said), "document": f"/{it.document.path}"}),
        ):
            check_problem(await other.post(path, json=wanted), 404, "not_found")
        digits = it.document.digest.removeprefix("sha256:")
        for query in (digits + "&by_hash=true", "a.pdf", "theirs"):
            assert it.document.path not in (await other.get(f"/search?query={query}")).text
        for lists in ("/transfers", "/api/v1/transfers", "/documents", "/api/v1/documents"):
            answer = await other.get(lists)
            assert answer.status_code == 200
            assert it.sent.id not in answer.text
            assert "a.pdf" not in answer.text
    assert await node.store.counts() == before


async def test_who_does_not_manage_keys_ends_nobody_s(url: str, node: Node, maker: Node) -> None:
    it = await stage(node, maker)
    async with bearing(url, await key_for(node, *PEOPLE)) as other:
        check_problem(await other.delete(f"/api/v1/keys/{it.key_id}"), 403, "forbidden")
    assert [each.revoked for each in await node.store.api_keys() if each.id == it.key_id] == [None]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("prefix", ["/api/v1/documents/", "/documents/", "/kaleido/api/v1/documents/"])
async def test_names_that_mean_to_escape_are_refused_at_every_door(
    client: httpx.AsyncClient, node: Node, prefix: str, name: str
) -> None:
    before = await node.store.counts()
    for method in ("PUT", "POST", "PATCH", "GET", "DELETE"):
        answer = await client.request(method, prefix + name, content=b"x")
        assert 400 <= answer.status_code < 500, (method, answer.text)
    assert (await client.get("/search", params={"query": "\x00"})).status_code < 500
    assert await node.store.counts() == before


@pytest.mark.parametrize("name", ["../x", "a\\b", "a\u202eb", "e\u0301", "a" * 1025, "con", "a.", "a\x00b", "\ud800"])
async def test_names_in_bodies_and_queries_are_no_other_door(client: httpx.AsyncClient, node: Node, name: str) -> None:
    escaped = "".join(f"\\u{ord(each):04x}" for each in name)
    bodies = {
        ("POST", "/api/v1/transfers"): f'{{"documents": ["{escaped}"], "to": ["{node.account}"]}}',
        ("POST", "/transfers"): f'{{"from": "{node.account}", "to": "{node.account}", "document": "/{escaped}"}}',
        ("PUT", "/preferences"): f'{{"key": "receivedDocumentsPath", "value": "/{escaped}/x"}}',
        ("POST", "/api/v1/keys"): f'{{"name": "k", "roles": ["{Role.AUDITOR}"], "folders": ["{escaped}"]}}',
    }
    before = dict(await node.store.preferences()), len(await node.store.api_keys())
    for (method, path), content in bodies.items():
        answer = await client.request(method, path, content=content, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, (path, answer.text)
    assert (dict(await node.store.preferences()), len(await node.store.api_keys())) == before
    query = quote(name.encode("utf-8", "surrogatepass"))
    assert (await client.get(f"/api/v1/documents?folder={query}")).status_code < 500
    assert (await client.get(f"/search?query={query[:200]}")).status_code < 500


async def test_a_key_kept_to_a_folder_gains_nothing_by_a_detour(url: str, node: Node) -> None:
    await deposited(node, "lots/18/b", b"outside")
    async with bearing(url, await key_for(node, Role.SUPPLIER, Role.RECIPIENT, folders=["lots/17"])) as client:
        for path in ("lots/17/%2e%2e/18/b", "lots/17%2f%2e%2e%2f18%2fb", "LOTS/18/b", "lots/18/b/", "lots//18/b"):
            for prefix in ("/api/v1/documents/", "/documents/"):
                answer = await client.get(prefix + path)
                assert b"outside" not in answer.content
                assert answer.status_code < 500
