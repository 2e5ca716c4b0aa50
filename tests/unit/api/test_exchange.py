"""What other nodes call, and the routes around transfers, over real HTTP."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest

from docex.core import packet, proof, statement
from docex.core.claims import Receipt
from docex.core.state import DeliveryState, StoredTransfer
from docex.core.statement import MAX_TOKEN_BYTES
from docex.service import arrivals, receipts, transfers
from docex.service.anchoring import anchor_waiting
from docex.service.node import Limits, Node
from tests.fixtures.paper_nodes import NewNode, account_of, broken, deposited, keys_of
from tests.fixtures.problems import check_problem
from tests.fixtures.statements import digest_of
from tests.fixtures.stores import DATA, fetched, paths


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


async def incoming(maker: Node, node: Node, content: bytes = b"content") -> tuple[StoredTransfer, str, bytes]:
    """A transfer from Maker to the node: its row, its statement and its packet."""
    await deposited(maker, "a.pdf", content)
    transfer = await transfers.create(maker, ["a.pdf"], [node.account])
    stored = await maker.store.statement(transfer.id)
    assert stored is not None
    assert transfer.blob is not None
    return transfer, stored.token, await fetched(maker.blobs, transfer.blob)


# --- between nodes ---------------------------------------------------------------------------------------------------


async def test_a_transfer_is_announced_brought_and_then_not_wanted_again(
    stranger: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    transfer, token, data = await incoming(maker, node)
    for _ in range(2):
        answer = await stranger.post("/api/v1/deliveries", content=token + "\n")
        assert (answer.status_code, answer.json()) == (201, {"id": transfer.id, "wanted": True})
    for _ in range(2):
        answer = await stranger.put(f"/api/v1/deliveries/{transfer.id}/packet", content=data)
        assert (answer.status_code, answer.json()) == (201, {"id": transfer.id, "wanted": False})
    answer = await stranger.post("/api/v1/deliveries", content=token)
    assert answer.json() == {"id": transfer.id, "wanted": False}
    counts = await node.store.counts()
    assert (counts["transfers"], counts["jobs"]) == (1, 1)


async def test_what_is_no_statement_of_a_member_is_refused(
    stranger: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    for path in ("deliveries", "receipts"):
        for content in (b"", b"x", b"a.b.c", b"\xff\xfe", b"\0" * 100, "ü.ü.ü".encode()):
            check_problem(await stranger.post(f"/api/v1/{path}", content=content), 422, "statement_invalid")
        answer = await stranger.post(f"/api/v1/{path}", content=b"x" * (MAX_TOKEN_BYTES + 1))
        check_problem(answer, 413, "limit_exceeded")
    _, token, _ = await incoming(maker, node)
    forged = token.rpartition(".")[0] + "." + "A" * 86
    check_problem(await stranger.post("/api/v1/deliveries", content=forged), 422, "signature_invalid")
    check_problem(await stranger.post("/api/v1/receipts", content=token), 422, "statement_invalid")
    to_other = await transfers.create(node, [(await deposited(node, "b", b"x")).path], [maker.account])
    own = await node.store.statement(to_other.id)
    assert own is not None
    check_problem(await stranger.post("/api/v1/deliveries", content=own.token), 403, "forbidden")


async def test_a_packet_that_is_not_the_announced_one_is_refused_and_not_kept(
    stranger: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    transfer, token, data = await incoming(maker, node)
    url = f"/api/v1/deliveries/{transfer.id}/packet"
    check_problem(await stranger.put(url, content=data), 404, "not_found")
    await stranger.post("/api/v1/deliveries", content=token)
    check_problem(await stranger.put(url, content=data + b"x"), 422, "digest_mismatch")
    check_problem(await stranger.put(url, content=data[:-1]), 422, "digest_mismatch")
    check_problem(await stranger.put(url, content=b""), 422, "packet_header_invalid")

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    check_problem(await stranger.put(url, content=chunks()), 411, "length_required")
    check_problem(await stranger.put("/api/v1/deliveries/sha256:1/packet", content=data), 422, "request_invalid")
    assert await paths(node.blobs) == []
    assert (await stranger.put(url, content=data)).status_code == 201


async def test_a_packet_that_was_cut_off_goes_on_where_head_says(
    stranger: httpx.AsyncClient, node: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "PART", 64 << 10)
    transfer, token, data = await incoming(maker, node, DATA[:300_000])
    url = f"/api/v1/deliveries/{transfer.id}/packet"
    check_problem(await stranger.get(url), 404, "not_found")
    await stranger.post("/api/v1/deliveries", content=token)
    with pytest.raises(ConnectionResetError):
        await arrivals.receive(node, transfer.id, broken(data[:200_000]))
    head = await stranger.head(url)
    assert (head.status_code, head.content, head.headers["cache-control"]) == (204, b"", "no-store")
    assert (head.headers["upload-offset"], head.headers["upload-complete"]) == (str(3 << 16), "?0")
    check_problem(await stranger.put(url, content=data), 409, "offset_mismatch")
    for offset in ("", "-1", "x", str(1 << 50)):
        check_problem(await stranger.patch(url, content=b"", headers={"upload-offset": offset}), 422, "request_invalid")
    here = {"upload-offset": str(3 << 16)}
    check_problem(await stranger.patch(url, content=b"x", headers=here | {"upload-complete": "?0"}), 422, "usage")
    answer = await stranger.patch(url, content=data[3 << 16 :], headers=here | {"upload-complete": "?1"})
    assert (answer.status_code, answer.json()) == (201, {"id": transfer.id, "wanted": False})
    head = await stranger.head(url)
    assert (head.headers["upload-offset"], head.headers["upload-complete"]) == ("0", "?1")


class TestSmall:
    @pytest.fixture
    def node(self, new_node: NewNode) -> Node:
        return new_node("Mine", limits=Limits(packet_size=100))

    async def test_packets_larger_than_the_node_takes_are_refused(
        self, stranger: httpx.AsyncClient, node: Node, maker: Node
    ) -> None:
        transfer, token, _ = await incoming(maker, node)
        check_problem(await stranger.post("/api/v1/deliveries", content=token), 413, "limit_exceeded")
        url = f"/api/v1/deliveries/{transfer.id}/packet"
        check_problem(await stranger.put(url, content=bytes(3 << 20)), 413, "limit_exceeded")


async def test_receipts_are_taken_once(stranger: httpx.AsyncClient, node: Node, maker: Node) -> None:
    await deposited(node, "a.pdf", b"content")
    transfer = await transfers.create(node, ["a.pdf"], [maker.account])
    claim = Receipt(transfer.id, transfer.packet, (digest_of("content"),), "accepted")
    first, second = (statement.issue(maker.signer, maker.account, claim, maker.now()) for _ in range(2))
    for _ in range(2):
        answer = await stranger.post("/api/v1/receipts", content=first.token)
        assert answer.status_code == 201
        assert answer.json()["deliveries"][0]["receipt"] == first.digest_text
    check_problem(await stranger.post("/api/v1/receipts", content=second.token), 409, "conflict")


async def test_without_the_ledger_nodes_are_asked_to_come_again(
    stranger: httpx.AsyncClient, node: Node, maker: Node, paper: object
) -> None:
    from tests.fixtures.paper_nodes import UNAVAILABLE, Paper

    assert isinstance(paper, Paper)
    _, token, _ = await incoming(maker, node)
    paper.ledger.down = UNAVAILABLE
    check_problem(await stranger.post("/api/v1/deliveries", content=token), 503, "ledger_unavailable")


# --- transfers -------------------------------------------------------------------------------------------------------


async def test_a_transfer_is_made_listed_and_read(client: httpx.AsyncClient, node: Node, maker: Node) -> None:
    stored = await deposited(node, "a.pdf", b"content")
    answer = await client.post("/api/v1/transfers", json={"documents": ["a.pdf"], "to": [maker.account]})
    assert answer.status_code == 202
    made = answer.json()
    assert (made["direction"], made["sender"], made["documents"], made["arrived"]) == (
        "sent",
        node.account,
        [stored.statement],
        True,
    )
    assert made["deliveries"] == [
        {
            "account": maker.account,
            "state": "pending",
            "attempts": 0,
            "sent": 0,
            "error": None,
            "receipt": None,
            "ciphertext_receipt": None,
            "updated": made["created"],
        }
    ]
    assert (await client.get(f"/api/v1/transfers/{made['id']}")).json() == made
    assert (await client.get("/api/v1/transfers")).json() == {"transfers": [made], "next": None}
    assert (await client.get("/api/v1/transfers?direction=received")).json() == {"transfers": [], "next": None}


async def test_a_transfer_may_expire(client: httpx.AsyncClient, node: Node, maker: Node) -> None:
    await deposited(node, "a.pdf", b"content")
    wanted = {"documents": ["a.pdf"], "to": [maker.account]}
    made = (await client.post("/api/v1/transfers", json=wanted | {"expires": node.now() + 60})).json()
    assert datetime.fromisoformat(made["expires"]).timestamp() == node.now() + 60
    check_problem(await client.post("/api/v1/transfers", json=wanted | {"expires": node.now()}), 422, "usage")
    for bad in ("tomorrow", 0, 1.5, 1 << 60):
        answer = await client.post("/api/v1/transfers", json=wanted | {"expires": bad})
        check_problem(answer, 422, "request_invalid")


async def test_the_history_of_a_transfer_comes_in_pages(client: httpx.AsyncClient, node: Node, maker: Node) -> None:
    await deposited(node, "a.pdf", b"content")
    sent = await transfers.create(node, ["a.pdf"], [maker.account])
    await node.store.set_delivery(sent.id, maker.account, DeliveryState.PENDING, "down")
    url = f"/api/v1/transfers/{sent.id}/history"
    whole = (await client.get(url)).json()
    assert [(each["kind"], each["account"], each["detail"]) for each in whole["events"]] == [
        ("sent", maker.account, None),
        ("failed", maker.account, "down"),
    ]
    assert whole["next"] is None
    page = (await client.get(url, params={"limit": 1})).json()
    assert page["events"] == whole["events"][:1]
    rest = await client.get(url, params={"after": page["next"]})
    assert rest.json() == {"events": whole["events"][1:], "next": None}
    for bad in ({"after": -1}, {"after": 1 << 63}, {"limit": 0}, {"limit": 1001}):
        check_problem(await client.get(url, params=bad), 422, "request_invalid")
    check_problem(await client.get(f"/api/v1/transfers/{digest_of('x')}/history"), 404, "not_found")


async def test_transfers_come_in_pages(client: httpx.AsyncClient, node: Node, maker: Node) -> None:
    await deposited(node, "a.pdf", b"content")
    made = {(await transfers.create(node, ["a.pdf"], [maker.account])).id for _ in range(5)}
    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get("/api/v1/transfers", params={"cursor": cursor, "limit": 2})).json()
        seen += [each["id"] for each in page["transfers"]]
        cursor = page["next"]
    assert (len(seen), set(seen)) == (5, made)


BAD_REQUESTS: list[tuple[bytes, int, str]] = [
    (b"", 422, "request_invalid"),
    (b"x", 422, "request_invalid"),
    (b"[]", 422, "request_invalid"),
    (b'{"documents": [], "to": ["x"]}', 422, "request_invalid"),
    (b'{"documents": ["a"], "to": []}', 422, "request_invalid"),
    (b'{"documents": ["a"], "to": ["x"], "more": 1}', 422, "request_invalid"),
    (b'{"documents": ["a"], "to": ["x"], "\\ud800": 1}', 422, "request_invalid"),
    (b'{"documents": ["\\ud800"], "to": ["x"]}', 422, "request_invalid"),
    (b'{"documents": ["a\\u0000"], "to": ["x"]}', 404, "not_found"),
    (b'{"documents": ["a"], "to": ["x"]}', 404, "not_found"),
    (b'{"documents": ["sha256:12"], "to": ["x"]}', 422, "usage"),
    (b"[" * 100_000, 422, "request_invalid"),
]


@pytest.mark.parametrize(("content", "status", "code"), BAD_REQUESTS)
async def test_a_request_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, content: bytes, status: int, code: str
) -> None:
    answer = await client.post("/api/v1/transfers", content=content, headers={"content-type": "application/json"})
    check_problem(answer, status, code)


async def test_who_can_not_be_sent_to(client: httpx.AsyncClient, node: Node) -> None:
    await deposited(node, "a.pdf", b"content")
    for to, code in ((account_of("Stranger"), "not_member"), (node.account, "usage"), ("x", "usage")):
        answer = await client.post("/api/v1/transfers", json={"documents": ["a.pdf"], "to": [to]})
        check_problem(answer, 422, code)


async def test_the_packet_can_be_fetched_and_opened_elsewhere(
    client: httpx.AsyncClient, node: Node, maker: Node
) -> None:
    transfer, token, data = await incoming(maker, node)
    await transfers.announced(node, token)
    url = f"/api/v1/transfers/{transfer.id}/packet"
    check_problem(await client.get(url), 404, "not_found")
    await transfers.deliver(maker, transfer.id, node.account)
    answer = await client.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, "application/age")
    opened = packet.open_packet(io.BytesIO(answer.content), [keys_of("Mine")[1]], packet.Discard())
    assert receipts.opened_digests(opened) == (digest_of("content"),)
    check_problem(await client.get(f"/api/v1/transfers/{digest_of('x')}"), 404, "not_found")


async def test_proofs_are_read_by_document_and_statement(client: httpx.AsyncClient, node: Node) -> None:
    stored = await deposited(node, "a.pdf", b"content")
    for _ in range(2):
        await anchor_waiting(node)
    answer = await client.get(f"/api/v1/proofs/{stored.digest}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert proof.parse(answer.content).statement.anchor is not None
    assert (await client.get(f"/api/v1/proofs/{stored.statement}")).content == answer.content
    check_problem(await client.get(f"/api/v1/proofs/{digest_of('x')}"), 404, "not_found")
    check_problem(await client.get("/api/v1/proofs/x"), 422, "request_invalid")


async def test_a_body_is_not_read_for_someone_without_a_token(stranger: httpx.AsyncClient) -> None:
    """The framework would read all of it, into memory, before it asks who is calling."""
    reader, writer = await asyncio.open_connection(stranger.base_url.host, stranger.base_url.port)
    head = "POST /api/v1/transfers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 600000000"
    writer.write(head.encode() + b"\r\n\r\n" + b" " * 1000)
    async with asyncio.timeout(60):
        assert b"401" in await reader.readline()
    writer.close()


async def test_a_packet_is_brought_by_one_call_at_a_time(stranger: httpx.AsyncClient, node: Node, maker: Node) -> None:
    transfer, token, data = await incoming(maker, node)
    await stranger.post("/api/v1/deliveries", content=token)
    url = f"/api/v1/deliveries/{transfer.id}/packet"
    under_way, release = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield data[:100]
        under_way.set()
        await release.wait()
        yield data[100:]

    headers = {"content-length": str(len(data))}
    first = asyncio.create_task(stranger.put(url, content=slowly(), headers=headers))
    await under_way.wait()
    async with asyncio.timeout(60):  # until the node has seen the first bytes
        while (await stranger.head(url)).status_code != 409:
            await asyncio.sleep(0.05)
    second = await stranger.put(url, content=data)
    check_problem(second, 409, "upload_under_way")
    assert second.headers["retry-after"] == "1"
    assert (await stranger.head(url)).status_code == 409
    release.set()
    assert (await first).status_code == 201


async def test_two_lengths_are_one_too_many(stranger: httpx.AsyncClient, node: Node, maker: Node) -> None:
    transfer, token, data = await incoming(maker, node)
    await stranger.post("/api/v1/deliveries", content=token)
    headers = {"content-length": str(len(data)), "transfer-encoding": "chunked"}
    answer = await stranger.put(f"/api/v1/deliveries/{transfer.id}/packet", content=data, headers=headers)
    assert answer.status_code in (400, 411)
