"""``docex members``: who belongs to the consortium, with which keys, and where their nodes are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli import output
from docex.cli.ledger import (
    DEFAULT_DEPLOYMENT,
    DEFAULT_RPC,
    DeploymentOption,
    RpcOption,
)
from docex.cli.options import Json, KeystoreFolder, PassphraseFile
from docex.cli.parties import read_public
from docex.cli.unlock import keystore_folder, open_keystore
from docex.core.account import parse_address, parse_caip10
from docex.core.encoding import b64url
from docex.core.jwk import canonical
from docex.core.ledger_types import KeyUse, PublishedKey
from docex.errors import UsageError

if TYPE_CHECKING:
    from docex.core.ledger_types import Member
    from docex.ledger.directory import DirectoryClient
    from docex.ledger.sender import Sender
    from keys.local import Keystore

members = typer.Typer(no_args_is_help=True, help="Admit members, publish keys and endpoints, list who is who.")

AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The member's address or CAIP-10 account.")]


def register(app: typer.Typer) -> None:
    """Add ``members`` to the command line."""
    app.add_typer(members, name="members")


@members.command("admit")
def admit(
    public: Annotated[Path, typer.Argument(metavar="PUBLIC.json", help="What the new member's `keygen` printed.")],
    rpc: RpcOption = DEFAULT_RPC,
    deployment: DeploymentOption = DEFAULT_DEPLOYMENT,
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
    fund: Annotated[
        str, typer.Option("--fund", metavar="COINS", help="Also send the member this much to pay for transactions.")
    ] = "0",
) -> None:
    """Admit a member, as the consortium (the account that deployed the contracts).

    The member then publishes its keys with `docex members publish`.
    """
    party = read_public(public)
    wei = _wei(fund)
    opened = open_keystore(keystore_folder(keystore), passphrase_file)

    async def work(directory: DirectoryClient, sender: Sender) -> None:
        from docex.ledger.funding import fund as send

        account = parse_caip10(party.account)
        if account.chain_id != sender.chain_id:
            raise UsageError(f"{party.name}'s account is on chain {account.chain_id}, the ledger is {sender.chain_id}")
        known = await directory.member(account.address)
        if known is None:
            await directory.admit(account.address, party.name)
        elif not known.active:
            raise UsageError(f"{party.name} is suspended: use `docex members readmit`")
        if wei:
            await send(sender, account.address, wei)
        output.note(f"{party.name} ({party.account}) is {'a member' if known is None else 'a member already'}")

    _write(rpc, deployment, opened, work)


@members.command("publish")
def publish(
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Where your node is reached.")
    ] = None,
    rpc: RpcOption = DEFAULT_RPC,
    deployment: DeploymentOption = DEFAULT_DEPLOYMENT,
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Publish your signing key, recipient and endpoint, as an admitted member. Doing it again is safe."""
    if endpoint is not None:
        from docex.peers import check_endpoint

        check_endpoint(endpoint)
    opened = open_keystore(keystore_folder(keystore), passphrase_file)

    async def work(directory: DirectoryClient, sender: Sender) -> None:
        published = {key.material for key in await directory.keys(sender.account)}
        for use, material in (
            (KeyUse.SIGNING, canonical(opened.signer.public_jwk)),
            (KeyUse.RECIPIENT, str(opened.public["recipient"]).encode("ascii")),
        ):
            if material not in published:
                await directory.publish_key(use, material)
        member = await directory.member(sender.account)
        if endpoint is not None and member is not None and member.endpoint != endpoint:
            await directory.set_endpoint(endpoint)
        output.note(f"published for {opened.name}: signing key, recipient" + (f", {endpoint}" if endpoint else ""))

    _write(rpc, deployment, opened, work)


@members.command("list")
def list_members(
    rpc: RpcOption = DEFAULT_RPC, deployment: DeploymentOption = DEFAULT_DEPLOYMENT, as_json: Json = False
) -> None:
    """List the members, their endpoints and the ids of their keys."""
    found = asyncio.run(_read(rpc, deployment))
    if as_json:
        output.as_json([_as_json(member, keys) for member, keys in found])
    elif not found:
        output.note("no members yet: `docex members admit`")
    else:
        rows = [("NAME", "ACCOUNT", "STATE", "KEYS", "ENDPOINT")]
        for member, keys in found:
            uses = ", ".join(key.use for key in keys) or "none"
            rows.append((member.name, member.account, _state(member), uses, member.endpoint or "none"))
        output.table(rows, indent="")


@members.command("suspend")
def suspend(
    account: AccountArgument,
    rpc: RpcOption = DEFAULT_RPC,
    deployment: DeploymentOption = DEFAULT_DEPLOYMENT,
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Suspend a member, as the consortium: it can write nothing from now on, and what it wrote stays valid."""
    address = _address(account)
    opened = open_keystore(keystore_folder(keystore), passphrase_file)
    _write(rpc, deployment, opened, lambda directory, _: directory.suspend(address))
    output.note(f"{address} is suspended")


@members.command("readmit")
def readmit(
    account: AccountArgument,
    rpc: RpcOption = DEFAULT_RPC,
    deployment: DeploymentOption = DEFAULT_DEPLOYMENT,
    keystore: KeystoreFolder = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """End a member's suspension, as the consortium."""
    address = _address(account)
    opened = open_keystore(keystore_folder(keystore), passphrase_file)
    _write(rpc, deployment, opened, lambda directory, _: directory.readmit(address))
    output.note(f"{address} is a member again")


def _write(
    rpc: str, deployment: Path, keystore: Keystore, work: Callable[[DirectoryClient, Sender], Awaitable[Any]]
) -> None:
    """Run ``work`` with the Directory, writing as the keystore's account."""
    from docex.ledger.deploy import read_deployment
    from docex.ledger.session import directory

    async def run() -> None:
        async with directory(rpc, read_deployment(deployment), keystore.account) as (client, sender):
            assert sender is not None
            await work(client, sender)

    asyncio.run(run())


async def _read(rpc: str, deployment: Path) -> list[tuple[Member, tuple[PublishedKey, ...]]]:
    from docex.ledger.deploy import read_deployment
    from docex.ledger.session import directory

    async with directory(rpc, read_deployment(deployment)) as (client, _):
        return [(member, await client.keys(member.account)) for member in await client.members()]


def _as_json(member: Member, keys: tuple[PublishedKey, ...]) -> dict[str, object]:
    return {
        "name": member.name,
        "account": member.account,
        "active": member.active,
        "admitted_at": member.admitted_at,
        "endpoint": member.endpoint,
        "keys": [
            {"id": b64url(key.key_id), "use": key.use, "from": key.valid_from, "until": key.valid_until} for key in keys
        ],
    }


def _state(member: Member) -> str:
    return "active" if member.active else "suspended"


def _address(text: str) -> str:
    return parse_caip10(text).address if text.startswith("eip155:") else parse_address(text)


def _wei(coins: str) -> int:
    try:
        amount = Decimal(coins)
    except ArithmeticError:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0 or amount > 10**9:
        raise UsageError(f"--fund {coins!r} is not an amount of coins, such as 0.5")
    return int(amount * 10**18)
