"""Clients for Node, on the packages that those for Kaleido's document store use, against real nodes."""

import asyncio
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from docex.core.encoding import b64url
from docex.core.ledger_types import KeyUse
from docex.service.destinations import uri_of
from tests.fixtures.network import Consortium, Join, Organisation, RunningNode, StartNode

NODE = shutil.which("node")
CLIENTS = Path(__file__).parents[1] / "clients"
pytestmark = pytest.mark.skipif(
    NODE is None or not (CLIENTS.parents[1] / "node_modules/axios").exists(),
    reason="needs Node and its packages: make install",
)
Answer = tuple[int, Any]


async def run(script: str, *arguments: str, given: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        NODE or "", str(CLIENTS / script), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(given), 120)
    assert process.returncode == 0
    return out


async def call(node: RunningNode, command: str, *arguments: str, prefix: str = "") -> Answer:
    answer = json.loads(await run("documents.js", node.url + prefix, node.token, command, *arguments))
    return answer["status"], answer["data"]


async def log_of(node: RunningNode, status: str) -> Any:
    """The only line of a node's log, once it has this status."""
    for _ in range(600):
        found = (await node.client.get("/transfers")).json()["transfers"]
        if found and found[0]["status"] == status:
            assert len(found) == 1
            return found[0]
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@asynccontextmanager
async def listening(
    node: RunningNode, package: str, *transports: str, password: str | None = None
) -> AsyncIterator[asyncio.Queue[list[Any]]]:
    """The events that a client gets, the first of which tells whether it is connected."""
    process = await asyncio.create_subprocess_exec(
        NODE or "",
        str(CLIENTS / "listen.js"),
        package,
        node.url,
        node.token if password is None else password,
        *transports,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    events: asyncio.Queue[list[Any]] = asyncio.Queue()
    output = process.stdout

    async def read() -> None:
        async for line in output:
            events.put_nowait(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield events
    finally:
        with suppress(ProcessLookupError):  # one that was refused ends by itself
            process.kill()
        await process.wait()
        await reading


async def next_event(events: asyncio.Queue[list[Any]]) -> list[Any]:
    return await asyncio.wait_for(events.get(), 60)


async def keys_of(consortium: Consortium, *organisations: Organisation) -> dict[str, dict[str, Any]]:
    """The signing keys in the Directory, by account and thumbprint."""
    async with consortium.directory() as directory:
        return {
            each.account: {
                b64url(key.key_id): json.loads(key.material)
                for key in await directory.keys(each.address)
                if key.use is KeyUse.SIGNING
            }
            for each in organisations
        }


async def test_documents_with_axios_and_forms(join: Join, start_node: StartNode, tmp_path: Path) -> None:
    node = await start_node(await join("Mine AG"))
    content = os.urandom(3 << 20) + b"\r\n--" + bytes(100)
    (tmp_path / "logo.png").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path, file = "/images/kaleido-logo.png", str(tmp_path / "logo.png")
    assert await call(node, "upload", path, file) == (200, {"result": "success", "hash": digest})
    assert (await call(node, "upload", path, file, "post"))[0] == 409
    status, headers = await call(node, "download", path, str(tmp_path / "again"))
    assert (status, headers["content-type"], headers["content-length"]) == (200, "image/png", str(len(content)))
    assert (tmp_path / "again").read_bytes() == content
    status, details = await call(node, "get", f"/documents{path}?details_only=true")
    modified = details.pop("last_modified")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", modified)
    entry = {"name": "kaleido-logo.png", "is_directory": False, "size": len(content), "hash": digest}
    assert (status, details) == (200, entry)
    listed = {"is_truncated": False, "entries": [entry | {"last_modified": modified}]}
    assert await call(node, "get", "/documents/images") == (200, listed)
    found = {"full_path": path[1:], "last_modified": modified, "hash": digest, "size": len(content)}
    for query in ("kaleido", f"{digest}&by_hash=true"):
        assert await call(node, "get", f"/search?query={query}") == (200, {"documents": [found]})
    assert await call(node, "patch", path, prefix="/kaleido/api/v1") == (200, {"result": "success", "hash": digest})
    assert (await call(node, "raw", path, file)) == (200, {"result": "success", "hash": digest})
    assert (await node.get(f"documents{path}?details=true"))["version"] == 2
    assert await call(node, "remove", path) == (200, {"result": "success"})
    assert (await call(node, "get", f"/documents{path}"))[0] == 404


async def test_a_transfer_with_events_for_both_and_signatures_that_node_checks(
    join: Join, start_node: StartNode, consortium: Consortium, tmp_path: Path
) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    sender, recipient = await start_node(mine), await start_node(maker)
    (tmp_path / "a").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    await call(sender, "upload", "/images/a.png", str(tmp_path / "a"))
    wanted = "/transfers/to/${recipient_destination}/from/${sender_org}-${sender_destination}"
    assert await call(recipient, "prefer", "receivedDocumentsPath", wanted) == (200, {"result": "success"})
    ours, theirs = uri_of(mine.account), uri_of(maker.account)
    async with listening(sender, "socket.io-client") as sent, listening(recipient, "socket.io-client-4") as received:
        assert [(await next_event(each))[0] for each in (sent, received)] == ["connect"] * 2
        status, made = await call(sender, "transfer", ours, theirs, "/images/a.png")
        assert (status, made["result"]) == (200, "Document sent.")
        events = [await next_event(each) for each in (sent, sent, received)]
    line = await log_of(sender, "received")
    their_line = await log_of(recipient, "received")
    folder = f"/transfers/to/default/from/{mine.address}-default"
    assert their_line == line | {"document": f"{folder}/images/a.png"}
    assert (line["id"], line["from"], line["to"]) == (made["transfer_id"], ours, theirs)
    assert (line["hash"], line["document"]) == (digest, "/images/a.png")
    assert (await recipient.client.get(f"/documents{folder}/images/a.png")).content == b"content"
    assert [name for name, _ in events] == ["document_sent", "transfer_acknowledgement", "document_received"]
    assert events[0][1]["transferId"] == line["id"]
    assert events[1][1] == {"transferId": line["id"], **line}
    assert events[2][1] == {"transferId": line["id"], **their_line}
    keys = await keys_of(consortium, mine, maker)
    given = json.dumps({"line": line, "keys": keys}).encode()
    assert await run("check.js", given=given) == b"both signatures hold"


@pytest.mark.parametrize("package", ["socket.io-client", "socket.io-client-4"])
async def test_each_transport_and_who_may_not_listen(join: Join, start_node: StartNode, package: str) -> None:
    mine, maker = await join("Mine AG"), await join("Maker Ltd")
    node = await start_node(mine)
    await node.deposit("a", b"content")
    async with (
        listening(node, package, "polling") as polling,
        listening(node, package, "websocket") as websocket,
        listening(node, package, password="wrong") as refused,
        listening(node, package, "websocket", password="wrong") as refused_websocket,
    ):
        assert [(await next_event(each))[0] for each in (polling, websocket)] == ["connect"] * 2
        assert [(await next_event(each))[0] for each in (refused, refused_websocket)] == ["connect_error"] * 2
        made = await node.transfer(["a"], maker)
        for each in (polling, websocket):
            name, data = await next_event(each)
            assert (name, data["id"], data["status"]) == ("document_sent", made["id"], "sent")
