"""Each route, called by each role and by nobody: who gets an answer, who is told which role it takes, who is nobody."""

import httpx
import pytest
from fastapi import Depends

from docex.api.app import make_app
from docex.api.permissions import NEEDS, check_caller
from docex.core.access import Caller, Folders, Role
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode
from tests.fixtures.problems import check_problem
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import Route, bearing, call, key_for, routes_of, stage

ALL = frozenset(Role)
SUPPLIER, RECIPIENT, OPERATOR = (frozenset([each]) for each in (Role.SUPPLIER, Role.RECIPIENT, Role.OPERATOR))
DOCUMENT = "/api/v1/documents/{path:path}"
STORED = "/documents/{path:path}"
DETAILS = ("GET", DOCUMENT + "?details=true")

# Written out once more, by role and not by permission: a change of either table has to be meant.
OPEN: dict[Route, int] = {
    ("GET", "/livez"): 200,
    ("GET", "/readyz"): 200,
    ("POST", "/api/v1/deliveries"): 201,
    ("GET", "/api/v1/deliveries/{transfer}/packet"): 204,
    ("PUT", "/api/v1/deliveries/{transfer}/packet"): 201,
    ("PUT", "/api/v1/deliveries/{transfer}/header"): 201,
    ("PATCH", "/api/v1/deliveries/{transfer}/packet"): 201,
    ("POST", "/api/v1/receipts"): 201,
}
CLOSED: dict[Route, tuple[int, frozenset[Role]]] = {
    ("GET", "/metrics"): (200, OPERATOR),
    ("GET", "/api/v1/documents"): (200, ALL),
    ("PUT", DOCUMENT): (201, SUPPLIER | OPERATOR),
    ("GET", DOCUMENT): (200, RECIPIENT | OPERATOR),
    DETAILS: (200, ALL),
    ("POST", "/api/v1/transfers"): (202, SUPPLIER | OPERATOR),
    ("GET", "/api/v1/transfers"): (200, ALL),
    ("GET", "/api/v1/transfers/{transfer}"): (200, ALL),
    ("GET", "/api/v1/transfers/{transfer}/history"): (200, ALL),
    ("GET", "/api/v1/transfers/{transfer}/packet"): (200, RECIPIENT | OPERATOR),
    ("POST", "/api/v1/statements"): (201, SUPPLIER | OPERATOR),
    ("GET", "/api/v1/statements/{digest}"): (200, ALL),
    ("GET", "/api/v1/proofs/{digest}"): (200, ALL),
    ("POST", "/api/v1/revocations"): (201, SUPPLIER | OPERATOR),
    ("POST", "/api/v1/keys"): (201, OPERATOR),
    ("GET", "/api/v1/keys"): (200, OPERATOR),
    ("DELETE", "/api/v1/keys/{key}"): (200, OPERATOR),
    ("GET", "/documents"): (200, ALL),
    ("GET", STORED): (200, RECIPIENT | OPERATOR),
    ("GET", STORED + "?details_only=true"): (200, ALL),
    ("PUT", STORED): (200, SUPPLIER | OPERATOR),
    ("POST", STORED): (200, SUPPLIER | OPERATOR),
    ("PATCH", STORED): (200, SUPPLIER | OPERATOR),
    ("DELETE", STORED): (200, SUPPLIER | OPERATOR),
    ("GET", "/search"): (200, ALL),
    ("POST", "/sync_hashes"): (200, SUPPLIER | OPERATOR),
    ("GET", "/transfers"): (200, ALL),
    ("POST", "/transfers"): (200, SUPPLIER | OPERATOR),
    ("GET", "/destinations"): (200, ALL),
    ("GET", "/preferences"): (200, ALL),
    ("PUT", "/preferences"): (200, OPERATOR),
}


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


def test_every_route_has_an_entry_and_every_entry_a_route(node: Node) -> None:
    routes = routes_of(make_app(node, TOKEN, interval=1))
    assert len(routes) == len(set(routes))
    assert (
        set(routes) == set(NEEDS) == {(method, path.partition("?")[0]) for method, path in OPEN.keys() | CLOSED.keys()}
    )
    assert {route for route, needed in NEEDS.items() if needed is None} == OPEN.keys()


async def outcomes(url: str, node: Node, maker: Node, credential: str | None) -> dict[Route, httpx.Response]:
    it = await stage(node, maker)
    found = {}
    async with bearing(url, credential) as client:
        for route in (*OPEN, *CLOSED):
            path, body = call(it, route)
            found[route] = await client.request(route[0], path, **body)
        assert (await client.get("/openapi.json")).status_code == 200
    return found


@pytest.mark.parametrize("role", [*Role, None], ids=str)
async def test_each_route_for_each_role(url: str, node: Node, maker: Node, role: Role | None) -> None:
    credential = TOKEN if role is None else await key_for(node, role)  # None: the token that comes before all keys
    found = await outcomes(url, node, maker, credential)
    for route, status in OPEN.items():
        assert found[route].status_code == status, (route, found[route].text)
    for route, (status, roles) in CLOSED.items():
        if role is None or role in roles:
            assert found[route].status_code == status, (route, found[route].text)
        else:
            detail = check_problem(found[route], 403, "forbidden")["detail"]
            needed = " or ".join(each for each in Role if each in roles)
            assert detail.startswith(f"this needs the role {needed}; key "), (route, detail)
            assert detail.endswith(f" has {role}")


async def test_each_route_for_nobody(url: str, node: Node, maker: Node) -> None:
    found = await outcomes(url, node, maker, None)
    before = await node.store.counts()
    assert {route: found[route].status_code for route in OPEN} == OPEN
    for route in CLOSED:
        check_problem(found[route], 401, "unauthorised")
        assert found[route].headers["www-authenticate"] == 'Bearer realm="docex"'
    assert (before["documents"], len(await node.store.api_keys())) == (1, 1)


async def test_roles_add_up(url: str, node: Node, maker: Node) -> None:
    found = await outcomes(url, node, maker, await key_for(node, Role.SUPPLIER, Role.RECIPIENT))
    refused = {route for route in CLOSED if found[route].status_code == 403}
    assert refused == {route for route in CLOSED if CLOSED[route][1] == OPERATOR}
    assert "has supplier and recipient" in found["GET", "/api/v1/keys"].json()["detail"]


async def test_a_route_that_somebody_forgot_to_enter_opens_to_nobody(node: Node) -> None:
    app = make_app(node, TOKEN, interval=1)
    app.add_api_route("/api/v1/forgotten", lambda: {"secret": 1})
    transport = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        check_problem(await client.get("/api/v1/forgotten"), 403, "forbidden")
    assert Depends(check_caller) in app.router.dependencies


async def test_another_way_to_authenticate_ends_in_a_caller_and_the_same_table(node: Node, maker: Node) -> None:
    async def by_badge(credential: str) -> Caller | None:
        held = {"badge 7": Folders(), "badge 8": Folders(("none",))}
        return Caller(credential, frozenset([Role.AUDITOR]), held[credential]) if credential in held else None

    it = await stage(node, maker)
    app = make_app(node, TOKEN, interval=1)
    app.state.authenticators = (*app.state.authenticators, by_badge)
    path = f"/api/v1/documents/{it.document.path}"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://node") as client:

        async def get(badge: str, query: str) -> httpx.Response:
            return await client.get(path + query, headers={"authorization": f"Bearer {badge}"})

        assert (await get("badge 7", "?details=true")).status_code == 200
        assert "badge 7 has auditor" in check_problem(await get("badge 7", ""), 403, "forbidden")["detail"]
        check_problem(await get("badge 8", "?details=true"), 404, "not_found")
        check_problem(await get("badge 9", "?details=true"), 401, "unauthorised")


@pytest.mark.parametrize(
    "query", ["?details=true&details=false", "?details=0", "?details=off", "?Details=true", "?details="]
)
async def test_no_way_to_ask_gives_an_auditor_a_document(url: str, node: Node, maker: Node, query: str) -> None:
    it = await stage(node, maker)
    async with bearing(url, await key_for(node, Role.AUDITOR)) as client:
        answer = await client.get(f"/api/v1/documents/{it.document.path}{query}")
    assert answer.status_code in (403, 422)
    assert it.document.path.encode() not in answer.content.replace(query.encode(), b"")
