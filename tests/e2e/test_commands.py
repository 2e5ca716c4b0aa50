"""The README's way "for real", typed command by command: a chain, a consortium, two members' nodes, an auditor.

The retailer keeps the identity that opens packets off its node, so it opens and acknowledges with the command line.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from docex.cli.app import app

pytestmark = pytest.mark.timeout(420)

PASSPHRASE = "correct horse battery staple"
DOCUMENT = b"%PDF-1.4 quality certificate"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Shell:
    """Runs docex in a folder, with settings in the environment as a person would export them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "docex.cli", *words]
        environment = os.environ | {"DOCEX_PASSPHRASE": PASSPHRASE} | self.environment
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str, code: int = 0) -> str:
        """Standard output; standard error is kept for `errors`."""
        with self.start(*words) as process:
            output, self.errors = process.communicate(timeout=90)
        assert process.returncode == code, output + self.errors
        return output

    def run_here(self, *words: str, code: int) -> None:
        """As `run`, in this process: a mistake needs no process of its own."""
        with chdir(self.folder):
            result = CliRunner(env={"DOCEX_PASSPHRASE": PASSPHRASE} | self.environment).invoke(
                app, words, prog_name="docex"
            )
        self.errors = result.stderr
        assert result.exit_code == code, result.output

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        process = self.start(*words)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=60)
            finally:
                process.kill()
                process.wait()


def wait_for(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A chain, the contracts, two members, and a node for each; the retailer's without its identity."""
    shell = Shell(tmp_path_factory.mktemp("commands"))
    chain, mine, retail = free_port(), free_port(), free_port()
    shell.environment = {
        "DOCEX_RPC": f"http://127.0.0.1:{chain}",
        "DOCEX_DEPLOYMENT": "deployment.json",
        "DOCEX_TRUST": "trust.json",
        "DOCEX_NODE": f"http://127.0.0.1:{mine}",
        "DOCEX_API_TOKEN_FILE": "mine-data/api-token",
        "RETAIL": f"http://127.0.0.1:{retail}",
    }
    for name in ("consortium", "mine", "retail"):
        (shell.folder / f"{name}.json").write_text(shell.run("keygen", name, "--name", name.title()))
    consortium = json.loads((shell.folder / "consortium.json").read_text())["address"]
    dev = ("ledger", "dev", "--port", str(chain), "--block-time", "0.2", "--fund", consortium)
    with shell.running(*dev) as running:
        assert running.stderr is not None
        assert "Ctrl-C ends it" in running.stderr.readline()
        deployed = json.loads(shell.run("ledger", "deploy", "--keystore", "consortium", "--json"))
        assert deployed["chain_id"] == 31337
        assert json.loads(shell.run("ledger", "deploy", "--keystore", "consortium", "--json")) == deployed
        for name, port in (("mine", mine), ("retail", retail)):
            shell.run("members", "admit", f"{name}.json", "--keystore", "consortium", "--fund", "1")
            shell.run("members", "publish", "--keystore", name, "--endpoint", f"http://127.0.0.1:{port}")
        shell.run("keystore", "export", "retail", "--without-identity", "-o", "retail-node")
        mine_node = ("serve", "--keystore", "mine", "--data", "mine-data", "--port", str(mine))
        retail_node = ("serve", "--keystore", "retail-node", "--data", "retail-data", "--port", str(retail))
        with shell.running(*mine_node), shell.running(*retail_node):
            for port in (mine, retail):
                wait_for(f"http://127.0.0.1:{port}/readyz")
            yield shell


def public(shell: Shell, name: str) -> dict[str, str]:
    content: dict[str, str] = json.loads((shell.folder / f"{name}.json").read_text())
    return content


def test_a_document_goes_from_deposit_to_a_valid_verdict(network: Shell) -> None:
    (network.folder / "certificate.pdf").write_bytes(DOCUMENT)
    deposit = ("deposit", "certificate.pdf", "--folder", "lots/17", "--kind", "quality", "--json")
    (document,) = json.loads(network.run(*deposit))
    assert (document["path"], document["kind"], document["version"]) == ("lots/17/certificate.pdf", "quality", 1)
    assert "lots/17/certificate.pdf" in network.run("documents", "lots")

    to = public(network, "retail")["account"]
    sent = json.loads(network.run("transfer", document["path"], "--to", to, "--wait", "1", "--json"))
    assert sent["deliveries"][0]["state"] in ("pending", "delivered")  # nobody there can open it

    at_retail = ("--node", network.environment["RETAIL"], "--token-file", "retail-data/api-token")
    until = time.monotonic() + 60
    while not (listed := json.loads(network.run("transfers", "--json", *at_retail))) or not listed[0]["arrived"]:
        assert time.monotonic() < until
    assert listed[0]["id"] == sent["id"]
    acknowledge = ("acknowledge", sent["id"], "--keystore", "retail", "-o", "received", *at_retail)
    receipt = network.run(*acknowledge).strip()
    assert (network.folder / "received/lots/17/certificate.pdf").read_bytes() == DOCUMENT
    network.run("acknowledge", sent["id"], "--keystore", "retail", "-o", "again", *at_retail, code=1)
    assert "error[conflict]" in network.errors
    until = time.monotonic() + 60
    while (state := json.loads(network.run("transfers", sent["id"], "--json"))["deliveries"][0])["receipt"] is None:
        assert time.monotonic() < until
    assert (state["state"], state["receipt"]) == ("accepted", receipt)
    assert "accepted" in network.run("transfers")

    network.run("proof", document["path"], "-o", "proof.json", "--wait", "60")
    verify = ("verify", "certificate.pdf", "--proof", "proof.json", "--json")
    network.run(*verify, code=3)  # whom to trust has not been said
    network.run("trust", "add", "consortium", "--from", "deployment.json")
    network.run(*verify, code=3)  # and the ledger has not been asked
    verdict = json.loads(network.run(*verify, "--rpc", network.environment["DOCEX_RPC"]))
    assert [row["outcome"] for row in verdict["rows"]] == ["pass"] * 4 + ["not checked"] + ["pass"] * 2
    network.run(*verify, "--rpc", "http://127.0.0.1:1", code=3)  # an unreachable ledger is never "invalid"
    (network.folder / "certificate.pdf").write_bytes(DOCUMENT + b" ")
    network.run(*verify, "--rpc", network.environment["DOCEX_RPC"], code=1)

    network.run("fetch", document["path"], "-o", "fetched.pdf")
    assert (network.folder / "fetched.pdf").read_bytes() == DOCUMENT
    network.run("fetch", document["path"], "-o", "fetched.pdf", code=1)
    assert "error[already_exists]" in network.errors


def test_a_recipient_can_reject(network: Shell) -> None:
    (network.folder / "late.txt").write_bytes(b"too late")
    network.run("deposit", "late.txt")
    sent = json.loads(network.run("transfer", "late.txt", "--to", public(network, "retail")["account"], "--json"))
    at_retail = ("--node", network.environment["RETAIL"], "--token-file", "retail-data/api-token")
    until = time.monotonic() + 60
    while all(each["id"] != sent["id"] or not each["arrived"] for each in received(network, at_retail)):
        assert time.monotonic() < until
    words = ("acknowledge", sent["id"], "--keystore", "retail", "-o", "late", "--reject", "wrong lot", *at_retail)
    network.run(*words)
    assert not (network.folder / "late").exists()
    until = time.monotonic() + 60
    while json.loads(network.run("transfers", sent["id"], "--json"))["deliveries"][0]["state"] != "rejected":
        assert time.monotonic() < until


def test_a_recipient_signs_for_the_ciphertext_before_it_can_open_it(network: Shell) -> None:
    (network.folder / "fair.txt").write_bytes(b"first the receipt")
    network.run("deposit", "fair.txt")
    sent = json.loads(
        network.run("transfer", "fair.txt", "--to", public(network, "retail")["account"], "--fair", "--json")
    )
    assert (sent["fair"], sent["deliveries"][0]["ciphertext_receipt"]) == (True, None)
    at_retail = ("--node", network.environment["RETAIL"], "--token-file", "retail-data/api-token")
    until = time.monotonic() + 60
    while all(each["id"] != sent["id"] or not each["arrived"] for each in received(network, at_retail)):
        assert time.monotonic() < until
    signed = json.loads(network.run("transfers", sent["id"], "--json"))["deliveries"][0]["ciphertext_receipt"]
    assert f"receipt of the ciphertext {signed}" in " ".join(network.run("transfers", sent["id"]).split())
    network.run("acknowledge", sent["id"], "--keystore", "retail", "-o", "fair", *at_retail)
    assert (network.folder / "fair/fair.txt").read_bytes() == b"first the receipt"


def received(network: Shell, at: tuple[str, ...]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(network.run("transfers", "--json", *at))
    return found


def test_members_are_listed_suspended_and_readmitted(network: Shell) -> None:
    network.run("keygen", "guest", "--name", "Guest")
    guest = json.loads(network.run("keystore", "show", "guest"))
    (network.folder / "guest.json").write_text(json.dumps(guest))
    network.run("members", "admit", "guest.json", "--keystore", "consortium")
    network.run("members", "admit", "guest.json", "--keystore", "consortium")
    assert "a member already" in network.errors
    listed = {each["name"]: each for each in json.loads(network.run("members", "list", "--json"))}
    assert [key["use"] for key in listed["Mine"]["keys"]] == ["signing", "recipient"]
    assert listed["Guest"]["keys"] == []
    network.run("members", "suspend", guest["account"], "--keystore", "consortium")
    assert "suspended" in network.run("members", "list")
    network.run("members", "admit", "guest.json", "--keystore", "consortium", code=2)
    assert "readmit" in network.errors
    network.run("members", "readmit", guest["address"], "--keystore", "consortium")
    network.run("members", "suspend", guest["address"], "--keystore", "mine", code=1)
    assert "error[ledger_rejected]" in network.errors


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("transfer", "nothing.pdf", "--to", "eip155:31337:0x" + "0" * 40), 1, "error[not_found]"),
        (("fetch", "nothing.pdf", "-o", "x"), 1, "error[not_found]"),
        (("proof", "sha256:" + "0" * 64, "-o", "x"), 1, "error[not_found]"),
        (("deposit", "no-such-file"), 2, "error[usage]"),
        (("deposit", "mine.json", "retail.json", "--supersedes", "sha256:" + "0" * 64), 2, "error[usage]"),
        (("deposit", "mine.json", "--kind", "nonsense"), 1, "error[statement_invalid]"),
        (("documents", "--node", "ftp://x"), 2, "error[usage]"),
        (("documents", "--node", "http://127.0.0.1:1"), 1, "error[node_unavailable]"),
        (("documents", "--token-file", "mine.json"), 2, "error[usage]"),
        (("documents", "--token-file", "wrong-token"), 1, "error[unauthorised]"),
        (("members", "publish", "--endpoint", "ftp://x", "--keystore", "mine"), 2, "error[usage]"),
        (("members", "admit", "mine.json", "--fund", "much", "--keystore", "consortium"), 2, "error[usage]"),
        (("members", "list", "--rpc", "http://127.0.0.1:1"), 1, "error[ledger_unavailable]"),
        (("members", "list", "--deployment", "mine.json"), 2, "error[usage]"),
        (("serve", "--port", "70000"), 2, "error[usage]"),
        (("serve", "--keystore", "nowhere"), 1, "error[keystore_missing]"),
    ],
)
def test_what_can_not_be_done_says_so_in_one_line(
    network: Shell, words: tuple[str, ...], code: int, error: str
) -> None:
    (network.folder / "wrong-token").write_text("guessed\n")
    run = network.run if words[0] == "serve" else network.run_here
    run(*words, code=code)
    assert error in network.errors
    assert "Traceback" not in network.errors
    assert not (network.folder / "x").exists()


def test_no_token_is_a_usage_error(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"DOCEX_API_TOKEN": "", "DOCEX_API_TOKEN_FILE": ""})
    shell.run("documents", code=2)
    assert "api token" in shell.errors.lower()
