"""``docex trust``: which networks this verifier trusts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from docex.cli import options, output
from docex.cli.verify import TrustOption, trust_store
from docex.errors import UsageError
from docex.service.trust import MAX_FILE_BYTES, TrustedNetwork, network


def register(app: typer.Typer) -> None:
    """Add ``trust add``, ``trust list`` and ``trust remove`` to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Which networks you trust when you verify a proof.")
    group.command("add")(add_command)
    group.command("list")(list_command)
    group.command("remove")(remove_command)
    app.add_typer(group, name="trust")


def add_command(
    name: Annotated[str, typer.Argument(help="What you call the network.")],
    chain_id: Annotated[int | None, typer.Option("--chain-id", help="The chain's id (EIP-155).")] = None,
    directory: Annotated[str | None, typer.Option("--directory", help="Address of its Directory.")] = None,
    notary: Annotated[str | None, typer.Option("--notary", help="Address of its Notary.")] = None,
    deployment: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take chain and contracts from a deployment record instead."),
    ] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help="Where to read it by default.")] = None,
    confirmations: Annotated[
        int | None, typer.Option("--confirmations", help="Blocks that must stand on top of an anchor (default: 3).")
    ] = None,
    tsa_certs: Annotated[
        list[Path] | None,
        typer.Option(
            "--tsa-cert", metavar="FILE", help="Root CA certificate (PEM) of a time-stamping authority; repeatable."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the network of this name or contracts.")] = False,
    trust: TrustOption = None,
    as_json: options.Json = False,
) -> None:
    """Trust a network. Get its addresses from the consortium, not from whoever hands you a proof."""
    chosen = _contracts(deployment, chain_id, directory, notary)
    new = network(name, *chosen, rpc, confirmations, [_read(path) for path in tsa_certs or ()])
    store = trust_store(trust)
    store.add(new, replace=replace)
    _show([new], as_json, f"trusted: {_line(new)}", f"kept in {store.path}")


def list_command(trust: TrustOption = None, as_json: options.Json = False) -> None:
    """List the networks you trust."""
    store = trust_store(trust)
    networks = store.networks()
    none = f"no network is trusted in {store.path}: add one with `docex trust add`"
    _show(networks, as_json, *(map(_line, networks) if networks else (none,)))


def remove_command(
    name: Annotated[str, typer.Argument(help="The network.")], trust: TrustOption = None, as_json: options.Json = False
) -> None:
    """Trust a network no longer."""
    removed = trust_store(trust).remove(name)
    _show([removed], as_json, f"no longer trusted: {_line(removed)}")


def _contracts(
    deployment: Path | None, chain_id: int | None, directory: str | None, notary: str | None
) -> tuple[int, str, str]:
    if deployment is not None:
        if (chain_id, directory, notary) != (None, None, None):
            raise UsageError("--from says the chain and the contracts: leave out --chain-id, --directory and --notary")
        from docex.ledger.deploy import read_deployment

        record = read_deployment(deployment)
        return record.chain_id, record.directory, record.notary
    if chain_id is None or directory is None or notary is None:
        raise UsageError("name --chain-id, --directory and --notary, or a deployment record with --from")
    return chain_id, directory, notary


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is longer than {MAX_FILE_BYTES} bytes")
    return data.decode("latin-1")  # whatever is written around the certificate


def _show(networks: Sequence[TrustedNetwork], as_json: bool, *lines: str) -> None:
    if as_json:
        output.as_json([one.to_json() for one in networks])
        return
    for text in lines:
        output.line(text)


def _line(one: TrustedNetwork) -> str:
    where = f", read at {one.rpc}" if one.rpc else ""
    count = len(one.trust.tsa_certificates)
    stamped = f", {count} TSA certificate{'s' if count > 1 else ''}" if count else ""
    return f"{one.trust.name}: {one.trust.network}, {one.trust.confirmations} confirmations{where}{stamped}"
