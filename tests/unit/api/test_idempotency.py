"""Requests that are sent again take effect once: crashes, races, other callers, and what the database may know."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docex.api.views import DocumentView, TransferView
from docex.core.access import Role
from docex.core.requests import Once
from docex.service import api_keys, once
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from docex.service.once import LEASE
from tests.fixtures.paper_nodes import NewNode, Paper, deposited
from tests.fixtures.problems import check_problem
from tests.fixtures.stores import paths
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import bearing, own_statement

KEY = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
URL = "/api/v1/documents/a"


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def counted(node: Node) -> dict[str, int]:
    found = dict(await node.store.counts())
    return {"keys": len(await node.store.api_keys()), "blobs": len(await paths(node.blobs))} | found


async def calls(node: Node, maker: Node) -> dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """For each sort of request: how it is made, and another one of the sort."""
    document = await deposited(node, "known", b"known")
    for _ in range(3):
        await anchor_waiting(node)
    transfer = {"documents": ["known"], "to": [maker.account]}
    revocation = {"statement": document.statement, "reason": "wrong"}
    new_key = {"name": "Ann", "roles": ["auditor"]}
    said, other = (json.dumps(own_statement(node, name)) for name in "xy")
    return {
        "deposit": ("PUT", "documents/a", {"content": b"content"}, {"content": b"CONTENT"}),
        "transfer": ("POST", "transfers", {"json": transfer}, {"json": transfer | {"documents": ["a"]}}),
        "statements": ("POST", "statements", {"content": said}, {"content": other}),
        "revocation": ("POST", "revocations", {"json": revocation}, {"json": revocation | {"reason": "right"}}),
        "key": ("POST", "keys", {"json": new_key}, {"json": new_key | {"name": "Bob"}}),
    }


@pytest.mark.parametrize("sort", ["deposit", "transfer", "statements", "revocation", "key"])
async def test_sent_again_it_is_answered_alike_and_done_once(
    client: httpx.AsyncClient, node: Node, maker: Node, sort: str
) -> None:
    method, path, body, other = (await calls(node, maker))[sort]
    before = await counted(node)
    first = await client.request(method, f"/api/v1/{path}", headers=KEY, **body)
    after = await counted(node)
    assert first.status_code in (201, 202), first.text
    assert after != before
    assert "idempotency-replayed" not in first.headers
    for key in (KEY["idempotency-key"], KEY["idempotency-key"].strip('"')):
        again = await client.request(method, f"/api/v1/{path}", headers={"idempotency-key": key}, **body)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        kept = first.headers.items() - again.headers.items()
        assert {name for name, _ in kept} <= {"date"}
    assert await counted(node) == after
    changed = await client.request(method, f"/api/v1/{path}", headers=KEY, **other)
    check_problem(changed, 422, "idempotency_key_reused")
    assert await counted(node) == after


async def test_another_path_query_or_condition_is_another_request(client: httpx.AsyncClient) -> None:
    assert (await client.put(URL, content=b"content", headers=KEY)).status_code == 201
    for url, more in ((f"{URL}b", {}), (f"{URL}?kind=quality", {}), (URL, {"if-none-match": "*"})):
        answer = await client.put(url, content=b"content", headers=KEY | more)
        check_problem(answer, 422, "idempotency_key_reused")
    check_problem(await client.put(URL, content=b"longer than that", headers=KEY), 422, "idempotency_key_reused")


async def test_a_create_only_deposit_may_be_sent_again(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        answer = await client.put(URL, content=b"content", headers=KEY | {"if-none-match": "*"})
        assert (answer.status_code, answer.json()["version"]) == (201, 1)
    check_problem(await client.put(URL, content=b"content", headers={"if-none-match": "*"}), 412, "precondition_failed")


async def test_a_deposit_that_was_removed_since_is_still_told_of(client: httpx.AsyncClient, node: Node) -> None:
    first = await client.put(URL, content=b"content", headers=KEY)
    await node.store.remove_document("a", node.now())
    again = await client.put(URL, content=b"content", headers=KEY)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_keys_of_different_callers_have_nothing_to_do_with_each_other(url: str, node: Node) -> None:
    texts = [(await api_keys.make(node, "Ann", [Role.SUPPLIER], folders)).text for folders in ((), ("lots",), ())]
    versions = []
    for text in texts:
        async with bearing(url, text) as client:
            answer = await client.put("/api/v1/documents/lots/a", content=b"content", headers=KEY)
            assert "idempotency-replayed" not in answer.headers
            versions.append(answer.json()["version"])
    assert versions == [1, 2, 3]


@pytest.mark.parametrize("key", ["", '""', '"', "a b", "x" * 256, "é", 'a"b', '"a', "a\\b"])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, node: Node, key: str) -> None:
    answer = await client.put(URL, content=b"content", headers={b"idempotency-key": key.encode("latin-1")})
    check_problem(answer, 400, "header_invalid")
    assert (await node.store.counts())["documents"] == 0


# --- under way, failed, crashed --------------------------------------------------------------------------------------


class Slow:
    """A body whose second half comes when the test says so."""

    def __init__(self) -> None:
        self.started, self.go_on = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"con"
        self.started.set()
        await self.go_on.wait()
        yield b"tent"


async def send_slowly(client: httpx.AsyncClient, content: Slow) -> httpx.Response:
    return await client.put(URL, content=content, headers=KEY | {"content-length": "7"})


async def begun(node: Node) -> None:
    async with asyncio.timeout(60):
        while await requests_of(node) == 0:
            await asyncio.sleep(0.02)


async def test_while_one_is_under_way_others_are_told_so(client: httpx.AsyncClient, node: Node) -> None:
    slow = Slow()
    first = asyncio.create_task(send_slowly(client, slow))
    await slow.started.wait()
    await begun(node)
    answer = await client.put(URL, content=b"content", headers=KEY)
    check_problem(answer, 409, "request_under_way")
    assert answer.headers["retry-after"] == "1"
    slow.go_on.set()
    assert (await first).json() == (await client.put(URL, content=b"content", headers=KEY)).json()
    assert (await node.store.document("a")).version == 1


async def requests_of(node: Node) -> int:
    from sqlalchemy import func, select

    from docex.db.models import RequestRow
    from docex.db.store import SqlStore

    assert isinstance(node.store, SqlStore)
    async with node.store._reading() as session:
        return await session.scalar(select(func.count()).select_from(RequestRow)) or 0


async def test_one_that_takes_long_keeps_its_place(
    client: httpx.AsyncClient, node: Node, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "LEASE", 1)
    slow = Slow()
    first = asyncio.create_task(send_slowly(client, slow))
    await slow.started.wait()
    paper.clock.time += 5
    holds = asyncio.Event()
    hold = type(node.store).hold

    async def held(self: Any, attempt: Once, until: int) -> None:
        await hold(self, attempt, until)
        holds.set()

    monkeypatch.setattr(type(node.store), "hold", held)
    async with asyncio.timeout(60):
        await holds.wait()
    check_problem(await client.put(URL, content=b"content", headers=KEY), 409, "request_under_way")
    slow.go_on.set()
    assert (await first).status_code == 201


async def test_one_that_failed_may_be_sent_again_changed_or_not(
    client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    wanted = {"documents": ["a"], "to": [maker.account]}
    for _ in range(2):
        check_problem(await client.post("/api/v1/transfers", json=wanted, headers=KEY), 404, "not_found")
    assert await requests_of(node) == 0
    await deposited(node, "a", b"content")
    assert (await client.post("/api/v1/transfers", json=wanted, headers=KEY)).status_code == 202


async def test_a_client_that_goes_away_can_send_it_again_at_once(url: str, client: httpx.AsyncClient) -> None:
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    lines = [f"PUT {URL} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "Content-Length: 7"]
    writer.write("\r\n".join([*lines, f"Idempotency-Key: {KEY['idempotency-key']}", "", "con"]).encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(60):
        while (answer := await client.put(URL, content=b"content", headers=KEY)).status_code == 409:
            await asyncio.sleep(0.05)
    assert answer.json()["version"] == 1


async def test_a_crash_before_the_effect_holds_the_next_up_for_a_lease_only(
    client: httpx.AsyncClient, node: Node, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise KeyError("the process is gone")

    with monkeypatch.context() as crash:
        crash.setattr(type(node.store), "add_document", die)
        crash.setattr(type(node.store), "abandon", die)  # what is dead tells nobody
        check_problem(await client.put(URL, content=b"content", headers=KEY), 500, "internal")
    check_problem(await client.put(URL, content=b"content", headers=KEY), 409, "request_under_way")
    paper.clock.time += LEASE
    assert (await client.put(URL, content=b"content", headers=KEY)).json()["version"] == 1
    assert (await client.put(URL, content=b"content", headers=KEY)).json()["version"] == 1


@pytest.mark.parametrize("sort", ["deposit", "transfer"])
async def test_a_crash_between_the_effect_and_the_answer_makes_nothing_twice(
    client: httpx.AsyncClient, node: Node, maker: Node, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    method, path, body, _ = (await calls(node, maker))[sort]

    def die(*_: object) -> None:
        raise KeyError("the process is gone")

    with monkeypatch.context() as crash:
        for view in (DocumentView, TransferView):
            crash.setattr(view, "of", die)
        answer = await client.request(method, f"/api/v1/{path}", headers=KEY, **body)
        check_problem(answer, 500, "internal")
    after = await counted(node)
    answer = await client.request(method, f"/api/v1/{path}", headers=KEY, **body)
    assert (answer.status_code // 100, answer.headers["idempotency-replayed"]) == (2, "true")
    assert await counted(node) == after


async def test_a_try_that_was_overtaken_changes_nothing(client: httpx.AsyncClient, node: Node, paper: Paper) -> None:
    slow = Slow()
    first = asyncio.create_task(send_slowly(client, slow))
    await begun(node)
    paper.clock.time += LEASE
    second = await client.put(URL, content=b"content", headers=KEY)
    assert second.status_code == 201
    slow.go_on.set()
    check_problem(await first, 409, "request_under_way")
    assert (await node.store.document("a")).version == 1
    assert len(await paths(node.blobs)) == 1


async def test_after_a_day_the_key_is_a_new_one(client: httpx.AsyncClient, node: Node, paper: Paper) -> None:
    for day in range(2):
        paper.clock.time += day * 24 * 3600
        assert (await client.put(URL, content=b"content", headers=KEY)).json()["version"] == day + 1
    await once.sweep(node)
    assert await requests_of(node) == 1
    paper.clock.time += 24 * 3600
    await once.sweep(node)
    assert await requests_of(node) == 0


# --- what the database knows -----------------------------------------------------------------------------------------


async def test_the_database_has_neither_the_callers_keys_nor_the_secret_of_one_made(
    client: httpx.AsyncClient, node: Node, tmp_path: Path
) -> None:
    made = await client.post("/api/v1/keys", json={"name": "Ann", "roles": ["auditor"]}, headers=KEY)
    text = made.json()["key"]
    assert (await client.post("/api/v1/keys", json={"name": "Ann", "roles": ["auditor"]}, headers=KEY)).json() == (
        made.json()
    )
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("Mine.db*"))
    assert text.split("_")[1].encode() in kept  # the key's id
    assert text.split("_")[2].encode() not in kept
    assert KEY["idempotency-key"].strip('"').encode() not in kept


class TestWithoutIdentity:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        return new_node("Mine", identity=False)

    async def test_a_key_is_shown_once_and_the_next_try_says_what_to_do(self, client: httpx.AsyncClient) -> None:
        body = {"name": "Ann", "roles": ["auditor"]}
        made = (await client.post("/api/v1/keys", json=body, headers=KEY)).json()
        answer = await client.post("/api/v1/keys", json=body, headers=KEY)
        assert made["id"] in check_problem(answer, 409, "conflict")["detail"]
        assert len((await client.get("/api/v1/keys")).json()["keys"]) == 1
