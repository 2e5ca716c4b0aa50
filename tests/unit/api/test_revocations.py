"""`/api/v1/revocations`: what is answered, and each refusal as the problem that is documented for it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from docex.core import statement
from docex.core.claims import Revocation
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from docex.service.revocations import LAST_TIME
from tests.fixtures.paper_nodes import START, Paper, deposited
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import MINE, MINE_ACCOUNT, digest_of, document_statement, stored_document

URL = "/api/v1/revocations"


@pytest.fixture
async def digest(node: Node) -> str:
    """A document statement of the node's that is final."""
    stored = await deposited(node, "a.pdf", b"content")
    for _ in range(3):
        await anchor_waiting(node)
    return str(stored.statement)


def wanted(digest: str, **members: Any) -> dict[str, Any]:
    return {"statement": digest, "reason": "the wrong lot"} | members


async def test_a_revocation_is_answered_with_what_was_signed(
    client: httpx.AsyncClient, node: Node, paper: Paper, digest: str
) -> None:
    answer = await client.post(URL, json=wanted(digest))
    assert answer.status_code == 201, answer.text
    body = answer.json()
    kept = (await client.get(f"/api/v1/statements/{body['revocation']}")).json()
    assert (kept["type"], kept["issuer"]) == ("revocation", node.account)
    claim = statement.verify(kept["token"]).body
    assert claim == Revocation(digest, "the wrong lot", paper.clock.time)
    assert body == {
        "revocation": body["revocation"],
        "statement": digest,
        "reason": "the wrong lot",
        "effective": "2026-09-21T14:30:00Z",
    }


@pytest.mark.parametrize(("effective", "shown"), [(1, "1970-01-01T00:00:01Z"), (LAST_TIME, "9999-12-31T23:59:59Z")])
async def test_a_document_says_from_when_it_is_revoked(
    client: httpx.AsyncClient, digest: str, effective: int, shown: str
) -> None:
    before = (await client.get("/api/v1/documents/a.pdf?details=true")).json()
    assert "revoked_from" not in before
    answer = await client.post(URL, json=wanted(digest, effective=effective))
    assert (answer.status_code, answer.json()["effective"]) == (201, shown)
    assert (await client.get("/api/v1/documents/a.pdf?details=true")).json() == before | {"revoked_from": shown}
    assert (await client.get("/api/v1/documents")).json()["documents"] == [before | {"revoked_from": shown}]


async def test_a_document_names_what_supersedes_it(client: httpx.AsyncClient, digest: str) -> None:
    newer = (await client.put(f"/api/v1/documents/b.pdf?supersedes={digest}", content=b"new")).json()
    old, new = (await client.get("/api/v1/documents")).json()["documents"]
    assert old["superseded_by"] == newer["statement"]
    assert new == newer
    assert "superseded_by" not in new


async def test_null_is_now(client: httpx.AsyncClient, digest: str) -> None:
    answer = await client.post(URL, json=wanted(digest, effective=None))
    assert (answer.status_code, answer.json()["effective"]) == (201, "2026-09-21T14:30:00Z")


async def test_only_the_issuer_may(client: httpx.AsyncClient, node: Node) -> None:
    said = document_statement("theirs.pdf")
    await node.store.add_document(stored_document(said), [said])
    problem = check_problem(await client.post(URL, json=wanted(said.digest_text)), 403, "forbidden")
    assert MINE_ACCOUNT in problem["detail"]
    assert statement.parse(said.token).kid == MINE.kid


async def test_what_is_not_here_is_not_found(client: httpx.AsyncClient, digest: str) -> None:
    for nothing in (digest_of("nothing"), digest_of("content")):
        check_problem(await client.post(URL, json=wanted(nothing)), 404, "not_found")


async def test_what_is_not_final_or_revoked_already_conflicts(
    client: httpx.AsyncClient, node: Node, digest: str
) -> None:
    stored = await deposited(node, "b.pdf", b"content")
    problem = check_problem(await client.post(URL, json=wanted(stored.statement)), 409, "conflict")
    assert "not final" in problem["detail"]
    assert (await client.post(URL, json=wanted(digest))).status_code == 201
    problem = check_problem(await client.post(URL, json=wanted(digest)), 409, "conflict")
    assert "revoked already" in problem["detail"]


async def test_a_revocation_stays(client: httpx.AsyncClient, node: Node, digest: str) -> None:
    made = (await client.post(URL, json=wanted(digest))).json()
    for _ in range(3):
        await anchor_waiting(node)
    check_problem(await client.post(URL, json=wanted(made["revocation"])), 422, "usage")


BAD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda it: [it], "request_invalid"),
    (lambda it: it | {"more": 1}, "request_invalid"),
    (lambda it: it | {"statement": "sha256:12"}, "request_invalid"),
    (lambda it: it | {"statement": None}, "request_invalid"),
    (lambda it: it | {"reason": ""}, "request_invalid"),
    (lambda it: it | {"reason": "x" * 1025}, "request_invalid"),
    (lambda it: it | {"reason": "\x00"}, "statement_invalid"),
    (lambda it: it | {"effective": 0}, "request_invalid"),
    (lambda it: it | {"effective": LAST_TIME + 1}, "request_invalid"),
    (lambda it: it | {"effective": f"{START}"}, "request_invalid"),
    (lambda it: it | {"effective": 1.5}, "request_invalid"),
    (lambda it: it | {"effective": True}, "request_invalid"),
]


@pytest.mark.parametrize(("change", "code"), BAD)
async def test_a_request_of_another_form_is_refused(
    client: httpx.AsyncClient, node: Node, digest: str, change: Callable[[dict[str, Any]], Any], code: str
) -> None:
    check_problem(await client.post(URL, json=change(wanted(digest))), 422, code)
    assert (await node.store.counts())["statements"] == 1


async def test_a_request_is_small_and_carries_the_token(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, digest: str
) -> None:
    check_problem(await client.post(URL, content=b" " * (1 << 17)), 413, "limit_exceeded")
    check_problem(await client.post(URL, content=b"{"), 422, "request_invalid")
    check_problem(await stranger.post(URL, json=wanted(digest)), 401, "unauthorised")


async def test_the_problems_are_documented(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"][URL]["post"]
    assert {"201", "403", "404", "409", "422"} <= described["responses"].keys()
    assert "effective" in described["requestBody"]["content"]["application/json"]["schema"]["properties"]
