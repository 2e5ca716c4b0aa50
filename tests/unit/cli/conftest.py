"""A node on a socket, for commands that call one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from docex.api.app import make_app
from docex.api.server import configured
from docex.service.node import Node
from tests.fixtures.network import Server
from tests.fixtures.paper_nodes import NewNode

TOKEN = "the-token-of-these-tests"


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


@pytest.fixture
def url(node: Node) -> Iterator[str]:
    """A node on a thread: the command line runs on this one."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(configured(make_app(node, TOKEN, interval=3600), grace=2))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(60)
    listening.close()
