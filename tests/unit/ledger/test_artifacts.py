"""The contracts' own tests, and that the committed artifacts and vectors are what their sources say."""

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract
from web3.types import TxReceipt

from docex.ledger.process import LocalChain

ROOT = Path(__file__).parents[3]
FORGE = ROOT / "node_modules" / ".bin" / "forge"
VECTORS = ROOT / "tests" / "vectors" / "ledger"


def load(path: str) -> ModuleType:
    """A script as a module, though its folder is no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def artifact(name: str) -> dict[str, Any]:
    text = (ROOT / "docex" / "ledger" / "artifacts" / f"{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.fixture(scope="module")
def compiler() -> ModuleType:
    if not (ROOT / "node_modules" / "solc").is_dir():
        pytest.skip("the pinned solc is not installed: run make install")
    return load("scripts/compile_contracts.py")


@pytest.fixture(scope="module")
def compiled(compiler: ModuleType) -> dict[str, str]:
    texts: dict[str, str] = compiler.compile_contracts()
    return texts


def forge(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not FORGE.exists():
        pytest.skip("forge is not installed: run make install")
    return subprocess.run(
        [str(FORGE), *arguments], cwd=ROOT / "contracts", capture_output=True, text=True, check=False, timeout=170
    )


# Artifacts


@pytest.mark.parametrize("name", ["Directory", "Notary", "Assets"])
def test_the_committed_artifact_is_what_the_sources_compile_to(compiled: dict[str, str], name: str) -> None:
    committed = (ROOT / "docex" / "ledger" / "artifacts" / f"{name}.json").read_text(encoding="utf-8")
    assert committed == compiled[name]


def test_check_names_what_differs_and_writes_nothing(
    compiler: ModuleType,
    compiled: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "artifacts"
    monkeypatch.setattr(compiler, "ROOT", tmp_path)
    monkeypatch.setattr(compiler, "ARTIFACTS", folder)
    monkeypatch.setattr(compiler, "compile_contracts", lambda: compiled)
    assert compiler.main(["--check"]) == 1
    assert not folder.exists()
    assert compiler.main([]) == 0
    assert compiler.main(["--check"]) == 0
    edited = (folder / "Notary.json").read_text(encoding="utf-8").replace('"AlreadyAnchored"', '"Anything"')
    (folder / "Notary.json").write_text(edited, encoding="utf-8")
    capsys.readouterr()
    assert compiler.main(["--check"]) == 1
    assert '-      "name": "Anything"' in capsys.readouterr().err
    assert (folder / "Notary.json").read_text(encoding="utf-8") == edited


def test_a_compiler_error_or_warning_is_reported(
    compiler: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiler, "_read", lambda name: "// no licence, no pragma\ncontract C {}")
    assert compiler.main(["--check"]) == 1
    assert "SPDX license identifier not provided" in capsys.readouterr().err


def test_the_storage_that_proofs_rest_on_stays_where_it_is() -> None:
    def slots(name: str) -> dict[str, str]:
        return {entry["label"]: entry["slot"] for entry in artifact(name)["storageLayout"]["storage"]}

    assert slots("Notary") == {"_anchors": "0", "_revocations": "1"}
    assert slots("Directory") == {
        "_owner": "0",
        "_pendingOwner": "1",
        "_members": "2",
        "_periods": "3",
        "_keys": "4",
        "_keyIds": "5",
        "_accounts": "6",
    }


# Forge. Its tests share a build folder, which two at once would spoil: those of a file run one after the other.


def test_every_forge_test_passes() -> None:
    done = forge("test", "--json")
    assert done.returncode == 0, forge("test").stdout
    results = [result for suite in json.loads(done.stdout).values() for result in suite["test_results"].values()]
    assert len(results) >= 136
    assert {result["status"] for result in results} == {"Success"}


def test_the_gas_snapshot_is_current() -> None:
    done = forge("snapshot", "--match-contract", "GasTest", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_solidity_sources_are_formatted() -> None:
    done = forge("fmt", "--check")
    assert done.returncode == 0, done.stdout


# Vectors


def test_the_vectors_are_what_the_recursive_definitions_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("contracts/make_vectors.py").main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_vector_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = load("contracts/make_vectors.py")
    monkeypatch.setattr(maker, "TARGET", tmp_path)
    assert maker.main([]) == 0
    (tmp_path / "roots.json").write_text("{}", encoding="utf-8")
    assert maker.main(["--check"]) == 1
    assert capsys.readouterr().err == "not what contracts/make_vectors.py writes: roots.json\n"


# A real node


class Deployed:
    """Both contracts on a real chain, and one member."""

    def __init__(self, url: str) -> None:
        self.web3 = Web3(Web3.HTTPProvider(url))
        accounts: list[ChecksumAddress] = list(self.web3.eth.accounts)
        self.consortium, self.member = accounts[7], accounts[8]
        self.directory = self._deploy("Directory", self.consortium)
        self.notary = self._deploy("Notary", self.directory.address)
        self.send(self.directory.functions.admit(self.member, "Mine AG"), self.consortium)

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        built = artifact(name)
        factory = self.web3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
        receipt = self.send(factory.constructor(*arguments), self.consortium)
        return factory(receipt["contractAddress"])

    def send(self, call: Any, sender: ChecksumAddress) -> TxReceipt:
        return self.web3.eth.wait_for_transaction_receipt(call.transact({"from": sender}))


@pytest.fixture(scope="module")
def deployed(anvil: LocalChain) -> Deployed:
    return Deployed(anvil.url)


def test_an_anchor_costs_at_most_52_000_gas(deployed: Deployed) -> None:
    # A root without a zero byte: the dearest calldata there is.
    receipt = deployed.send(deployed.notary.functions.anchor(b"\xff" * 32, 2**64 - 1), deployed.member)
    assert receipt["gasUsed"] <= 52_000
    assert len(receipt["logs"]) == 1


def test_the_chain_verifies_a_leaf_among_a_thousand(deployed: Deployed) -> None:
    cases = json.loads((VECTORS / "inclusion-valid.json").read_text(encoding="utf-8"))["cases"]
    case = next(case for case in cases if case["name"] == "leaf 333 of 1000")
    receipt = deployed.send(deployed.notary.functions.anchor(case["root"], 1000), deployed.member)
    call = deployed.notary.functions.verify(deployed.member, case["root"], 1000, 333, case["digest"], case["path"])
    block, time = call.call()
    assert block == receipt["blockNumber"]
    assert time == deployed.web3.eth.get_block(block)["timestamp"]
    assert call.estimate_gas() < 45_000


def test_the_slots_of_the_vectors_are_the_slots_of_the_compiled_layout(deployed: Deployed) -> None:
    maker = load("contracts/make_vectors.py")
    root = b"\x5a" * 32
    receipt = deployed.send(deployed.notary.functions.anchor(root, 3), deployed.member)
    block = deployed.web3.eth.get_block(receipt["blockNumber"])
    slot = maker.slot_in(0, bytes.fromhex(deployed.member[2:]), root, 3)
    value = deployed.web3.eth.get_storage_at(deployed.notary.address, int.from_bytes(slot, "big"))
    assert int.from_bytes(value, "big") == receipt["blockNumber"] | block["timestamp"] << 64


def test_the_deployed_bytecode_is_the_artifacts(deployed: Deployed) -> None:
    code = deployed.web3.eth.get_code(deployed.directory.address)
    assert "0x" + code.hex() == artifact("Directory")["deployedBytecode"]
