"""Where an OIDC issuer's keys come from (`docex.service.ports.KeySource`): a URL, a file, or discovery."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx

from docex.core.encoding import load_object
from docex.errors import IssuerUnavailable, StatementInvalid, UsageError
from docex.outbound import CHOSEN, AddressRefused, open_client

_TIMEOUT: Final = httpx.Timeout(5.0)
_PATIENCE: Final = 5.0  # seconds for a whole answer: one byte a second keeps every other timeout at bay
_MAX_BYTES: Final = 256 << 10
_DISCOVERY: Final = "/.well-known/openid-configuration"  # OpenID Connect Discovery section 4
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


class KeyFile:
    """A JWK Set in a file, which may be replaced while the node runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> bytes:
        """See the protocol."""
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            raise IssuerUnavailable(f"{self._path} can't be read: {error.strerror}") from None

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        _check_size(data, str(self._path))
        return data

    async def close(self) -> None:
        """Nothing to close."""


class HttpKeys:
    """A JWK Set at a URL, or where the issuer's discovery document says. Redirects are not followed."""

    def __init__(
        self, issuer: str, jwks: str | None = None, *, ca_file: Path | None = None, patience: float = _PATIENCE
    ) -> None:
        """Raises UsageError unless what is fetched first is an https URL (http on this machine only)."""
        self._issuer, self._jwks, self._patience = issuer, jwks, patience
        _check_url(jwks or issuer)
        self._client = open_client(CHOSEN, _TIMEOUT, ca_file)

    async def fetch(self) -> bytes:
        """See the protocol."""
        return await self._get(self._jwks or await self._discover())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _discover(self) -> str:
        url = self._issuer.rstrip("/") + _DISCOVERY
        try:
            said: dict[str, Any] = load_object(await self._get(url), fractions=True)
            # Section 4.3: another issuer's document would bring another issuer's keys.
            if said.get("issuer") != self._issuer:
                raise IssuerUnavailable(f"{url} is about another issuer than {self._issuer}")
            found = str(said.get("jwks_uri"))
            _check_url(found)
        except (StatementInvalid, UsageError) as error:
            raise IssuerUnavailable(f"{url} does not say where the keys are: {error}") from None
        return found

    async def _get(self, url: str) -> bytes:
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        try:
            async with asyncio.timeout(self._patience), self._client.stream("GET", url, headers=headers) as response:
                if response.status_code != 200:
                    raise IssuerUnavailable(f"{url} answers {response.status_code}")
                body = bytearray()
                async for part in response.aiter_raw():  # never unpacked: a small answer could grow without bounds
                    body += part
                    _check_size(body, url)
        except TimeoutError:
            raise IssuerUnavailable(f"{url} did not answer within {self._patience:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, AddressRefused) as error:
            raise IssuerUnavailable(f"{url} can't be reached: {type(error).__name__}: {error}") from None
        return bytes(body)


def key_source(issuer: str, jwks: str | None, ca_file: Path | None = None) -> HttpKeys | KeyFile:
    """Where the keys are: at a URL, in a file, or (None) where the issuer's discovery document says."""
    if jwks is not None and "://" not in jwks:
        return KeyFile(Path(jwks))
    return HttpKeys(issuer, jwks, ca_file=ca_file)


def _check_url(url: str) -> None:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        raise UsageError(f"{url[:200]!a} is not an address") from None
    if (parts.scheme != "https" and not (parts.scheme == "http" and parts.host in _LOCAL)) or not parts.host:
        raise UsageError(f"{url[:200]!a} is not an https address (http is for this machine only)")


def _check_size(data: bytes | bytearray, where: str) -> None:
    if len(data) > _MAX_BYTES:
        raise IssuerUnavailable(f"{where} has more than {_MAX_BYTES} bytes")
