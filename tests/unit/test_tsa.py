"""Calls to a time-stamping authority: `openssl ts` over HTTP, and servers that behave as they should not."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

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


async def test_a_tsa_that_keeps_silent_holds_up_two_calls_and_no_more(client: HttpTsa, tsa: LocalTsa) -> None:
    go_on, reply = threading.Event(), tsa.authority.reply

    def late(query: bytes) -> tuple[int, bytes]:
        go_on.wait(60)
        return 200, reply(query)

    tsa.answer = late
    waiting = [asyncio.create_task(client.timestamp(ROOT)) for _ in range(2)]
    async with asyncio.timeout(60):
        while len(tsa.asked) < 2:
            await asyncio.sleep(0.01)
    with pytest.raises(TsaUnavailable, match="has not answered 2 earlier requests yet"):
        await client.timestamp(ROOT)
    go_on.set()
    assert len(set(await asyncio.gather(*waiting))) == 2
    assert await client.timestamp(ROOT)


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


# --- what the certificates of a TSA may be ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chain:
    """A TSA of its own, whose certificate a test writes."""

    authority: Authority

    def load(self, name: str) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        folder = self.authority.folder
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()), key

    def certify(
        self,
        by: tuple[x509.Certificate, EllipticCurvePrivateKey],
        key: EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        between: bool = False,
        days: int = 1,
    ) -> x509.Certificate:
        """A certificate from a month ago until ``days`` from now; for timestamping unless it is a CA's."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Between" if between else "Clock")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            by[0].subject, name, key.public_key(), 77, now - timedelta(30), now + timedelta(days)
        ).add_extension(x509.BasicConstraints(ca, None), critical=True)
        if not ca:
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(purpose, critical=True)
        return builder.sign(by[1], SHA256())

    def write(self, tsa: x509.Certificate, *between: x509.Certificate) -> None:
        folder = self.authority.folder
        (folder / "tsa.pem").write_bytes(tsa.public_bytes(Encoding.PEM))
        (folder / "between.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in between))
        if between:
            with (folder / "settings").open("a") as file:
                file.write("certs = between.pem\n")


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(Authority.make(tmp_path / "authority"))


def verified(chain: Chain) -> str:
    return timestamp.verify(chain.authority.token(ROOT), ROOT, [chain.authority.ca]).tsa


@pytest.mark.parametrize(("is_ca", "fault"), [(True, None), (False, "invalid CA certificate")])
def test_a_chain_may_have_cas_between_and_nothing_else(chain: Chain, is_ca: bool, fault: str | None) -> None:
    root, (_, key), between = chain.load("ca"), chain.load("tsa"), generate_private_key(SECP256R1())
    middle = chain.certify(root, between, ca=is_ca, between=True)
    chain.write(chain.certify((middle, between), key), middle)
    if fault is None:
        assert verified(chain) == "CN=Clock"
    else:
        with pytest.raises(TimestampInvalid, match=f"does not hold: .*{fault}"):
            verified(chain)


def test_a_certificate_that_had_run_out_by_then_signs_nothing(chain: Chain) -> None:
    root, (_, key) = chain.load("ca"), chain.load("tsa")
    chain.write(chain.certify(root, key, days=-1))
    with pytest.raises(TimestampInvalid, match="certificate has expired"):
        verified(chain)
