"""What a scrape gives: figures of the node from its database, of requests from the process; and to whom."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from docex.api.app import make_app, make_worker
from docex.core.access import Role
from docex.core.addresses import parse_ranges
from docex.service import transfers
from docex.service.anchoring import anchor_waiting
from docex.service.node import Node
from docex.settings import NodeSettings
from tests.fixtures.paper_nodes import NewNode, Paper, deposited
from tests.fixtures.problems import check_problem
from tests.unit.api.conftest import TOKEN
from tests.unit.api.routes import bearing, key_for

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(answer: httpx.Response) -> Samples:
    """By name and values of labels."""
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


async def scrape(client: httpx.AsyncClient) -> Samples:
    return samples(await client.get("/metrics"))


async def test_figures_of_the_node_come_from_its_database(
    client: httpx.AsyncClient, node: Node, new_node: NewNode, paper: Paper
) -> None:
    maker = new_node("Maker")
    empty = await scrape(client)
    assert empty["docex_deposits_total", ()] == empty["docex_statements_not_anchored", ()] == 0
    assert empty["docex_anchor_age_seconds", ()] == empty["docex_jobs_oldest_due_seconds", ()] == 0
    for name in ("a", "b", "a"):
        await deposited(node, name, b"content")  # as another process would
    await transfers.create(node, ["a"], [maker.account])
    paper.clock.time += 40
    found = await scrape(client)
    assert found["docex_deposits_total", ()] == 3
    assert found["docex_deliveries", ("sent", "pending")] == 1
    assert found["docex_jobs", ("deliver",)] == 1
    assert found["docex_jobs_oldest_due_seconds", ()] == 40
    assert found["docex_statements_not_anchored", ()] >= 4
    assert found["docex_statements_not_anchored_age_seconds", ()] == 40
    await anchor_waiting(node)
    sealed = await scrape(client)
    assert sealed["docex_statements_not_anchored", ()] == found["docex_statements_not_anchored", ()]
    assert sealed["docex_statements_not_anchored_age_seconds", ()] >= 0
    for _ in range(3):
        await anchor_waiting(node)
    paper.clock.time += 100
    anchored = await scrape(client)
    assert anchored["docex_statements_not_anchored", ()] == 0
    assert anchored["docex_anchor_age_seconds", ()] > 0
    for part in ("database", "storage", "rpc", "keys"):
        assert anchored["docex_part_up", (part,)] == 1
        assert anchored["docex_part_check_seconds", (part,)] >= 0


async def test_received_transfers_are_told_apart_and_are_no_deposits(
    client: httpx.AsyncClient, node: Node, new_node: NewNode
) -> None:
    maker = new_node("Maker")
    await deposited(maker, "m", b"theirs")
    sent = await transfers.create(maker, ["m"], [node.account])
    assert (await maker.store.figures(maker.account)).deliveries == {("sent", "pending"): 1}
    await transfers.deliver(maker, sent.id, node.account)
    found = await scrape(client)
    assert sum(value for (name, _), value in found.items() if name == "docex_deliveries") == 1
    assert found["docex_deliveries", ("received", "delivered")] == 1
    assert found["docex_deposits_total", ()] == 0


async def test_requests_are_counted_by_route_and_no_label_is_what_a_client_sent(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, node: Node
) -> None:
    await deposited(node, "secret-name", b"content")
    await client.get("/api/v1/documents/secret-name")
    await client.get("/api/v1/documents/missing-name")
    await stranger.get("/api/v1/documents/secret-name")
    await client.get("/nowhere-at-all")
    await client.request("BREW", "/livez")
    await client.request("HEAD", "/livez")
    answer = await client.get("/metrics")
    found = samples(answer)
    route = "/api/v1/documents/{path:path}"
    for status in ("200", "404", "401"):
        assert found["docex_http_requests_total", ("GET", route, status)] == 1
    assert found["docex_http_request_seconds_count", ("GET", route)] == 3
    assert found["docex_http_requests_total", ("GET", "other", "404")] == 1
    assert found["docex_http_requests_in_progress", ()] == 1  # this one
    assert found["process_resident_memory_bytes", ()] > 1 << 20
    for text in ("secret-name", "missing-name", "nowhere", "BREW", TOKEN):
        assert text not in answer.text


async def test_a_database_that_is_gone_leaves_the_rest(
    client: httpx.AsyncClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(type(node.store), "check", gone)
    found = await scrape(client)
    assert found["docex_part_up", ("database",)] == 0
    assert ("docex_deposits_total", ()) not in found


async def test_openmetrics_is_spoken_to_who_asks_for_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert {"docex_deposits", "docex_part_up", "docex_http_requests"} <= names


async def test_operators_read_metrics_and_others_do_not(url: str, stranger: httpx.AsyncClient, node: Node) -> None:
    check_problem(await stranger.get("/metrics"), 401, "unauthorised")
    for role in Role:
        async with bearing(url, await key_for(node, role)) as client:
            assert (await client.get("/metrics")).status_code == (200 if role is Role.OPERATOR else 403)


async def ask(node: Node, address: str, headers: Sequence[tuple[str, str]] = ()) -> int:
    app = make_app(node, TOKEN, interval=3600)
    transport = httpx.ASGITransport(app=app, client=(address, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return (await client.get("/metrics", headers=list(headers))).status_code


async def test_a_scraper_is_known_by_its_address_and_never_through_a_proxy(node: Node) -> None:
    node = replace(node, limits=replace(node.limits, scrapers=parse_ranges("10.1.0.0/16, fd00::7")))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert await ask(node, address) == 200
    for address in ("10.2.0.1", "fd00::8", "not an address"):
        assert await ask(node, address) == 401
    for header in ("x-forwarded-for", "forwarded", "via"):
        assert await ask(node, "10.1.2.3", [(header, "10.1.2.3")]) == 401
    assert await ask(node, "192.0.2.1", [("x-forwarded-for", "10.1.2.3")]) == 401
    assert NodeSettings().metrics_networks == ""


async def test_a_worker_is_scraped_by_address(node: Node) -> None:
    for scrapers, status in (("", 401), ("127.0.0.1", 200)):
        app = make_worker(replace(node, limits=replace(node.limits, scrapers=parse_ranges(scrapers))), interval=3600)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://worker") as client:
            found = await asyncio.gather(client.get("/metrics"), client.get("/readyz"))
            assert [each.status_code for each in found] == [status, 200]
