import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from docex.core.transactions import Attempt, StoredTransaction, TransactionRequest, TransactionStatus
from docex.errors import LedgerError, LedgerUnavailable, UsageError
from docex.ledger import chain, follow, market
from docex.ledger.process import LocalChain
from docex.ledger.rpc import MAX_BATCH, Rpc, RpcError

Answer = Callable[[Any], tuple[int, bytes]]


@asynccontextmanager
async def node(answer: Answer) -> AsyncIterator[str]:
    """A server on a free port that answers each JSON-RPC request as the test says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        status, body = answer(json.loads(await reader.readexactly(length)))
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        writer.close()
        await writer.wait_closed()

    serving: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*serving)


def always(status: int, body: object) -> Answer:
    return lambda request: (status, body if isinstance(body, bytes) else json.dumps(body).encode())


async def test_the_chain_id_is_asked_and_checked(anvil: LocalChain) -> None:
    async with Rpc(anvil.url, chain_id=31337) as rpc:
        assert await rpc.chain_id() == 31337
        assert await rpc.call("eth_blockNumber") is not None


async def test_another_chain_is_refused(anvil: LocalChain) -> None:
    async with Rpc(anvil.url, chain_id=1) as rpc:
        for _ in range(2):
            with pytest.raises(LedgerError, match=rf"^{anvil.url} serves chain 31337, not 1$") as error:
                await rpc.call("eth_blockNumber")
            assert not isinstance(error.value, LedgerUnavailable)


async def test_a_node_without_a_chain_id_is_an_error() -> None:
    refusal = {"jsonrpc": "2.0", "id": 0, "error": {"code": -32601, "message": "no such method"}}
    async with node(always(200, refusal)) as url, Rpc(url, chain_id=1) as rpc:
        with pytest.raises(RpcError, match=r"eth_chainId: no such method \(-32601\)"):
            await rpc.call("eth_blockNumber")


async def test_after_a_gap_the_chain_id_is_checked_anew(anvil: LocalChain) -> None:
    failing = True
    asked = []

    def answer(request: Any) -> tuple[int, bytes]:
        asked.append(request["method"])
        if failing:
            return 502, b""
        return 200, json.dumps({"jsonrpc": "2.0", "id": 0, "result": "0x1"}).encode()

    async with node(answer) as url, Rpc(url, chain_id=1) as rpc:
        failing = False
        await rpc.call("eth_blockNumber")
        failing = True
        with pytest.raises(LedgerUnavailable, match="HTTP 502"):
            await rpc.call("eth_blockNumber")
        failing = False
        await rpc.call("eth_blockNumber")
    assert asked == ["eth_chainId", "eth_blockNumber", "eth_blockNumber", "eth_chainId", "eth_blockNumber"]


async def test_a_batch_keeps_its_order_beyond_one_request_s_size_and_shows_each_failure(anvil: LocalChain) -> None:
    async with Rpc(anvil.url) as rpc:
        calls: list[tuple[str, list[object]]] = [
            ("web3_sha3", ["0x" + n.to_bytes(8, "big").hex()]) for n in range(MAX_BATCH + 5)
        ]
        calls[3] = ("no_such_method", [])
        results = await rpc.batch(calls)
        assert len(results) == MAX_BATCH + 5
        assert isinstance(results[3], RpcError)
        assert results[3].number == -32601
        assert results[-1] == await rpc.call(*calls[-1][:1], *calls[-1][1])
        assert await rpc.batch([]) == []


async def test_answers_to_a_batch_may_come_in_any_order() -> None:
    def answer(request: Any) -> tuple[int, bytes]:
        answers = [{"jsonrpc": "2.0", "id": each["id"], "result": each["method"]} for each in request]
        return 200, json.dumps(answers[::-1]).encode()

    async with node(answer) as url, Rpc(url) as rpc:
        for _ in range(2):
            assert await rpc.batch([(method, ()) for method in "abc"]) == ["a", "b", "c"]


async def test_an_unreachable_node_says_nothing_about_validity() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with Rpc(url) as rpc:
            with pytest.raises(LedgerUnavailable, match=f"the ledger node {url} did not answer") as error:
                await rpc.call("eth_blockNumber")
    assert error.value.code == "ledger_unavailable"


async def test_a_node_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with Rpc(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1) as rpc:
            with pytest.raises(LedgerUnavailable, match="did not answer"):
                await rpc.call("eth_blockNumber")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b""),
        (200, []),
        (200, {}),
        (200, {"result": None, "error": "text"}),
        (200, {"error": {"code": 1}}),
        (200, "text"),
        (429, {}),
        (404, b"not here"),
        (200, b'"\xff"'),
        (200, b"[" * 100_000),
    ],
)
async def test_an_answer_that_is_not_json_rpc_counts_as_no_answer(status: int, body: object) -> None:
    async with node(always(status, body)) as url, Rpc(url) as rpc:
        with pytest.raises(LedgerUnavailable):
            await rpc.call("eth_blockNumber")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": -32005, "message": "batch too large"}},
        [],
        [{"id": 0}],
        [1, 2],
        [{}, {}],
        [{"id": []}] * 2,
    ],
)
async def test_an_answer_that_is_not_a_batch_counts_as_no_answer(body: object) -> None:
    async with node(always(200, body)) as url, Rpc(url) as rpc:
        with pytest.raises(LedgerUnavailable):
            await rpc.batch([("eth_blockNumber", ()), ("eth_chainId", ())])


async def test_messages_name_the_host_and_keep_the_secrets_of_the_url() -> None:
    async with node(always(403, b"")) as url:
        secret = url.replace("http://", "http://user:hunter2@") + "/v3/SECRET?key=SECRET"
        async with Rpc(secret) as rpc:
            with pytest.raises(LedgerUnavailable) as error:
                await rpc.call("eth_blockNumber")
    assert str(error.value) == f"the ledger node {url} did not answer (ClientResponseError: HTTP 403)"
    assert error.value.__suppress_context__
    async with Rpc("http://127.0.0.1:1/SECRET") as rpc:
        with pytest.raises(LedgerUnavailable) as error:
            await rpc.call("eth_blockNumber")
    assert "SECRET" not in str(error.value)
    assert Rpc("https://rpc.example/SECRET").name == "https://rpc.example"


@pytest.mark.parametrize("url", ["", "localhost:8545", "ws://127.0.0.1:8545", "file:///etc/passwd", "http://"])
async def test_only_http_urls_are_taken(url: str) -> None:
    with pytest.raises(UsageError, match="must start with http"):
        Rpc(url)


async def test_closing_twice_and_without_use_is_fine(anvil: LocalChain) -> None:
    rpc = Rpc(anvil.url)
    await rpc.aclose()
    await rpc.chain_id()
    await rpc.aclose()
    await rpc.aclose()


# --- chain and market: what other chains than anvil answer ----------------------------------------------------------


async def test_a_chain_without_a_base_fee_is_named() -> None:
    old = {"number": "0x1", "timestamp": "0x1", "hash": "0x" + "11" * 32}
    async with node(always(200, {"jsonrpc": "2.0", "id": 0, "result": old})) as url, Rpc(url) as rpc:
        with pytest.raises(LedgerError, match="needs EIP-1559"):
            await chain.head(rpc)


async def test_a_chain_without_blocks_is_named() -> None:
    async with node(always(200, {"jsonrpc": "2.0", "id": 0, "result": None})) as url, Rpc(url) as rpc:
        with pytest.raises(LedgerError, match="the chain has no blocks"):
            await chain.head(rpc)


def scripted(**changes: object) -> Answer:
    """A node whose answers, by method, are these; an object with a code is an error."""
    block = {"number": "0x9", "timestamp": "0x1", "hash": "0x" + "11" * 32, "baseFeePerGas": "0x64"}
    results: dict[str, object] = {
        "eth_getBlockByNumber": block,
        "eth_getTransactionCount": "0x2",
        "eth_maxPriorityFeePerGas": "0x7",
    }
    results |= changes

    def answer(request: Any) -> tuple[int, bytes]:
        answers: list[dict[str, object]] = []
        for call in request if isinstance(request, list) else [request]:
            result = results[call["method"]]
            member = "error" if isinstance(result, dict) and "code" in result else "result"
            answers.append({"jsonrpc": "2.0", "id": call["id"], member: result})
        return 200, json.dumps(answers if isinstance(request, list) else answers[0]).encode()

    return answer


REFUSAL = {"code": -32601, "message": "no such method"}


async def test_fees_follow_the_base_fee_and_the_node_s_tip() -> None:
    async with node(scripted()) as url, Rpc(url) as rpc:
        assert await market.read(rpc, "0x") == market.Market(9, market.Fees(207, 7), 2)
    async with node(scripted(eth_maxPriorityFeePerGas=REFUSAL)) as url, Rpc(url) as rpc:
        assert (await market.read(rpc, "0x")).fees == market.Fees(200, 0)


async def test_a_market_that_can_t_be_read_is_an_error() -> None:
    async with node(scripted(eth_getTransactionCount=REFUSAL)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcError, match="eth_getTransactionCount: no such method"):
            await market.read(rpc, "0x")
    async with node(scripted(eth_getBlockByNumber=None)) as url, Rpc(url) as rpc:
        with pytest.raises(LedgerError, match="the chain has no blocks"):
            await market.read(rpc, "0x")


async def test_an_unknown_transaction_is_none(anvil: LocalChain) -> None:
    async with Rpc(anvil.url) as rpc:
        assert await chain.transaction(rpc, bytes(32)) is None
        assert await chain.blocks(rpc, [10**9]) == {}


RECEIPT = {
    "blockNumber": "0x9",
    "blockHash": "0x" + "22" * 32,  # the chain has 11… there: a reorg between two answers
    "status": "0x1",
    "gasUsed": "0x5208",
    "contractAddress": None,
}
ROW = StoredTransaction(
    TransactionRequest("a", 1, "0x", None, b"", 0, 0),
    0,
    TransactionStatus.PENDING,
    (Attempt(0, 0, bytes(32), b"", 0, 0, 0), Attempt(0, 1, bytes([1]) * 32, b"", 0, 0, 0)),
    None,
)


async def test_a_receipt_of_a_block_that_the_chain_has_no_longer_does_not_count() -> None:
    async with node(scripted(eth_getTransactionReceipt=RECEIPT)) as url, Rpc(url) as rpc:
        assert await chain.transaction(rpc, bytes(32)) is None
        assert await follow.observe(rpc, [ROW]) == {"a": None}


async def test_a_receipt_that_can_t_be_read_is_an_error_and_not_an_absence() -> None:
    async with node(scripted(eth_getTransactionReceipt=REFUSAL)) as url, Rpc(url) as rpc:
        with pytest.raises(RpcError, match="eth_getTransactionReceipt: no such method"):
            await follow.observe(rpc, [ROW])
