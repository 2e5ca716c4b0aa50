"""The files of a consortium's Besu nodes, written all together or not at all. See `docex.ledger.consortium`.

They were checked against Besu's documentation and source, never run by Besu: `README.txt` says so to whoever uses them.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docex.errors import Conflict
from docex.ledger.consortium import BLOCK_SECONDS, P2P_PORT, RPC_NODE, RPC_PORT, NodeKey, Plan, genesis, new_nodes

IMAGE: Final = "hyperledger/besu:26.9.0"
"""By its tag only: its digest could not be looked up where this was written."""
_IMAGE_USER: Final = 1000
_SHARED: Final = ("genesis.json", "static-nodes.json")


@dataclass(frozen=True, slots=True)
class PublicNode:
    """What others may know of a node."""

    name: str
    address: str
    enode: str


def write_network(folder: Path, plan: Plan, time: int) -> tuple[PublicNode, ...]:
    """Makes keys and writes all files of a network to a new (or empty) folder; the validators, then the RPC node.

    ``time``: Unix seconds of the first block. Whatever goes wrong, the folder is whole or as it was.

    Raises Conflict when there is something in the folder, OSError when it can't be written.
    """
    folder = folder.absolute()
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise Conflict(f"{folder} is there already: a network is never written over another one's keys")
    nodes = new_nodes(plan.validators)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(temporary, plan, nodes, time)
        temporary.chmod(0o755)
        # Takes the place of an empty folder in one step; of one that somebody has filled meanwhile, never.
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return tuple(PublicNode(each.name, each.address, each.enode) for each in nodes)


def deploy_command(plan: Plan) -> str:
    """How to deploy the contracts once the network runs, as the funded account's owner."""
    url = f"http://127.0.0.1:{RPC_PORT}"
    return f"docex ledger deploy --rpc {url} --chain-id {plan.chain_id} --keystore consortium/ -o deployment.json"


def _write(folder: Path, plan: Plan, nodes: Sequence[NodeKey], time: int) -> None:
    validators = [each.address for each in nodes if each.name != RPC_NODE]
    _text(folder / "genesis.json", _json(genesis(plan, validators, time)))
    _text(folder / "static-nodes.json", _json([each.enode for each in nodes]))
    _text(folder / "compose.yaml", compose_file(plan, [each.name for each in nodes]))
    _text(folder / "README.txt", read_me(plan))
    for node in nodes:
        own = folder / node.name
        (own / "data").mkdir(parents=True)
        _text(own / "config.toml", node_config(node.name))
        _text(own / "key", "0x" + node.secret.hex() + "\n", 0o600)


def _text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a new file that has had its mode from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def node_config(name: str) -> str:
    """A node's settings (TOML), each key an option of Besu's command line."""
    lines = [
        'data-path="/data"',
        'genesis-file="/config/genesis.json"',
        'node-private-key-file="/config/key"',
        'static-nodes-file="/config/static-nodes.json"',
        "discovery-enabled=false",
        'p2p-host="0.0.0.0"',
        f"p2p-port={P2P_PORT}",
        'nat-method="NONE"',
        "# Peers are named by their host names, which may not resolve yet while all are starting.",
        "Xdns-enabled=true",
        "Xdns-update-enabled=true",
        'sync-mode="FULL"',
        "# The base fee goes down to 7 wei: the default minimum of 1000 would silently drop transactions.",
        "min-gas-price=0",
    ]
    if name != RPC_NODE:
        return "\n".join([*lines, "rpc-http-enabled=false"]) + "\n"
    return "\n".join([*lines, *_RPC]) + "\n"


_RPC: Final = (
    "rpc-http-enabled=true",
    'rpc-http-host="0.0.0.0"',
    f"rpc-http-port={RPC_PORT}",
    'rpc-http-api=["ETH", "NET", "WEB3"]',
    "# Names that callers may use for this node: an answer to DNS rebinding, no access control.",
    f'host-allowlist=["localhost", "127.0.0.1", "{RPC_NODE}"]',
)


def compose_file(plan: Plan, nodes: Sequence[str]) -> str:
    """The compose file, profile ``besu``. Only the RPC node has a port on the machine, on its loopback interface."""
    services = "\n".join(_service(name) for name in nodes)
    return f"""\
# The ledger of {plan.name}: start it with `docker compose --profile besu up -d`. See README.txt.
# NOT RUN where it was written: there was no container engine. The image is pinned by its tag; pin its digest, too.
name: {plan.name}

x-besu: &besu
  image: {IMAGE}
  profiles: [besu]
  # Who may read the key files (mode 0600).
  user: "{os.getuid() or _IMAGE_USER}:{os.getgid() or _IMAGE_USER}"
  command: ["--config-file=/config/config.toml"]
  restart: unless-stopped

services:
{services}"""


def _service(name: str) -> str:
    mounts = [f"./{shared}:/config/{shared}:ro" for shared in _SHARED]
    mounts += [f"./{name}/{own}:/config/{own}:ro" for own in ("config.toml", "key")]
    mounts.append(f"./{name}/data:/data")
    lines = [f"  {name}:", "    <<: *besu"]
    if name == RPC_NODE:
        lines.append(f'    ports: ["127.0.0.1:{RPC_PORT}:{RPC_PORT}"]')
    lines += ["    volumes:", *(f"      - {each}" for each in mounts)]
    return "\n".join(lines) + "\n"


def read_me(plan: Plan) -> str:
    """How to start the network, and what of it was never tried."""
    fees = "its base fee is 0: transactions are free" if plan.zero_base_fee else "transactions cost coins (EIP-1559)"
    return f"""\
{plan.name}: a ledger of your own. Chain id {plan.chain_id}, a block every {BLOCK_SECONDS} seconds; {fees}.
{plan.validators} validators agree by QBFT; {plan.tolerated} of them may fail. A block is final at once.

NOT RUN: these files follow Besu's documentation, and their genesis was tried on another EVM (anvil). Besu itself,
the consensus and compose.yaml never ran where they were written: there was no container engine. Try them first.
The image {IMAGE} is pinned by its tag; look up its digest and pin that, too.

1. The files must belong to the user that compose.yaml names. If root made them: chown -R {_IMAGE_USER}:{_IMAGE_USER} .
2. docker compose --profile besu up -d
3. docker compose --profile besu logs -f {RPC_NODE}
   Wait until it reports new blocks. Its RPC is http://127.0.0.1:{RPC_PORT}, on this machine only.
4. {deploy_command(plan)}
   The keystore's account has to be able to pay; it becomes the consortium that admits members.

Each folder validator-N/ and {RPC_NODE}/ is one node: its key, its settings, its data. For real use, move each
validator to the machine of the member that runs it, put the hosts' names into static-nodes.json on all of them
(the same file everywhere, like genesis.json), open port {P2P_PORT} between them, and delete the keys here.
A key file is a validator's voice: mode 0600, no copies. It can't be changed without a vote of the validators.
"""
