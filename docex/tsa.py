"""HTTP to a time-stamping authority (`docex.service.ports.Timestamper`): RFC 3161 section 3.4."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from docex.core.timestamp import MAX_RESPONSE_BYTES, query, token_of
from docex.errors import DocexError, UsageError
from docex.outbound import CHOSEN, open_client

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_PATIENCE = 15.0  # seconds for a whole call: one byte a second keeps every other timeout at bay
_CALLS = 2  # at once: a TSA that keeps silent must not take up the worker, which has deliveries to make
QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"


class TsaUnavailable(DocexError):
    """The time-stamping authority can't be reached, or answers with no timestamp."""

    code = "tsa_unavailable"


class HttpTsa:
    """One time-stamping authority. Redirects are not followed."""

    def __init__(self, url: str, *, ca_file: Path | None = None, patience: float = _PATIENCE) -> None:
        """Raises UsageError unless the URL is http or https with a host. ``patience``: seconds for a whole call."""
        self._url, self._patience = url, patience
        self._shown = _without_secrets(url)
        self._calls = 0
        self._client = open_client(CHOSEN, _TIMEOUT, ca_file)

    async def timestamp(self, root: bytes) -> bytes:
        """See the protocol.

        Raises:
            TsaUnavailable: there is no answer in time, or one that is no timestamp response by its status or size; or
                earlier calls still wait for theirs.
            TimestampInvalid: the answer is not to this request, or is a refusal.
        """
        if self._calls >= _CALLS:
            raise TsaUnavailable(f"the TSA {self._shown} has not answered {self._calls} earlier requests yet")
        asked = query(root)
        self._calls += 1
        try:
            return token_of(await self._post(asked.der), asked, root)
        finally:
            self._calls -= 1

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, content: bytes) -> bytes:
        headers = {"content-type": QUERY_TYPE, "accept": REPLY_TYPE, "accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._patience),
                self._client.stream("POST", self._url, content=content, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise TsaUnavailable(f"the TSA {self._shown} answers {response.status_code}")
                body = bytearray()
                async for part in response.aiter_raw():  # never unpacked: a small answer could grow without bounds
                    body += part
                    if len(body) > MAX_RESPONSE_BYTES:
                        raise TsaUnavailable(f"the TSA {self._shown} answers with more than {MAX_RESPONSE_BYTES} bytes")
        except TimeoutError:
            raise TsaUnavailable(f"the TSA {self._shown} did not answer within {self._patience:g} seconds") from None
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}"
            raise TsaUnavailable(f"the TSA {self._shown} can't be reached: {reason}") from error
        return bytes(body)


def _without_secrets(url: str) -> str:
    """The address as it may be logged: a password or an access key may be in the rest of it.

    Raises:
        UsageError: it is not an http or https address with a host.
    """
    try:
        parts, host = urlsplit(url), httpx.URL(url).host
    except (httpx.InvalidURL, ValueError):
        raise UsageError("the TSA's URL is not an address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("the TSA's URL starts with http:// or https:// and names a host")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
