"""Calls from the command line to a node's REST API."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli import output
from docex.cli.unlock import read_small
from docex.errors import DigestMismatch, DocexError, NodeUnavailable, UsageError

if TYPE_CHECKING:
    import httpx

NodeOption = Annotated[str, typer.Option("--node", metavar="URL", envvar="DOCEX_NODE", help="Your node.")]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="A file with your API key, or the node's api-token (or set DOCEX_API_TOKEN[_FILE]).",
    ),
]
DEFAULT_NODE = "http://127.0.0.1:8080"
_TRIES = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0  # seconds; all of them outlast the lease of a request whose node died
_PROBLEM = re.compile("urn:docex:problem:([a-z0-9_]{1,64})")


class NodeError(DocexError):
    """The node refused; ``code`` is the one of its problem document."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the node's own code stands for ours


class ConnectionBroken(NodeUnavailable):
    """The connection to a node ended in the middle of a call: what came of it is not known."""


class _Answer(dict[str, Any]):
    """A JSON object of the node. Whoever misses a member of it talks to something else than a node."""

    def __init__(self, node: str, members: dict[str, Any]) -> None:
        super().__init__(members)
        self._node = node

    def __missing__(self, name: str) -> Any:
        raise _stranger(self._node)


class NodeClient:
    """A node's API with the caller's token. Made by `connect`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._node = str(client.base_url).rstrip("/")

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Call and return the JSON answer. Raises NodeError when the node refuses, NodeUnavailable without it.

        Where the connection breaks it is sent again, under one idempotency key: it takes effect once. ``content`` may
        be a function then, which is called for each try.
        """
        if method != "GET":
            options["headers"] = {"idempotency-key": f'"{uuid.uuid4()}"', **options.get("headers", {})}
        content = options.pop("content", None)
        attempt = 0
        while True:
            if content is not None:
                options["content"] = content() if callable(content) else content
            try:
                return self._json(method, path, options)
            except DocexError as error:
                _wait_after(error, attempt)
                attempt += 1

    def _json(self, method: str, path: str, options: dict[str, Any]) -> Any:
        with self.stream(method, path, **options) as response:
            try:
                answer = json.loads(response.read(), object_hook=partial(_Answer, self._node))
            except (ValueError, RecursionError):
                raise _stranger(self._node) from None
            if not isinstance(answer, _Answer):
                raise _stranger(self._node)
            return answer

    def all(self, path: str, member: str, **query: str) -> list[dict[str, Any]]:
        """The entries of a list, from all of its pages; raises as `json` does."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.json("GET", path, params={**query, "cursor": cursor, "limit": 1000})
            found += page[member]
            cursor = page["next"]
        return found

    def download(self, path: str, digest: str | None = None, **options: Any) -> Generator[bytes, None, None]:
        """The content at a path as it comes; where the connection breaks, it goes on by a range.

        Raises as `json` does, and, at its end, DigestMismatch when it has not this ``digest`` (``sha256:<hex>``).
        """
        hasher, size, tag, attempt = hashlib.sha256(), 0, "", 0
        while True:
            headers = {"range": f"bytes={size}-", "if-range": tag} if size else {}
            try:
                with self.stream("GET", path, headers=headers, **options) as response:
                    if size and response.status_code != 206:
                        raise NodeUnavailable(f"the download from {self._node} broke off and can't be continued")
                    tag = response.headers.get("etag", "")
                    for data in response.iter_raw():
                        size, attempt = size + len(data), 0
                        if digest is not None:
                            hasher.update(data)
                        yield data
            except DocexError as error:
                _wait_after(error, attempt)
                attempt += 1
            else:
                break
        if digest is not None and "sha256:" + hasher.hexdigest() != digest:
            raise DigestMismatch("what arrived is damaged: its digest differs")

    def text(self, path: str, *, media_type: str | None = None) -> str:
        """The answer to GET as text, which must have this media type; raises as `json` does."""
        with self.stream("GET", path) as response:
            if media_type is not None and response.headers.get("content-type", "").partition(";")[0] != media_type:
                raise _stranger(self._node)
            response.read()
            return str(response.text)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        """Call and hand the answer over as a stream; raises as `json` does."""
        import httpx

        try:
            with self._client.stream(method, f"/api/v1/{path}", **options) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response, self._node)
                yield response
        except UnicodeEncodeError:
            raise UsageError("an argument holds what is not UTF-8: it can't be sent") from None
        except httpx.HTTPError as error:
            kind = NodeUnavailable if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else ConnectionBroken
            raise kind(f"the node at {self._node} can't be reached: {error}") from error


@contextmanager
def connect(node: str, token_file: Path | None) -> Iterator[NodeClient]:
    """A client for the node at this URL.

    Raises:
        UsageError: no token was given, or the URL is not one.
    """
    import httpx

    headers = {"authorization": f"Bearer {_token(token_file)}"}
    _check_address(node)
    timeout = httpx.Timeout(300.0, connect=5.0)
    with httpx.Client(base_url=node, headers=headers, timeout=timeout, trust_env=False) as client:
        yield NodeClient(client)


def _check_address(node: str) -> None:
    import httpx

    try:
        url = httpx.URL(node)
        url.host.encode("idna")  # as the resolver will: it refuses a part of more than 63 characters
        port = url.port or 0
    except (httpx.InvalidURL, ValueError):
        raise UsageError(f"--node {node[:200]!a} is not an address") from None
    if url.scheme not in ("http", "https") or not url.host or port > 65535:
        raise UsageError(f"--node {node[:200]!a} is not an http or https address")


def _token(file: Path | None) -> str:
    if file is None and (named := os.environ.get("DOCEX_API_TOKEN_FILE")):
        file = Path(named)
    if file is not None:
        return _checked(read_small(file, "the token file").decode("ascii", "replace"), str(file))
    if text := os.environ.get("DOCEX_API_TOKEN"):
        return _checked(text, "DOCEX_API_TOKEN")
    raise UsageError("no API token: give --token-file, or set DOCEX_API_TOKEN_FILE or DOCEX_API_TOKEN")


def _checked(text: str, place: str) -> str:
    """The token in ``text``. No message shows it: it opens the node to whoever reads the terminal or a log."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{place} does not hold an API token")
    return token


def _refusal(response: httpx.Response, node: str) -> DocexError:
    try:
        problem = response.json()
        if kind := _PROBLEM.fullmatch(problem["type"]):
            faults = [f"{each['where']}: {each['fault']}" for each in problem.get("faults", [])]
            return NodeError(kind[1], "; ".join([str(problem["detail"]), *faults]))
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    status = f"{response.status_code} {response.reason_phrase}"
    if response.status_code >= 500:  # of a proxy in front of a node that is down, as likely as not
        return NodeUnavailable(f"the node at {node} answers {status}")
    return _stranger(node, f": it answers {status}")


def _wait_after(error: DocexError, attempt: int) -> None:
    """Wait before the next try, counting from 0; raises the error where another try makes no sense.

    A node that could not be reached to begin with is an error at once; one that went away may come back.
    """
    under_way = isinstance(error, NodeError) and error.code == "request_under_way"
    went_away = isinstance(error, ConnectionBroken) or (isinstance(error, NodeUnavailable) and attempt > 0)
    if not (under_way or went_away) or attempt >= _TRIES:
        raise error
    if attempt == 0:
        output.note(f"{error}: trying again")
    time.sleep(min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt))


def _stranger(node: str, why: str = "") -> NodeUnavailable:
    return NodeUnavailable(f"what answers at {node} is not a docex node{why}")
