"""Compile the contracts with the pinned solc into the committed artifacts, or check them.

Usage: compile_contracts.py [--check]

Writes `docex/ledger/artifacts/<Contract>.json` with the ABI, both bytecodes, the storage layout
and the SHA-256 digest of every source that went in. The same sources give the same bytes: the
compiler is pinned, the bytecode carries no metadata, and everything that depends on the
compiler's numbering is left out. `--check` writes nothing and exits 1, naming what differs, if a
committed artifact is not what comes out.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / "contracts"
MODULES = ROOT / "node_modules"
ARTIFACTS = ROOT / "docex" / "ledger" / "artifacts"
NAMES = ("Directory", "Notary", "Assets")
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 10_000},
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
}
OUTPUTS = ["abi", "metadata", "storageLayout", "evm.bytecode.object", "evm.deployedBytecode.object"]


class CompileError(Exception):
    """The contracts did not compile; the message carries the compiler's words."""


def compile_contracts() -> dict[str, str]:
    """Compile and return the text of each artifact by contract name.

    Raises CompileError on any compiler error or warning.
    """
    own = {f"src/{name}.sol": {"content": _read(f"src/{name}.sol")} for name in _own_sources()}
    selection = {f"src/{name}.sol": {name: OUTPUTS} for name in NAMES}
    output = _solc(
        {
            "language": "Solidity",
            "sources": own,
            "settings": SETTINGS | {"outputSelection": selection},
        }
    )
    return {name: _artifact(name, output["contracts"][f"src/{name}.sol"][name]) for name in NAMES}


def _own_sources() -> list[str]:
    source = CONTRACTS / "src"
    return sorted(str(path.relative_to(source).with_suffix("")) for path in source.rglob("*.sol"))


def _read(name: str) -> str:
    """A source by its compiler name: ours lie under contracts/, the others in node_modules."""
    base = CONTRACTS if name.startswith("src/") else MODULES
    return (base / name).read_text(encoding="utf-8")


def _solc(request: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", str(CONTRACTS / "solc"), "--standard-json"],
        input=json.dumps(request),
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CompileError(done.stderr.strip() or f"solc exited {done.returncode}")
    output: dict[str, Any] = json.loads(done.stdout)
    if messages := [error["formattedMessage"] for error in output.get("errors", [])]:
        raise CompileError("\n".join(messages))
    return output


def _artifact(name: str, compiled: dict[str, Any]) -> str:
    metadata = json.loads(compiled["metadata"])
    sources = {
        source: "sha256:" + hashlib.sha256(_read(source).encode()).hexdigest() for source in sorted(metadata["sources"])
    }
    listing = json.dumps(sources, sort_keys=True, separators=(",", ":"))
    artifact = {
        "contractName": name,
        "compiler": {
            "name": "solc",
            "version": metadata["compiler"]["version"],
            "settings": SETTINGS,
        },
        "sourceHash": "sha256:" + hashlib.sha256(listing.encode()).hexdigest(),
        "sources": sources,
        "storageLayout": _without_numbering(compiled["storageLayout"]),
        "abi": compiled["abi"],
        "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
    }
    return json.dumps(artifact, indent=2) + "\n"


def _without_numbering(layout: dict[str, Any]) -> Any:
    """The storage layout without AST numbers, which change when an unrelated source does."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {strip(key): strip(item) for key, item in value.items() if key != "astId"}
        if isinstance(value, list):
            return [strip(item) for item in value]
        if isinstance(value, str):
            return re.sub(r"(t_(?:struct|enum|contract)\(\w+\))\d+", r"\1", value)
        return value

    return strip(layout)


def _difference(name: str, expected: str) -> str:
    """A short unified diff of a committed artifact against what compiling gives, empty if equal."""
    path = ARTIFACTS / f"{name}.json"
    committed = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(
        committed.splitlines(),
        expected.splitlines(),
        f"{path.relative_to(ROOT)} (committed)",
        f"{path.relative_to(ROOT)} (compiled)",
        n=0,
        lineterm="",
    )
    return "\n".join(line if len(line) <= 160 else line[:157] + "..." for line in lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    check = parser.parse_args(arguments).check
    try:
        artifacts = compile_contracts()
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    differences = [diff for name, text in artifacts.items() if (diff := _difference(name, text))]
    if check and differences:
        print("\n".join(differences), file=sys.stderr)
        print(
            "The committed artifacts are not what the sources compile to:"
            " run scripts/compile_contracts.py and commit the result.",
            file=sys.stderr,
        )
        return 1
    if not check:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        for name, text in artifacts.items():
            (ARTIFACTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{', '.join(artifacts)}: " + ("current" if not differences else "written"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
