"""Calls from the command line to a node's REST API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli.unlock import read_small
from docex.errors import DocexError, NodeUnavailable, UsageError

if TYPE_CHECKING:
    import httpx

NodeOption = Annotated[str, typer.Option("--node", metavar="URL", envvar="DOCEX_NODE", help="Your node.")]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="The node's api-token file (or set DOCEX_API_TOKEN[_FILE])."),
]
DEFAULT_NODE = "http://127.0.0.1:8080"


class NodeError(DocexError):
    """The node refused; ``code`` is the one of its problem document."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # the node's own code stands for ours


class NodeClient:
    """A node's API with the caller's token. Made by `connect`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Call and return the JSON answer. Raises NodeError when the node refuses, NodeUnavailable without it."""
        with self.stream(method, path, **options) as response:
            response.read()
            return response.json()

    def text(self, path: str) -> str:
        """The answer to GET as text; raises as `json` does."""
        with self.stream("GET", path) as response:
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
                    raise _refusal(response)
                yield response
        except httpx.HTTPError as error:
            raise NodeUnavailable(f"the node at {self._client.base_url} can't be reached: {error}") from error


@contextmanager
def connect(node: str, token_file: Path | None) -> Iterator[NodeClient]:
    """A client for the node at this URL.

    Raises:
        UsageError: no token was given, or the URL is not one.
    """
    import httpx

    headers = {"authorization": f"Bearer {_token(token_file)}"}
    if not node.startswith(("http://", "https://")):
        raise UsageError(f"--node {node!r} is not an http or https address")
    timeout = httpx.Timeout(300.0, connect=5.0)
    with httpx.Client(base_url=node, headers=headers, timeout=timeout, trust_env=False) as client:
        yield NodeClient(client)


def _token(file: Path | None) -> str:
    if file is None and (named := os.environ.get("DOCEX_API_TOKEN_FILE")):
        file = Path(named)
    if file is not None:
        token = read_small(file, "the token file").decode("ascii", "replace").strip()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(f"{file} does not hold an API token")
        return token
    if text := os.environ.get("DOCEX_API_TOKEN"):
        return text
    raise UsageError("no API token: give --token-file, or set DOCEX_API_TOKEN_FILE or DOCEX_API_TOKEN")


def _refusal(response: httpx.Response) -> DocexError:
    try:
        problem = response.json()
        return NodeError(str(problem["type"]).removeprefix("urn:docex:problem:"), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return NodeUnavailable(f"the node answers {response.status_code} {response.reason_phrase}")
