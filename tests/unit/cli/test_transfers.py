"""``docex transfers`` against a node that tells, call by call, how a transfer goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import Result

from docex.cli import transfers
from tests.unit.cli.support import failure, run

ID, OTHER = ("sha256:" + digit * 64 for digit in "01")
DELIVERY = {
    "account": "eip155:1:0xa",
    "state": "pending",
    "attempts": 0,
    "sent": 0,
    "error": None,
    "receipt": None,
    "ciphertext_receipt": None,
    "updated": "2026-11-24T10:00:00Z",
}


def view(*states: str, transfer: str = ID, **changes: Any) -> dict[str, Any]:
    deliveries = [DELIVERY | {"account": f"eip155:1:0x{n}", "state": each} | changes for n, each in enumerate(states)]
    return {
        "id": transfer,
        "direction": "sent",
        "sender": "eip155:1:0xb",
        "packet": OTHER,
        "size": 1000,
        "created": "2026-11-24T10:00:00Z",
        "expires": "2026-11-25T10:00:00Z",
        "deliveries": deliveries,
    }


@contextmanager
def telling(answers: dict[str, list[Any]]) -> Iterator[str]:
    """A node with these answers for each path: one after the other, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            left = answers[unquote(self.path).removeprefix("/api/v1/")]
            answer = left.pop(0) if len(left) > 1 else left[0]
            body = json.dumps(answer).encode()
            self.send_response(answer.get("status", 200))
            self.send_header("content-type", "application/json")
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
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfers, "_INTERVAL", 0.01)
    for name in ("DOCEX_API_TOKEN", "DOCEX_API_TOKEN_FILE", "DOCEX_NODE"):
        monkeypatch.delenv(name, raising=False)


def call(url: str, *arguments: str) -> Result:
    return run("transfers", *arguments, "--node", url, DOCEX_API_TOKEN="token")


def test_transfers_alone_lists_them_and_with_an_id_shows_one() -> None:
    events = [
        {"sequence": 1, "kind": "sent", "account": "eip155:1:0x0", "at": "2026-11-24T10:00:00Z", "detail": None},
        {"sequence": 2, "kind": "failed", "account": "eip155:1:0x0", "at": "2026-11-24T10:00:01Z", "detail": "down"},
    ]
    answers: dict[str, list[Any]] = {
        "transfers": [{"transfers": [view("pending", "accepted")], "next": None}],
        f"transfers/{ID}": [view("pending", error="down")],
        f"transfers/{ID}/history?after=0": [{"events": events[:1], "next": 1}],
        f"transfers/{ID}/history?after=1": [{"events": events[1:], "next": None}],
    }
    with telling(answers) as url:
        listed = call(url)
        assert listed.stdout == call(url, "list").stdout
        assert [row.split()[2:4] for row in listed.stdout.splitlines()[1:]] == [
            ["eip155:1:0x0", "pending"],
            ["eip155:1:0x1", "accepted"],
        ]
        assert json.loads(call(url, "--json").stdout) == answers["transfers"][0]["transfers"]
        shown = call(url, ID).stdout
        assert shown == call(url, "show", ID).stdout
        assert json.loads(call(url, "--json", ID).stdout) == answers[f"transfers/{ID}"][0]
    assert "eip155:1:0x0: pending (down)" in shown
    assert shown.splitlines()[-1] == "  2026-11-24T10:00:01Z  failed     eip155:1:0x0 (down)"


def test_no_transfers_and_an_unknown_command() -> None:
    with telling({"transfers": [{"transfers": [], "next": None}]}) as url:
        assert (call(url).stdout, call(url).stderr) == ("", "no transfers yet\n")
    failure(run("transfers", "follow"), "usage", 2)
    assert "watch" in run("transfers", "--help").stdout


def test_watch_tells_each_change_and_ends_with_0_when_all_have_accepted() -> None:
    sent = [view("pending", "pending"), view("pending", "delivered", error="down"), view("accepted", "accepted")]
    with telling({f"transfers/{ID}": sent, f"transfers/{OTHER}": [view("accepted", transfer=OTHER)]}) as url:
        result = call(url, "watch", ID, OTHER)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{ID} eip155:1:0x0: pending",
        f"{ID} eip155:1:0x1: pending",
        f"{OTHER} eip155:1:0x0: accepted",
        f"{ID} eip155:1:0x0: pending (down)",
        f"{ID} eip155:1:0x1: delivered (down)",
        f"{ID} eip155:1:0x0: accepted",
        f"{ID} eip155:1:0x1: accepted",
    ]


@pytest.mark.parametrize("end", ["rejected", "expired", "withheld"])
def test_watch_ends_with_1_when_one_is_rejected_or_expired(end: str) -> None:
    with telling({f"transfers/{ID}": [view("accepted", "pending"), view("accepted", end)]}) as url:
        result = call(url, "watch", ID)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, f"{ID} eip155:1:0x1: {end}")


def failing(code: str) -> dict[str, Any]:
    return {"type": f"urn:docex:problem:{code}", "status": 503, "detail": "not now"}


def test_watch_waits_for_a_node_that_goes_away_meanwhile() -> None:
    away = [failing("database_unavailable")] * 2
    with telling({f"transfers/{ID}": [view("pending"), *away, view("accepted")]}) as url:
        result = call(url, "watch", ID)
    assert (result.exit_code, result.stderr) == (0, "not now: still watching\n")
    assert [each.rpartition(": ")[2] for each in result.stdout.splitlines()] == ["pending", "accepted"]


def test_watch_ends_where_there_is_no_node_or_no_such_transfer_any_more() -> None:
    with telling({f"transfers/{ID}": [failing("database_unavailable")]}) as url:
        failure(call(url, "watch", ID), "database_unavailable", 1)
    with telling({f"transfers/{ID}": [view("pending"), failing("not_found")]}) as url:
        result = call(url, "watch", ID)
    assert (result.exit_code, result.stderr) == (1, "error[not_found]: not now\n")


@pytest.mark.parametrize("command", ["show", "watch"])
@pytest.mark.parametrize("wrong", ["lots/17/a.pdf", ID[:-1], ID.upper(), "sha256:../keys"])
def test_what_is_no_transfer_s_id_is_told_without_a_node(command: str, wrong: str) -> None:
    assert "is no transfer's id" in failure(call("http://127.0.0.1:1", command, wrong), "usage", 2)


def test_watch_prints_json_lines_with_the_bytes_sent() -> None:
    views = [view("pending", sent=sent) for sent in (0, 400, 400)] + [view("accepted", sent=1000)]
    with telling({f"transfers/{ID}": views}) as url:
        result = call(url, "watch", ID, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["state"], each["sent"], each["size"]) for each in lines] == [
        ("pending", 0, 1000),
        ("pending", 400, 1000),
        ("accepted", 1000, 1000),
    ]
    assert {each["transfer"] for each in lines} == {ID}


def test_on_a_terminal_bars_are_drawn_for_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with transfers._Bars(shown=True) as bars:
        for sent in (0, 400):
            shown = view("pending", sent=sent)
            bars.show(shown, shown["deliveries"][0])
        received = view("pending") | {"direction": "received"}
        bars.show(received, received["deliveries"][0])
        (task,) = bars._progress.tasks
        assert (task.description, task.completed, task.total) == ("eip155:1:0x0", 400, 1000)
