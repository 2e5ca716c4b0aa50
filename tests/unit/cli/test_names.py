"""Names and ids that mean harm, at every command that sends one to a node: no other route is called by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from docex.cli import client
from docex.service.node import Node
from tests.fixtures.paper_nodes import deposited
from tests.unit.cli.conftest import TOKEN, Serving
from tests.unit.cli.support import failure, make_member, run

NAMES = [
    "../keys",
    "a/../../keys",
    "..",
    "/a",
    "a//b",
    "a\x00b",
    "a\\b",
    "con",
    "a.",
    "a ",
    "e\u0301",  # its NFC twin is the one name
    "a\u202eb",
    "a\u200bb",
    "a?details=true",
    "b" * 1025,
    "\udcff",  # a byte that is no UTF-8, as a shell passes it
]
IDS = ["../keys", "..%2fkeys", "keys?limit=1", "sha256:" + "A" * 64, "", "\udcff"]
Command = Callable[..., Result]


@pytest.fixture
def command(serving: Serving, node: Node, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command against a node that has one document."""
    serving.run(deposited(node, "lots/17", b"here"))
    called: list[str] = []
    stream = client.NodeClient.stream

    def noted(self: client.NodeClient, method: str, path: str, **options: object) -> object:
        called.append(f"{method} {path}")
        return stream(self, method, path, **options)

    monkeypatch.setattr(client.NodeClient, "stream", noted)

    def made(*arguments: str | Path) -> Result:
        result = run(*arguments, "--node", serving.url, DOCEX_API_TOKEN=TOKEN)
        assert not called, called
        return result

    return made


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_paths_that_mean_to_escape_are_not_sent(command: Command, tmp_path: Path, name: str) -> None:
    out, document = tmp_path / "out", tmp_path / "document"
    document.write_bytes(b"x")
    failure(command("fetch", name, "-o", out), "name_invalid")
    failure(command("proof", name, "-o", out), "name_invalid")
    failure(command("revoke", name, "--reason", "wrong"), "name_invalid")
    failure(command("documents", name), "name_invalid")
    failure(command("deposit", document, "--supersedes", name), "name_invalid")
    if name != "/a":  # slashes around a folder are no harm
        failure(command("deposit", document, "--folder", name), "name_invalid")
        failure(command("access", "add", "somebody", "--role", "auditor", "--folder", name), "name_invalid")
    assert not out.exists()


@pytest.mark.parametrize("name", [b"a\\b", b"con", b"e\xcc\x81", b"a\xe2\x80\xaeb", b"\xff"])
def test_files_whose_names_no_document_may_have_are_not_deposited(
    command: Command, tmp_path: Path, name: bytes
) -> None:
    document = tmp_path / name.decode("utf-8", "surrogateescape")
    document.write_bytes(b"x")
    failure(command("deposit", document), "name_invalid")


@pytest.mark.parametrize("id_", IDS, ids=ascii)
def test_ids_that_lead_elsewhere_are_not_sent(command: Command, tmp_path: Path, id_: str) -> None:
    keystore = make_member(tmp_path, "member").keystore
    for arguments in (["transfers", "show", id_], ["transfers", "watch", id_], ["access", "revoke", id_]):
        failure(command(*arguments), "usage", 2)
    acknowledge = ["acknowledge", id_, "-o", tmp_path / "out", "--keystore", keystore]
    failure(command(*acknowledge), "usage", 2)
    assert not (tmp_path / "out").exists()


def test_what_only_looks_like_a_detour_is_a_name(serving: Serving, tmp_path: Path) -> None:
    document, out = tmp_path / "%2e%2e%2fkeys#a", tmp_path / "out"
    document.write_bytes(b"x")
    where = ["--node", serving.url]
    assert run("deposit", document, *where, DOCEX_API_TOKEN=TOKEN).exit_code == 0
    assert run("fetch", "%2e%2e%2fkeys#a", "-o", out, *where, DOCEX_API_TOKEN=TOKEN).exit_code == 0
    assert out.read_bytes() == b"x"


@pytest.mark.parametrize(
    "arguments",
    [
        ["transfer", "\udcff", "--to", "eip155:1:0x0"],
        ["transfer", "a", "--to", "\udcff"],
        ["access", "add", "\udcff", "--role", "auditor"],
        ["revoke", "sha256:" + "0" * 64, "--reason", "\udcff"],
    ],
    ids=ascii,
)
def test_what_is_no_text_is_refused_and_no_fault(serving: Serving, arguments: list[str]) -> None:
    message = failure(run(*arguments, "--node", serving.url, DOCEX_API_TOKEN=TOKEN), "usage", 2)
    assert "UTF-8" in message
