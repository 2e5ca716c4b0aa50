"""The API of a node on a ledger kept on paper, on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from docex.api.app import make_app
from docex.api.server import configured
from docex.service.node import Node
from tests.fixtures.network import Server
from tests.fixtures.paper_nodes import NewNode

TOKEN = "the token of these tests"


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


@asynccontextmanager
async def served(node: Node) -> AsyncIterator[str]:
    """A node's address. No worker: the tests themselves take each step, when they mean it to be taken."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = make_app(node, TOKEN, interval=3600, worker=False)
    server = Server(configured(app, grace=2))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        assert not serving.done(), serving.result()
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def url(node: Node) -> AsyncIterator[str]:
    async with served(node) as address:
        yield address


@pytest.fixture
async def stranger(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as made:
        yield made
