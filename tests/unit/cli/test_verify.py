"""``docex verify`` and ``docex trust`` as a person and a program use them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from docex.cli import output
from docex.cli.app import app
from docex.core.ledger_types import Deployment
from docex.core.proof import Proof, dump
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from tests.fixtures.anchored import CONTENT, anchored_proof
from tests.fixtures.anvil import anvil as anvil
from tests.fixtures.anvil import anvil_binary as anvil_binary
from tests.fixtures.paper_ledger import CONTENT as PAPER_CONTENT
from tests.fixtures.paper_ledger import NETWORK, Exchange, fake_address
from tests.unit.ledger import support

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in a folder of its own, with settings of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("DOCEX_TRUST", raising=False)

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            get_command(app)(args=[str(each) for each in arguments], prog_name="docex")
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out, printed.err

    return command


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    """A document with its proof, on the ledger kept on paper: nothing can be read of it."""
    (tmp_path / "quality.pdf").write_bytes(PAPER_CONTENT)
    (tmp_path / "proof.json").write_bytes(dump(Exchange().proof))
    return tmp_path


def trust_paper(run: Run, *more: object) -> None:
    arguments = ("--chain-id", NETWORK.chain_id, "--directory", NETWORK.directory, "--notary", NETWORK.notary)
    assert run("trust", "add", "paper", *arguments, *more)[0] == 0


# --- trust -----------------------------------------------------------------------------------------------------------


def test_networks_are_added_listed_and_removed(run: Run, tmp_path: Path) -> None:
    code, out, err = run("trust", "list")
    assert (code, out) == (
        0,
        f"no network is trusted in {tmp_path}/config/docex/trust.json: add one with `docex trust add`\n",
    )
    trust_paper(run, "--rpc", "http://127.0.0.1:1/", "--confirmations", 5)
    line = f"paper: {NETWORK}, 5 confirmations, read at http://127.0.0.1:1/\n"
    assert run("trust", "list") == (0, line, "")
    code, out, _ = run("trust", "list", "--json")
    assert json.loads(out) == [
        {
            "name": "paper",
            "chain_id": NETWORK.chain_id,
            "directory": NETWORK.directory,
            "notary": NETWORK.notary,
            "confirmations": 5,
            "rpc": "http://127.0.0.1:1/",
        }
    ]
    assert run("trust", "remove", "paper") == (0, f"no longer trusted: {line}", "")
    code, _, err = run("trust", "remove", "paper")
    assert code == 1
    assert err.startswith("error[not_found]: no network 'paper' is trusted")


def test_a_network_is_replaced_only_when_asked_to(run: Run) -> None:
    trust_paper(run)
    arguments = ("trust", "add", "paper", "--chain-id", 1, "--directory", NETWORK.directory, "--notary", NETWORK.notary)
    code, _, err = run(*arguments)
    assert code == 1
    assert err.startswith("error[conflict]: paper (chain 31337")
    code, out, _ = run(*arguments, "--replace")
    assert code == 0
    assert out.startswith("trusted: paper: chain 1,")


def test_a_network_is_taken_from_a_deployment_record(run: Run, tmp_path: Path) -> None:
    record = tmp_path / "deployment.json"
    record.write_text(json.dumps(asdict(Deployment(NETWORK.chain_id, NETWORK.directory, NETWORK.notary, 1))))
    code, out, _ = run("trust", "add", "paper", "--from", record, "--json")
    assert code == 0
    assert json.loads(out)[0]["notary"] == NETWORK.notary
    code, _, err = run("trust", "add", "again", "--from", record, "--chain-id", 1)
    assert (code, err.startswith("error[usage]: --from says the chain")) == (2, True)


def test_a_network_without_its_contracts_is_wrong_usage(run: Run) -> None:
    code, _, err = run("trust", "add", "paper", "--chain-id", 1)
    assert code == 2
    assert err.startswith("error[usage]: name --chain-id, --directory and --notary")


def test_settings_elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust_paper(run, "--trust", tmp_path / "elsewhere.json")
    assert not (tmp_path / "config").exists()
    monkeypatch.setenv("DOCEX_TRUST", str(tmp_path / "elsewhere.json"))
    assert run("trust", "list")[1].startswith("paper: ")


# --- verify without a ledger -----------------------------------------------------------------------------------------


def test_without_trust_it_says_what_to_do_and_exits_3(run: Run, folder: Path) -> None:
    code, out, err = run("verify", "quality.pdf", "--proof", "proof.json")
    assert (code, err) == (3, "")
    lines = out.splitlines()
    assert [line[:3] for line in lines[:7]] == ["✓ 1", "✓ 2", "– 3", "– 4", "– 5", "– 6", "– 7"]
    assert "docex trust add" in lines[2]
    assert "independent time (optional)" in lines[4]
    assert lines[7].startswith("could not be checked: quality.pdf · says it is by eip155:31337:0x4BE39A")
    assert lines[7].endswith("issued 2023-11-14T22:13:20Z")


def test_without_rpc_it_says_so_and_exits_3(run: Run, folder: Path) -> None:
    trust_paper(run)
    code, out, _ = run("verify", "quality.pdf", "--proof", "proof.json")
    assert code == 3
    assert out.count("not checked: the ledger was not read: no --rpc given") == 3


@pytest.mark.parametrize("where", ["option", "settings"])
def test_an_endpoint_that_is_down_is_never_invalid(run: Run, folder: Path, where: str) -> None:
    url = ("--rpc", "http://127.0.0.1:9")
    trust_paper(run, *(url if where == "settings" else ()))
    code, out, _ = run("verify", "quality.pdf", "--proof", "proof.json", *(url if where == "option" else ()))
    assert code == 3
    assert out.count("the ledger node http://127.0.0.1:9 did not answer") == 4


def test_a_changed_document_is_invalid_without_any_ledger(run: Run, folder: Path) -> None:
    (folder / "quality.pdf").write_bytes(PAPER_CONTENT[:-1] + b"!")
    code, out, _ = run("verify", "quality.pdf", "--proof", "proof.json")
    assert code == 1
    assert out.startswith("✗ 1 bytes match")
    assert "\ninvalid: quality.pdf · " in out


def test_a_proof_for_another_network_is_invalid(run: Run, folder: Path) -> None:
    other = fake_address("elsewhere")
    run(
        "trust", "add", "other", "--chain-id", 1, "--directory", other, "--notary", other, "--rpc", "http://127.0.0.1:9"
    )
    code, out, _ = run("verify", "quality.pdf", "--proof", "proof.json")
    assert code == 1
    assert "fail: the proof is about another network: chain 31337" in out
    assert "your network other is chain 1" in out
    trust_paper(run)
    assert run("verify", "quality.pdf", "--proof", "proof.json")[0] == 3
    assert run("verify", "quality.pdf", "--proof", "proof.json", "--network", "other")[0] == 1
    code, _, err = run("verify", "quality.pdf", "--proof", "proof.json", "--network", "x")
    assert (code, err.startswith("error[usage]: no network 'x' is trusted (trusted: other, paper)")) == (2, True)


def test_json_is_the_verdict_and_nothing_else(run: Run, folder: Path) -> None:
    code, out, err = run("verify", "quality.pdf", "--proof", "proof.json", "--json")
    value = json.loads(out)
    assert (code, err) == (3, "")
    assert value["exit_code"] == 3
    assert [row["outcome"] for row in value["rows"]][:2] == ["pass", "pass"]


def test_a_statement_whose_signature_does_not_hold_is_shown_by_the_documents_name(run: Run, folder: Path) -> None:
    value = json.loads((folder / "proof.json").read_bytes())
    value["statement"]["token"] = "a.b.c"
    (folder / "proof.json").write_text(json.dumps(value))
    code, out, _ = run("verify", "quality.pdf", "--proof", "proof.json")
    assert code == 1
    assert out.splitlines()[-1] == "invalid: quality.pdf"
    assert run("verify", "--proof", "proof.json")[1].splitlines()[-1] == "invalid: "


def test_a_statement_is_checked_without_a_document(run: Run, folder: Path) -> None:
    exchange = Exchange()
    (folder / "receipt.json").write_bytes(dump(Proof(NETWORK, exchange.delivery[1])))
    code, out, _ = run("verify", "--proof", "receipt.json")
    assert code == 3
    assert f"could not be checked: receipt statement {exchange.receipt.digest_text} · says it is by" in out


def test_a_malformed_proof_is_invalid(run: Run, folder: Path) -> None:
    (folder / "proof.json").write_text("{}")
    code, out, err = run("verify", "quality.pdf", "--proof", "proof.json", "--json")
    assert (code, out) == (1, "")
    assert err.startswith("error[proof_invalid]: the proof has members missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.pdf", "--proof", "proof.json"], "error[usage]: nothing.pdf can't be read: No such file"),
        ([".", "--proof", "proof.json"], "error[usage]: . can't be read: Is a directory"),
        (["quality.pdf", "--proof", "nothing.json"], "error[usage]: nothing.json can't be read: No such file"),
        (["quality.pdf", "--proof", "proof.json", "--at", "yesterday"], "error[usage]: --at 'yesterday' is not"),
        (["quality.pdf", "--proof", "proof.json", "--at", "2026-01-01T00:00:00"], "error[usage]: --at '2026-01-01T00"),
        (["quality.pdf", "--proof", "proof.json", "--rpc", "x"], "error[usage]: the RPC URL must start with http"),
        (["quality.pdf"], "error[usage]: Missing option '--proof'"),
    ],
)  # fmt: skip
def test_wrong_usage_exits_2(run: Run, folder: Path, arguments: list[str], message: str) -> None:
    trust_paper(run)
    code, out, err = run("verify", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)


def test_on_a_terminal_lines_are_wrapped_to_it(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    _, out, _ = run("verify", "quality.pdf", "--proof", "proof.json")
    assert all(len(line) <= 80 for line in out.splitlines()[:-1])
    assert len(out.splitlines()) > 8


def test_a_large_document_shows_how_far_its_reading_is(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(output.Meter, "__call__", lambda _, count: seen.append(count))
    with (folder / "large").open("wb") as file:
        file.truncate((3 << 20) + 1)
    assert run("verify", "large", "--proof", "proof.json")[0] == 1
    assert seen == [1 << 20] * 3 + [1]


# --- verify with a real ledger ---------------------------------------------------------------------------------------


@pytest.fixture
def real(anvil: LocalChain, tmp_path: Path, run: Run) -> Proof:
    """A document anchored on a real chain, which is trusted."""

    async def make() -> Proof:
        async with Rpc(anvil.url) as rpc:
            return await anchored_proof(await support.deployed(rpc))

    proof = asyncio.run(make())
    (tmp_path / "footprint.json").write_bytes(CONTENT)
    (tmp_path / "proof.json").write_bytes(dump(proof))
    network = proof.network
    arguments = ("--chain-id", network.chain_id, "--directory", network.directory, "--notary", network.notary)
    assert run("trust", "add", "anvil", *arguments)[0] == 0
    return proof


def test_a_good_proof_is_valid_on_a_real_chain(run: Run, real: Proof, anvil: LocalChain) -> None:
    code, out, err = run("verify", "footprint.json", "--proof", "proof.json", "--rpc", anvil.url)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line[:3] for line in lines[:7]] == ["✓ 1", "✓ 2", "✓ 3", "✓ 4", "– 5", "✓ 6", "– 7"]
    member = real.statement.anchor.member if real.statement.anchor else ""
    assert lines[7].startswith(f"valid: footprint.json · signed by Mine AG ({member}) · issued ")
    assert " · anchored 20" in lines[7]


def test_as_of_a_time_before_its_anchor_it_is_not(run: Run, real: Proof, anvil: LocalChain) -> None:
    ask = ("verify", "footprint.json", "--proof", "proof.json", "--rpc", anvil.url, "--json", "--at")
    code, out, _ = run(*ask, "2020-01-01T00:00:00Z")
    assert code == 1
    rows: list[dict[str, Any]] = json.loads(out)["rows"]
    assert [row["number"] for row in rows if row["outcome"] == "fail"] == [4]
    assert run(*ask, "2100-01-01T00:00:00+01:00")[0] == 3


def test_a_transaction_that_is_not_the_anchors_is_invalid_on_a_real_chain(
    run: Run, real: Proof, anvil: LocalChain, tmp_path: Path
) -> None:
    anchor = real.statement.anchor
    assert anchor is not None
    forged = replace(real, statement=replace(real.statement, anchor=replace(anchor, transaction=bytes(32))))
    (tmp_path / "proof.json").write_bytes(dump(forged))
    code, out, _ = run("verify", "footprint.json", "--proof", "proof.json", "--rpc", anvil.url)
    assert code == 1
    assert "the anchor's block holds no transaction 0x0000" in out


def test_an_endpoint_of_another_chain_is_never_invalid(
    run: Run, real: Proof, anvil: LocalChain, tmp_path: Path
) -> None:
    elsewhere = replace(real.network, chain_id=1)
    (tmp_path / "proof.json").write_bytes(dump(replace(real, network=elsewhere)))
    run("trust", "add", "main", "--chain-id", 1, "--directory", elsewhere.directory, "--notary", elsewhere.notary)
    code, out, _ = run("verify", "footprint.json", "--proof", "proof.json", "--rpc", anvil.url)
    assert code == 3
    assert "the ledger that was read is another: chain 31337" in out


def test_no_vendor_is_loaded_to_verify_without_a_ledger(folder: Path) -> None:
    script = (
        "import sys\n"
        "from docex.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    loaded = {'web3', 'aiohttp', 'sqlalchemy', 'httpx', 'pydantic'} & set(sys.modules)\n"
        "    sys.exit(f'loaded {loaded}' if loaded else end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "verify", "quality.pdf", "--proof", "proof.json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (3, "")
