"""What the OpenAPI says is tried on a real node, by each role and by nobody: schemathesis makes the calls.

``DOCEX_OPENAPI_EXAMPLES`` is how many are made of each route for each caller; the seed is fixed.
"""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from docex.core.access import Role
from docex.service import api_keys
from tests.fixtures.network import Join, RunningNode, StartNode

EXAMPLES = int(os.environ.get("DOCEX_OPENAPI_EXAMPLES", "2"))
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
CALLERS: dict[str, tuple[Sequence[Role], Sequence[str]]] = {
    **{str(role): ([role], []) for role in Role},
    "kept": ([Role.SUPPLIER, Role.RECIPIENT], ["lots/17"]),
    "nobody": ([], []),
}
pytestmark = pytest.mark.xdist_group("exchange")


@schemathesis.serializer("application/jsonl")
def lines(_: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def settings() -> Callable[[Any], Any]:
    return hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )


def try_all(url: str, credential: str | None) -> set[str]:
    """Call every route as the OpenAPI has it; returns what went wrong, as texts."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    closed = {
        (method.upper(), path)
        for path, methods in schema.raw_schema["paths"].items()
        for method, operation in methods.items()
        if "401" in operation["responses"]
    }
    faults: set[str] = set()

    def tried(case: Any) -> None:
        route = case.method.upper(), case.path
        answer = case.call(base_url=url, headers=headers, timeout=60)
        where = f"{route} {answer.status_code}: {answer.text[:300]!r}"
        if answer.status_code >= 500:
            faults.add(f"server error: {where}")
        # A path that no route has (with a line break in it) is answered before anybody is asked who calls.
        nowhere = answer.status_code == 404 and answer.json()["detail"] == "Not Found"
        if credential is None and route in closed and answer.status_code not in (401, 422, 400) and not nowhere:
            faults.add(f"no authentication: {where}")
        if answer.status_code >= 400:
            body = answer.json()
            if body.get("status") != answer.status_code or not body["type"].startswith("urn:docex:problem:"):
                faults.add(f"no problem document: {where}")
        try:
            case.validate_response(answer, checks=CHECKS)
        except BaseExceptionGroup as group:
            faults.update(f"{type(each).__name__} {each}: {where}"[:900] for each in group.exceptions)
        except Exception as error:
            faults.add(f"{type(error).__name__} {error}: {where}"[:900])

    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            def attempt(case: Any) -> None:
                tried(case)

            with suppress(Unsatisfiable):  # nothing can be wrong with a call that takes nothing
                settings()(hypothesis.given(strategy)(attempt))()
    return faults


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_route_answers_as_the_openapi_says(join: Join, start_node: StartNode, caller: str) -> None:
    here: RunningNode = await start_node(await join("Abused"), rate_caller=0, rate_address=0)
    await here.deposit("lots/17/a", b"inside")
    secret = await here.deposit("lots/18/b", b"outside")
    roles, folders = CALLERS[caller]
    credential = (await api_keys.make(here.node, "caller", roles, folders)).text if roles else None
    faults = await asyncio.to_thread(try_all, here.url, credential)
    assert not faults, "\n".join(sorted(faults))
    assert (await here.client.get("/api/v1/documents/lots/18/b")).headers["etag"] == json.dumps(secret["statement"])


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
