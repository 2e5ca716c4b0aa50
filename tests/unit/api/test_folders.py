"""A key that is kept to folders: what lies elsewhere is, on every route, not there."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from docex.api.app import make_app
from docex.core import statement
from docex.core.access import Role
from docex.core.claims import Link
from docex.core.digest import sha256
from docex.core.state import StoredDocument, StoredTransfer
from docex.service import receipts, revocations, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, deposited
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import INSIDE, Route, bearing, key_for, own_statement, receipt, routes_of, stage

BOTH = (Role.SUPPLIER, Role.RECIPIENT)  # all but the keys
OUTSIDE = "lots/170/b.pdf"  # the same letters in front, but another folder


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


@dataclass(frozen=True)
class Elsewhere:
    """A document outside, handed over together with one inside, with a receipt; the same again that is not there."""

    document: StoredDocument
    inside: StoredDocument
    mixed: StoredTransfer
    receipt: str
    revocation: str


@pytest.fixture
async def there(node: Node, maker: Node) -> Elsewhere:
    inside = (await stage(node, maker)).document
    document = await deposited(node, OUTSIDE, b"outside")
    mixed = await transfers.create(node, [inside.path, document.path], [maker.account])
    for _ in range(3):
        await anchor_waiting(node)
    token = receipt(maker, mixed, [inside.digest, document.digest])
    await receipts.take(node, token)
    taken = (await deposited(node, "lots/gone.pdf", b"gone")).statement
    for _ in range(3):
        await anchor_waiting(node)
    revocation = await revocations.revoke(node, taken, "wrong lot")
    return Elsewhere(document, inside, mixed, statement.parse(token).digest_text, revocation.digest_text)


@pytest.fixture
async def kept(url: str, node: Node, there: Elsewhere) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key is kept to a folder."""
    async with bearing(url, await key_for(node, *BOTH, folders=[INSIDE])) as client:
        yield client


def probes(node: Node, maker: Node, it: Elsewhere) -> dict[Route, list[tuple[str, dict[str, Any]]]]:
    """Calls about what lies elsewhere."""
    document, other = it.document, it.document.statement
    link = statement.issue(node.signer, node.account, Link("eip155:1/erc721:0x0/1", other), node.now()).token

    def handed(*references: str) -> dict[str, Any]:
        return {"json": {"documents": [it.inside.path, *references], "to": [maker.account]}}

    statements = [other, it.mixed.id, it.receipt, it.revocation]
    path = f"/api/v1/documents/{document.path}"
    return {
        ("PUT", "/api/v1/documents/{path:path}"): [
            (path, {"content": b"x"}),
            ("/api/v1/documents/new", {"content": b"x"}),
            (f"/api/v1/documents/{INSIDE}", {"content": b"x"}),  # a document in the folder's place
        ],
        ("GET", "/api/v1/documents/{path:path}"): [
            (path, {}),
            (f"{path}?details=true", {}),
            (f"{path}?version=1&details=true", {}),
        ],
        ("POST", "/api/v1/transfers"): [
            ("/api/v1/transfers", handed(each)) for each in (document.path, document.digest, other)
        ],
        ("GET", "/api/v1/transfers/{transfer}"): [(f"/api/v1/transfers/{it.mixed.id}", {})],
        ("GET", "/api/v1/transfers/{transfer}/history"): [(f"/api/v1/transfers/{it.mixed.id}/history", {})],
        ("GET", "/api/v1/transfers/{transfer}/packet"): [(f"/api/v1/transfers/{it.mixed.id}/packet", {})],
        ("GET", "/api/v1/statements/{digest}"): [(f"/api/v1/statements/{each}", {}) for each in statements],
        ("GET", "/api/v1/proofs/{digest}"): [(f"/api/v1/proofs/{each}", {}) for each in (*statements, document.digest)],
        ("POST", "/api/v1/revocations"): [
            ("/api/v1/revocations", {"json": {"statement": each, "reason": "x"}}) for each in (other, it.mixed.id)
        ],
        ("POST", "/api/v1/statements"): [
            ("/api/v1/statements", {"content": json.dumps(each)})
            for each in (
                own_statement(node, OUTSIDE),
                own_statement(node, INSIDE + "/c", supersedes=other),
                own_statement(node, INSIDE + "/c", supersedes=digest_of("nothing")),
                link,
            )
        ],
    }


LISTS = {("GET", "/api/v1/documents"), ("GET", "/api/v1/transfers")}  # tested on their own, below


async def test_what_lies_elsewhere_is_not_there_on_any_route(
    kept: httpx.AsyncClient, node: Node, maker: Node, there: Elsewhere
) -> None:
    calls = probes(node, maker, there)
    closed = {route for route in routes_of(make_app(node, TOKEN, interval=1)) if "{key}" not in route[1]}
    closed -= {(method, path) for method, path in closed if "v1" not in path or "deliveries" in path}
    closed -= {("POST", "/api/v1/receipts"), ("GET", "/api/v1/keys"), ("POST", "/api/v1/keys")}
    assert calls.keys() | LISTS == closed  # a new route needs a call here
    before = await node.store.counts()
    for route, each in calls.items():
        for path, body in each:
            answer = await kept.request(route[0], path, **body)
            check_problem(answer, 404, "not_found")
    assert await node.store.counts() == before


async def test_the_answer_is_that_for_what_is_nowhere(kept: httpx.AsyncClient, there: Elsewhere) -> None:
    def same(one: str, other: str) -> bool:
        digits = re.compile(r"[0-9a-f]{64}|" + re.escape(OUTSIDE) + "|lots/none")
        return digits.sub("…", one) == digits.sub("…", other)

    for path in ("documents/{}", "documents/{}?version=1", "documents/{}?details=true"):
        answers = [await kept.get("/api/v1/" + path.format(each)) for each in (OUTSIDE, "lots/none")]
        assert same(answers[0].text, answers[1].text), answers
    for path, digest in (
        ("transfers/{}", there.mixed.id),
        ("transfers/{}/packet", there.mixed.id),
        ("statements/{}", there.document.statement),
        ("proofs/{}", there.document.digest),
    ):
        answers = [await kept.get("/api/v1/" + path.format(each)) for each in (digest, digest_of("nothing"))]
        assert same(answers[0].text, answers[1].text), answers


async def test_lists_hold_what_lies_inside(
    kept: httpx.AsyncClient, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    for folder in ("", "lots", INSIDE):
        found = (await kept.get("/api/v1/documents", params={"folder": folder, "limit": 1})).json()
        assert [each["path"] for each in found["documents"]] == [there.inside.path]
        after = (await kept.get("/api/v1/documents", params={"folder": folder, "cursor": found["next"]})).json()
        assert after == {"documents": [], "next": None}
    assert (await kept.get("/api/v1/documents", params={"folder": "lots/170"})).json()["documents"] == []
    everything = {each["id"] for each in (await client.get("/api/v1/transfers")).json()["transfers"]}
    inside = [each["id"] for each in (await kept.get("/api/v1/transfers")).json()["transfers"]]
    assert len(inside) == 1
    assert everything == {*inside, there.mixed.id}
    for path in (f"transfers/{inside[0]}", f"transfers/{inside[0]}/packet", f"statements/{inside[0]}"):
        assert (await kept.get(f"/api/v1/{path}")).status_code == 200


async def test_a_proof_leaves_out_transfers_that_carried_more(
    kept: httpx.AsyncClient, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    url = f"/api/v1/proofs/{there.inside.digest}"
    assert len((await client.get(url)).json()["related"]) == 3  # two transfers and a receipt
    seen = await kept.get(url)
    assert len(seen.json()["related"]) == 1
    assert there.document.digest not in seen.text


async def test_what_lies_inside_can_be_worked_with(
    kept: httpx.AsyncClient, node: Node, maker: Node, there: Elsewhere
) -> None:
    assert (await kept.get(f"/api/v1/documents/{there.inside.path}")).content == there.inside.path.encode()
    query = {"supersedes": there.inside.statement}
    assert (await kept.put(f"/api/v1/documents/{INSIDE}/new", content=b"x", params=query)).status_code == 201
    wanted = {"documents": [there.inside.digest, f"{INSIDE}/new"], "to": [maker.account]}
    assert (await kept.post("/api/v1/transfers", json=wanted)).status_code == 202
    link = statement.issue(node.signer, node.account, Link("eip155:1/erc721:0x0/1", there.inside.statement), node.now())
    tokens = [own_statement(node, f"{INSIDE}/n", supersedes=there.inside.statement), link.token]
    answer = await kept.post("/api/v1/statements", content="\n".join(map(json.dumps, tokens)))
    assert answer.status_code == 201, answer.text
    for digest in answer.json()["statements"]:
        assert (await kept.get(f"/api/v1/statements/{digest}")).status_code == 200
    taken_back = {"statement": there.inside.statement, "reason": "x"}
    made = (await kept.post("/api/v1/revocations", json=taken_back)).json()["revocation"]
    assert (await kept.get(f"/api/v1/statements/{made}")).status_code == 200


async def test_a_document_outside_can_not_be_superseded(
    kept: httpx.AsyncClient, client: httpx.AsyncClient, there: Elsewhere
) -> None:
    for digest in (there.document.statement, digest_of("nothing")):
        answer = await kept.put(f"/api/v1/documents/{INSIDE}/c", content=b"x", params={"supersedes": digest})
        check_problem(answer, 422, "usage")
    shown = (await client.get(f"/api/v1/documents/{OUTSIDE}?details=true")).json()
    assert "superseded_by" not in shown


async def test_depositing_a_statement_s_own_bytes_does_not_open_it(
    kept: httpx.AsyncClient, node: Node, there: Elsewhere
) -> None:
    """A document's digest is then that of the statement."""
    stored = await node.store.statement(there.document.statement)
    assert stored is not None
    content = stored.token.encode()
    assert str(sha256(content)) == there.document.statement
    assert (await kept.put(f"/api/v1/documents/{INSIDE}/t", content=content)).status_code == 201
    digest = there.document.statement
    check_problem(await kept.get(f"/api/v1/statements/{digest}"), 404, "not_found")
    wanted = {"statement": digest, "reason": "x"}
    check_problem(await kept.post("/api/v1/revocations", json=wanted), 404, "not_found")
    shown = (await kept.get(f"/api/v1/proofs/{digest}")).json()  # of the document that was just deposited
    assert shown["statement"]["token"] != stored.token


@pytest.mark.parametrize(
    ("folder", "seen"), [("received", True), ("received/{}", True), ("received/{}/x", False), ("rec", False)]
)
async def test_a_packet_that_was_not_opened_yet_lies_in_its_sender_s_folder(
    url: str, node: Node, maker: Node, folder: str, seen: bool
) -> None:
    it = await stage(node, maker)
    taken = await transfers.announced(node, it.incoming_token)
    key = await key_for(node, Role.AUDITOR, folders=[folder.format(maker.address)])
    async with bearing(url, key) as client:
        found = (await client.get("/api/v1/transfers")).json()["transfers"]
        assert [each["id"] for each in found] == [taken.id] * seen
        assert (await client.get(f"/api/v1/transfers/{taken.id}")).status_code == (200 if seen else 404)


async def test_other_members_documents_lie_where_this_node_shows_them(url: str, node: Node, maker: Node) -> None:
    """Not where their statements say: that is a path of the sender's choice."""
    await deposited(maker, f"{INSIDE}/theirs.pdf", b"theirs")
    sent = await transfers.create(maker, [f"{INSIDE}/theirs.pdf"], [node.account])
    await transfers.deliver(maker, sent.id, node.account)
    await receipts.open_received(node, sent.id)
    path = f"received/{maker.address}/{INSIDE}/theirs.pdf"
    digest = (await node.store.document(path)).statement
    for folder, status in ((INSIDE, 404), (f"received/{maker.address}/lots", 200)):
        async with bearing(url, await key_for(node, Role.AUDITOR, folders=[folder])) as client:
            for what in (f"statements/{digest}", f"proofs/{digest}", f"transfers/{sent.id}"):
                assert (await client.get(f"/api/v1/{what}")).status_code == status, (folder, what)


async def test_an_auditor_of_a_folder_is_told_nothing_more_by_a_refusal(url: str, node: Node, maker: Node) -> None:
    it = await stage(node, maker)
    async with bearing(url, await key_for(node, Role.AUDITOR, folders=["elsewhere"])) as client:
        answers = [await client.get(f"/api/v1/documents/{path}") for path in (it.document.path, "none")]
    assert [each.status_code for each in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()
