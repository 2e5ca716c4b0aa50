"""`/api/v1/keys`, and what the keys open: from the answer that shows one to the call that is refused after its end."""

import asyncio
import logging
import re
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from docex.core.access import Role
from docex.service import api_keys
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, Paper
from tests.fixtures.problems import check_problem
from tests.unit.api.routes import bearing, key_for

URL = "/api/v1/keys"
WANTED: dict[str, Any] = {"name": "Ann, quality", "roles": ["auditor", "supplier"], "folders": ["lots/17", "ä b"]}


async def opens(url: str, key: str) -> httpx.Response:
    async with bearing(url, key) as client:
        return await client.get("/api/v1/documents")


async def test_a_key_is_shown_once_and_kept_as_a_digest(client: httpx.AsyncClient, node: Node, paper: Paper) -> None:
    expires = paper.clock.time + 3600
    answer = await client.post(URL, json=WANTED | {"expires": expires})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert re.fullmatch(r"docex_[0-9a-f]{16}_[0-9a-f]{64}", key)
    assert made == {
        "id": key.split("_")[1],
        "name": "Ann, quality",
        "roles": ["supplier", "auditor"],
        "folders": ["lots/17", "ä b"],
        "created": "2026-09-21T14:30:00Z",
        "expires": "2026-09-21T15:30:00Z",
        "last_used": None,
        "revoked": None,
    }
    listed = await client.get(URL)
    assert listed.json() == {"keys": [made], "next": None}
    kept = repr(await node.store.api_keys()) + listed.text
    assert key.split("_")[2] not in kept


async def test_keys_differ(client: httpx.AsyncClient) -> None:
    keys = {(await client.post(URL, json=WANTED)).json()["key"] for _ in range(3)}
    assert len({each.split("_")[1] for each in keys}) == len({each.split("_")[2] for each in keys}) == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "request_invalid"),
        ({"name": "x" * 201}, "request_invalid"),
        ({"name": "a\nb"}, "usage"),
        ({"name": "\u202egnp"}, "usage"),
        ({"name": " "}, "usage"),
        ({"roles": []}, "request_invalid"),
        ({"roles": ["root"]}, "request_invalid"),
        ({"roles": ["operator"]}, "usage"),
        ({"folders": ["../x"]}, "name_invalid"),
        ({"folders": [""]}, "name_invalid"),
        ({"folders": ["/lots"]}, "name_invalid"),
        ({"folders": ["lots/"]}, "name_invalid"),
        ({"folders": ["a"] * 65}, "request_invalid"),
        ({"expires": 1}, "usage"),
        ({"expires": api_keys.LAST_TIME + 1}, "request_invalid"),
        ({"expires": "2027-01-01T00:00:00Z"}, "request_invalid"),
        ({"secret": "mine"}, "request_invalid"),
    ],
    ids=str,
)
async def test_what_is_no_key_is_refused(client: httpx.AsyncClient, change: dict[str, Any], code: str) -> None:
    check_problem(await client.post(URL, json=WANTED | change), 422, code)
    assert (await client.get(URL)).json() == {"keys": [], "next": None}


async def test_a_request_that_is_too_long_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    check_problem(await client.post(URL, content=b" " * (257 << 10)), 413, "limit_exceeded")


async def test_a_revoked_key_opens_nothing_from_the_next_call_on(
    client: httpx.AsyncClient, url: str, node: Node, paper: Paper
) -> None:
    key, other = await key_for(node, Role.RECIPIENT), await key_for(node, Role.RECIPIENT)
    key_id = key.split("_")[1]
    assert (await opens(url, key)).status_code == 200
    ended = (await client.delete(f"{URL}/{key_id}")).json()
    assert (ended["id"], ended["revoked"]) == (key_id, "2026-09-21T14:30:00Z")
    answer = await opens(url, key)
    assert check_problem(answer, 401, "unauthorised")["detail"] == f"the API key {key_id} is revoked"
    assert answer.headers["www-authenticate"] == 'Bearer realm="docex"'
    assert (await opens(url, other)).status_code == 200
    paper.clock.time += 100
    assert (await client.delete(f"{URL}/{key_id}")).json() == ended  # the first end stands


@pytest.mark.parametrize("key_id", ["0" * 16, "x", "%00", "A" * 16, "0" * 17, "ä"])
async def test_there_is_no_such_key_to_revoke(client: httpx.AsyncClient, key_id: str) -> None:
    check_problem(await client.delete(f"{URL}/{key_id}"), 404, "not_found")


async def test_a_key_opens_until_it_expires(url: str, node: Node, paper: Paper) -> None:
    made = await api_keys.make(node, "x", [Role.AUDITOR], expires=paper.clock.time + 10)
    paper.clock.time += 9
    assert (await opens(url, made.text)).status_code == 200
    paper.clock.time += 1
    detail = check_problem(await opens(url, made.text), 401, "unauthorised")["detail"]
    assert detail == f"the API key {made.key.id} has expired"


async def test_use_is_noted_once_a_minute(client: httpx.AsyncClient, url: str, node: Node, paper: Paper) -> None:
    key = await key_for(node, Role.AUDITOR)
    start = paper.clock.time

    async def last_used() -> int | None:
        return (await node.store.api_keys())[0].last_used

    assert await last_used() is None
    await asyncio.gather(*(opens(url, key) for _ in range(5)))
    assert await last_used() == start
    paper.clock.time += 59
    await opens(url, key)
    assert await last_used() == start
    paper.clock.time += 1
    await opens(url, key)
    assert await last_used() == start + 60
    assert (await client.get(URL)).json()["keys"][0]["last_used"] == "2026-09-21T14:31:00Z"


async def test_nothing_but_the_whole_key_opens(url: str, node: Node) -> None:
    key, other = await key_for(node, Role.OPERATOR), await key_for(node, Role.OPERATOR)
    _, key_id, secret = key.split("_")
    digest = (await node.store.api_key(key_id)).digest.hex()
    wrong = [
        key[:-1],
        key + "0",
        key.upper(),
        key_id,
        secret,
        f"docex_{key_id}_",
        f"docex_{key_id}_{digest}",  # what a stolen database holds
        f"docex_{key_id}_{'0' * 64}",
        f"docex_{key_id}_{other.split('_')[2]}",
        f"docex_{'0' * 16}_{secret}",
        f"docex_{'0' * 16}_{'0' * 64}",
    ]
    for each in wrong:
        check_problem(await opens(url, each), 401, "unauthorised")
    assert (await opens(url, key)).status_code == 200
    assert [each.last_used for each in await node.store.api_keys() if each.id != key_id] == [None]


async def test_an_unknown_key_and_a_wrong_secret_are_answered_alike(url: str, node: Node) -> None:
    key_id = (await key_for(node, Role.OPERATOR)).split("_")[1]
    answers = [await opens(url, f"docex_{each}_{'0' * 64}") for each in (key_id, "0" * 16)]
    assert answers[0].json() == answers[1].json()


async def test_a_key_of_one_node_does_not_open_another(url: str, node: Node, new_node: NewNode) -> None:
    check_problem(await opens(url, await key_for(new_node("Maker"), Role.OPERATOR)), 401, "unauthorised")


async def test_no_log_and_no_error_shows_a_key(
    client: httpx.AsyncClient, url: str, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        made = (await client.post(URL, json=WANTED | {"folders": []})).json()
        secret = made["key"].split("_")[2]
        seen = []
        async with bearing(url, made["key"]) as caller:
            for method, path in (("GET", "documents"), ("GET", "keys"), ("PUT", "documents/a"), ("GET", "nothing")):
                seen.append(await caller.request(method, f"/api/v1/{path}"))
            await client.delete(f"{URL}/{made['id']}")
            seen.append(await caller.get("/api/v1/documents"))
            seen.append(await caller.post("/api/v1/keys", content=made["key"]))
        seen.append(await client.post(URL, json={"name": made["key"], "roles": [made["key"]], "secret": made["key"]}))
        seen.append(await client.delete(f"{URL}/{made['key']}"))  # somebody took the key for its id
        seen.append(await client.get(URL))
    # Not what the client here logs, nor the access log, which is off where `docex serve` runs.
    others = ("httpx", "httpcore", "uvicorn.access")
    server_side = [each.getMessage() for each in caplog.records if not each.name.startswith(others)]
    for text in (*[each.text for each in seen], str(logs), *server_side):
        assert secret not in text
    assert secret not in repr(await api_keys.make(node, "x", [Role.AUDITOR]))


async def test_a_new_key_does_not_show_itself(node: Node) -> None:
    made = await api_keys.make(node, "x", [Role.AUDITOR])
    assert made.text not in repr(made)
    assert repr(made.key.digest) not in repr(made)


async def test_a_key_needs_a_role(node: Node) -> None:
    from docex.errors import UsageError

    with pytest.raises(UsageError, match="needs a role"):
        await api_keys.make(node, "x", [])
