"""Commands whose connection breaks: what they ask for is done once, and what they fetch is whole."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import Result

from docex.cli import client
from docex.errors import NodeUnavailable
from docex.service import deposits, transfers
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, deposited
from tests.unit.cli.conftest import TOKEN, Serving
from tests.unit.cli.support import failure, run

DATA = os.urandom(3_000_000)


class Line:
    """A way to a node that breaks: of each connection's answer so many bytes come through; then all do."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._target = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.breaks: list[int] = []
        self.connections = 0
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._ends:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for each in (self._listening, *self._ends):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            room = self.breaks.pop(0) if self.breaks else 1 << 40
            for source, destination, limit in ((near, far, 1 << 40), (far, near, room)):
                self._threads.append(threading.Thread(target=self._carry, args=(source, destination, limit)))
                self._threads[-1].start()

    @staticmethod
    def _carry(source: socket.socket, destination: socket.socket, room: int) -> None:
        with suppress(OSError):
            while room >= 0 and (data := source.recv(65536)):
                destination.sendall(data[:room])
                room -= len(data)
        for each in (source, destination):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(client, "_FIRST_WAIT", 0.05)
    opened = Line(url)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def docex(line: Line, *words: str) -> Result:
    return run(*words, "--node", line.url, DOCEX_API_TOKEN=TOKEN, DOCEX_API_TOKEN_FILE="")


def test_a_deposit_whose_answer_is_lost_is_made_once(line: Line, serving: Serving, node: Node, here: Path) -> None:
    (here / "a.bin").write_bytes(DATA)
    line.breaks = [0, 100]
    result = docex(line, "deposit", "a.bin", "--new")
    assert result.exit_code == 0, result.output
    assert "a.bin (version 1, " in result.stdout
    assert result.stderr.endswith(": trying again\n")
    assert serving.run(node.store.counts())["documents"] == 1
    assert line.connections == 3


def test_a_transfer_whose_answer_is_lost_is_made_once(
    line: Line, serving: Serving, node: Node, new_node: NewNode, here: Path
) -> None:
    (here / "a.bin").write_bytes(b"content")
    assert docex(line, "deposit", "a.bin").exit_code == 0
    line.breaks = [0]
    result = docex(line, "transfer", "a.bin", "--to", new_node("Maker").account)
    assert result.exit_code == 0, result.output
    assert serving.run(node.store.counts())["transfers"] == 1


def test_an_api_key_whose_answer_is_lost_is_made_once(line: Line, serving: Serving, node: Node) -> None:
    line.breaks = [0]
    key = docex(line, "access", "add", "Ann", "--role", "auditor").stdout.strip()
    assert run("documents", "--node", line.url, DOCEX_API_TOKEN=key, DOCEX_API_TOKEN_FILE="").exit_code == 0
    assert len(serving.run(node.store.api_keys())) == 1


def test_a_fetch_that_is_cut_goes_on_where_it_was(line: Line, serving: Serving, node: Node, here: Path) -> None:
    serving.run(deposited(node, "a.bin", DATA))
    line.breaks = [1 << 40, 1_000_000, 1_200_000, 0]
    result = docex(line, "fetch", "a.bin", "-o", "b.bin")
    assert result.exit_code == 0, result.output
    assert (here / "b.bin").read_bytes() == DATA


def test_a_packet_that_is_cut_goes_on_where_it_was(line: Line, serving: Serving, node: Node, new_node: NewNode) -> None:
    maker = new_node("Maker")

    async def send() -> str:
        await deposited(node, "a.bin", DATA)
        return (await transfers.create(node, ["a.bin"], [maker.account])).id

    transfer = serving.run(send())
    line.breaks = [1_000_000]
    with client.connect(line.url, token(line)) as connected:
        assert b"".join(connected.download(f"transfers/{transfer}/packet"))[-1000:] != b""
    assert line.connections == 2


def token(line: Line) -> Path:
    file = Path("token")
    file.write_text(TOKEN)
    return file


def test_a_document_that_is_replaced_meanwhile_is_not_mixed(line: Line, serving: Serving, node: Node) -> None:
    serving.run(deposited(node, "a.bin", DATA))
    line.breaks = [1_000_000]
    with client.connect(line.url, token(line)) as connected:
        chunks = connected.download("documents/a.bin")
        next(chunks)
        serving.run(deposited(node, "a.bin", b"another"))
        with pytest.raises(NodeUnavailable, match="can't be continued"):
            list(chunks)


def test_what_arrives_damaged_gets_no_name(
    line: Line, serving: Serving, node: Node, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.run(deposited(node, "a.bin", DATA))

    async def damaged(*_: object) -> AsyncIterator[bytes]:
        yield DATA[:-1] + bytes([DATA[-1] ^ 1])

    monkeypatch.setattr(deposits, "read", damaged)
    assert "damaged" in failure(docex(line, "fetch", "a.bin", "-o", "b.bin"), "digest_mismatch")
    assert list(here.iterdir()) == []


def test_a_node_that_stays_away_is_given_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_TRIES", 3)
    line.breaks = [0] * 100
    result = docex(line, "documents")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error[node_unavailable]: ")
    assert line.connections == 4


def test_new_refuses_where_there_is_one(line: Line, here: Path) -> None:
    (here / "a.bin").write_bytes(b"content")
    assert docex(line, "deposit", "a.bin", "--new").exit_code == 0
    assert "there is a version" in failure(docex(line, "deposit", "a.bin", "--new"), "precondition_failed")


def test_a_refusal_tells_what_is_at_fault(line: Line) -> None:
    result = docex(line, "access", "add", "long" * 1000, "--role", "auditor")
    assert "; name: " in failure(result, "request_invalid")
