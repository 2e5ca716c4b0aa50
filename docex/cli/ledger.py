"""``docex ledger``: a development chain, and the contracts of a network."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from docex.cli import output
from docex.cli.options import Json, KeystoreFolder, PassphraseFile
from docex.cli.unlock import keystore_folder, open_keystore
from docex.core.account import parse_address

if TYPE_CHECKING:
    from docex.core.ledger_types import Deployment
    from keys import AccountSigner

RpcOption = Annotated[
    str, typer.Option("--rpc", metavar="URL", envvar="DOCEX_RPC", help="JSON-RPC URL of a ledger node.")
]
DeploymentOption = Annotated[
    Path, typer.Option("--deployment", metavar="FILE", envvar="DOCEX_DEPLOYMENT", help="What `ledger deploy` wrote.")
]
DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_DEPLOYMENT = Path("deployment.json")

ledger = typer.Typer(no_args_is_help=True, help="Run a development chain; deploy the contracts.")


def register(app: typer.Typer) -> None:
    """Add ``ledger`` to the command line."""
    app.add_typer(ledger, name="ledger")


@ledger.command("dev")
def dev(
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Keep the chain in this file, and go on from it.")
    ] = None,
    port: Annotated[int, typer.Option("--port", help="Port on the loopback interface.")] = 8545,
    block_time: Annotated[float, typer.Option("--block-time", help="Seconds between blocks.")] = 1.0,
    fund: Annotated[
        list[str] | None, typer.Option("--fund", metavar="ADDRESS", help="Give this account 100 coins (repeatable).")
    ] = None,
) -> None:
    """Run a local development chain (anvil) until Ctrl-C. Its coins are worth nothing; never use it for real."""
    from docex.ledger.process import LocalChain

    with LocalChain(state=state, port=port, block_time=block_time) as chain:
        asyncio.run(_fund(chain.url, [parse_address(each) for each in fund or ()]))
        output.note(f"chain {chain.chain_id} at {chain.url}; Ctrl-C ends it")
        while True:
            time.sleep(3600)


async def _fund(url: str, addresses: list[str]) -> None:
    from docex.ledger.funding import anvil_set_balance
    from docex.ledger.rpc import Rpc

    async with Rpc(url) as rpc:
        for address in addresses:
            await anvil_set_balance(rpc, address, 100 * 10**18)


@ledger.command("deploy")
def deploy(
    rpc: RpcOption = DEFAULT_RPC,
    chain_id: Annotated[
        int | None, typer.Option("--chain-id", metavar="ID", help="Deploy on this chain only.", show_default=False)
    ] = None,
    record: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to note chain and contracts.")
    ] = DEFAULT_DEPLOYMENT,
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Deploy Directory, Notary and Assets. The keystore's account becomes the consortium that admits members.

    Doing it again with the same record deploys nothing: it checks that the contracts are there.
    """
    opened = open_keystore(keystore_folder(keystore), passphrase_file)
    deployment = asyncio.run(_deploy(rpc, chain_id, opened.account, record))
    values = {
        "chain_id": deployment.chain_id,
        "directory": deployment.directory,
        "notary": deployment.notary,
        "assets": deployment.assets or "none",
        "block": deployment.block,
    }
    if as_json:
        output.as_json(values)
        return
    output.pairs((name.replace("_", " "), str(value)) for name, value in values.items())
    output.note(f"noted in {record}: members need it to run a node, verifiers for `docex trust add`")


async def _deploy(url: str, chain_id: int | None, account: AccountSigner, record: Path) -> Deployment:
    from docex.ledger import deploy as contracts
    from docex.ledger.session import writing

    async with writing(url, account) as (rpc, sender):
        return await contracts.deploy(rpc, sender, record, chain_id=chain_id)
