"""HTTP to other members' nodes (`docex.service.ports.Peers`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from docex.core.nesting import require_shallow
from docex.errors import Conflict, DocexError, NodeUnavailable, StatementInvalid, UploadUnderWay, UsageError
from docex.outbound import PUBLIC, Reach, open_client

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_PATIENCE = 60.0  # seconds for a whole call, and more for a packet: one a byte keeps every other timeout at bay
_SLOWEST = 50_000  # bytes a second
_MAX_ANSWER = 1 << 20
STATEMENT_TYPE = "application/jose"  # a compact JWS (RFC 7515 section 9.2.1)
PACKET_TYPE = "application/age"
PART_TYPE = "application/partial-upload"  # draft-ietf-httpbis-resumable-upload
_MAX_DIGITS = 16
_UNDER_WAY = f"urn:docex:problem:{UploadUnderWay.code}"


class NodeRefused(DocexError):
    """Another node understood the request and refused it."""

    code = "node_refused"


class HttpPeers:
    """Calls other nodes under the endpoints they published, within ``reach``. Redirects are not followed."""

    def __init__(self, reach: Reach = PUBLIC, *, ca_file: Path | None = None) -> None:
        """Raises what `open_client` raises."""
        self._client = open_client(reach, _TIMEOUT, ca_file)

    async def announce(self, endpoint: str, transfer: str) -> bool:
        """See the protocol."""
        url = _url(endpoint, "deliveries")
        _, answer = await self._send("POST", url, content=transfer.encode(), headers={"content-type": STATEMENT_TYPE})
        return bool(answer.get("wanted", True))

    async def offset(self, endpoint: str, transfer: str) -> int:
        """See the protocol."""
        headers, _ = await self._send("HEAD", _url(endpoint, f"deliveries/{transfer}/packet"), content=b"", headers={})
        text = headers.get("upload-offset", "")
        if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
            raise NodeUnavailable(f"{endpoint} does not say how much of the packet it has")
        return int(text)

    async def send_packet(
        self, endpoint: str, transfer: str, size: int, chunks: AsyncIterable[bytes], offset: int = 0
    ) -> None:
        """See the protocol."""
        url = _url(endpoint, f"deliveries/{transfer}/packet")
        within = _PATIENCE + (offset + size) / _SLOWEST  # all of it: the other node reads it once more at its end
        headers = {"content-type": PACKET_TYPE, "content-length": str(size)}
        if offset:
            headers |= {"content-type": PART_TYPE, "upload-offset": str(offset), "upload-complete": "?1"}
        await self._send("PATCH" if offset else "PUT", url, content=chunks, headers=headers, within=within)

    async def send_header(self, endpoint: str, transfer: str, header: bytes, size: int) -> None:
        """See the protocol."""
        url = _url(endpoint, f"deliveries/{transfer}/header")
        # The other node puts it before the payload, which takes time in proportion.
        within = _PATIENCE + size / _SLOWEST
        await self._send("PUT", url, content=header, headers={"content-type": PACKET_TYPE}, within=within)

    async def send_receipt(self, endpoint: str, receipt: str) -> None:
        """See the protocol."""
        url = _url(endpoint, "receipts")
        await self._send("POST", url, content=receipt.encode(), headers={"content-type": STATEMENT_TYPE})

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | AsyncIterable[bytes],
        headers: dict[str, str],
        within: float = _PATIENCE,
    ) -> tuple[httpx.Headers, dict[str, object]]:
        headers = headers | {"accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(within),
                self._client.stream(method, url, content=content, headers=headers) as response,
            ):
                body = bytearray()
                async for part in response.aiter_raw():  # never unpacked: a small answer could grow without bounds
                    body += part
                    if len(body) > _MAX_ANSWER:
                        raise NodeUnavailable(f"{url} answers with more than {_MAX_ANSWER} bytes")
        except TimeoutError:
            raise NodeUnavailable(f"{url} did not answer within {within:.0f} seconds") from None
        except httpx.HTTPError as error:
            raise NodeUnavailable(f"{url} can't be reached: {type(error).__name__}: {error}") from error
        answer = _json(bytes(body))
        if response.is_success:
            return response.headers, answer
        detail = f"{url} answers {response.status_code}: {answer.get('detail', response.reason_phrase)}"
        if response.status_code >= 500 or response.status_code == 429:
            raise NodeUnavailable(detail)
        if response.status_code != 409:
            raise NodeRefused(detail)
        under_way = method == "HEAD" or answer.get("type") == _UNDER_WAY  # an answer to HEAD has no content
        raise UploadUnderWay(detail) if under_way else Conflict(detail)


def check_endpoint(endpoint: str) -> None:
    """Raise UsageError unless a node may be called under this endpoint: http or https, a host, a path at most."""
    _url(endpoint, "")


def _url(endpoint: str, path: str) -> str:
    # Looked for in the text: a bare "?" is an empty query to every parser, but whatever is appended would become one.
    if any(each in endpoint for each in "?#@"):
        raise UsageError(f"the endpoint {endpoint[:200]!a} has a '?', '#' or '@': only host and path belong there")
    try:
        url = httpx.URL(f"{endpoint.rstrip('/')}/api/v1/{path}")
        parts, host = urlsplit(endpoint), url.host
    except (httpx.InvalidURL, ValueError):
        raise UsageError(f"the endpoint {endpoint[:200]!a} is not an address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"the endpoint {endpoint[:200]!a} is not an http or https address")
    return str(url)


def _json(body: bytes) -> dict[str, object]:
    try:
        require_shallow(body)
        value = json.loads(body)
    except (ValueError, StatementInvalid):
        return {}
    return value if isinstance(value, dict) else {}
