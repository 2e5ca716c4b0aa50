"""Calls to a time-stamping authority: `openssl ts` over HTTP, and servers that behave as they should not."""

import threading
from collections.abc import AsyncIterator

import pytest

from docex.core import timestamp
from docex.core.timestamp import MAX_RESPONSE_BYTES, TimestampInvalid
from docex.errors import UsageError
from docex.tsa import HttpTsa, TsaUnavailable
from tests.fixtures.stock_tools import needs
from tests.fixtures.tsa import Authority, LocalTsa

pytestmark = needs("openssl")

ROOT = bytes(range(32))


@pytest.fixture
async def client(tsa: LocalTsa) -> AsyncIterator[HttpTsa]:
    made = HttpTsa(tsa.url)
    yield made
    await made.close()


async def test_a_timestamp_is_asked_for_and_holds(client: HttpTsa, authority: Authority) -> None:
    token = await client.timestamp(ROOT)
    assert timestamp.verify(token, ROOT, [authority.ca]).tsa == "CN=Test TSA,O=Clocks"


async def test_every_request_has_a_nonce_of_its_own(client: HttpTsa, tsa: LocalTsa) -> None:
    tokens = {await client.timestamp(ROOT) for _ in range(3)}
    assert len(tokens) == len(set(tsa.asked)) == 3


async def test_an_old_answer_played_again_is_refused(client: HttpTsa, tsa: LocalTsa, authority: Authority) -> None:
    old = authority.reply(timestamp.query(ROOT).der)
    tsa.answer = lambda _: (200, old)
    with pytest.raises(TimestampInvalid, match="nonce of another request"):
        await client.timestamp(ROOT)


@pytest.mark.parametrize("status", [201, 302, 404, 500, 503])
async def test_any_other_status_is_no_answer(client: HttpTsa, tsa: LocalTsa, status: int) -> None:
    tsa.answer = lambda query: (status, tsa.authority.reply(query))
    with pytest.raises(TsaUnavailable, match=f"answers {status}$"):
        await client.timestamp(ROOT)


async def test_a_huge_answer_is_not_read_to_its_end(client: HttpTsa, tsa: LocalTsa) -> None:
    tsa.answer = lambda _: (200, bytes(100 << 20))
    with pytest.raises(TsaUnavailable, match=f"answers with more than {MAX_RESPONSE_BYTES} bytes"):
        await client.timestamp(ROOT)


async def test_an_answer_that_is_none_is_refused(client: HttpTsa, tsa: LocalTsa) -> None:
    tsa.answer = lambda _: (200, b"<html>Please log in</html>")
    with pytest.raises(TimestampInvalid):
        await client.timestamp(ROOT)


async def test_a_tsa_that_keeps_silent_is_given_up(tsa: LocalTsa) -> None:
    given_up = threading.Event()

    def silent(_: bytes) -> tuple[int, bytes]:
        given_up.wait(60)
        return 200, b""

    tsa.answer, client = silent, HttpTsa(tsa.url, patience=0.2)
    try:
        with pytest.raises(TsaUnavailable, match=r"did not answer within 0\.2 seconds"):
            await client.timestamp(ROOT)
    finally:
        given_up.set()
        await client.close()


async def test_a_tsa_that_is_not_there_is_named_without_its_secrets() -> None:
    client = HttpTsa("http://user:secret@127.0.0.1:1/tsr?key=secret")
    with pytest.raises(TsaUnavailable, match=r"^the TSA http://127\.0\.0\.1:1/tsr can't be reached") as caught:
        await client.timestamp(ROOT)
    await client.close()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "tsa.example", "ftp://tsa.example", "http://", "http://[", "http://a:b:c/"])
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(UsageError, match="the TSA's URL"):
        HttpTsa(url)
