"""Events of transfers over Socket.IO: who is told what, for how long, in both versions of the protocol."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from docex.api.kaleido import engine3, events
from docex.core.access import Role
from docex.service import api_keys, transfers
from docex.service.call_limits import CallLimits, Rates
from docex.service.node import Node
from tests.fixtures.paper_nodes import NewNode, deposited
from tests.fixtures.problems import check_problem
from tests.unit.api.conftest import TOKEN, served
from tests.unit.api.routes import bearing, key_for


@pytest.fixture
def maker(new_node: NewNode) -> Node:
    return new_node("Maker")


@dataclass
class Listener:
    """A client that polls."""

    client: httpx.AsyncClient
    version: int
    sid: str = ""

    def url(self) -> str:
        return f"/socket.io/?EIO={self.version}&transport=polling" + (f"&sid={self.sid}" if self.sid else "")

    async def packets(self) -> list[str]:
        answer = await self.client.get(self.url())
        assert answer.status_code == 200, answer.text
        if self.version == 4:
            return answer.text.split("\x1e")
        return engine3._split(answer.text)

    async def say(self, *packets: str) -> int:
        joined = "\x1e".join(packets) if self.version == 4 else engine3._joined(packets)
        return (await self.client.post(self.url(), content=joined)).status_code

    async def join(self) -> list[str]:
        (opened,) = await self.packets()
        self.sid = json.loads(opened[1:])["sid"]
        if self.version == 4:
            await self.say("40")
        return await self.until(lambda packet: packet.startswith("4"))

    async def until(self, wanted: Callable[[str], bool]) -> list[str]:
        async with asyncio.timeout(60):
            seen: list[str] = []
            while not any(map(wanted, seen)):
                seen += await self.packets()
            return seen

    async def event(self) -> Any:
        (packet,) = await self.until(lambda packet: packet.startswith("42"))
        return json.loads(packet[2:])


@pytest.mark.parametrize("version", [3, 4])
async def test_who_listens_is_told_what_happens_from_then_on(url: str, node: Node, maker: Node, version: int) -> None:
    await deposited(node, "a", b"content")
    await transfers.create(node, ["a"], [maker.account])
    async with bearing(url, TOKEN) as client:
        listener = Listener(client, version)
        (joined,) = await listener.join()
        assert re.fullmatch("40" if version == 3 else r'40\{"sid":"[\w-]+"\}', joined)
        sent = await transfers.create(node, ["a"], [maker.account])
        name, data = await listener.event()
        assert (name, data["id"], data["transferId"], data["status"]) == ("document_sent", sent.id, sent.id, "sent")
        assert await listener.say("41") == 200


async def test_a_client_of_version_2_pings_and_is_answered(url: str) -> None:
    async with bearing(url, TOKEN) as client:
        listener = Listener(client, 3)
        (opened,) = await listener.packets()
        said = json.loads(opened[1:])
        assert (said["pingInterval"], said["pingTimeout"], said["upgrades"]) == (15_000, 60_000, ["websocket"])
    assert engine3._to_client("2") == engine3._to_server("2") == "3"
    assert engine3._to_server("2probe") == "2probe"
    assert engine3._to_client('44{"message":"no"}') == '44"no"'
    assert engine3._split("1:22:40x") == ["2", "40"]
    assert engine3._split("²:a") == engine3._split("99999999:a") == engine3._split("a") == []


async def test_who_is_kept_to_folders_is_told_of_those_only(url: str, node: Node, maker: Node) -> None:
    for path in ("in/a", "out/b"):
        await deposited(node, path, path.encode())
    async with bearing(url, await key_for(node, Role.AUDITOR, folders=["in"])) as client:
        listener = Listener(client, 4)
        await listener.join()
        await transfers.create(node, ["out/b"], [maker.account])
        await transfers.create(node, ["in/a", "out/b"], [maker.account])
        inside = await transfers.create(node, ["in/a"], [maker.account])
        assert (await listener.event())[1]["id"] == inside.id


async def test_nobody_listens_without_a_credential(stranger: httpx.AsyncClient, url: str) -> None:
    for path in ("/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=3&transport=polling"):
        check_problem(await stranger.get(path), 401, "unauthorised")
        check_problem(await stranger.post(path + "&sid=x"), 401, "unauthorised")
    async with bearing(url, TOKEN) as client:
        assert (await client.get("/socket.io/?EIO=3&transport=polling&sid=x")).status_code == 400


async def test_a_key_that_is_revoked_hears_no_more(
    url: str, node: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "CHECKED", 0.0)
    await deposited(node, "a", b"content")
    made = await api_keys.make(node, "for a while", [Role.AUDITOR])
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with socketio.AsyncSimpleClient(reconnection=False) as client:
        headers = {"Authorization": f"Bearer {made.text}"}
        await client.connect(url, headers=headers, transports=["websocket"])
        client.client.on("disconnect", lambda: heard.put_nowait("disconnect"), namespace="/")
        await transfers.create(node, ["a"], [maker.account])
        name, _ = await client.receive(timeout=60)
        assert name == "document_sent"
        await api_keys.revoke(node, made.key.id)
        assert await asyncio.wait_for(heard.get(), 60) == "disconnect"


async def test_there_are_only_so_many_listeners(url: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_LISTENERS", 1)
    async with bearing(url, TOKEN) as client:
        assert (await Listener(client, 4).join())[0].startswith("40")
        assert (await Listener(client, 4).join())[0].startswith("44")
        assert (await Listener(client, 3).join())[0].startswith('44"')


async def test_a_database_that_fails_for_a_while_costs_no_event(
    url: str, node: Node, maker: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deposited(node, "a", b"content")
    reading = node.store.events
    failed = asyncio.Event()

    async def failing(after: int, limit: int) -> Any:
        if not failed.is_set():
            failed.set()
            raise OSError("the database is gone")
        return await reading(after, limit)

    async with bearing(url, TOKEN) as client:
        listener = Listener(client, 4)
        await listener.join()
        monkeypatch.setattr(node.store, "events", failing)
        sent = await transfers.create(node, ["a"], [maker.account])
        await asyncio.wait_for(failed.wait(), 60)
        assert (await listener.event())[1]["id"] == sent.id


async def test_who_polls_makes_as_many_calls_as_may_be_made(node: Node) -> None:
    calls = CallLimits(node.store, Rates(caller=3, address=2), node.now)
    async with served(replace(node, calls=calls)) as url:
        async with bearing(url, await key_for(node, Role.AUDITOR)) as client:
            listener = Listener(client, 4)
            await listener.join()
            refused = await client.get(listener.url())
            check_problem(refused, 429, "too_many_calls")
            assert refused.headers["ratelimit"].startswith('"caller";r=0;t=')
        async with bearing(url, "wrong") as client:
            answers = [await client.get("/socket.io/?EIO=4&transport=polling") for _ in range(3)]
            assert [each.status_code for each in answers] == [401, 401, 429]
    await calls.close()


async def test_who_says_too_much_on_a_websocket_is_let_go(node: Node, maker: Node) -> None:
    calls = CallLimits(node.store, Rates(caller=5), node.now)
    await deposited(node, "a", b"content")
    gone = asyncio.Event()
    headers = {"Authorization": f"Bearer {await key_for(node, Role.AUDITOR)}"}
    async with served(replace(node, calls=calls)) as url:
        async with socketio.AsyncSimpleClient(reconnection=False) as client:
            await client.connect(url, headers=headers, transports=["websocket"])  # and it joins: two
            client.client.on("disconnect", gone.set, namespace="/")
            for _ in range(3):
                await client.emit("hello")
            await transfers.create(node, ["a"], [maker.account])
            assert (await client.receive(timeout=60))[0] == "document_sent"
            await client.emit("hello")
            await asyncio.wait_for(gone.wait(), 60)
        address = url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        with pytest.raises(InvalidStatus, match="403"):
            await connect(address, additional_headers=headers, proxy=None)
    await calls.close()
