"""`POST /api/v1/statements` over real HTTP."""

import json

import httpx
import pytest

from docex.core import statement
from docex.core.claims import Document
from docex.service.node import Node
from docex.service.notarise import MAX_STATEMENTS
from tests.fixtures.paper_nodes import account_of, keys_of
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of

PATH = "/api/v1/statements"


def tokens(node: Node, count: int) -> list[str]:
    bodies = [Document(digest_of(str(n)), 10, f"{n}.pdf", "application/pdf") for n in range(count)]
    return [statement.issue(node.signer, node.account, body, node.now()).token for body in bodies]


def lines(values: list[object]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in values)


async def test_statements_are_taken_and_named_by_their_digests(client: httpx.AsyncClient, node: Node) -> None:
    made = tokens(node, 3)
    answer = await client.post(PATH, content=lines([*made]))
    assert answer.status_code == 201
    digests = [statement.parse(each).digest_text for each in made]
    assert answer.json() == {"statements": digests, "new": 3}
    for token, digest in zip(made, digests, strict=True):
        assert (await client.get(f"{PATH}/{digest}")).json()["token"] == token
    again = await client.post(PATH, content=lines([*made]).rstrip(b"\n"))
    assert (again.status_code, again.json()) == (201, {"statements": digests, "new": 0})


@pytest.mark.parametrize("body", [b"\n", b"{}\n", b"null\n", b"eyJ\n", b"\xff\n", b"[" * 100_000])
async def test_what_is_no_json_lines_of_statements_is_refused(body: bytes, client: httpx.AsyncClient) -> None:
    problem = check_problem(await client.post(PATH, content=body), 422, "usage")
    assert problem["detail"] == "line 1 is not a JSON string with a statement"


async def test_one_bad_line_refuses_all(client: httpx.AsyncClient, node: Node) -> None:
    (good,) = tokens(node, 1)
    problem = check_problem(await client.post(PATH, content=lines([good, "a.b.c"])), 422, "statement_invalid")
    assert problem["detail"].startswith("statement 2: ")
    problem = check_problem(await client.post(PATH, content=lines([good, 7])), 422, "usage")
    assert problem["detail"].startswith("line 2 ")
    forged = good[:-20] + "A" * 20
    assert (await client.post(PATH, content=lines([good, forged]))).status_code == 422
    assert (await node.store.counts())["statements"] == 0


async def test_another_member_s_statement_is_forbidden(client: httpx.AsyncClient, node: Node) -> None:
    signer, _, _ = keys_of("Maker")
    body = Document(digest_of("a"), 10, "a.pdf", "application/pdf")
    theirs = statement.issue(signer, account_of("Maker"), body, node.now()).token
    check_problem(await client.post(PATH, content=lines([theirs])), 403, "forbidden")


async def test_none_and_too_many_are_refused(client: httpx.AsyncClient) -> None:
    check_problem(await client.post(PATH, content=b""), 422, "usage")
    check_problem(await client.post(PATH, content=b'"x"\n' * (MAX_STATEMENTS + 1)), 413, "limit_exceeded")
    check_problem(await client.post(PATH, content=b"x" * ((8 << 20) + 1)), 413, "limit_exceeded")


async def test_strangers_notarise_nothing(stranger: httpx.AsyncClient, node: Node) -> None:
    answer = await stranger.post(PATH, content=lines([*tokens(node, 1)]))
    check_problem(answer, 401, "unauthorised")
    assert (await node.store.counts())["statements"] == 0
