"""Gas a document: the Notary beside OpenAttestation's document-store and EAS, all on one anvil.

    python -m benchmarks.ledger

The peers are the bytecode in their npm packages (`benchmarks/peers`, installed here with `npm ci --ignore-scripts`).
Every figure is `gasUsed` of transaction receipts, summed and divided by the documents: the 21,000 of a transaction, its
calldata, log, storage and every check of the caller are in it, deployment and set-up are not. All storage is fresh: no
digest or root is written twice. Digests are SHA-256, so that calldata has the zero bytes that digests have.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from docex.core import merkle
from docex.ledger.contracts import load
from docex.ledger.process import LocalChain

PEERS = Path(__file__).parent / "peers"
MODULES = PEERS / "node_modules"
SIZES = (1, 100, 1_000, 10_000)
ROUNDS = {1: 100, 100: 3, 1_000: 1, 10_000: 1}
"""How often each size is measured, for the mean: one zero byte more or less in a digest is 12 to 30 gas."""
SINGLES = 100
MOST_GAS = 1 << 24
"""EIP-7825: no transaction may use more since the Osaka fork."""
IN_BULK = 500
"""Documents in one transaction that writes one slot for each: what fits under MOST_GAS, rounded down."""
GOVTECH, TRADETRUST, TRUSTVC = "@govtechsg/document-store", "@tradetrust-tt/document-store", "@trustvc/document-store"
EAS = "@ethereum-attestation-service/eas-contracts"
STORES = {
    GOVTECH: "dist/contracts/factories/contracts/DocumentStore__factory.js",
    TRADETRUST: "dist/contracts/factories/DocumentStore__factory.js",
    TRUSTVC: "index.js",
}
ATTEST = "attest((bytes32,(address,uint64,bool,bytes32,bytes,uint256)))"
NOBODY = "0x" + "00" * 20


def call(signature: str, *arguments: object) -> bytes:
    """Call data for ``name(types)``."""
    from eth_utils.abi import function_signature_to_4byte_selector

    return function_signature_to_4byte_selector(signature) + encoded(signature[signature.index("(") :], *arguments)


def encoded(types: str, *arguments: object) -> bytes:
    """Arguments by the ABI; ``types`` in brackets."""
    from eth_abi.abi import encode
    from eth_abi.grammar import parse

    return encode([component.to_type_str() for component in parse(types).components], arguments)


class Chain:
    """Sends transactions of anvil's own accounts and reads their receipts: bare JSON-RPC, since parsing 500 logs a
    receipt into objects takes longer than making them."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60.0, trust_env=False)
        self.accounts: Sequence[str] = self._rpc("eth_accounts")
        self.client = self._rpc("web3_clientVersion").split("-")[0]
        self.fork = self._rpc("anvil_nodeInfo")["hardFork"]

    def _rpc(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._http.post("/", json=request).json()
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    def send(self, sender: str, to: str | None, data: bytes) -> Any:
        """The transaction receipt. Ends the benchmark when the transaction failed."""
        request = {"from": sender, "data": "0x" + data.hex(), "gas": hex(MOST_GAS)}
        sent = self._rpc("eth_sendTransaction", request | ({} if to is None else {"to": to}))
        while (receipt := self._rpc("eth_getTransactionReceipt", sent)) is None:
            time.sleep(0.002)
        if int(receipt["status"], 16) != 1:
            raise SystemExit(f"a transaction to {to} failed: {data[:4].hex()}")
        return receipt

    def deploy(self, sender: str, data: bytes) -> str:
        return str(self.send(sender, None, data)["contractAddress"])


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get documents onto the chain.

    ``data``: the call for the digests of one transaction. ``most``: documents that one transaction takes, None for any
    number. ``logs_each``: the contract writes a log (and so a slot) for each document, not one for all.
    """

    name: str
    sender: str
    contract: str
    data: Callable[[Sequence[bytes]], bytes]
    most: int | None = 1
    logs_each: bool = False


def per_document(chain: Chain, way: Way, digests: Iterator[bytes], size: int) -> float:
    """Gas a document for a batch of ``size`` fresh documents."""
    used = 0
    for start in range(0, size, way.most or size):
        part = list(itertools.islice(digests, min(way.most or size, size - start)))
        receipt = chain.send(way.sender, way.contract, way.data(part))
        if len(receipt["logs"]) != (len(part) if way.logs_each else 1):
            raise SystemExit(f"{way.name} wrote {len(receipt['logs'])} logs for {len(part)} documents")
        used += int(receipt["gasUsed"], 16)
    return used / size


def measured(chain: Chain, way: Way, digests: Iterator[bytes]) -> list[float]:
    """Gas a document for each of SIZES.

    What needs many transactions for a batch costs the same for ten times the batch, so that is not sent.
    """
    if way.most == 1:
        return [per_document(chain, way, digests, SINGLES)] * len(SIZES)
    means: list[float] = []
    for size in SIZES:
        if way.most is not None and size > 2 * way.most:
            means.append(means[-1])
            continue
        rounds = [per_document(chain, way, digests, size) for _ in range(ROUNDS[size])]
        means.append(sum(rounds) / len(rounds))
    return means


def root_of(digests: Sequence[bytes]) -> bytes:
    return merkle.root(map(merkle.leaf_hash, digests))


def install_peers() -> None:
    """`npm ci` in `benchmarks/peers` unless what is there is of this lock file. No package's script runs."""
    installed, lock = MODULES / ".package-lock.json", PEERS / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise SystemExit("npm was not found: run make install")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--silent"]
    subprocess.run(command, cwd=PEERS, env={**os.environ, "PATH": path}, check=True)


def version(package: str) -> str:
    return str(json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))["version"])


def store_bytecode(package: str) -> bytes:
    """The DocumentStore that a package publishes: the file's only bytecode, in a bundle the last before its class."""
    source = (MODULES / package / STORES[package]).read_text(encoding="utf-8")
    found = list(re.finditer(r'"0x([0-9a-f]{1000,})"', source))
    if len(found) > 1:
        found = [match for match in found if match.start() < source.index("class DocumentStore__factory ")]
    return bytes.fromhex(found[-1][1])


def eas_bytecode(name: str) -> bytes:
    artifact = MODULES / EAS / "artifacts" / "contracts" / f"{name}.sol" / f"{name}.json"
    return bytes.fromhex(json.loads(artifact.read_text(encoding="utf-8"))["bytecode"][2:])


def our_ways(chain: Chain) -> Iterator[Way]:
    """Directory and Notary as `docex ledger deploy` makes them, and one member."""
    consortium, member = chain.accounts[:2]
    directory, notary = load("Directory"), load("Notary")
    members = chain.deploy(consortium, directory.creation(consortium))
    contract = chain.deploy(consortium, notary.creation(members))
    chain.send(consortium, members, directory.encode("admit", member, "Mine AG"))
    yield Way(
        "**docex** `anchor`, one for each batch",
        member,
        contract,
        lambda part: notary.encode("anchor", root_of(part), len(part)),
        most=None,
    )
    yield Way("**docex** `anchor`, one for each", member, contract, lambda part: notary.encode("anchor", part[0], 1))


def store_ways(chain: Chain, package: str) -> Iterator[Way]:
    """A DocumentStore with the issuer as owner, as the package's own factory makes it (no proxy)."""
    issuer = chain.accounts[2]
    creation = store_bytecode(package) + encoded("(string,address)", "Mine AG", issuer)
    contract = chain.deploy(issuer, creation)
    name = f"`{package}` {version(package)}"

    def issue(digest: bytes) -> bytes:
        return call("issue(bytes32)", digest)

    def bulk_issue(part: Sequence[bytes]) -> bytes:
        return call("bulkIssue(bytes32[])", part)

    def multicall(part: Sequence[bytes]) -> bytes:
        return call("multicall(bytes[])", [issue(digest) for digest in part])

    # The newest of the packages dropped `bulkIssue` for a multicall.
    bulk_name, bulk = ("multicall", multicall) if package == TRUSTVC else ("bulkIssue", bulk_issue)
    yield Way(f"{name} `issue`", issuer, contract, lambda part: issue(part[0]))
    yield Way(f"{name} `{bulk_name}`", issuer, contract, bulk, most=IN_BULK, logs_each=True)
    yield Way(f"{name} `issue` of a root", issuer, contract, lambda part: issue(root_of(part)), most=None)


def eas_ways(chain: Chain) -> Iterator[Way]:
    """EAS and its registry, with the schema that carries what an anchor does: one digest, revocable, no resolver."""
    issuer = chain.accounts[3]
    registry = chain.deploy(issuer, eas_bytecode("SchemaRegistry"))
    contract = chain.deploy(issuer, eas_bytecode("EAS") + encoded("(address)", registry))
    register = call("register(string,address,bool)", "bytes32 digest", NOBODY, True)
    schema = bytes.fromhex(chain.send(issuer, registry, register)["logs"][0]["topics"][1][2:])
    name = f"EAS {version(EAS)}"

    def attest(part: Sequence[bytes]) -> bytes:
        return call(ATTEST, (schema, (NOBODY, 0, True, bytes(32), part[0], 0)))

    yield Way(f"{name} `attest`", issuer, contract, attest)
    many = "multiTimestamp(bytes32[])"
    yield Way(f"{name} `multiTimestamp`", issuer, contract, lambda part: call(many, part), IN_BULK, logs_each=True)
    stamp = "timestamp(bytes32)"
    yield Way(f"{name} `timestamp` of a root", issuer, contract, lambda part: call(stamp, root_of(part)), most=None)


def inclusion(chain: Chain, way: Way, digests: Iterator[bytes]) -> tuple[int, int]:
    """Gas of a transaction that verifies a statement among 1,000 on-chain, and how much of it is the contract's."""
    batch = list(itertools.islice(digests, 1_000))
    tree = merkle.Tree(map(merkle.leaf_hash, batch))
    chain.send(way.sender, way.contract, way.data(batch))
    case = (way.sender, tree.root, 1_000, 333, batch[333], tree.inclusion_path(333))
    data = load("Notary").encode("verify", *case)
    used = int(chain.send(way.sender, way.contract, data)["gasUsed"], 16)
    return used, used - 21_000 - sum(16 if byte else 4 for byte in data)


def print_table(rows: dict[str, list[float]]) -> None:
    """The figures, and how many times ours each is at either end."""
    ours = next(iter(rows.values()))
    heads = ["gas a document, in batches of", *(f"{size:,}" for size in SIZES), "x docex at 1", "x docex at 10,000"]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for name, gas in rows.items():
        ratios = [f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.0f}" for ratio in (gas[0] / ours[0], gas[-1] / ours[-1])]
        print("| " + " | ".join([name, *(shown(value) for value in gas), *ratios]) + " |")


def shown(gas: float) -> str:
    return f"{gas:,.1f}" if gas < 1_000 else f"{gas:,.0f}"


def print_goals(rows: dict[str, list[float]]) -> None:
    """Each goal with its figure, and whether it is met."""
    ours = next(iter(rows.values()))
    goals = [
        (f"1,000 in a batch: {ours[2]:.1f} gas a document, under 75", ours[2] < 75),
        (f"10,000 in a batch: {ours[3]:.2f} gas a document, under 8", ours[3] < 8),
    ]
    for name, gas in rows.items():
        ratio = ours[0] / gas[0]
        if name.endswith("`issue`"):
            goals.append((f"a single anchor: {ratio:.3f} times {name}, at most 1.1", ratio <= 1.1))
        elif name.endswith("`attest`"):
            goals.append((f"a single anchor: {ratio:.3f} times {name}, less than 1", ratio < 1))
    for text, met in goals:
        print(f"- {text}: {'met' if met else '**not met**'}")


def main() -> None:
    """Prints the table and the goals."""
    install_peers()
    digests = (hashlib.sha256(f"document {number}".encode()).digest() for number in itertools.count())
    with LocalChain() as local:
        chain = Chain(local.url)
        ways = [*our_ways(chain), *itertools.chain(*(store_ways(chain, each) for each in STORES)), *eas_ways(chain)]
        print(f"Gas used by transactions on {chain.client}, fork {chain.fork}\n", flush=True)
        rows = {way.name: measured(chain, way, digests) for way in ways}
        whole, own = inclusion(chain, ways[0], digests)
    print_table(rows)
    print(f"\nVerifying a statement among 1,000 on-chain: {whole:,}, {own:,} of it beside the 21,000 and calldata.\n")
    print_goals(rows)


if __name__ == "__main__":
    main()
