"""Deposits that depend on what is there: create only, and safe overwriting."""

import asyncio
import os
from contextlib import suppress

import httpx
import pytest

from docex.service.node import Node
from tests.fixtures.problems import check_problem
from tests.fixtures.stores import paths
from tests.unit.api.conftest import TOKEN

URL = "/api/v1/documents/a"
CREATE = {"if-none-match": "*"}


async def put(client: httpx.AsyncClient, content: bytes, **headers: str) -> httpx.Response:
    return await client.put(URL, content=content, headers={name.replace("_", "-"): it for name, it in headers.items()})


async def test_create_only(client: httpx.AsyncClient, node: Node) -> None:
    assert (await put(client, b"first", if_none_match="*")).status_code == 201
    check_problem(await put(client, b"second", if_none_match="*"), 412, "precondition_failed")
    assert (await client.get(URL)).content == b"first"
    assert len(await paths(node.blobs)) == 1


async def test_overwriting_only_what_was_seen(client: httpx.AsyncClient, node: Node) -> None:
    check_problem(await put(client, b"x", if_match="*"), 412, "precondition_failed")  # there is nothing yet
    first = (await put(client, b"first")).headers["etag"]
    assert (await client.get(URL)).headers["etag"] == first
    assert first == f'"{(await client.get(URL, params={"details": "true"})).json()["statement"]}"'
    second = (await put(client, b"second", if_match=f'"other", {first}')).headers["etag"]
    detail = check_problem(await put(client, b"third", if_match=first), 412, "precondition_failed")["detail"]
    assert second.strip('"') in detail  # so the caller knows what to look at
    check_problem(await put(client, b"third", if_none_match=f"{second}, {first}"), 412, "precondition_failed")
    check_problem(await put(client, b"third", if_match=f"W/{second}"), 412, "precondition_failed")
    check_problem(await put(client, b"third", if_match=second.strip('"')), 400, "header_invalid")
    assert (await put(client, b"third", if_match=second, if_none_match=first)).status_code == 201
    assert (await put(client, b"fourth", if_match="*")).json()["version"] == 4
    assert len(await paths(node.blobs)) == 4


@pytest.mark.parametrize("seen", [False, True])
async def test_of_several_who_saw_the_same_one_wins(client: httpx.AsyncClient, node: Node, seen: bool) -> None:
    headers = {"if_match": (await put(client, b"seen")).headers["etag"]} if seen else {"if_none_match": "*"}
    answers = await asyncio.gather(*(put(client, b"%d" % n, **headers) for n in range(8)))
    assert sorted(each.status_code for each in answers) == [201, *[412] * 7]
    winner = next(n for n, each in enumerate(answers) if each.status_code == 201)
    assert (await client.get(URL)).content == b"%d" % winner
    assert len(await paths(node.blobs)) == 1 + seen  # those that lost left no packet behind


async def test_what_will_be_refused_need_not_be_sent(url: str, client: httpx.AsyncClient, node: Node) -> None:
    await put(client, b"first")
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"PUT {URL} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "Content-Length: 9000000"]
    writer.write("\r\n".join([*lines, "If-None-Match: *", "Expect: 100-continue", "", ""]).encode())
    async with asyncio.timeout(60):
        assert await reader.readline() == b"HTTP/1.1 412 Precondition Failed\r\n"
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_part_or_an_encoded_document_is_not_taken_for_the_whole(client: httpx.AsyncClient, node: Node) -> None:
    check_problem(await put(client, b"x", content_range="bytes 0-0/2"), 400, "header_invalid")
    answer = await put(client, os.urandom(9), content_encoding="gzip")
    check_problem(answer, 415, "encoding_unknown")
    assert answer.headers["accept-encoding"] == "identity"
    assert (await put(client, b"x", content_encoding="Identity")).status_code == 201
    assert (await node.store.counts())["documents"] == 1
