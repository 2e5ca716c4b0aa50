"""A node on a socket, for commands that call one."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from docex.api.app import make_app
from docex.api.server import configured
from docex.service.node import Node
from tests.fixtures.network import Server
from tests.fixtures.paper_nodes import NewNode

T = TypeVar("T")
TOKEN = "the-token-of-these-tests"


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


class Serving:
    """A node that answers, in an event loop on a thread: the command line runs on the test's own."""

    def __init__(self, node: Node) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._server = Server(configured(make_app(node, TOKEN, interval=3600, worker=False), grace=2))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._server.serve(sockets=[self._listening]))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Work on the node where it works itself: what waits in its loop is woken by nobody in another one."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        self._listening.close()


@pytest.fixture
def serving(node: Node) -> Iterator[Serving]:
    made = Serving(node)
    yield made
    made.close()


@pytest.fixture
def url(serving: Serving) -> str:
    return serving.url
