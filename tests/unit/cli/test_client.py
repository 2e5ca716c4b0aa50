"""Commands that call a node, against servers that are not one, addresses that are none, and tokens that can't be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.cli.support import failure, make_member, run, tree

DIGEST = "sha256:" + "0" * 64
PROBLEM = b'{"type": "urn:docex:problem:not_found", "detail": "no such document"}'
CALLS = [
    ("documents",),
    ("fetch", "a.pdf", "-o", "out"),
    ("proof", "a.pdf", "-o", "out"),
    ("proof", DIGEST, "-o", "out"),
    ("transfer", "a.pdf", "--to", "eip155:1:0x"),
    ("transfers",),
    ("transfers", DIGEST),
]


@contextmanager
def answering(status: int, body: bytes, media_type: str = "application/json") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DOCEX_API_TOKEN", "DOCEX_API_TOKEN_FILE", "DOCEX_NODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (200, b"<html>welcome</html>", "text/html"),
        (200, b"", "text/plain"),
        (404, b"<html>not here</html>", "text/html"),
        (404, b'{"detail": "Not Found"}', "application/json"),
        (404, b'{"type": "about:blank", "detail": "x"}', "application/problem+json"),
        (302, b"", "text/html"),
    ],
)
def test_a_server_that_is_no_node_is_called_that(
    call: tuple[str, ...], status: int, body: bytes, media_type: str, here: Path
) -> None:
    with answering(status, body, media_type) as url:
        message = failure(run(*call, "--node", url, DOCEX_API_TOKEN="token"), "node_unavailable")
    assert message.startswith(f"what answers at {url} is not a docex node")
    assert tree(here) == []


@pytest.mark.parametrize("call", [call for call in CALLS if call[:2] != ("proof", DIGEST)], ids=" ".join)
@pytest.mark.parametrize("body", [b"{}", b"[]", b"7", b"null", b"\xff", b"[" * 100_000, b'{"documents": [{}]}'])
def test_json_of_something_else_is_no_node_s(call: tuple[str, ...], body: bytes) -> None:
    with answering(200, body) as url:
        message = failure(run(*call, "--node", url, DOCEX_API_TOKEN="token"), "node_unavailable")
    assert message == f"what answers at {url} is not a docex node"


def test_a_refusal_keeps_the_node_s_code_and_words() -> None:
    with answering(404, PROBLEM, "application/problem+json") as url:
        message = failure(run("fetch", "a", "-o", "out", "--node", url, DOCEX_API_TOKEN="token"), "not_found")
    assert message == "no such document"


def test_a_proxy_whose_node_is_down_is_not_called_a_stranger() -> None:
    with answering(502, b"<html>", "text/html") as url:
        message = failure(run("documents", "--node", url, DOCEX_API_TOKEN="token"), "node_unavailable")
    assert message == f"the node at {url} answers 502 Bad Gateway"


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1", "http://", "ftp://host", "host", "", "http://h:99999", "http://a\nb", "http://xn--/"),
        *("http://" + "a" * 70, "http://\u2100.com"),
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    assert "is not an" in failure(run("documents", f"--node={url}", DOCEX_API_TOKEN="token"), "usage", 2)


@pytest.mark.parametrize("token", ["se\rcret", "se cret", "se\ncret", "s\u00e9cret", "\udcffsecret", "se\x1bcret", " "])
def test_a_token_that_can_not_be_one_is_refused_and_never_shown(token: str, here: Path) -> None:
    result = run("documents", DOCEX_API_TOKEN=token)
    assert failure(result, "usage", 2) == "DOCEX_API_TOKEN does not hold an API token"
    (here / "token").write_bytes(token.encode("utf-8", "surrogateescape"))
    result = run("documents", "--token-file", "token")
    assert failure(result, "usage", 2) == "token does not hold an API token"


@pytest.mark.parametrize("token", ["secret", "secret\r", "secret\r\n", " secret\n"])
def test_blanks_around_a_token_do_not_matter(token: str, here: Path) -> None:
    (here / "token").write_text(token)
    with answering(200, b'{"documents": [], "next": null}') as url:
        assert run("documents", "--node", url, DOCEX_API_TOKEN=token).exit_code == 0
        assert run("documents", "--node", url, DOCEX_API_TOKEN_FILE="token").exit_code == 0


def commands(path: str) -> list[list[str]]:
    return [["fetch", path, "-o", "out"], ["proof", path, "-o", "out"], ["documents", path]]


@pytest.mark.parametrize("path", ["../transfers", "a/../b", "/a", "a//b", "a/", ".", "a\x00b", "\udcff"])
@pytest.mark.parametrize("command", [0, 1, 2])
def test_a_path_that_is_none_is_not_asked_for(path: str, command: int, here: Path) -> None:
    failure(run(*commands(path)[command], "--node", "http://127.0.0.1:1", DOCEX_API_TOKEN="x"), "name_invalid")
    assert tree(here) == []


def test_a_digest_that_is_none_is_not_asked_for() -> None:
    failure(run("proof", "sha256:/../../transfers", "-o", "out", DOCEX_API_TOKEN="x"), "usage", 2)


ENDPOINTS = ["http://host/?", "http://host?", "http://host#", "http://user@host", "http://@host", "http://host/a@b"]


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "ftp://x", "", "http://["])
def test_members_do_not_publish_an_endpoint_that_no_one_would_call(endpoint: str) -> None:
    failure(run("members", "publish", f"--endpoint={endpoint}", "--keystore", "absent"), "usage", 2)


def test_what_its_sender_withholds_is_rejected_unopened(here: Path) -> None:
    member = make_member(here, "maker")
    received = {"id": DIGEST, "direction": "received", "packet": DIGEST, "arrived": False}
    with answering(200, json.dumps(received).encode()) as url:
        words = ("acknowledge", DIGEST, "--keystore", member.keystore, "-o", "documents", "--node", url)
        result = run(*words, "--reject", "the header did not come", DOCEX_API_TOKEN="t" * 40)
        assert result.exit_code == 0, result.output
        assert "rejected: the signed receipt is on the node" in result.stderr
        assert not (here / "documents").exists()
