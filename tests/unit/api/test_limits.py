"""Limits of calls at the API: who is counted, what they are told, and what nobody can do to somebody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn

from docex.api.app import make_app
from docex.api.server import configured
from docex.core.access import Role
from docex.core.addresses import parse_ranges
from docex.errors import UsageError
from docex.service.call_limits import CallLimits, Rates
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode
from tests.fixtures.problems import check_problem
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import key_for, receipt, stage


@asynccontextmanager
async def limited(
    node: Node, rates: Rates, proxies: str = "", address: str = "192.0.2.1"
) -> AsyncIterator[httpx.AsyncClient]:
    calls = CallLimits(node.store, rates, node.now)
    node = replace(node, calls=calls, limits=replace(node.limits, proxies=parse_ranges(proxies)))
    transport = httpx.ASGITransport(app=make_app(node, TOKEN, interval=3600), client=(address, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client
    await calls.close()


def bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


async def statuses(client: httpx.AsyncClient, path: str, times: int, **headers: str) -> list[int]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [(await client.get(path, headers=named)).status_code for _ in range(times)]


LIST = "/api/v1/documents"


async def test_a_caller_is_told_what_is_left_and_when_to_come_again(node: Node) -> None:
    async with limited(node, Rates(caller=2)) as client:
        key, other = await key_for(node, Role.AUDITOR), await key_for(node, Role.AUDITOR)
        answer = await client.get(LIST, headers=bearer(key))
        seconds = 60 - node.now() % 60
        assert (answer.status_code, answer.headers["ratelimit-policy"]) == (200, '"caller";q=2;w=60')
        assert answer.headers["ratelimit"] == f'"caller";r=1;t={seconds}'
        forbidden = await client.get("/api/v1/keys", headers=bearer(key))  # counts as well
        assert (forbidden.status_code, forbidden.headers["ratelimit"]) == (403, f'"caller";r=0;t={seconds}')
        answer = await client.get(LIST, headers=bearer(key))
        check_problem(answer, 429, "too_many_calls")
        assert answer.headers["retry-after"] == str(seconds)
        assert answer.headers["ratelimit"] == f'"caller";r=0;t={seconds}'
        for others in (other, TOKEN):
            assert (await client.get(LIST, headers=bearer(others))).status_code == 200


async def test_credentials_that_do_not_hold_count_for_their_address_and_lock_nobody_out(node: Node) -> None:
    async with limited(node, Rates(caller=100, address=2)) as client:
        assert await statuses(client, LIST, 4, authorization="Bearer wrong") == [401, 401, 429, 429]
        assert await statuses(client, LIST, 1) == [429]
        assert await statuses(client, LIST, 3, authorization=f"Bearer {TOKEN}") == [200] * 3


async def test_health_is_never_limited(node: Node) -> None:
    async with limited(node, Rates(address=1)) as client:
        assert await statuses(client, "/livez", 3) + await statuses(client, "/readyz", 3) == [200] * 6


async def test_members_are_counted_as_such_and_not_by_their_address(node: Node, new_node: NewNode) -> None:
    it = await stage(node, new_node("Maker"))
    async with limited(node, Rates(address=2, member=5)) as client:

        async def announce() -> httpx.Response:
            return await client.post("/api/v1/deliveries", content=it.incoming_token)

        assert [(await announce()).status_code for _ in range(3)] == [201] * 3
        brought = await client.put(f"/api/v1/deliveries/{it.incoming.id}/packet", content=it.packet)
        assert brought.status_code == 201
        given = receipt(it.maker, it.sent, [it.document.digest])
        assert (await client.post("/api/v1/receipts", content=given)).status_code == 201
        check_problem(await announce(), 429, "too_many_calls")
        check_problem(
            await client.put(f"/api/v1/deliveries/{it.incoming.id}/packet", content=it.packet), 429, "too_many_calls"
        )


async def test_statements_by_nobody_count_for_their_address(node: Node) -> None:
    async with limited(node, Rates(address=2, member=100)) as client:
        found = [(await client.post("/api/v1/deliveries", content="x.y.z")).status_code for _ in range(3)]
        assert found == [422, 422, 429]


@pytest.mark.parametrize(
    ("proxies", "address", "forwarded", "same"),
    [
        ("", "192.0.2.1", ["203.0.113.1", "203.0.113.2"], True),  # no proxy of ours: nothing that is said counts
        ("10.0.0.0/8", "192.0.2.1", ["203.0.113.1", "203.0.113.2"], True),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.1", "203.0.113.2"], False),
        ("10.0.0.0/8", "10.0.0.1", ["9.9.9.1, 203.0.113.1", "9.9.9.2, 203.0.113.1"], True),  # made up by the client
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.1, 10.0.0.2", "203.0.113.1, 10.0.0.3"], True),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.1, 10.0.0.2", "203.0.113.2, 10.0.0.2"], False),
        ("10.0.0.0/8", "10.0.0.1", ["junk", "more junk"], True),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.1, junk", "203.0.113.2, junk"], True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["203.0.113.1", "203.0.113.2"], False),
        ("::1", "::1", ["2001:db8::1", "2001:db8::2"], True),  # one network, which a client has all of
        ("::1", "::1", ["2001:db8::1", "2001:db8:0:1::1"], False),
        ("::1", "::1", ["::ffff:203.0.113.1", "203.0.113.1"], True),
    ],
)
async def test_whose_address_counts(node: Node, proxies: str, address: str, forwarded: list[str], same: bool) -> None:
    async with limited(node, Rates(address=1), proxies, address) as client:
        found = [(await statuses(client, LIST, 1, x_forwarded_for=each))[0] for each in forwarded]
    assert found == [401, 429 if same else 401]


async def test_a_client_without_an_address_has_a_limit_too(node: Node) -> None:
    async with limited(node, Rates(address=1), address="") as client:
        assert await statuses(client, LIST, 2) == [401, 429]


def test_the_server_itself_believes_no_header(node: Node) -> None:
    config: uvicorn.Config = configured(make_app(node, TOKEN, interval=1))
    assert config.proxy_headers is False


async def test_without_limits_nothing_is_said(client: httpx.AsyncClient) -> None:
    answer = await client.get(LIST)
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


@pytest.mark.parametrize("text", ["10.0.0.1/8", "x", "10.0.0.0/8;::1", "10.0.0.0/33"])
def test_ranges_that_are_none(text: Any) -> None:
    with pytest.raises(UsageError, match="not an address range"):
        parse_ranges(text)
