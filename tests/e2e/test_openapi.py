"""What the OpenAPI says is tried on a real node, by each role and by nobody: schemathesis makes the calls.

``DOCEX_OPENAPI_EXAMPLES`` is how many are made of each route, and of each link, for each caller; the seeds are fixed.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from docex.core.access import Role
from docex.service import api_keys
from docex.service.destinations import uri_of
from tests.e2e.openapi_calls import Judge, Walk, try_all
from tests.fixtures.network import Join, RunningNode, StartNode

EXAMPLES = int(os.environ.get("DOCEX_OPENAPI_EXAMPLES", "2"))
CALLERS: dict[str, tuple[Sequence[Role], Sequence[str]]] = {
    **{str(role): ([role], []) for role in Role},
    "kept": ([Role.SUPPLIER, Role.RECIPIENT], ["lots/17"]),
    "nobody": ([], []),
}


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_answers_as_the_openapi_says(join: Join, start_node: StartNode, caller: str) -> None:
    here: RunningNode = await start_node(await join("Abused"), rate_caller=0, rate_address=0)
    await here.deposit("lots/17/a", b"inside")
    secret = await here.deposit("lots/18/b", b"outside")
    roles, folders = CALLERS[caller]
    credential = (await api_keys.make(here.node, "caller", roles, folders)).text if roles else None
    judge = await asyncio.to_thread(Judge, here.url, credential)
    await asyncio.to_thread(try_all, judge, EXAMPLES)
    assert not judge.faults, "\n".join(sorted(judge.faults))
    assert (await here.client.get("/api/v1/documents/lots/18/b")).headers["etag"] == json.dumps(secret["statement"])


async def test_every_chain_of_calls_answers_as_the_openapi_says(join: Join, start_node: StartNode) -> None:
    """The operator goes along the links, and with the very ids that it finds, all the others and nobody try theirs."""
    other = await join("Other")
    here: RunningNode = await start_node(await join("Chained"), rate_caller=0, rate_address=0)
    for each in ("a", "b"):
        await here.deposit(f"lots/17/{each}", b"inside")
        await here.transfer([f"lots/17/{each}"], other)
    judges = [await asyncio.to_thread(Judge, here.url, here.token)]
    for caller, (roles, folders) in CALLERS.items():
        credential = (await api_keys.make(here.node, caller, roles, folders)).text if roles else None
        judges.append(await asyncio.to_thread(Judge, here.url, credential))
    bodies: dict[str, dict[str, Any]] = {
        "POST /api/v1/keys": {"name": "made", "roles": ["auditor"]},
        "POST /api/v1/transfers": {"to": [other.account]},  # the link names the issuer, who is this member
        "POST /transfers": {
            "from": uri_of(here.organisation.account),
            "to": uri_of(other.account),
            "document": "/lots/17/a",
        },
    }
    walk = Walk(judges, bodies, EXAMPLES - 2)
    await asyncio.to_thread(walk.run, EXAMPLES // 2)
    assert not (faults := set[str]().union(*(each.faults for each in judges))), "\n".join(sorted(faults))
    assert {str(each) for each in walk.links()} - walk.followed == set()


async def test_every_error_in_the_openapi_is_a_problem_document(join: Join, start_node: StartNode) -> None:
    here = await start_node(await join("Described"))
    async with httpx.AsyncClient(base_url=here.url, trust_env=False) as stranger:
        described = (await stranger.get("/openapi.json")).json()
    assert "HTTPValidationError" not in described["components"]["schemas"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path not in ("/livez", "/readyz"):
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
