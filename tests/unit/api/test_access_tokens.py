"""People who come with an access token of an issuer, at the API of a node."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from docex.api.app import make_app
from docex.core.access import Role
from docex.core.access_token import Rules
from docex.oidc import HttpKeys
from docex.service.access_tokens import AccessTokens
from docex.service.node import Node
from tests.fixtures.issuer import AUDIENCE, LocalIssuer, claims_of, key_for, signed, unsigned
from tests.fixtures.paper_nodes import deposited
from tests.fixtures.problems import check_problem
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import key_for as api_key_for


@pytest.fixture
async def client(node: Node, issuer: LocalIssuer) -> AsyncIterator[httpx.AsyncClient]:
    """A node that takes the issuer's tokens, with the folders from a claim."""
    source = HttpKeys(issuer.url)
    tokens = AccessTokens(Rules(issuer.url, AUDIENCE, "realm_access.roles", folders_claim="folders"), source)
    app = make_app(replace(node, access_tokens=tokens), TOKEN, interval=3600)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://node") as made:
        yield made
    await tokens.close()
    await source.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def token_for(node: Node, issuer: LocalIssuer, *roles: str, folders: object = "/") -> str:
    claims = claims_of(issuer.url, node.now(), realm_access={"roles": roles}, folders=folders)
    return signed(key_for("ES256"), claims)


async def test_roles_and_folders_of_a_token_are_those_of_a_key(
    client: httpx.AsyncClient, node: Node, issuer: LocalIssuer
) -> None:
    for path in ("lots/17/a.pdf", "other/b.pdf"):
        await deposited(node, path, path.encode())
    auditor = bearer(token_for(node, issuer, "docex-auditor", folders=["/lots"]))
    answer = await client.get("/api/v1/documents", headers=auditor)
    assert [each["path"] for each in answer.json()["documents"]] == ["lots/17/a.pdf"]
    check_problem(await client.get("/api/v1/documents/other/b.pdf?details=true", headers=auditor), 404, "not_found")
    detail = check_problem(await client.get("/api/v1/documents/lots/17/a.pdf", headers=auditor), 403, "forbidden")
    assert detail["detail"].endswith(f"ann of {issuer.url} has auditor")
    operator = bearer(token_for(node, issuer, "docex-operator"))
    assert (await client.get("/api/v1/keys", headers=operator)).status_code == 200
    kept = bearer(token_for(node, issuer, "docex-operator", folders=["lots"]))
    check_problem(await client.get("/api/v1/keys", headers=kept), 403, "forbidden")


async def test_a_token_without_a_role_opens_nothing(client: httpx.AsyncClient, node: Node, issuer: LocalIssuer) -> None:
    answer = await client.get("/api/v1/documents", headers=bearer(token_for(node, issuer, "offline_access")))
    assert check_problem(answer, 403, "forbidden")["detail"].endswith("has none")


async def test_the_other_ways_in_stay(client: httpx.AsyncClient, node: Node, issuer: LocalIssuer) -> None:
    assert (await client.get("/api/v1/documents", headers=bearer(TOKEN))).status_code == 200
    key = await api_key_for(node, Role.AUDITOR)
    assert (await client.get("/api/v1/documents", headers=bearer(key))).status_code == 200
    check_problem(await client.get("/api/v1/documents", headers=bearer("x")), 401, "unauthorised")
    assert issuer.asked == []


async def test_what_does_not_hold_is_401_and_is_not_repeated(
    client: httpx.AsyncClient, node: Node, issuer: LocalIssuer
) -> None:
    claims = claims_of(issuer.url, node.now(), realm_access={"roles": ["docex-operator"]}, folders="/")
    attempts = [
        unsigned({"alg": "none", "kid": "k1"}, claims),
        signed(key_for("ES256", 7), claims),
        signed(key_for("ES256"), claims | {"aud": "another"}),
        signed(key_for("ES256"), claims | {"iss": "https://another"}),
        signed(key_for("ES256"), claims | {"exp": node.now() - 3600}),
        signed(key_for("ES256"), claims, kid="k9"),
        signed(key_for("ES256"), claims | {"groups": "g" * 20_000}),
    ]
    for token in attempts:
        answer = await client.get("/api/v1/documents", headers=bearer(token))
        detail = check_problem(answer, 401, "unauthorised")["detail"]
        assert detail.startswith("the access token ")
        assert not any(len(part) > 7 and part in answer.text for part in token.split("."))


async def test_an_issuer_that_is_down_is_503(client: httpx.AsyncClient, node: Node, issuer: LocalIssuer) -> None:
    issuer.status = 500
    answer = await client.get("/api/v1/documents", headers=bearer(token_for(node, issuer, "docex-auditor")))
    check_problem(answer, 503, "issuer_unavailable")


async def test_a_node_without_an_issuer_knows_no_such_token(
    stranger: httpx.AsyncClient, node: Node, issuer: LocalIssuer
) -> None:
    answer = await stranger.get("/api/v1/documents", headers=bearer(token_for(node, issuer, "docex-operator")))
    check_problem(answer, 401, "unauthorised")
    assert issuer.asked == []
