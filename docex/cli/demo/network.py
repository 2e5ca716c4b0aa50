"""The demo's network: a chain, a consortium, and four members with a node each, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from docex.cli.client import NodeClient, connect
from docex.cli.demo.steps import Steps
from docex.core.jwk import canonical
from docex.core.ledger_types import Deployment, KeyUse
from docex.errors import NodeUnavailable
from docex.ledger.deploy import deploy
from docex.ledger.directory import DirectoryClient
from docex.ledger.funding import anvil_set_balance
from docex.ledger.process import CHAIN_ID, LocalChain, bound_to_parent
from docex.ledger.session import directory, writing
from keys.local import Keystore, create_keystore

MEMBERS = {
    "mine": "Mine AG",
    "manufacturer": "Wafer & Chip GmbH",
    "distributor": "Distri SA",
    "retailer": "Retail Oy",
}
_COINS = 100 * 10**18
_START_SECONDS = 120.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the demo and its node."""

    key: str
    name: str
    folder: Path
    keystore: Keystore
    url: str

    @property
    def account(self) -> str:
        """The CAIP-10 account."""
        return str(self.keystore.public["account"])

    @contextmanager
    def client(self) -> Iterator[NodeClient]:
        """A client of the node with its token."""
        with connect(self.url, self.folder / "node" / "api-token") as client:
            yield client


class Network:
    """Starts everything on entering, ends it on leaving, whatever happens."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        self.folder = folder
        self.chain = LocalChain(state=folder / "chain.json", block_time=0.5)
        self.members: dict[str, Member] = {}
        self.deployment: Deployment
        self._steps = steps
        self._stack = ExitStack()
        # Local to the demo: whoever can read its folder may as well have the passphrase.
        self._passphrase = secrets.token_urlsafe(16).encode()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._steps.title("A consortium of four")
        with self._steps.step("a local chain (anvil), and keys for the consortium and each member"):
            self._stack.enter_context(self.chain)
            with ThreadPoolExecutor() as pool:
                made = dict(zip(("consortium", *MEMBERS), pool.map(self._keys, ("consortium", *MEMBERS)), strict=True))
        with self._steps.step("Directory, Notary and Assets contracts; four members admitted"):
            asyncio.run(self._found(made))
        with self._steps.step("keys and endpoints published; a node for each member"):
            for key, name in MEMBERS.items():
                url = f"http://{_HOST}:{_free_port()}"
                self.members[key] = Member(key, name, self.folder / "members" / key, made[key], url)
            nodes = [self._stack.enter_context(self._node(member)) for member in self.members.values()]
            asyncio.run(self._publish())
            for member, node in zip(self.members.values(), nodes, strict=True):
                _wait_ready(member, node)
        for member in self.members.values():
            self._steps.say(f"{member.name:<18} {member.url}  {member.account}")

    def _keys(self, key: str) -> Keystore:
        folder = self.folder / "members" / key
        folder.mkdir(parents=True)
        name = MEMBERS.get(key, "Consortium")
        keystore = create_keystore(folder / "keystore", name, CHAIN_ID, self._passphrase, int(time.time()))
        (folder / "public.json").write_text(json.dumps(keystore.public, indent=2) + "\n")
        return keystore

    async def _found(self, made: dict[str, Keystore]) -> None:
        consortium = made["consortium"].account
        async with writing(self.chain.url, consortium) as (rpc, sender):
            for keystore in made.values():
                await anvil_set_balance(rpc, keystore.account.address, _COINS)
            self.deployment = await deploy(rpc, sender, self.folder / "deployment.json")
            client = DirectoryClient(rpc, self.deployment.directory, sender)
            await asyncio.gather(*(client.admit(made[key].account.address, name) for key, name in MEMBERS.items()))

    async def _publish(self) -> None:
        async def publish(member: Member) -> None:
            async with directory(self.chain.url, self.deployment, member.keystore.account) as (client, _):
                await asyncio.gather(
                    client.publish_key(KeyUse.SIGNING, canonical(member.keystore.signer.public_jwk)),
                    client.publish_key(KeyUse.RECIPIENT, str(member.keystore.public["recipient"]).encode()),
                    client.set_endpoint(member.url),
                )

        await asyncio.gather(*(publish(member) for member in self.members.values()))

    @contextmanager
    def _node(self, member: Member) -> Iterator[subprocess.Popen[bytes]]:
        """A node in a process of its own, which ends with this one."""
        options = {
            "--data": str(member.folder / "node"),
            "--keystore": str(member.folder / "keystore"),
            "--deployment": str(self.folder / "deployment.json"),
            "--rpc": self.chain.url,
            "--port": member.url.rpartition(":")[2],
        }
        command = [sys.executable, "-m", "docex.cli", "serve"]
        for option, value in options.items():
            command += [option, value]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCEX_")}
        environment["DOCEX_PASSPHRASE"] = self._passphrase.decode()
        with (member.folder / "node.log").open("wb") as log:
            process = subprocess.Popen(
                # Killed with the demo: a node loses nothing by that, and a signal it can handle may come too early.
                bound_to_parent(command, signal.SIGKILL),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the demo, which ends its nodes in order
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _wait_ready(member: Member, node: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    answer = "no answer"
    while time.monotonic() < until and node.poll() is None:
        with suppress(httpx.HTTPError):
            response = httpx.get(f"{member.url}/readyz", timeout=5, trust_env=False)
            if response.status_code == 200:
                return
            answer = response.text
        time.sleep(0.1)
    raise NodeUnavailable(f"{member.name}'s node did not start: {answer} (see {member.folder / 'node.log'})")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
