"""An RPC node that is gone, hangs, breaks off, or answers with what is no answer."""

import asyncio
import json
import random
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.faults.accounts import under_load
from tests.e2e.faults.conftest import NewMember
from tests.e2e.faults.nodes import seeded
from tests.fixtures.network import Consortium
from tests.fixtures.proxy import Fault, running_proxy

pytestmark = pytest.mark.timeout(420)

PAGES = (b"", b"<html>502 Bad Gateway</html>", b"null", b"[]", b"{}", b'"0x"', b"\xff\xfe", b'[{"jsonrpc":"2.0"}]')
RESULTS: tuple[object, ...] = (None, "", 7, "0x", "garbage", {}, [], True, "0x" + "00" * 31, "0x" + "f" * 64)
REFUSAL = {"code": -32005, "message": "the limit of requests is exceeded"}


def garbled(chance: random.Random, body: bytes) -> bytes:
    """An answer with something wrong in it: no JSON, JSON of another form, or results of another type."""
    if chance.random() < 0.4:
        return chance.choice((*PAGES, body[: len(body) // 2]))
    answer = json.loads(body)
    for each in answer if isinstance(answer, list) else [answer]:
        _spoil(chance, each)
    return json.dumps(answer).encode()


def _spoil(chance: random.Random, answer: dict[str, Any]) -> None:
    if chance.random() < 0.3:
        answer.pop("result", None)
        answer["error"] = REFUSAL
    elif isinstance(result := answer.get("result"), dict) and result and chance.random() < 0.5:  # one field of it
        name = chance.choice(sorted(result))
        if chance.random() < 0.5:
            del result[name]
        else:
            result[name] = chance.choice(RESULTS)
    elif "result" in answer:
        answer["result"] = chance.choice(RESULTS)


async def test_a_ledger_node_that_fails_in_every_way_loses_and_doubles_nothing(
    new_member: NewMember, consortium: Consortium
) -> None:
    chance, seed = seeded()
    async with running_proxy(consortium.chain.url) as proxy:
        proxy.garble = partial(garbled, chance)
        mine, maker = [await new_member(name, given={"DOCEX_RPC": proxy.url}) for name in ("Mine", "Maker")]
        await asyncio.gather(mine.start(), maker.start())
        try:
            async with under_load(mine, maker):
                await asyncio.sleep(0.5)
                for fault in (Fault.CUT, Fault.BUSY, Fault.CUT_ANSWER, Fault.LOSE_ANSWER, Fault.GARBLE, Fault.GARBLE):
                    odds = chance.choice((0.3, 1.0))

                    def plan(_: web.Request, fault: Fault = fault, odds: float = odds) -> Fault | None:
                        return fault if chance.random() < odds else None

                    proxy.plan = plan
                    await asyncio.sleep(1.0)
                proxy.plan = lambda _: Fault.HANG
                await asyncio.sleep(1.0)
                await proxy.refuse()
                await asyncio.sleep(1.0)
                proxy.plan = lambda _: None
                await proxy.accept()
        except BaseException:
            print(seed)
            raise
