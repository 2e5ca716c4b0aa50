"""Lists come in pages: cursors, links, and what happens while entries are added."""

import base64
from typing import Any

import httpx
import pytest

from docex.core.access import Role
from docex.service import api_keys, transfers
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, Paper, deposited
from tests.fixtures.problems import check_problem

LISTS = ["documents", "transfers", "keys"]


async def pages(client: httpx.AsyncClient, path: str, limit: int, **query: Any) -> list[list[str]]:
    """The ids in each page, by the links alone."""
    url, found = httpx.URL(f"/api/v1/{path}", params={**query, "limit": limit}), []
    while True:
        answer = await client.get(url)
        body = answer.json()
        found.append([each.get("id") or each["path"] for each in body[path]])
        assert ("next" in answer.links) == (body["next"] is not None)
        assert httpx.URL(answer.url).join(answer.links["first"]["url"]).params["limit"] == str(limit)
        if body["next"] is None:
            return found
        url = httpx.URL(answer.url).join(answer.links["next"]["url"])
        assert url.params["cursor"] == body["next"]
        assert all(url.params[name] == value for name, value in query.items())


async def make(node: Node, kind: str, maker: Node, number: int) -> str:
    if kind == "documents":
        return str((await deposited(node, f"lots/{number:02}/ä b&c", b"content")).path)
    if kind == "keys":
        return (await api_keys.make(node, f"{number}", [Role.AUDITOR])).key.id
    await deposited(node, "a", b"content")
    return (await transfers.create(node, ["a"], [maker.account])).id


@pytest.mark.parametrize("kind", LISTS)
async def test_pages_hold_every_entry_once_while_others_are_added(
    client: httpx.AsyncClient, node: Node, new_node: NewNode, paper: Paper, kind: str
) -> None:
    maker, made = new_node("Maker"), []
    for number in range(5):
        made.append(await make(node, kind, maker, 2 * number + 10))
        paper.clock.time += number % 2  # some in the same second
    expected = set(made)
    first = (await client.get(f"/api/v1/{kind}?limit=2")).json()
    for number in (8, 11, 13, 15, 30):
        await make(node, kind, maker, number)
    seen, cursor = [each.get("id") or each["path"] for each in first[kind]], first["next"]
    while cursor is not None:
        page = (await client.get(f"/api/v1/{kind}", params={"cursor": cursor, "limit": 2})).json()
        seen += [each.get("id") or each["path"] for each in page[kind]]
        cursor = page["next"]
    assert len(seen) == len(set(seen))
    assert expected - {"a"} <= set(seen)


async def test_links_lead_through_the_list(client: httpx.AsyncClient, node: Node) -> None:
    for number in range(5):
        await make(node, "documents", node, number)
    found = await pages(client, "documents", 2, folder="lots/")
    assert found == [[f"lots/{n:02}/ä b&c" for n in part] for part in ([0, 1], [2, 3], [4])]


def cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


BAD = ["x", "é", "=", "a b", "A" * 4097, cursor(b"\xff"), cursor(b"documents"), cursor(b"documents\na\nb")]
BAD += [cursor(b"documents\n\0"), cursor(b"transfers\n1"), cursor(b"transfers\nx\ny"), cursor(b"other\n1\n2")]
BAD += [cursor("transfers\n٣\nx".encode()), cursor(b"transfers\n9999999999999\nx"), cursor(b"keys\n-1\nx"), "AB"]


@pytest.mark.parametrize("kind", LISTS)
async def test_a_cursor_that_is_none_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    for each in BAD:
        answer = await client.get(f"/api/v1/{kind}", params={"cursor": each})
        check_problem(answer, 422, "request_invalid" if len(each) > 4096 else "cursor_invalid")
    for limit in ("0", "1001", "x", "-1"):
        check_problem(await client.get(f"/api/v1/{kind}?limit={limit}"), 422, "request_invalid")


async def test_a_cursor_of_one_list_is_none_of_another(client: httpx.AsyncClient, node: Node) -> None:
    for number in range(2):
        await make(node, "keys", node, number)
    found = (await client.get("/api/v1/keys?limit=1")).json()["next"]
    check_problem(await client.get("/api/v1/transfers", params={"cursor": found}), 422, "cursor_invalid")
