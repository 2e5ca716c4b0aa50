"""``docex network init``: the files of a Besu QBFT network. Besu can't run here; another EVM runs their genesis."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rlp
import yaml
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from docex.core.account import format_address
from docex.errors import UsageError
from docex.ledger import consortium, consortium_files
from docex.ledger.consortium import FUNDS, Plan
from docex.ledger.process import LocalChain
from docex.ledger.rpc import Rpc
from keys.account import LocalAccount
from tests.fixtures.anvil import NewChain
from tests.unit.cli.support import Member, failure, make_member, run, tree

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
VALIDATORS = [f"validator-{number}" for number in range(1, 5)]
NODES = [*VALIDATORS, "rpc"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    folder = tmp_path / "ledger"
    result = run("network", "init", folder, "--fund", ADDRESS, "--chain-id", "20260", "--name", "steel")
    assert result.exit_code == 0, result.output
    return folder


def key_of(network: Path, name: str) -> LocalAccount:
    return LocalAccount(bytes.fromhex((network / name / "key").read_text().removeprefix("0x")))


def decoded(extra_data: str) -> list[Any]:
    value = rlp.decode(bytes.fromhex(extra_data.removeprefix("0x")))
    assert isinstance(value, list)
    return value


def composed(network: Path) -> Any:
    return yaml.safe_load((network / "compose.yaml").read_text())


def test_all_files_of_a_network_are_there_and_nothing_else(network: Path) -> None:
    per_node = ["config.toml", "data", "key"]
    expected = ["README.txt", "compose.yaml", "genesis.json", "static-nodes.json", *NODES]
    assert tree(network) == sorted([*expected, *(f"{node}/{each}" for node in NODES for each in per_node)])
    assert [each.name for each in network.parent.iterdir()] == ["ledger"]


def test_the_genesis_names_what_besu_s_documentation_demands(network: Path) -> None:
    genesis = json.loads((network / "genesis.json").read_text())
    config = genesis["config"]
    assert config["chainId"] == 20260
    assert config["qbft"] == {"blockperiodseconds": 2, "epochlength": 30000, "requesttimeoutseconds": 4}
    forks = {name: value for name, value in config.items() if name.endswith(("Block", "Time"))}
    assert set(forks.values()) == {0}
    assert forks.keys() >= {"berlinBlock", "londonBlock", "shanghaiTime", "cancunTime"}
    assert genesis["mixHash"] == "0x" + b"ctical byzantine fault tolerance".hex()
    assert (genesis["difficulty"], genesis["nonce"], genesis["baseFeePerGas"]) == ("0x1", "0x0", hex(10**9))
    assert genesis["alloc"] == {ADDRESS.lower(): {"balance": hex(FUNDS)}}
    assert "zeroBaseFee" not in config


def test_the_extra_data_lists_the_validators_and_no_vote_round_or_seal(network: Path) -> None:
    vanity, validators, vote, round_number, seals = decoded(
        json.loads((network / "genesis.json").read_text())["extraData"]
    )
    assert vanity == bytes(32)
    assert (vote, round_number, seals) == ([], b"", [])
    assert validators == sorted(bytes.fromhex(key_of(network, name).address[2:]) for name in VALIDATORS)


def test_the_extra_data_is_that_of_besu_s_documentation() -> None:
    """The example of "Configure QBFT consensus", but for the order of the validators, which nobody asks for."""
    example = (
        "f87aa00000000000000000000000000000000000000000000000000000000000000000f8549464a702e6263b7297a96638cac6ae65e6"
        "541f4169943923390ad55e90c237593b3b0e401f3b08a0318594aefdb9a738c9f433e5b6b212a6d62f6370c2f69294c7eeb9a4e00ce6"
        "83cf93039b212648e01c6c6b78c080c0"
    )
    theirs = decoded(example)
    made = consortium.extra_data([format_address(each) for each in theirs[1]])
    assert len(made) == len(example) // 2
    assert decoded(made.hex()) == [theirs[0], sorted(theirs[1]), *theirs[2:]]
    without = "e5a00000000000000000000000000000000000000000000000000000000000000000c0c080c0"
    assert consortium.extra_data([]).hex() == without


@given(st.lists(st.binary(min_size=20, max_size=20), unique=True, max_size=consortium.MAX_VALIDATORS))
def test_the_extra_data_is_read_as_it_was_written(raw: list[bytes]) -> None:
    made = consortium.extra_data([format_address(each) for each in raw])
    assert decoded(made.hex()) == [bytes(32), sorted(raw), [], b"", []]


def test_the_enodes_are_those_of_the_keys_and_the_hosts_those_of_compose(network: Path) -> None:
    enodes = json.loads((network / "static-nodes.json").read_text())
    services = composed(network)["services"]
    assert list(services) == NODES
    for name, enode in zip(NODES, enodes, strict=True):
        secret = bytes.fromhex((network / name / "key").read_text().removeprefix("0x"))
        public = PrivateKey(secret).public_key.format(compressed=False)[1:]
        assert enode == f"enode://{public.hex()}@{name}:30303?discport=0"


def test_no_two_keys_are_the_same_and_only_their_owner_may_read_them(network: Path) -> None:
    keys = [network / name / "key" for name in NODES]
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert len({path.read_text() for path in keys}) == len(NODES)


def test_only_the_transaction_node_has_an_open_rpc(network: Path) -> None:
    configs = {name: tomllib.loads((network / name / "config.toml").read_text()) for name in NODES}
    assert {name: each["rpc-http-enabled"] for name, each in configs.items()} == {
        **dict.fromkeys(VALIDATORS, False),
        "rpc": True,
    }
    assert configs["rpc"]["rpc-http-api"] == ["ETH", "NET", "WEB3"]
    assert {each["min-gas-price"] for each in configs.values()} == {0}
    services = composed(network)["services"]
    assert {name: each.get("ports") for name, each in services.items()} == {
        **dict.fromkeys(VALIDATORS),
        "rpc": ["127.0.0.1:8545:8545"],
    }


def test_what_compose_mounts_is_there_and_what_a_node_reads_is_mounted(network: Path) -> None:
    compose = composed(network)
    assert compose["name"] == "steel"
    for name, service in compose["services"].items():
        assert (service["image"], service["profiles"]) == (consortium_files.IMAGE, ["besu"])
        mounts = dict(each.removesuffix(":ro").split(":") for each in service["volumes"])
        assert all((network / source).exists() for source in mounts)
        config = tomllib.loads((network / name / "config.toml").read_text())
        reads = {value for key, value in config.items() if key.endswith(("-file", "-path"))}
        assert reads <= set(mounts.values())
        assert [source for source in mounts if source.endswith("/key")] == [f"./{name}/key"]


def test_the_read_me_says_what_was_never_run_and_how_to_deploy(network: Path) -> None:
    text = (network / "README.txt").read_text()
    assert "NOT RUN" in text
    assert "NOT RUN" in (network / "compose.yaml").read_text()
    line = "docex ledger deploy --rpc http://127.0.0.1:8545 --chain-id 20260 --keystore consortium/ -o deployment.json"
    assert line in text
    assert len(text.splitlines()) <= 20


def test_programs_get_json_without_secrets(tmp_path: Path) -> None:
    result = run("network", "init", tmp_path / "n", "--zero-base-fee", "--validators", "1", "--json")
    made = json.loads(result.stdout)
    assert (made["name"], made["folder"]) == ("docex-ledger", str(tmp_path / "n"))
    assert made["chain_id"] >= 1_000_000
    assert f"--chain-id {made['chain_id']} " in made["deploy"]
    assert [each["name"] for each in made["nodes"]] == ["validator-1", "rpc"]
    assert [each["address"] for each in made["nodes"]] == [
        key_of(tmp_path / "n", name).address for name in ("validator-1", "rpc")
    ]
    assert [each["enode"] for each in made["nodes"]] == json.loads((tmp_path / "n/static-nodes.json").read_text())
    for name in ("validator-1", "rpc"):
        assert (tmp_path / "n" / name / "key").read_text().strip()[2:] not in result.output


def test_people_get_the_addresses_and_are_warned_of_too_few_validators(tmp_path: Path) -> None:
    result = run("network", "init", tmp_path / "n", "--fund", ADDRESS, "--validators", "3")
    assert result.exit_code == 0
    for name in ("validator-3", "rpc"):
        assert f"{name:<13}{key_of(tmp_path / 'n', name).address}" in result.stdout
        assert (tmp_path / "n" / name / "key").read_text().strip()[2:] not in result.output
    assert "Besu never ran here" in result.stderr
    assert "with fewer than 4 validators" in result.stderr


def test_every_network_has_a_chain_id_of_its_own(tmp_path: Path) -> None:
    made = [json.loads(run("network", "init", tmp_path / n, "--zero-base-fee", "--json").stdout) for n in ("a", "b")]
    assert made[0]["chain_id"] != made[1]["chain_id"]


def test_free_transactions_are_said_to_besu_in_both_places(tmp_path: Path) -> None:
    run("network", "init", tmp_path / "n", "--zero-base-fee")
    genesis = json.loads((tmp_path / "n/genesis.json").read_text())
    assert (genesis["config"]["zeroBaseFee"], genesis["baseFeePerGas"], genesis["alloc"]) == (True, "0x0", {})
    assert "transactions are free" in (tmp_path / "n/README.txt").read_text()


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_network_is_never_overwritten(network: Path) -> None:
    before = {path: path.read_bytes() for path in network.rglob("*") if path.is_file()}
    message = failure(run("network", "init", network, "--fund", ADDRESS), "conflict")
    assert message == f"{network} is there already: a network is never written over another one's keys"
    assert {path: path.read_bytes() for path in network.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_what_is_no_folder_is_left_alone(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "n"
    target.write_text("mine") if kind == "file" else target.symlink_to("nowhere")
    failure(run("network", "init", target, "--fund", ADDRESS), "conflict")
    assert tree(tmp_path) == ["n"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    assert run("network", "init", tmp_path / "n", "--fund", ADDRESS).exit_code == 0
    assert (tmp_path / "n/genesis.json").exists()


def test_a_failure_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> str:
        raise OSError(28, "No space left on device", name)

    monkeypatch.setattr(consortium_files, "node_config", full)
    assert "No space left" in failure(run("network", "init", tmp_path / "n", "--fund", ADDRESS), "io_error")
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nobody could pay for a transaction"),
        (["--fund", "0x12"], "not an address"),
        (["--fund", ADDRESS.replace("A", "a")], "does not match its checksum"),
        (["--fund", ADDRESS, "--fund", ADDRESS.lower()], "named twice"),
        (["--fund", ADDRESS, "--validators", "0"], "1 to 32 validators"),
        (["--fund", ADDRESS, "--validators", "33"], "1 to 32 validators"),
        (["--fund", ADDRESS, "--chain-id", "0"], "a chain id is a whole number"),
        (["--fund", ADDRESS, "--chain-id", str(2**63)], "a chain id is a whole number"),
        (["--fund", ADDRESS, "--name", "Not a name"], "lowercase letters"),
        (["--fund", ADDRESS, "--name", "a: b"], "lowercase letters"),
    ],
)
def test_what_makes_no_network_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    assert message in failure(run("network", "init", tmp_path / "n", *arguments), "usage", 2)
    assert tree(tmp_path) == []


def test_a_plan_knows_an_account_by_its_bytes() -> None:
    with pytest.raises(UsageError, match="named twice"):
        Plan("n", 1, funded=(ADDRESS, ADDRESS.lower()))


def test_a_node_key_does_not_show_its_secret() -> None:
    (node, _) = consortium.new_nodes(1)
    assert node.secret.hex() not in repr(node)
    assert str(node.secret) not in repr(node)


@pytest.mark.parametrize(("validators", "tolerated"), [(1, 0), (3, 0), (4, 1), (6, 1), (7, 2)])
def test_fewer_than_a_third_may_fail(validators: int, tolerated: int) -> None:
    assert Plan("n", 1, validators, zero_base_fee=True).tolerated == tolerated


# --- on a real EVM --------------------------------------------------------------------------------------------------


@pytest.fixture
def consortium_member(tmp_path: Path) -> Member:
    return make_member(tmp_path, "consortium")


async def head(url: str) -> Any:
    async with Rpc(url) as rpc:
        return await rpc.call("eth_getBlockByNumber", "0x0", False)


@pytest.mark.parametrize("zero_base_fee", [False, True])
def test_the_contracts_are_deployed_on_a_chain_that_starts_from_the_genesis(
    zero_base_fee: bool, new_chain: NewChain, consortium_member: Member, tmp_path: Path
) -> None:
    """Up to consensus the genesis is that of any EVM chain, and anvil reads it: chain id, fees, funds and forks."""
    # Funded in both: anvil asks for a tip even where the base fee is 0, which Besu does not.
    free = ["--zero-base-fee"] if zero_base_fee else []
    run("network", "init", tmp_path / "n", "--chain-id", "20260", "--fund", consortium_member.public["address"], *free)
    genesis = tmp_path / "n/genesis.json"
    # anvil takes its own chain id from its command line: what else the genesis says is seen in the block.
    chain = new_chain("--init", str(genesis), "--hardfork", "cancun", chain_id=20260)
    block = asyncio.run(head(chain.url))
    wanted = json.loads(genesis.read_text())
    assert {name: block[name] for name in ("timestamp", "gasLimit", "baseFeePerGas")} == {
        name: wanted[name] for name in ("timestamp", "gasLimit", "baseFeePerGas")
    }
    record = tmp_path / "deployment.json"
    deploy = ("ledger", "deploy", "--rpc", chain.url, "--chain-id", "20260", "--keystore", consortium_member.keystore)
    result = run(*deploy, "-o", record, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(record.read_text())
    assert json.loads(result.stdout)["chain_id"] == 20260


# --- `docex ledger deploy` on what is no such chain -----------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """A web server that is no ledger node."""

    status, body, kind = 200, b"<html>Welcome!</html>", "text/html"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.send_header("content-type", self.kind)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def answering(status: int, body: bytes, kind: str) -> Iterator[str]:
    handler = type("Handler", (Answers,), {"status": status, "body": body, "kind": kind})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def deployed_at(url: str, member: Member, folder: Path, *more: str) -> Result:
    return run("ledger", "deploy", "--rpc", url, "--keystore", member.keystore, "-o", folder / "d.json", *more)


def test_deploying_to_another_chain_than_named_is_refused(
    anvil: LocalChain, consortium_member: Member, tmp_path: Path
) -> None:
    result = deployed_at(anvil.url, consortium_member, tmp_path, "--chain-id", "5")
    assert failure(result, "ledger_error") == f"{anvil.url} serves chain 31337, not 5: nothing was deployed"
    assert not (tmp_path / "d.json").exists()


def test_deploying_without_coins_says_which_account_lacks_how_many(
    anvil: LocalChain, consortium_member: Member, tmp_path: Path
) -> None:
    result = deployed_at(anvil.url, consortium_member, tmp_path, "--chain-id", "31337")
    address = consortium_member.public["address"]
    assert failure(result, "ledger_rejected").startswith(f"the account {address} has 0 wei, the transaction may take ")


def test_deploying_where_nothing_listens_says_so(consortium_member: Member, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    message = failure(deployed_at(url, consortium_member, tmp_path), "ledger_unavailable")
    assert message.startswith(f"the ledger node {url} did not answer (ClientConnectorError: ")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>Welcome!</html>", "text/html"),
        (200, b"[]", "application/json"),
        (200, b"{}", "application/json"),
        (404, b"not here", "text/plain"),
        (401, b'{"error": "who are you"}', "application/json"),
    ],
)
def test_deploying_to_a_url_that_is_no_ledger_node_says_so(
    status: int, body: bytes, kind: str, consortium_member: Member, tmp_path: Path
) -> None:
    with answering(status, body, kind) as url:
        message = failure(deployed_at(url, consortium_member, tmp_path), "ledger_unavailable")
    assert message.startswith(f"the ledger node {url} did not answer (")
    assert not (tmp_path / "d.json").exists()


def test_deploying_to_what_is_no_http_url_is_a_usage_error(consortium_member: Member, tmp_path: Path) -> None:
    result = deployed_at("ws://127.0.0.1:1", consortium_member, tmp_path)
    assert "must start with http:// or https://" in failure(result, "usage", 2)
