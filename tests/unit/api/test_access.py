"""Who may call what: every people's route asks for the token, and nothing but the right token opens one."""

import re

import httpx
import pytest

from docex.api.app import make_app
from docex.service.node import Node
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import routes_of

OPEN = {
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("POST", "/api/v1/deliveries"),
    ("GET", "/api/v1/deliveries/{transfer}/packet"),
    ("PUT", "/api/v1/deliveries/{transfer}/packet"),
    ("PUT", "/api/v1/deliveries/{transfer}/header"),
    ("PATCH", "/api/v1/deliveries/{transfer}/packet"),
    ("POST", "/api/v1/receipts"),
}


def routes(node: Node) -> list[tuple[str, str]]:
    return routes_of(make_app(node, TOKEN, interval=1))


def test_the_open_routes_are_these_and_no_others(node: Node) -> None:
    assert set(routes(node)) >= OPEN
    assert len(routes(node)) == 37


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", f"Bearer {TOKEN[:-1]}", f"bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer ü"],
)
async def test_every_other_route_needs_the_token(
    stranger: httpx.AsyncClient, node: Node, authorization: str | None
) -> None:
    for method, path in routes(node):
        if (method, path) in OPEN:
            continue
        filled = re.sub(r"\{path:path\}", "a/b", re.sub(r"\{(transfer|digest|key)\}", digest_of("x"), path))
        headers = {} if authorization is None else {"authorization": authorization.encode()}
        answer = await stranger.request(method, filled, headers=headers)  # type: ignore[arg-type]
        check_problem(answer, 401, "unauthorised")
        assert answer.headers["www-authenticate"] == 'Bearer realm="docex"'
    assert (await node.store.counts())["documents"] == 0


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x"])
async def test_a_node_whose_token_is_empty_opens_to_nobody(node: Node, given: str) -> None:
    transport = httpx.ASGITransport(app=make_app(node, "", interval=1))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        check_problem(await client.get("/api/v1/documents", headers={"authorization": given}), 401, "unauthorised")
        check_problem(await client.get("/api/v1/documents"), 401, "unauthorised")


async def test_the_scheme_is_read_without_regard_to_case(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/api/v1/documents", headers={"authorization": f"bearer {TOKEN}"})
    assert answer.status_code == 200


async def test_the_openapi_describes_it_all_and_needs_no_token(stranger: httpx.AsyncClient, node: Node) -> None:
    described = (await stranger.get("/openapi.json")).json()
    paths = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert paths == {(method, path.replace(":path}", "}")) for method, path in routes(node)}
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for page in ("/docs", "/redoc"):
        check_problem(await stranger.get(page), 404, "not_found")
