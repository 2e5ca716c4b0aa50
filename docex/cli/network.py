"""``docex network``: the files of a consortium's own ledger."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from docex.cli import output
from docex.cli.options import Json

network = typer.Typer(no_args_is_help=True, help="Write the files of a consortium's own ledger (Besu, QBFT).")

_CHAIN_IDS = range(1_000_000, 2**31)
"""Where a chain id is made up: away from the public chains' small ones, and within what every wallet takes."""


def register(app: typer.Typer) -> None:
    """Add ``network`` to the command line."""
    app.add_typer(network, name="network")


@network.callback()
def _network() -> None:
    """Write the files of a consortium's own ledger (Besu, QBFT)."""


@network.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it must be new or empty.")],
    fund: Annotated[
        list[str] | None,
        typer.Option("--fund", metavar="ADDRESS", help="Give this account coins from the start (repeatable)."),
    ] = None,
    validators: Annotated[
        int, typer.Option("--validators", metavar="N", help="A third of them, less one, may fail.")
    ] = 4,
    chain_id: Annotated[
        int | None, typer.Option("--chain-id", metavar="ID", help="A new number unless given.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What compose calls it.")] = "docex-ledger",
    zero_base_fee: Annotated[
        bool, typer.Option("--zero-base-fee", help="Transactions are free: for everyone who reaches the RPC node.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write genesis, keys, settings and a compose file for validators and one transaction-only node.

    NOT RUN by docex's authors with Besu itself: their machines have no container engine. The README.txt that is
    written says what was checked instead, and how to go on.

    Example:  docex network init ledger/ --fund 0x… --chain-id 20260
    """
    from docex.core.account import parse_address
    from docex.ledger.consortium import Plan
    from docex.ledger.consortium_files import deploy_command, write_network

    # A chain id of its own: what is signed for one network must not hold on another.
    chosen = secrets.choice(_CHAIN_IDS) if chain_id is None else chain_id
    plan = Plan(name, chosen, validators, tuple(parse_address(each) for each in fund or ()), zero_base_fee)
    nodes = write_network(folder, plan, int(time.time()))
    if as_json:
        output.as_json(
            {
                "chain_id": plan.chain_id,
                "name": plan.name,
                "folder": str(folder),
                "nodes": [asdict(each) for each in nodes],
                "deploy": deploy_command(plan),
            }
        )
        return
    output.table([("chain id", str(plan.chain_id)), *((each.name, each.address) for each in nodes)], indent="")
    output.note(f"Made {folder}; its README.txt says how to start the network. Besu never ran here: try it first.")
    if plan.tolerated == 0:
        output.warning("with fewer than 4 validators the chain stands still when one of them fails")
