"""The static analysis of the contracts fails when it should: a gate that reports nothing is worse than none."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SLITHER = ROOT / ".tools" / "slither" / "bin" / "slither"
HEAD = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A copy of the gate and of what it reads, with nothing in ``src``."""
    if not SLITHER.exists():
        pytest.skip("slither is not installed: run make tools")
    copy = tmp_path / "contracts"
    (copy / "src").mkdir(parents=True)
    for name in ("slither.sh", "solc"):
        shutil.copy(ROOT / "contracts" / name, copy)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    return copy


def gate(contracts: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(contracts / "slither.sh"), str(SLITHER)], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_contract_without_a_flaw_passes(contracts: Path) -> None:
    clean = "contract Clean {\n    function one() external pure returns (uint256) {\n        return 1;\n    }\n}\n"
    (contracts / "src" / "Clean.sol").write_text(HEAD + clean, encoding="utf-8")
    done = gate(contracts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 contracts with" in done.stdout
    assert "0 result(s) found" in done.stdout


def test_a_planted_flaw_fails(contracts: Path) -> None:
    flaw = "contract Planted {\n    function take() external {\n        payable(msg.sender).transfer(1);\n    }\n}\n"
    (contracts / "src" / "Planted.sol").write_text(HEAD + flaw, encoding="utf-8")
    done = gate(contracts)
    assert done.returncode != 0
    assert "Planted.take() (src/Planted.sol#4-6) sends eth to arbitrary user" in done.stdout


def test_a_missing_import_fails_though_nothing_is_found(contracts: Path) -> None:
    missing = 'import {Ownable} from "@openzeppelin/contracts/access/Nowhere.sol";\ncontract Lost is Ownable {}\n'
    (contracts / "src" / "Lost.sol").write_text(HEAD + missing, encoding="utf-8")
    done = gate(contracts)
    assert done.returncode == 1
    assert "Missing @openzeppelin/contracts/access/Nowhere.sol" in done.stdout
    assert done.stderr == "slither missed sources\n"


def test_sources_that_are_not_there_fail(contracts: Path) -> None:
    done = gate(contracts)
    assert done.returncode == 1
    assert done.stderr == "slither missed sources\n"
