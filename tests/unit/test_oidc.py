"""Keys fetched from a real issuer, with restraint; and what it can do to a node by being down, slow or another."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from docex.core.access_token import Rules
from docex.errors import IssuerUnavailable, Unauthorised, UsageError
from docex.oidc import HttpKeys, KeyFile, key_source
from docex.service.access_tokens import FIRST_PAUSE, PAUSE, REFRESH, STALE, AccessTokens
from tests.fixtures.issuer import AUDIENCE, LocalIssuer, claims_of, key_for, public, signed


class Monotonic:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Monotonic:
    return Monotonic()


@pytest.fixture
async def tokens(issuer: LocalIssuer, clock: Monotonic) -> AsyncIterator[AccessTokens]:
    source = HttpKeys(issuer.url)
    made = AccessTokens(Rules(issuer.url, AUDIENCE), source, clock)
    yield made
    await made.close()
    await source.close()


async def holds(tokens: AccessTokens, token: str) -> bool:
    import time

    caller = await tokens.caller(token, time.time())
    assert caller is not None
    return caller.name.startswith("ann of http://127.0.0.1")


def fetches(issuer: LocalIssuer) -> int:
    return issuer.asked.count("/realms/trade/keys")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def until_refused(tokens: AccessTokens, token: str) -> None:
    async with asyncio.timeout(60):
        while await holds(tokens, token):
            await asyncio.sleep(0.01)


async def test_keys_are_found_by_discovery_and_kept(tokens: AccessTokens, issuer: LocalIssuer) -> None:
    for _ in range(3):
        assert await holds(tokens, issuer.token())
    assert issuer.asked == ["/realms/trade/.well-known/openid-configuration", "/realms/trade/keys"]
    assert await tokens.caller("no jwt at all", 0) is None


async def test_many_calls_at_once_fetch_once(tokens: AccessTokens, issuer: LocalIssuer) -> None:
    assert all(await asyncio.gather(*(holds(tokens, issuer.token()) for _ in range(20))))
    assert fetches(issuer) == 1


async def test_a_new_key_of_the_issuer_is_taken(tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic) -> None:
    assert await holds(tokens, issuer.token())
    issuer.keys = {"keys": [public(key_for("ES256", 1), "k2")]}
    clock.now += PAUSE
    assert await holds(tokens, issuer.token(kid="k2", number=1))
    with pytest.raises(Unauthorised, match="a key that the issuer does not have"):
        await holds(tokens, issuer.token())


async def test_keys_that_nobody_knows_make_the_node_fetch_once_a_minute(
    tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic
) -> None:
    assert await holds(tokens, issuer.token())
    for number in range(30):
        with pytest.raises(Unauthorised, match="a key that the issuer does not have"):
            await holds(tokens, issuer.token(kid=f"made up {number}"))
        clock.now += 2
    assert fetches(issuer) == 1
    with pytest.raises(Unauthorised):
        await holds(tokens, issuer.token(kid="made up"))
    assert fetches(issuer) == 2


async def test_known_keys_go_on_while_the_issuer_is_down(
    tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic
) -> None:
    assert await holds(tokens, issuer.token())
    issuer.status = 503
    clock.now += REFRESH + 1
    assert await holds(tokens, issuer.token())
    await until(lambda: len(issuer.asked) == 3)
    assert await holds(tokens, issuer.token())
    clock.now += PAUSE
    # A key that is not known may be the issuer's newest one: nobody can say now.
    with pytest.raises(IssuerUnavailable, match="can't be had now"):
        await holds(tokens, issuer.token(kid="k2"))
    issuer.status = 200
    clock.now += PAUSE
    with pytest.raises(Unauthorised):
        await holds(tokens, issuer.token(kid="k2"))


async def test_keys_end_after_a_day_without_the_issuer(
    tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic
) -> None:
    assert await holds(tokens, issuer.token())
    issuer.status = 500
    clock.now += STALE + 1
    with pytest.raises(IssuerUnavailable):
        await holds(tokens, issuer.token())


async def test_a_key_that_was_taken_back_ends(tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic) -> None:
    assert await holds(tokens, issuer.token())
    issuer.keys = {"keys": []}
    clock.now += REFRESH + 1
    assert await holds(tokens, issuer.token())  # fetched beside this call
    await until(lambda: fetches(issuer) == 2)
    with pytest.raises(Unauthorised):
        await until_refused(tokens, issuer.token())


async def test_an_issuer_that_is_down_at_the_start_is_asked_again_soon(
    tokens: AccessTokens, issuer: LocalIssuer, clock: Monotonic
) -> None:
    issuer.status = 404
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await holds(tokens, issuer.token())
    assert len(issuer.asked) == 1
    issuer.status = 200
    clock.now += FIRST_PAUSE
    assert await holds(tokens, issuer.token())


@pytest.mark.parametrize("keys", [b"", b"{}", b"[" * 9000, {"keys": [{}] * 65}], ids=["empty", "none", "deep", "many"])
async def test_what_is_no_key_set_is_as_if_the_issuer_were_down(
    tokens: AccessTokens, issuer: LocalIssuer, keys: object
) -> None:
    issuer.keys = keys
    with pytest.raises(IssuerUnavailable):
        await holds(tokens, issuer.token())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"issuer": "https://login.example"}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": None}, "does not say where the keys are"),
        ({"jwks_uri": "file:///etc/passwd"}, "does not say where the keys are"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, "does not say where the keys are"),
        ({"jwks_uri": "https://169.254.169.254/keys"}, "calls nobody"),
        ({"jwks_uri": "http://[::1/"}, "does not say where the keys are"),
    ],
)
async def test_discovery_leads_nowhere_else(issuer: LocalIssuer, said: dict[str, Any], reason: str) -> None:
    issuer.discovery = said
    source = HttpKeys(issuer.url)
    with pytest.raises(IssuerUnavailable, match=reason):
        await source.fetch()
    await source.close()
    assert fetches(issuer) == 0


async def test_a_discovery_that_is_no_json_is_no_discovery(issuer: LocalIssuer) -> None:
    source = HttpKeys(issuer.url + "/other")
    issuer.keys = b"<html>"
    with pytest.raises(IssuerUnavailable, match="another issuer"):
        await source.fetch()
    await source.close()


async def test_redirects_are_not_followed(issuer: LocalIssuer) -> None:
    issuer.status, issuer.headers = 302, {"location": issuer.url + "/keys"}
    source = HttpKeys(issuer.url, issuer.url + "/certs")
    with pytest.raises(IssuerUnavailable, match="answers 302"):
        await source.fetch()
    await source.close()
    assert issuer.asked == ["/realms/trade/certs"]


async def test_a_huge_key_set_is_not_read_to_its_end(issuer: LocalIssuer) -> None:
    issuer.keys = b" " * (300 << 10)
    source = HttpKeys(issuer.url, issuer.url + "/keys")
    with pytest.raises(IssuerUnavailable, match="more than 262144 bytes"):
        await source.fetch()
    await source.close()


async def test_an_issuer_that_keeps_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = HttpKeys(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=0.2)
        with pytest.raises(IssuerUnavailable, match="did not answer within"):
            await source.fetch()
        await source.close()


async def test_an_issuer_that_is_not_there() -> None:
    source = HttpKeys("http://127.0.0.1:1")
    with pytest.raises(IssuerUnavailable, match="can't be reached"):
        await source.fetch()
    await source.close()


@pytest.mark.parametrize("url", ["http://login.example", "ftp://login.example", "login.example", "https://"])
async def test_an_issuer_has_an_https_address(url: str) -> None:
    with pytest.raises(UsageError, match="address"):
        HttpKeys(url)
    await HttpKeys(url, "https://login.example/keys").close()  # then it is only compared


async def test_keys_from_a_file_need_no_issuer(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    source = key_source("urn:issuer", str(path))
    assert isinstance(source, KeyFile)
    tokens = AccessTokens(Rules("urn:issuer", AUDIENCE), source)
    with pytest.raises(IssuerUnavailable):
        await tokens.caller(signed(key_for("ES256"), claims_of("urn:issuer")), 0)
    path.write_text(json.dumps({"keys": [public(key_for("ES256"), "k1")]}))
    tokens = AccessTokens(Rules("urn:issuer", AUDIENCE), source)
    caller = await tokens.caller(signed(key_for("ES256"), claims_of("urn:issuer", 1000.0)), 1000)
    assert caller is not None
    assert caller.name == "ann of urn:issuer"
    path.write_bytes(b" " * (300 << 10))
    with pytest.raises(IssuerUnavailable, match="more than"):
        await source.fetch()
    await source.close()
